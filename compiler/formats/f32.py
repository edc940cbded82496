"""f32: float weights, in panels of 16 outputs: [panel][bias, inputs][16]."""

from __future__ import annotations

import numpy as np

from ..arithmetic import PANEL, Floats, chains
from ..network import Operation
from ..quantise import Moments
from .format import Format, Table, matrix, panels, split


class F32(Format):
    """[panel][bias, inputs][16]."""

    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """Biases are the first row."""
        data = panels(np.concatenate([product.bias[None], product.weight]))
        layout = f"[panels: {len(data)}][bias, inputs: {data.shape[1]}][outputs: {PANEL}]"
        return Table(product.name, product.source, layout, data)

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """bias + x @ weights."""
        (bias,), weights = split(table, 1, np.float32)
        return chains(x, matrix(weights), bias)


FORMAT = F32(
    name="f32",
    weight_type="float",
    weight_bytes=4,
)
