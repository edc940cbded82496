"""The golden chunk of the self-test: what the object decodes it to, bit for bit, computed here in numpy.

The object's arithmetic has one order on every target (see runtime/vocosc_network.c), so its output can be told without
a build. This is that arithmetic a second time, written for all frames at once. It follows the C step by step and bit by
bit; the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.mel import hann
from compiler.pack import WEIGHTS, Table, limits
from compiler.plan import PANEL, Plan

Floats = NDArray[np.float32]

_ROUNDER = np.float32(1.5 * 2**23)


def golden_mel(n_mels: int) -> Floats:
    """The frame of log-mel that the self-test decodes: noise between -8 and 0, in steps that any text can state."""
    state, values = 1, []
    for _ in range(n_mels):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append((state >> 54) / 128 - 8)
    return np.array(values, np.float32)


def golden_hash(plan: Plan, tables: Sequence[Table], precision: str) -> int:
    """FNV-1a, over the words of the audio and then of the overlap, of as many golden frames as a convolution sees.

    With fewer, some weights would meet nothing but the silence before the first frame.
    """
    audio, overlap = _decode(plan, {table.name: table for table in tables}, precision, limits(tables))
    value = 14695981039346656037
    for word in np.concatenate([audio, overlap]).view(np.uint32).tolist():
        value = (value ^ word) * 1099511628211 % 2**64
    return int(value)


# ---- arithmetic ----


def _fma(a: Any, b: Any, c: Any) -> Floats:
    """Fused multiply-add: the product is exact in double, the sum rounded to odd; see vocosc_vector_portable.h."""
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    shadow = total - product
    error = (product - (total - shadow)) + (c - shadow)
    bits = total.view(np.int64)
    inexact = error != 0
    away = inexact & ((bits ^ error.view(np.int64)) < 0)
    return np.asarray(((bits - away) | inexact).view(np.float64).astype(np.float32))


def _polynomial(x: Floats, *coefficients: str) -> Floats:
    """Horner's scheme, the highest power first."""
    value = np.full_like(x, float.fromhex(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = _fma(value, x, np.float32(float.fromhex(coefficient)))
    return value


def _hex(text: str) -> np.float32:
    return np.float32(float.fromhex(text))


def _clamp(x: Floats, limit: float) -> Floats:
    return np.maximum(np.minimum(x, np.float32(limit)), np.float32(-limit))


def _exp(x: Floats) -> Floats:
    x = _clamp(x, 87)
    rounded = _fma(x, _hex("0x1.715476p+0"), _ROUNDER)
    n = rounded - _ROUNDER
    r = _fma(n, _hex("-0x1.62e43p-1"), x)
    r = _fma(n, _hex("0x1.05c61p-29"), r)
    p = _polynomial(r, "0x1.6a2318p-10", "0x1.123a8ep-7", "0x1.5558f6p-5", "0x1.55549p-3", "0x1.fffffcp-2")
    p = _fma(p, r * r, r) + np.float32(1)
    return (p.view(np.uint32) + (rounded.view(np.uint32) << np.uint32(23))).view(np.float32)


def _sincos(x: Floats) -> tuple[Floats, Floats]:
    x = _clamp(x, 1e6)
    rounded = _fma(x, _hex("0x1.45f306p-1"), _ROUNDER)
    n = rounded - _ROUNDER
    r = _fma(n, _hex("-0x1.921fb6p+0"), x)
    r = _fma(n, _hex("0x1.777a5cp-25"), r)
    r = _fma(n, _hex("0x1.ee59dap-50"), r)
    square = r * r
    s = _polynomial(square, "-0x1.992f58p-13", "0x1.1107p-7", "-0x1.555544p-3")
    s = _fma(s, square * r, r)
    c = _polynomial(square, "0x1.99f026p-16", "-0x1.6c0c4ep-10", "0x1.55554ap-5", "-0x1p-1", "0x1p+0")
    quarter = rounded.view(np.uint32)
    odd = (quarter & 1).astype(bool)
    sine = np.where(odd, c, s).view(np.uint32) ^ (quarter & np.uint32(2)) << np.uint32(30)
    cosine = np.where(odd, s, c).view(np.uint32) ^ ((quarter + np.uint32(1)) & np.uint32(2)) << np.uint32(30)
    return sine.view(np.float32), cosine.view(np.float32)


def _gelu(x: Floats) -> Floats:
    z = _clamp(x * _hex("0x1.6a09e6p-1"), 3.92)
    t = z * z
    p = _polynomial(
        t, "0x1.1118ap-19", "0x1.2d71e8p-12", "0x1.fb08d6p-9", "0x1.b2ac24p-5", "0x1.8ac85ap-3", "0x1.20dd72p+0"
    )
    q = _polynomial(t, "0x1.3f5c08p-15", "0x1.3775b4p-10", "0x1.f12b16p-7", "0x1.d7635cp-4", "0x1.0221fp-1", "0x1p+0")
    half = x * np.float32(0.5)
    return _fma(half, z * p / q, half)


def _lane_sum(lanes: Floats) -> Floats:
    """Of (frames, 16), by the tree 16 -> 8 -> 4 -> 2 -> 1: (frames, 1)."""
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes


def _norm(x: Floats, dim: int) -> Floats:
    """LayerNorm of rows whose padding is zero and stays so."""
    panels = x.reshape(len(x), -1, PANEL)
    sums = np.zeros((len(x), PANEL), np.float32)
    for panel in range(panels.shape[1]):
        sums = sums + panels[:, panel]
    centred = x - _lane_sum(sums) / np.float32(dim)
    centred[:, dim:] = 0
    squares = np.zeros_like(sums)
    for panel in range(panels.shape[1]):
        values = centred[:, panel * PANEL : (panel + 1) * PANEL]
        squares = _fma(values, values, squares)
    variance = _lane_sum(squares) / np.float32(dim)
    return np.asarray(centred * (np.float32(1) / np.sqrt(variance + np.float32(1e-6))))


# ---- layers ----


def _product(x: Floats, table: Table, weights: str, limit: int, *, is_normalised: bool = False) -> Floats:
    """A matrix product of rows, before what its layer does to the sums."""
    bytes_ = table.data.view(np.uint8)
    if weights == "f32":
        body = table.data.reshape(len(table.data), -1, PANEL)
        matrix = body.transpose(1, 0, 2).reshape(body.shape[1], -1)
        return _chains(x, matrix[1:], matrix[0])
    columns = 3 if weights == "int8a8" else 2
    header = np.ascontiguousarray(bytes_[:, : 4 * columns * PANEL]).view(np.float32).reshape(-1, columns, PANEL)
    bias, scale = header[:, 0].ravel(), header[:, 1].ravel()
    body = np.ascontiguousarray(bytes_[:, 4 * columns * PANEL :])
    if weights == "f16":
        halves = body.view(np.float16).reshape(len(body), -1, PANEL)
        matrix = halves.transpose(1, 0, 2).reshape(halves.shape[1], -1).astype(np.float32)
        return _chains(x, matrix, bias) * scale
    groups = body.view(np.int8).reshape(len(body), -1, PANEL, 4 if weights == "int8a8" else 2)
    integers = groups.transpose(1, 3, 0, 2).reshape(-1, bias.size).astype(np.int64)
    whole, row_scale = _quantise(x, limit) if weights == "int8" else _quantise_bytes(x, symmetric=is_normalised)
    inputs = min(whole.shape[1], len(integers))
    sums = (whole[:, :inputs] @ integers[:inputs]).astype(np.float32)
    return _fma(sums, row_scale * scale, bias)


def _chains(x: Floats, matrix: Floats, bias: Floats) -> Floats:
    """Dot products as chains of fused multiply-adds, in the order of the inputs, starting at the bias."""
    sums = np.broadcast_to(bias, (len(x), bias.size))
    for k in range(len(matrix)):
        sums = _fma(x[:, k, None], matrix[k], sums)
    return sums


def _quantise(x: Floats, limit: int) -> tuple[NDArray[np.int64], Floats]:
    """Rows as integers between -limit and limit, and their scales."""
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-30))
    high = np.float32(limit)
    return np.rint(_clamp(x * (high / largest), limit)).astype(np.int64), largest / high


