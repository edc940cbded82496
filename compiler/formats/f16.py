"""f16: half weights, in panels of 16 outputs: [panel][16 biases, 16 scales in float; inputs, [16] in half].

y = scale * (bias + sum). Scales are powers of two: they cost no accuracy, and the weights use the whole range of the
halves. A small layer scale would else push them among the subnormals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import PANEL, Floats, chains
from ..network import Operation
from ..quantise import Moments
from .format import Format, Table, join, matrix, panels, split


def half_scales(product: Operation) -> NDArray[np.float32]:
    """For each output the power of two that brings its largest weight to [1, 2): far from over- and underflow."""
    largest = np.abs(product.weight).max(axis=0)
    _, exponents = np.frexp(np.where(largest > 0, largest, 1))
    scales: NDArray[np.float32] = np.ldexp(np.ones_like(largest), exponents - 1)
    return scales


class F16(Format):
    """[panel][16 biases, 16 scales in float; inputs, [16] in half]; y = scale * (bias + sum)."""

    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """Biases and weights are divided by the scales."""
        scale = half_scales(product)
        header = panels(np.stack([product.bias / scale, scale]))
        header[-1, 1, (len(scale) - 1) % PANEL + 1 :] = 1
        data = join(header, panels((product.weight / scale).astype(np.float16)), np.uint16)
        sizes = f"16 biases, 16 scales in float; inputs: {len(product.weight)}, [outputs: {PANEL}] in half"
        return Table(product.name, product.source, f"[panels: {len(data)}][{sizes}]", data)

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """scale * (bias + x @ weights)."""
        (bias, scale), weights = split(table, 2, np.float16)
        return chains(x, matrix(weights), bias) * scale


FORMAT = F16(
    name="f16",
    weight_type="uint16_t",
    weight_bytes=2,
    header_rows=2,
    precise="f16",
)
