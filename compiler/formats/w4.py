"""w4: int4 weights in groups of 32 inputs with a scale each, times rows of int16 with a scale per row.

[panel][16 biases, 16 scales in float, 16 sums of group scale * weight in int32; groups, [16] scales in int8;
inputs / 8, [16][4] bytes]; y = bias + row scale * scale * sum over the groups of group scale * the group's sum.

Of eight inputs an output's four bytes have 0, 2, 1, 3 in their lower halves and 4, 6, 5, 7 in the upper ones, as two's
complement. So the bytes as they lie are pairs of inputs for instructions that multiply int16, once the halves are
widened, and fours for those that multiply bytes.

All is exact integers, in whatever order, modulo 2^32; in the end the sum is within 32 bits, since inputs are kept
within a limit: limit * sum |group scale * weight| < 2^31 for every output. The sums in the header are for instruction
sets that hold rows as bytes with an offset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import PANEL, Floats
from ..network import Operation
from ..quantise import GROUP, Moments, quantise4
from .format import Table, join, panels, split
from .integers import IntegerFormat, largest_sum_of

STEP = 8  # inputs in an output's four bytes
ORDER = [0, 2, 1, 3]  # inputs in the lower halves of these bytes; 4 more in the upper ones


class W4(IntegerFormat):
    """y = bias + row scale * scale * sum over the groups of group scale * the group's sum."""

    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """Weights rounded to int4, for what the product is fed with, if that is known."""
        inputs, outputs = product.weight.shape
        rounded = quantise4(product, fed)
        every = np.repeat(rounded.group_scales, GROUP, axis=0)[:inputs] * rounded.weights
        total = every.sum(axis=0).astype(np.int32).view(np.float32)
        header = panels(np.stack([rounded.bias, rounded.scale, total]))
        scales = panels(rounded.group_scales.astype(np.int8)).reshape(len(header), -1)
        scales = np.pad(scales, ((0, 0), (0, self.scales(inputs) - scales.shape[1])))
        rows = np.zeros((self.padded_inputs(inputs), outputs), np.uint8)
        rows[:inputs] = rounded.weights.astype(np.int8).view(np.uint8) & 15
        steps = panels(rows).reshape(len(header), -1, 2, STEP // 2, PANEL)[:, :, :, ORDER]
        body = (steps[:, :, 0] | steps[:, :, 1] << 4).transpose(0, 1, 3, 2)
        data = np.concatenate([join(header, scales, np.int8), join(header[:, :0], body, np.int8)], axis=1)
        sizes = (
            "16 biases, 16 scales in float; 16 sums of group scale * weight in int32; "
            f"groups: {len(rounded.group_scales)}, [16] scales in int8, padded to 64 bytes; "
            f"input eights: {body.shape[1]}, [outputs: {PANEL}][4] bytes of two int4"
        )
        largest_sum = largest_sum_of(product, every)
        return Table(product.name, product.source, f"[panels: {len(data)}][{sizes}]", data, largest_sum)

    def integers(self, table: Table) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """A table's biases, its scales, and its weights times their groups' scales [padded inputs, padded outputs]."""
        (bias, scale, _), rest = split(table, self.header_rows, np.uint8)
        groups = self._groups(rest.shape[1])
        scales = rest[:, : groups * PANEL].view(np.int8).reshape(-1, groups, 1, PANEL)
        body = rest[:, -groups * GROUP * PANEL // 2 :].reshape(len(rest), -1, PANEL, STEP // 2)[..., ORDER]
        halves = np.stack([body & 15, body >> 4]).astype(np.int64)  # [2, panels, steps, 16, 4]
        weights = np.where(halves > 7, halves - 16, halves).transpose(1, 2, 0, 4, 3).reshape(-1, groups, GROUP, PANEL)
        found = (weights * scales).reshape(len(rest), -1, PANEL).transpose(1, 0, 2)
        return bias, scale, np.asarray(found.reshape(groups * GROUP, -1), np.int64)

    def by_input(self, body: NDArray[Any]) -> NDArray[Any]:
        """Unsigned, 0 to 15."""
        steps = body.reshape(len(body), -1, PANEL, STEP // 2)[..., ORDER]
        halves = np.concatenate([steps & 15, steps >> 4 & 15], axis=-1)
        return halves.transpose(0, 2, 1, 3).reshape(len(body), PANEL, -1)

    def together(self, weights: NDArray[Any]) -> NDArray[Any]:
        """The first half of them in the lower halves of bytes."""
        half = weights.shape[-1] // 2
        return np.asarray(weights[..., :half] | weights[..., half:] << 4, np.int8)

    def _groups(self, size: int) -> int:
        """The groups of a panel whose scales and weights take so many bytes."""
        return next(n for n in range(size) if self.panel(n * GROUP) - self.header == size)


FORMAT = W4(
    name="w4",
    weight_type="int8_t",
    weight_bytes=1,
    header_rows=3,
    neighbours=4,
    group=GROUP,
    packed=2,
    row_type="int16_t",
    row_bytes=2,
    scale_floats=1,
    precise="w8",
    includes=("w8",),
    calibrates=True,
)
