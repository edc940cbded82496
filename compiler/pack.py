"""Packs the folded tensors into the bytes that the kernels read, in the order that they read them.

Matrix products are packed in panels of 16 outputs, inputs in order, the bias in front: [panel][1 + inputs][16]. Lanes
past the last output are zero. One layout serves every instruction set: a panel is one vector of AVX-512, two of AVX2,
four of NEON.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.fold import Folded, Product
from compiler.plan import PANEL, padded


@dataclass(frozen=True)
class Table:
    """One named table of weights: `data` is float32, a whole number of 64-byte lines."""

    name: str
    source: str  # the checkpoint's tensors that it comes from
    layout: str
    data: NDArray[np.float32]


def pack(folded: Folded, panel: int = PANEL) -> tuple[Table, ...]:
    """All tables, in the order of their use. A `panel` of 0 makes each product one panel: a plain row-major matrix."""
    tables = [
        _product("embed", "0.embed.conv.conv, weight norm folded", folded.embed, panel),
        _rows("embed_norm", "0.norm", "scale, shift", folded.embed_norm),
    ]
    for i, block in enumerate(folded.blocks):
        convnext = f"0.convnext.{i}"
        expand = f"{convnext}.pwconv1, {convnext}.norm folded"
        contract = f"{convnext}.pwconv2, {convnext}.gamma folded"
        tables += [
            _rows(f"block{i}_conv", f"{convnext}.dwconv.conv.conv, weight norm folded", "bias, taps", block.conv),
            _product(f"block{i}_expand", expand, block.expand, panel),
            _product(f"block{i}_contract", contract, block.contract, panel),
        ]
    head = "1.out, 0.final_layer_norm folded"
    tables += [
        _product("magnitude", f"{head}, first half", folded.magnitude, panel),
        _product("phase", f"{head}, second half", folded.phase, panel),
    ]
    return tuple(tables)


def _rows(name: str, source: str, rows: str, values: NDArray[np.float32]) -> Table:
    data = np.zeros((len(values), padded(values.shape[1])), np.float32)
    data[:, : values.shape[1]] = values
    return Table(name, source, f"[{rows}: {len(data)}][{data.shape[1]}]", data)


def _product(name: str, source: str, product: Product, panel: int) -> Table:
    inputs, outputs = product.weight.shape
    width = panel or padded(outputs)
    panels = -(-outputs // width)
    rows = np.zeros((1 + inputs, panels * width), np.float32)
    rows[0, :outputs] = product.bias
    rows[1:, :outputs] = product.weight
    data = np.ascontiguousarray(rows.reshape(1 + inputs, panels, width).transpose(1, 0, 2))
    return Table(name, source, f"[panels: {panels}][bias, inputs: {1 + inputs}][outputs: {width}]", data)
