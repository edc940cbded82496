"""w8: int8 weights, in pairs of inputs, times rows of int16 with a scale per row.

[panel][16 biases, 16 scales in float; inputs / 2, [16][2] in int8]; y = bias + row scale * scale * sum.

Inputs are kept within a limit that makes an overflow of the 32-bit sums impossible, whatever they are: limit * sum
|weight| < 2^31 for every output.
"""

from __future__ import annotations

from ..arithmetic import Floats, fma
from .format import Table
from .integers import IntegerFormat, quantise_rows, sums


class W8(IntegerFormat):
    """y = bias + row scale * scale * sum."""

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """Rows are rounded to int16 first."""
        bias, scale, weights = self.integers(table)
        whole, row_scale = quantise_rows(x, limit)
        return fma(sums(whole, weights), row_scale * scale, bias)


FORMAT = W8(
    name="w8",
    weight_type="int8_t",
    weight_bytes=1,
    header_rows=2,
    neighbours=2,
    row_type="int16_t",
    row_bytes=2,
    scale_floats=1,
    precise="f16",
)
