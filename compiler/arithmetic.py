"""The kernels' arithmetic in numpy, bit for bit, and the coefficients of its polynomials, which the templates take too.

Every array is float32. The polynomials are minimax fits of our own, in Horner's order, the highest power first; what
they are good for, and their errors, stands in templates/network/vocosc_vector_math.h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PANEL = 16  # outputs in a panel of weights, and virtual lanes of a reduction

POLYNOMIALS = {
    "exp": ("0x1.6a2318p-10", "0x1.123a8ep-7", "0x1.5558f6p-5", "0x1.55549p-3", "0x1.fffffcp-2"),
    "log": (
        *("0x1.1457a2p-4", "-0x1.de3c14p-4", "0x1.e6f06cp-4", "-0x1.fc2208p-4", "0x1.233768p-3", "-0x1.555c4ep-3"),
        *("0x1.99a4b6p-3", "-0x1.000006p-2", "0x1.555548p-2"),
    ),
    "sin": ("-0x1.992f58p-13", "0x1.1107p-7", "-0x1.555544p-3"),
    "cos": ("0x1.99f026p-16", "-0x1.6c0c4ep-10", "0x1.55554ap-5", "-0x1p-1", "0x1p+0"),
    "erf_numerator": (
        *("0x1.1118ap-19", "0x1.2d71e8p-12", "0x1.fb08d6p-9", "0x1.b2ac24p-5", "0x1.8ac85ap-3", "0x1.20dd72p+0"),
    ),
    "erf_denominator": (
        *("0x1.3f5c08p-15", "0x1.3775b4p-10", "0x1.f12b16p-7", "0x1.d7635cp-4", "0x1.0221fp-1", "0x1p+0"),
    ),
}
CONSTANTS = {
    "ROUNDER": "0x1.8p23",  # added to a float below 2^22 it rounds it to an integer, in the sum's low bits
    "LOG2_E": "0x1.715476p+0",  # 1 / ln 2
    "LN_2_HIGH": "0x1.62e43p-1",  # ln 2 in two parts
    "LN_2_LOW": "-0x1.05c61p-29",
    "TWO_OVER_PI": "0x1.45f306p-1",
    "HALF_PI_HIGH": "0x1.921fb6p+0",  # pi / 2 in three parts (Cody and Waite)
    "HALF_PI_MIDDLE": "-0x1.777a5cp-25",
    "HALF_PI_LOW": "-0x1.ee59dap-50",
    "SQRT_HALF": "0x1.6a09e6p-1",
    "LARGEST_EXPONENT": "87",  # of exp
    "LARGEST_ANGLE": "1e6",  # of sin and cos, in rad
    "LARGEST_ERF": "3.92",  # where erf is 1 in float32
}


def _constant(name: str) -> np.float32:
    text = CONSTANTS[name]
    return np.float32(float.fromhex(text) if "0x" in text else float(text))


def fma(a: Any, b: Any, c: Any) -> Floats:
    """Fused multiply-add: the product is exact in double, the sum rounded to odd; see vocosc_vector_portable.h."""
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    shadow = total - product
    error = (product - (total - shadow)) + (c - shadow)
    bits = total.view(np.int64)
    inexact = error != 0
    away = inexact & ((bits ^ error.view(np.int64)) < 0)
    return np.asarray(((bits - away) | inexact).view(np.float64).astype(np.float32))


def chains(x: Floats, matrix: Floats, bias: Floats) -> Floats:
    """Dot products as chains of fused multiply-adds, in the order of the inputs, starting at the bias."""
    sums = np.broadcast_to(bias, (len(x), bias.size))
    for k in range(len(matrix)):
        sums = fma(x[:, k, None], matrix[k], sums)
    return sums


def clamp(x: Floats, limit: Any) -> Floats:
    """x between -limit and limit."""
    return np.maximum(np.minimum(x, np.float32(limit)), np.float32(-limit))


def _polynomial(x: Floats, name: str) -> Floats:
    first, *others = (np.float32(float.fromhex(text)) for text in POLYNOMIALS[name])
    value = np.full_like(x, first)
    for coefficient in others:
        value = fma(value, x, coefficient)
    return value


def exp(x: Floats) -> Floats:
    """e^x, as vec_exp."""
    x = clamp(x, _constant("LARGEST_EXPONENT"))
    rounded = fma(x, _constant("LOG2_E"), _constant("ROUNDER"))
    n = rounded - _constant("ROUNDER")
    r = fma(n, -_constant("LN_2_HIGH"), x)
    r = fma(n, -_constant("LN_2_LOW"), r)
    p = fma(_polynomial(r, "exp"), r * r, r) + np.float32(1)
    return (p.view(np.uint32) + (rounded.view(np.uint32) << np.uint32(23))).view(np.float32)


def sincos(x: Floats) -> tuple[Floats, Floats]:
    """sin x and cos x, as vec_sincos."""
    x = clamp(x, _constant("LARGEST_ANGLE"))
    rounded = fma(x, _constant("TWO_OVER_PI"), _constant("ROUNDER"))
    n = rounded - _constant("ROUNDER")
    r = fma(n, -_constant("HALF_PI_HIGH"), x)
    r = fma(n, -_constant("HALF_PI_MIDDLE"), r)
    r = fma(n, -_constant("HALF_PI_LOW"), r)
    square = r * r
    s = fma(_polynomial(square, "sin"), square * r, r)
    c = _polynomial(square, "cos")
    quarter = rounded.view(np.uint32)
    odd = (quarter & 1).astype(bool)
    sine = np.where(odd, c, s).view(np.uint32) ^ (quarter & np.uint32(2)) << np.uint32(30)
    cosine = np.where(odd, s, c).view(np.uint32) ^ ((quarter + np.uint32(1)) & np.uint32(2)) << np.uint32(30)
    return sine.view(np.float32), cosine.view(np.float32)


def gelu(x: Floats) -> Floats:
    """GELU in its erf form, as vec_gelu."""
    z = clamp(x * _constant("SQRT_HALF"), _constant("LARGEST_ERF"))
    square = z * z
    half = x * np.float32(0.5)
    erf = z * _polynomial(square, "erf_numerator") / _polynomial(square, "erf_denominator")
    return fma(half, erf, half)


def _lane_sum(lanes: Floats) -> Floats:
    """Of (frames, 16), by the tree 16 -> 8 -> 4 -> 2 -> 1: (frames, 1)."""
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes


def layer_norm(x: Floats, dim: int, epsilon: float) -> Floats:
    """LayerNorm without its affine part, of rows whose padding beyond `dim` is zero and stays so."""
    panels = x.reshape(len(x), -1, PANEL)
    sums = np.zeros((len(x), PANEL), np.float32)
    for panel in range(panels.shape[1]):
        sums = sums + panels[:, panel]
    centred = x - _lane_sum(sums) / np.float32(dim)
    centred[:, dim:] = 0
    squares = np.zeros_like(sums)
    for panel in range(panels.shape[1]):
        values = centred[:, panel * PANEL : (panel + 1) * PANEL]
        squares = fma(values, values, squares)
    variance = _lane_sum(squares) / np.float32(dim)
    return np.asarray(centred * (np.float32(1) / np.sqrt(variance + np.float32(epsilon))))
