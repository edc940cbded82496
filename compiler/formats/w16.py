"""w16: int16 weights, in pairs of inputs, times rows of int16 with a scale per row.

[panel][16 biases, 16 scales in float; inputs / 2, [16][2] in int16]; y = bias + row scale * scale * sum.

Weights and inputs are as large as they can be, about equally, without an overflow of the 32-bit sums: limit * sum
|weight| < 2^31 for every output. That is 12 to 13 bits each.
"""

from __future__ import annotations

import math

import numpy as np

from ..network import Operation
from ..quantise import Int8Product, Moments
from .format import LARGEST_INPUT
from .integers import IntegerFormat


class W16(IntegerFormat):
    """y = bias + row scale * scale * sum."""

    element = np.int16

    def rounded(self, product: Operation, fed: Moments | None) -> Int8Product:
        """To nearest: what that loses is little beside what other layers' weights lose."""
        largest = np.maximum(np.abs(product.weight).max(axis=0), np.float32(1e-30))
        mass = float((np.abs(product.weight) / largest).astype(np.float64).sum(axis=0).max())
        most = min(LARGEST_INPUT, math.isqrt(int(2**31 / max(1.0, mass))))
        scale = (largest / np.float32(most)).astype(np.float32)
        return Int8Product(np.asarray(np.rint(product.weight / scale), np.float32), scale, product.bias)


FORMAT = W16(
    name="w16",
    weight_type="int16_t",
    weight_bytes=2,
    header_rows=2,
    neighbours=2,
    row_type="int16_t",
    row_bytes=2,
    scale_floats=1,
    precise="w16",
    includes=("w8",),
)
