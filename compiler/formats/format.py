"""What a number format has to say."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import PANEL, Floats
from ..network import Operation
from ..quantise import Moments

LARGEST_INPUT = 32639  # 256 * 127 + 127: two int8, for instructions that multiply no int16


@dataclass(frozen=True)
class Table:
    """One named table of weights: `data` is float32, uint16 (halves), int16 or int8, in whole 64-byte lines."""

    name: str
    source: str  # the checkpoint's tensors that it comes from
    layout: str
    data: NDArray[Any]
    largest_sum: int = 0  # of integers: the largest sum of an output's |weights|

    @property
    def c_type(self) -> str:
        """The type of its elements in C."""
        return {"float32": "float", "uint16": "uint16_t", "int8": "int8_t", "int16": "int16_t"}[self.data.dtype.name]

    @property
    def input_limit(self) -> int:
        """The largest |input|, in int16, for which no 32-bit sum can overflow."""
        return min(LARGEST_INPUT, (2**31 - 1) // max(1, self.largest_sum))


@dataclass(frozen=True)
class Format(ABC):
    """A number format of weights, in panels of 16 outputs: [panel][header, inputs in order][16].

    The header is rows of 16 floats: the biases, and what else an output has. Lanes past the last output are zero. One
    layout serves every instruction set: a panel is one vector of AVX-512, two of AVX2, four of NEON. In C its
    functions and types are named NAME_...; see templates/network/vocosc_format_f32.h for all of them.
    """

    name: str
    weight_type: str  # in C, of a table's elements
    weight_bytes: int
    header_rows: int = 1  # rows of 16 floats in front of a panel's weights
    neighbours: int = 1  # elements of an output that lie side by side
    group: int = 0  # inputs that share a scale, where outputs have more than one
    packed: int = 1  # weights in an element
    row_type: str = "float"  # in C, of a row's elements
    row_bytes: int = 4
    scale_floats: int = 0  # of a row's own scale: integers have one
    precise: str = "f32"  # the format of products that need precision
    includes: tuple[str, ...] = ()  # the formats that its C builds upon
    calibrates: bool = False  # by the speech that comes along, where the user gives no log-mels

    @property
    def text(self) -> str:
        """What it says of itself, for the emitted tiles."""
        return (sys.modules[type(self).__module__].__doc__ or "").strip()

    @property
    def is_integer(self) -> bool:
        """Whether rows are quantised, and integers multiplied."""
        return self.scale_floats > 0

    @property
    def header(self) -> int:
        """Elements of a panel in front of its groups' scales, and of its weights."""
        return self.header_rows * PANEL * 4 // self.weight_bytes

    def padded_inputs(self, inputs: int) -> int:
        """The inputs that have weights: integers come in fours, or in groups."""
        step = self.group or (4 if self.is_integer else 1)
        return -(-inputs // step) * step

    def scales(self, inputs: int) -> int:
        """Elements of a panel between its header and its weights: its groups' scales, in whole lines of 64 bytes."""
        return -(-self.padded_inputs(inputs) // self.group * PANEL // 64) * 64 if self.group else 0

    def panel(self, inputs: int) -> int:
        """Elements from one panel to the next."""
        return self.header + self.scales(inputs) + self.padded_inputs(inputs) * PANEL // self.packed

    def with_wide_rows(self) -> Format:
        """The same with rows of int16 in place of bytes, for instruction sets that multiply no bytes."""
        return replace(self, row_type="int16_t", row_bytes=2) if self.row_bytes == 1 else self

    def by_input(self, body: NDArray[Any]) -> NDArray[Any]:
        """Panels' weights [panels, elements] as [panels, 16, inputs], one an element."""
        panels = len(body)
        return body.reshape(panels, -1, PANEL, self.neighbours).transpose(0, 2, 1, 3).reshape(panels, PANEL, -1)

    def together(self, weights: NDArray[Any]) -> NDArray[Any]:
        """The elements of weights [..., inputs] of an output that lie side by side."""
        return weights

    @abstractmethod
    def pack(self, product: Operation, fed: Moments | None = None) -> Table:
        """The table of a folded product. `fed` tells what it is fed with: integers are then rounded for that."""

    @abstractmethod
    def multiply(self, table: Table, x: Floats, limit: int, is_normalised: bool) -> Floats:
        """The sums, bias included, of rows [frames, inputs] times a table: [frames, padded outputs], bit for bit.

        Integers: inputs are kept within `limit`. A row that `is_normalised` lies as far below zero as above.
        """


def panels(rows: NDArray[Any]) -> NDArray[Any]:
    """[rows, outputs] as [panels, rows, 16], zeros past the last output."""
    count = -(-rows.shape[1] // PANEL)
    padded = np.zeros((len(rows), count * PANEL), rows.dtype)
    padded[:, : rows.shape[1]] = rows
    return np.ascontiguousarray(padded.reshape(len(rows), count, PANEL).transpose(1, 0, 2))


def join(header: Floats, weights: NDArray[Any], element: Any) -> NDArray[Any]:
    """A table of panels: `header` [panels, rows, 16] in front of `weights` [panels, ...], all as `element`."""
    parts = (np.ascontiguousarray(part).reshape(len(part), -1).view(element) for part in (header, weights))
    return np.concatenate(tuple(parts), axis=1)


def split(table: Table, header_rows: int, element: Any) -> tuple[list[Floats], NDArray[Any]]:
    """The rows of the header, each [padded outputs], and the weights [panels, ...] as `element`."""
    data = table.data.reshape(len(table.data), -1).view(np.uint8)
    size = 4 * header_rows * PANEL
    header = np.ascontiguousarray(data[:, :size]).view(np.float32).reshape(-1, header_rows, PANEL)
    return [header[:, row].ravel() for row in range(header_rows)], np.ascontiguousarray(data[:, size:]).view(element)


def matrix(weights: NDArray[Any]) -> Floats:
    """[panels, inputs * 16] as [inputs, padded outputs] in float32."""
    body = weights.reshape(len(weights), -1, PANEL).transpose(1, 0, 2)
    return np.asarray(body.reshape(body.shape[0], -1), np.float32)
