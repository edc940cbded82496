"""w8: int8 weights, in pairs of inputs, times rows of int16 with a scale per row.

[panel][16 biases, 16 scales in float; inputs / 2, [16][2] in int8]; y = bias + row scale * scale * sum.

Inputs are kept within a limit that makes an overflow of the 32-bit sums impossible, whatever they are: limit * sum
|weight| < 2^31 for every output.
"""

from __future__ import annotations

from .integers import IntegerFormat

FORMAT = IntegerFormat(
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
