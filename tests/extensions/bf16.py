"""bf16: the upper halves of floats, rounded to nearest."""

from __future__ import annotations

import numpy as np

from ..arithmetic import Floats, chains
from ..network import Operation
from ..quantise import Moments
from .format import Format, Table, join, matrix, panels, split


class BF16(Format):
    """[panel][16 biases in float; inputs, [16] in bfloat16]."""

    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """Biases stay floats."""
        bits = product.weight.view(np.uint32)
        upper = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        data = join(panels(product.bias[None]), panels(upper), np.uint16)
        return Table(product.name, product.source, f"[panels: {len(data)}][16 biases; [inputs][16] in bfloat16]", data)

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """bias + x @ weights."""
        (bias,), weights = split(table, 1, np.uint16)
        return chains(x, matrix((weights.astype(np.uint32) << 16).view(np.float32)), bias)


FORMAT = BF16(
    name="bf16",
    weight_type="uint16_t",
    weight_bytes=2,
    precise="bf16",
)
