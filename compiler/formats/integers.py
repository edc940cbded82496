"""What the formats with integer weights share: a scale per output and one per row, and sums of exact integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import PANEL, Floats, clamp, fma
from ..errors import CompileError
from ..network import Operation
from ..quantise import Int8Product, Moments, quantise
from .format import Format, Table, join, panels, split


class IntegerFormat(Format):
    """[panel][16 biases, 16 scales in float, ...; groups of inputs, [16][neighbours] in int8 or int16].

    y = bias + row scale * scale * sum, unless a format says otherwise.
    """

    header_text = "16 biases, 16 scales in float"
    element: type[np.int8] | type[np.int16] = np.int8

    def rounded(self, product: Operation, fed: Moments | None) -> Int8Product:
        """A product's weights as whole numbers."""
        return quantise(product, fed)

    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """Weights rounded for what the product is fed with, if that is known."""
        inputs, outputs = product.weight.shape
        rounded = self.rounded(product, fed)
        rows = np.zeros((self.padded_inputs(inputs), outputs), self.element)
        rows[:inputs] = rounded.weights
        groups = len(rows) // self.neighbours
        header = panels(self.header_of(rounded.bias, rounded.scale, rows))
        body = panels(rows).reshape(-1, groups, self.neighbours, PANEL).transpose(0, 1, 3, 2)
        data = join(header, body, self.element)
        element = np.dtype(self.element).name
        sizes = f"{self.header_text}; input groups: {groups}, [outputs: {PANEL}][{self.neighbours}] in {element}"
        largest_sum = largest_sum_of(product, rounded.weights)
        return Table(product.name, product.source, f"[panels: {len(data)}][{sizes}]", data, largest_sum)

    def header_of(self, bias: Floats, scale: Floats, rows: NDArray[Any]) -> Floats:
        """The header's rows [header_rows, outputs]; `rows` are the weights."""
        return np.stack([bias, scale])

    def integers(self, table: Table) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """A table's biases, its scales, and its weights [padded inputs, padded outputs]."""
        header, weights = split(table, self.header_rows, self.element)
        groups = weights.reshape(len(weights), -1, PANEL, self.neighbours)
        return header[0], header[1], groups.transpose(1, 3, 0, 2).reshape(-1, header[0].size).astype(np.int64)

    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """Rows are rounded to int16 first."""
        bias, scale, weights = self.integers(table)
        whole, row_scale = quantise_rows(x, limit)
        return fma(sums(whole, weights), row_scale * scale, bias)


def largest_sum_of(product: Operation, weights: Floats) -> int:
    """The largest sum of an output's |weights| [inputs, outputs]: small enough for sums of 32 bits, or CompileError."""
    largest = int(np.abs(weights).sum(axis=0).max())
    if 255 * largest >= 2**31:
        raise CompileError(
            f"{product.source}: {len(weights)} inputs are too many for sums of 32 bits; use --precision f16"
        )
    return largest


def quantise_rows(x: Floats, limit: int) -> tuple[NDArray[np.int64], Floats]:
    """Rows as integers between -limit and limit, and their scales."""
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-30))
    high = np.float32(limit)
    return np.rint(clamp(x * (high / largest), limit)).astype(np.int64), largest / high


def sums(whole: NDArray[np.int64], weights: NDArray[np.int64]) -> Floats:
    """Exact sums of products, as float32."""
    inputs = min(whole.shape[1], len(weights))
    return np.asarray(whole[:, :inputs] @ weights[:inputs], np.float32)
