"""Packs the folded tensors into the bytes that the kernels read, in the order that they read them.

Matrix products are packed in panels of 16 outputs, inputs in order, the bias in front: [panel][1 + inputs][16]. Lanes
past the last output are zero. One layout serves every instruction set: a panel is one vector of AVX-512, two of AVX2,
four of NEON.

f16: a panel is 16 biases and 16 scales in float32, then [inputs][16] halves. An output is scale * (bias + sum), where
the scale is a power of two, so that it costs no accuracy, and the weights use the whole range of the halves: a small
layer scale would else push them among the subnormals.

w8: the blocks' products are int8 with a scale per output, in pairs of inputs, padded to whole fours: [inputs /
2][16][2]; the embedding and the head stay in halves, since exp and phase turn absolute errors into noise. Inputs come
as int16, kept within a limit that makes an overflow of the 32-bit sums impossible, whatever the inputs: limit * sum
|weight| < 2^31 for every output.

w8a8: the same weights in fours of inputs, [inputs / 4][16][4], for inputs that come as bytes. A byte stands for scale *
(byte - zero), scale and zero being its row's: so a panel has, after biases and scales, the sums of its outputs' weights
as int32, to take off zero times. 255 * sum |weight| < 2^31.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.fold import Folded, Product
from compiler.plan import PANEL, padded
from compiler.quantise import Moments, quantise

# The weights of the embedding and the head, and those of the blocks, for each precision.
WEIGHTS = {"f32": ("f32", "f32"), "f16": ("f16", "f16"), "w8": ("f16", "int8"), "w8a8": ("f16", "int8a8")}
INT8 = ("w8", "w8a8")  # the precisions whose blocks multiply integers


LARGEST_INPUT = 32639  # 256 * 127 + 127: two int8, for instructions that multiply no int16


@dataclass(frozen=True)
class Table:
    """One named table of weights: `data` is float32, uint16 (halves) or int8, in whole 64-byte lines."""

    name: str
    source: str  # the checkpoint's tensors that it comes from
    layout: str
    data: NDArray[Any]
    largest_sum: int = 0  # int8: the largest sum of an output's |weights|

    @property
    def c_type(self) -> str:
        """The type of its elements in C."""
        return {"float32": "float", "uint16": "uint16_t", "int8": "int8_t"}[self.data.dtype.name]


def pack(
    folded: Folded, precision: str, panel: int = PANEL, fed: Mapping[str, Moments] | None = None
) -> tuple[Table, ...]:
    """All tables, in the order of their use. A `panel` of 0 makes each product one panel: a plain row-major matrix.

    `fed` tells of the blocks' products, by name, what inputs they get: int8 weights are then rounded for these.
    """

    def packer(weights: str, name: str, source: str, product: Product) -> Table:
        if weights in ("int8", "int8a8"):
            return product_int8(name, source, product, panel, fed[name] if fed else None, weights=weights)
        return {"f32": _product, "f16": _product_f16}[weights](name, source, product, panel)

    edge, layer = (functools.partial(packer, weights) for weights in WEIGHTS[precision])
    tables = [
        edge("embed", "0.embed.conv.conv, weight norm folded", folded.embed),
        _rows("embed_norm", "0.norm", "scale, shift", folded.embed_norm),
    ]
    for i, block in enumerate(folded.blocks):
        convnext = f"0.convnext.{i}"
        expand = f"{convnext}.pwconv1, {convnext}.norm folded"
        contract = f"{convnext}.pwconv2, {convnext}.gamma folded"
        tables += [
            _rows(f"block{i}_conv", f"{convnext}.dwconv.conv.conv, weight norm folded", "bias, taps", block.conv),
            layer(f"block{i}_expand", expand, block.expand),
            layer(f"block{i}_contract", contract, block.contract),
        ]
    head = "1.out, 0.final_layer_norm folded"
    tables += [
        edge("magnitude", f"{head}, first half", folded.magnitude),
        edge("phase", f"{head}, second half", folded.phase),
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
    """For each output the power of two that brings its largest weight to [1, 2): far from over- and underflow."""
    largest = np.abs(product.weight).max(axis=0)
    _, exponents = np.frexp(np.where(largest > 0, largest, 1))
    scales: NDArray[np.float32] = np.ldexp(np.ones_like(largest), exponents - 1)
    return scales


def product_int8(
    name: str, source: str, product: Product, panel: int, fed: Moments | None = None, *, weights: str = "int8"
) -> Table:
    """A product in int8, calibrated by what it is fed with; see the module's text."""
    inputs, outputs = product.weight.shape
    rounded = quantise(product, fed)
    neighbours = 2 if weights == "int8" else 4
    panels, groups = -(-outputs // panel), -(-inputs // 4) * 4 // neighbours
    rows = np.zeros((groups * neighbours, panels * panel), np.int8)
    rows[:inputs, :outputs] = rounded.weights
    header = np.zeros((panels * panel, 2), np.float32)
    header[:outputs] = np.stack([rounded.bias, rounded.scale], axis=1)
    text = "16 biases, 16 scales in float"
    if weights == "int8a8":
        sums = rows.sum(axis=0, dtype=np.int32).view(np.float32)
        header = np.concatenate([header, sums[:, None]], axis=1)
        text += "; 16 sums of weights in int32"
    header = header.reshape(panels, panel, -1).transpose(0, 2, 1).reshape(panels, -1)
    body = rows.reshape(groups, neighbours, panels, panel).transpose(2, 0, 3, 1).reshape(panels, -1)
    data = np.concatenate([np.ascontiguousarray(header).view(np.int8), body], axis=1)
    layout = f"[panels: {panels}][{text}; input groups: {groups}, [outputs: {panel}][{neighbours}] in int8]"
    largest_sum = int(np.abs(rounded.weights).sum(axis=0).max())
    if 255 * largest_sum >= 2**31:
        raise CompileError(f"{source}: {inputs} inputs are too many for sums of 32 bits; use --precision f16")
    return Table(name, source, layout, data, largest_sum)


def limits(tables: Sequence[Table]) -> dict[str, int]:
    """The largest int16 inputs of the blocks' products for which no 32-bit sum can overflow; else LARGEST_INPUT."""
    found = {}
    for product in ("expand", "contract"):
        largest = max((t.largest_sum for t in tables if t.name.endswith(f"_{product}")), default=0)
        found[product] = min(LARGEST_INPUT, (2**31 - 1) // max(1, largest))
    return found