def _quantise_bytes(x: Floats, *, symmetric: bool) -> tuple[NDArray[np.int64], Floats]:
    """Rows as whole numbers, byte - zero, and their scales. If symmetric, the least value is taken for -largest."""
    lowest, highest = np.minimum(x.min(axis=1, keepdims=True), 0), np.maximum(x.max(axis=1, keepdims=True), 0)
    if symmetric:
        highest = np.maximum(-lowest, highest)
        lowest = -highest
    span = np.maximum(highest - lowest, np.float32(1e-30))
    inverse = np.float32(255) / span
    zero = np.rint(-lowest * inverse)
    bytes_ = np.rint(np.maximum(np.minimum(_fma(x, inverse, zero), np.float32(255)), np.float32(0)))
    return (bytes_ - zero).astype(np.int64), span / np.float32(255)


def _windows(x: Floats, taps: int) -> NDArray[np.float32]:
    """Of each frame the last `taps` ones, itself the last: (frames, taps, channels); zeros before the first."""
    rows = np.concatenate([np.zeros((taps - 1, x.shape[1]), np.float32), x])
    return np.stack([rows[tap : tap + len(x)] for tap in range(taps)], axis=1)


def _conv_norm(x: Floats, table: Floats, dim: int) -> Floats:
    windows = _windows(x, len(table) - 1)
    value = np.broadcast_to(table[0], x.shape)
    for tap in range(len(table) - 1):
        value = _fma(windows[:, tap], table[1 + tap], value)
    return _norm(value, dim)


