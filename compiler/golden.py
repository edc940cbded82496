"""The golden chunk of the self-test: what the object decodes it to, bit for bit, computed here in numpy.

The object's arithmetic has one order on every target (see templates/network/vocosc_network.h), so its output can be
told without a build. This is that arithmetic a second time, for all frames at once; the tests hold the two against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arithmetic import Floats, exp, fma, gelu, layer_norm, sincos
from .fft import RealFft
from .formats import Table, format_of
from .interpret import Rows, decode
from .mel import hann
from .network import MAX_MAGNITUDE, NORM_EPSILON, Operation
from .pack import input_limits
from .plan import Plan
from .steps import normalised_products


def golden_mel(n_mels: int) -> Floats:
    """The frame of log-mel that the self-test decodes: noise between -8 and 0, in steps that any text can state."""
    state, values = 1, []
    for _ in range(n_mels):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append((state >> 54) / 128 - 8)
    return np.array(values, np.float32)


def golden_frames(plan: Plan) -> int:
    """As many golden frames as a convolution sees: with fewer, some weights would meet nothing but silence."""
    return max(operation.taps for operation in plan.network.operations)


def golden_hash(plan: Plan, tables: Sequence[Table]) -> int:
    """FNV-1a, over the words of the audio and then of the overlap, of the golden frames."""
    mel = np.tile(golden_mel(plan.config.n_mels), (golden_frames(plan), 1))
    value = 14695981039346656037
    for word in exact_decode(plan, tables, mel).view(np.uint32).tolist():
        value = (value ^ word) * 1099511628211 % 2**64
    return int(value)


def exact_decode(plan: Plan, tables: Sequence[Table], mel: Floats) -> Floats:
    """The audio of log-mel [frames, mels], and the overlap behind it, as the object gives them."""
    return np.asarray(decode(plan.network, mel, _Exact(plan, tables)), np.float32)


class _Exact:
    """See compiler/interpret.py. Rows are padded to whole panels with zeros, as the kernels' are."""

    def __init__(self, plan: Plan, tables: Sequence[Table]) -> None:
        self.plan = plan
        self.tables = {table.name: table for table in tables}
        self.limits = input_limits(plan.network, tables)
        self.normalised = normalised_products(plan.steps)

    def product(self, operation: Operation, x: Rows) -> Rows:
        chosen, kernel = format_of(operation, self.plan.precision), operation.kernel
        is_normalised = operation.name in self.normalised
        return chosen.multiply(self.tables[operation.name], x, self.limits.get(kernel, 0), is_normalised)

    def depthwise_conv(self, operation: Operation, windows: Rows) -> Rows:
        bias, *taps = self.tables[operation.name].data
        value = np.broadcast_to(bias, windows[:, 0].shape)
        for tap, weight in enumerate(taps):
            value = fma(windows[:, tap], weight, value)
        return value

    def layer_norm(self, operation: Operation, x: Rows) -> Rows:
        rows = layer_norm(x, operation.inputs, NORM_EPSILON)
        return fma(rows, *self.tables[operation.name].data) if operation.tensors else rows

    def epilogue(self, name: str, sums: Rows, y: Rows | None) -> Rows:
        match name:
            case "gelu":
                return gelu(sums)
            case "exp":
                return np.minimum(exp(sums), np.float32(MAX_MAGNITUDE))
            case "add" | "polar":
                assert y is not None, "the schedule writes y before"
                if name == "add":
                    return np.asarray(y + sums)
                sine, cosine = sincos(sums)
                return np.stack([y * cosine, y * sine])
            case _:
                return sums

    def inverse_rfft(self, spectrum: Rows) -> Rows:
        re, im = spectrum[:, :, : self.plan.bins]
        return _inverse_real_fft(self.plan.fft, re, im)

    def overlap_add(self, frames: Rows) -> Rows:
        n_fft, hop, kept = self.plan.config.n_fft, self.plan.config.hop_length, self.plan.overlap_floats
        window = (hann(n_fft) / n_fft).astype(np.float32)
        overlap, audio = np.zeros(kept, np.float32), []
        for frame in frames:
            total = frame * window
            total[:kept] = fma(frame[:kept], window[:kept], overlap)
            audio.append(total[:hop])
            overlap = total[hop:]
        return np.concatenate([*audio, overlap])


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
        mid_r, mid_i = fma(sum_r, np.float32(-0.5), re[0]), fma(sum_i, np.float32(-0.5), im[0])
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
        fma(n, cos_72, fma(f, cos_144, o)) for n, f, o in ((near_r, far_r, re[0]), (near_i, far_i, im[0]))
    )
    mid2_r, mid2_i = (
        fma(n, cos_144, fma(f, cos_72, o)) for n, f, o in ((near_r, far_r, re[0]), (near_i, far_i, im[0]))
    )
    turn1_r, turn1_i = (fma(n, sin_72, f * sin_144) for n, f in ((near_turn_r, far_turn_r), (near_turn_i, far_turn_i)))
    turn2_r, turn2_i = (fma(n, sin_144, f * -sin_72) for n, f in ((near_turn_r, far_turn_r), (near_turn_i, far_turn_i)))
    return [
        (re[0] + near_r + far_r, im[0] + near_i + far_i),
        (mid1_r - turn1_i, mid1_i + turn1_r),
        (mid2_r - turn2_i, mid2_i + turn2_r),
        (mid2_r + turn2_i, mid2_i - turn2_r),
        (mid1_r + turn1_i, mid1_i - turn1_r),
    ]


def _inverse_real_fft(fft: RealFft, re: Floats, im: Floats) -> Floats:
    """Spectra (frames, bins) to samples (frames, n_fft), without the factor 1 / n_fft."""
    length = fft.complex_length
    x = np.zeros((2, len(re), length), np.float32)
    if fft.is_even:
        x[0, :, 0], x[1, :, 0] = re[:, 0] + re[:, length], re[:, 0] - re[:, length]
        bins = np.arange(1, length)
        sum_r, sum_i = re[:, bins] + re[:, length - bins], im[:, bins] - im[:, length - bins]
        difference_r, difference_i = re[:, bins] - re[:, length - bins], im[:, bins] + im[:, length - bins]
        c, s = fft.half_cosines[bins], fft.half_sines[bins]
        x[0, :, 1:] = fma(-difference_i, c, fma(-difference_r, s, sum_r))
        x[1, :, 1:] = fma(difference_r, c, fma(-difference_i, s, sum_i))
    else:
        x[0, :, 0] = re[:, 0]
        bins = np.arange(1, re.shape[1])
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
                y[0, :, :, k] = fma(real, c, -(imaginary * s))
                y[1, :, :, k] = fma(real, s, imaginary * c)
        x = y.reshape(2, len(re), length)
    return x[0] if not fft.is_even else np.ascontiguousarray(x.transpose(1, 2, 0)).reshape(len(re), -1)
