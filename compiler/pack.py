"""Packs the folded tensors into the bytes that the kernels read, in the order that they read them.

Matrix products are packed in panels of 16 outputs, inputs in order, the bias in front: [panel][1 + inputs][16]. Lanes
past the last output are zero. One layout serves every instruction set: a panel is one vector of AVX-512, two of AVX2,
four of NEON.

f16: a panel is 16 biases and 16 scales in float32, then [inputs][16] halves. An output is scale * (bias + sum), where
the scale is a power of two, so that it costs no accuracy, and the weights use the whole range of the halves: a small
layer scale would else push them among the subnormals.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.fold import Folded, Product
from compiler.plan import PANEL, padded


@dataclass(frozen=True)
class Table:
    """One named table of weights: `data` is float32, or uint16 where it holds halves; whole 64-byte lines."""

    name: str
    source: str  # the checkpoint's tensors that it comes from
    layout: str
    data: NDArray[np.float32] | NDArray[np.uint16]

    @property
    def c_type(self) -> str:
        """The type of its elements in C."""
        return {"float32": "float", "uint16": "uint16_t"}[self.data.dtype.name]


def pack(folded: Folded, precision: str, panel: int = PANEL) -> tuple[Table, ...]:
    """All tables, in the order of their use. A `panel` of 0 makes each product one panel: a plain row-major matrix."""
    product = (
        functools.partial(_product_f16, panel=panel) if precision == "f16" else functools.partial(_product, panel=panel)
    )
    tables = [
        product("embed", "0.embed.conv.conv, weight norm folded", folded.embed),
        _rows("embed_norm", "0.norm", "scale, shift", folded.embed_norm),
    ]
    for i, block in enumerate(folded.blocks):
        convnext = f"0.convnext.{i}"
        expand = f"{convnext}.pwconv1, {convnext}.norm folded"
        contract = f"{convnext}.pwconv2, {convnext}.gamma folded"
        tables += [
            _rows(f"block{i}_conv", f"{convnext}.dwconv.conv.conv, weight norm folded", "bias, taps", block.conv),
            product(f"block{i}_expand", expand, block.expand),
            product(f"block{i}_contract", contract, block.contract),
        ]
    head = "1.out, 0.final_layer_norm folded"
    tables += [
        product("magnitude", f"{head}, first half", folded.magnitude),
        product("phase", f"{head}, second half", folded.phase),
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


def _product_f16(name: str, source: str, product: Product, panel: int) -> Table:
    scale = half_scales(product)
    inputs = len(product.weight)
    scaled = Product(product.weight / scale, product.bias / scale)
    panels = _product(name, source, scaled, panel).data
    bias, weights = panels[:, :1].astype(np.float32), panels[:, 1:].astype(np.float16)
    scales = np.ones(bias.size, np.float32)
    scales[: scale.size] = scale
    header = np.concatenate([bias, scales.reshape(bias.shape)], axis=1).reshape(len(panels), -1)
    data = np.concatenate([header.view(np.uint16), weights.reshape(len(panels), -1).view(np.uint16)], axis=1)
    layout = f"[panels: {len(panels)}][16 biases, 16 scales in float; inputs: {inputs}, [outputs: {panel}] in half]"
    return Table(name, source, layout, np.ascontiguousarray(data))


def half_scales(product: Product) -> NDArray[np.float32]:
    """For each output the power of two that brings its largest weight to [1, 2): far from overflow, far from subnormals."""
    largest = np.abs(product.weight).max(axis=0)
    _, exponents = np.frexp(np.where(largest > 0, largest, 1))
    return np.ldexp(np.float32(1), exponents - 1).astype(np.float32)