# ---- inverse FFT ----


def _butterfly(x: list[Any]) -> list[Any]:
    """As the template vocosc_fft.h has them, inverse; each of `x` is (real, imaginary)."""
    re, im = [value[0] for value in x], [value[1] for value in x]
    if len(x) == 1:
        return x
    if len(x) == 2:
        return [(re[0] + re[1], im[0] + im[1]), (re[0] - re[1], im[0] - im[1])]
    if len(x) == 3:
        sin_120 = np.float32(0.8660254037844386)
        sum_r, sum_i = re[1] + re[2], im[1] + im[2]
        turn_r, turn_i = (re[1] - re[2]) * sin_120, (im[1] - im[2]) * sin_120
        mid_r, mid_i = _fma(sum_r, np.float32(-0.5), re[0]), _fma(sum_i, np.float32(-0.5), im[0])
        return [(re[0] + sum_r, im[0] + sum_i), (mid_r - turn_i, mid_i + turn_r), (mid_r + turn_i, mid_i - turn_r)]
    if len(x) == 4:
        even_r, even_i, even_turn_r, even_turn_i = re[0] + re[2], im[0] + im[2], re[0] - re[2], im[0] - im[2]
        odd_r, odd_i, odd_turn_r, odd_turn_i = re[1] + re[3], im[1] + im[3], re[1] - re[3], im[1] - im[3]
        return [
            (even_r + odd_r, even_i + odd_i),
            (even_turn_r - odd_turn_i, even_turn_i + odd_turn_r),
            (even_r - odd_r, even_i - odd_i),
            (even_turn_r + odd_turn_i, even_turn_i - odd_turn_r),
        ]
    cos_72, cos_144 = np.float32(0.30901699437494745), np.float32(-0.8090169943749475)
    sin_72, sin_144 = np.float32(0.9510565162951535), np.float32(0.5877852522924731)
    near_r, near_i, far_r, far_i = re[1] + re[4], im[1] + im[4], re[2] + re[3], im[2] + im[3]
    near_turn_r, near_turn_i, far_turn_r, far_turn_i = re[1] - re[4], im[1] - im[4], re[2] - re[3], im[2] - im[3]
    mid1_r, mid1_i = (
        _fma(n, cos_72, _fma(f, cos_144, o)) for n, f, o in ((near_r, far_r, re[0]), (near_i, far_i, im[0]))
    )
    mid2_r, mid2_i = (
        _fma(n, cos_144, _fma(f, cos_72, o)) for n, f, o in ((near_r, far_r, re[0]), (near_i, far_i, im[0]))
    )
    turn1_r, turn1_i = (_fma(n, sin_72, f * sin_144) for n, f in ((near_turn_r, far_turn_r), (near_turn_i, far_turn_i)))
    turn2_r, turn2_i = (
        _fma(n, sin_144, f * -sin_72) for n, f in ((near_turn_r, far_turn_r), (near_turn_i, far_turn_i))
    )
    return [
        (re[0] + near_r + far_r, im[0] + near_i + far_i),
        (mid1_r - turn1_i, mid1_i + turn1_r),
        (mid2_r - turn2_i, mid2_i + turn2_r),
        (mid2_r + turn2_i, mid2_i - turn2_r),
        (mid1_r + turn1_i, mid1_i - turn1_r),
    ]


