"""w8a8: int8 weights, in fours of inputs, times rows of bytes with a scale and a zero point per row.

[panel][16 biases, 16 scales in float, 16 sums of weights in int32; inputs / 4, [16][4] in int8]; y = bias + row scale *
scale * (sum - zero point * sum of weights).

A byte stands for scale * (byte - zero point), both the row's own: so a panel's header has the sums of its outputs'
weights, to take off zero point times. 255 * sum |weight| < 2^31.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import Floats, fma
from .format import Table
from .integers import IntegerFormat, sums


class W8A8(IntegerFormat):
    """y = bias + row scale * scale * (sum - zero point * sum of weights)."""

    header_text = "16 biases, 16 scales in float; 16 sums of weights in int32"

    def header_of(self, bias: Floats, scale: Floats, rows: NDArray[Any]) -> Floats:
        """Sums of weights, too."""
        return np.stack([bias, scale, rows.sum(axis=0, dtype=np.int32).view(np.float32)])

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """Rows are rounded to bytes first."""
        bias, scale, weights = self.integers(table)
        whole, row_scale = _quantise(x, symmetric=is_normalised)
        return fma(sums(whole, weights), row_scale * scale, bias)


def _quantise(x: Floats, *, symmetric: bool) -> tuple[NDArray[np.int64], Floats]:
    """Rows as whole numbers, byte - zero, and their scales. If symmetric, the least value is taken for -largest."""
    lowest, highest = np.minimum(x.min(axis=1, keepdims=True), 0), np.maximum(x.max(axis=1, keepdims=True), 0)
    if symmetric:
        highest = np.maximum(-lowest, highest)
        lowest = -highest
    span = np.maximum(highest - lowest, np.float32(1e-30))
    inverse = np.float32(255) / span
    zero = np.rint(-lowest * inverse)
    bytes_ = np.rint(np.maximum(np.minimum(fma(x, inverse, zero), np.float32(255)), np.float32(0)))
    return (bytes_ - zero).astype(np.int64), span / np.float32(255)


FORMAT = W8A8(
    name="w8a8",
    weight_type="int8_t",
    weight_bytes=1,
    header_rows=3,
    neighbours=4,
    row_type="uint8_t",
    row_bytes=1,
    scale_floats=2,
    precise="f16",
)