def _inverse_real_fft(plan: Plan, re: Floats, im: Floats) -> Floats:
    """Spectra (frames, bins) to samples (frames, n_fft), without the factor 1 / n_fft."""
    fft = plan.fft
    length = fft.complex_length
    x = np.zeros((2, len(re), length), np.float32)
    if fft.is_even:
        x[0, :, 0], x[1, :, 0] = re[:, 0] + re[:, length], re[:, 0] - re[:, length]
        bins = np.arange(1, length)
        sum_r, sum_i = re[:, bins] + re[:, length - bins], im[:, bins] - im[:, length - bins]
        difference_r, difference_i = re[:, bins] - re[:, length - bins], im[:, bins] + im[:, length - bins]
        c, s = fft.half_cosines[bins], fft.half_sines[bins]
        x[0, :, 1:] = _fma(-difference_i, c, _fma(-difference_r, s, sum_r))
        x[1, :, 1:] = _fma(difference_r, c, _fma(-difference_i, s, sum_i))
    else:
        x[0, :, 0] = re[:, 0]
        bins = np.arange(1, plan.bins)
        x[0][:, bins], x[1][:, bins] = re[:, bins], im[:, bins]
        x[0][:, length - bins], x[1][:, length - bins] = re[:, bins], -im[:, bins]
    for step in fft.passes:
        inputs = x.reshape(2, len(re), step.radix, step.groups, step.columns)
        outputs = _butterfly([inputs[:, :, j] for j in range(step.radix)])
        y = np.zeros((2, len(re), step.groups, step.radix, step.columns), np.float32)
        for k, (real, imaginary) in enumerate(outputs):
            y[0, :, :, k], y[1, :, :, k] = real, imaginary
            if step.groups > 1 and k > 0:
                first = step.twiddles + (k - 1) * step.groups
                c = fft.cosines[first : first + step.groups, None]
                s = fft.sines[first : first + step.groups, None]
                y[0, :, :, k] = _fma(real, c, -(imaginary * s))
                y[1, :, :, k] = _fma(real, s, imaginary * c)
        x = y.reshape(2, len(re), length)
    return x[0] if not fft.is_even else np.ascontiguousarray(x.transpose(1, 2, 0)).reshape(len(re), -1)


# ---- the network ----


def _decode(plan: Plan, tables: dict[str, Table], precision: str, largest: dict[str, int]) -> tuple[Floats, Floats]:
    """The audio of the golden frames, and the overlap that they leave."""
    config = plan.config
    edges, blocks = WEIGHTS[precision]
    mel = np.tile(golden_mel(config.n_mels), (config.kernel_size, 1))
    windows = _windows(mel, config.kernel_size).reshape(len(mel), -1)
    x = _norm(_product(windows, tables["embed"], edges, 0), config.dim)
    x = _fma(x, tables["embed_norm"].data[0], tables["embed_norm"].data[1])
    for i in range(config.num_layers):
        normalised = _conv_norm(x, tables[f"block{i}_conv"].data, config.dim)
        hidden = _gelu(_product(normalised, tables[f"block{i}_expand"], blocks, largest["expand"], is_normalised=True))
        x = x + _product(hidden, tables[f"block{i}_contract"], blocks, largest["contract"])
    normalised = _norm(x, config.dim)
    size = np.minimum(_exp(_product(normalised, tables["magnitude"], edges, 0)), np.float32(100))
    sine, cosine = _sincos(_product(normalised, tables["phase"], edges, 0))
    samples = _inverse_real_fft(plan, (size * cosine)[:, : plan.bins], (size * sine)[:, : plan.bins])
    window = (hann(config.n_fft) / config.n_fft).astype(np.float32)
    hop, kept = config.hop_length, plan.overlap_floats
    overlap, audio = np.zeros(kept, np.float32), []
    for frame in samples:
        total = frame * window
        total[:kept] = _fma(frame[:kept], window[:kept], overlap)
        audio.append(total[:hop])
        overlap = total[hop:]
    return np.concatenate(audio), overlap
