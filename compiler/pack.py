"""Packs the folded schedule into tables: the bytes that the kernels read, in the order that they read them.

Products are packed as their number format says (compiler/formats); everything else is rows of float, padded to whole
panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .formats import Table, format_of
from .network import Network, Operation
from .plan import padded
from .quantise import Moments


def pack(network: Network, precision: str, fed: Mapping[str, Moments] | None = None) -> tuple[Table, ...]:
    """All tables, in the order of their use. `fed` tells what some products are fed with, by name."""
    tables = []
    for operation in network.operations:
        if operation.is_product:
            with np.errstate(all="ignore"):  # what a format cannot hold is found when it is decoded: golden_hash
                tables.append(format_of(operation, precision).pack(operation, (fed or {}).get(operation.name)))
        elif operation.tensors:
            tables.append(_rows(operation))
    return (*tables, *_codebooks(network))


def pack_matrices(network: Network) -> tuple[Table, ...]:
    """All tables for libraries: a product is a bias in front of a plain matrix [inputs][outputs]."""
    return (*(_rows(operation) for operation in network.operations if operation.tensors), *_codebooks(network))


def _codebooks(network: Network) -> tuple[Table, ...]:
    """The codebooks, as they are: their rows are added up, which takes no layout of its own."""
    if network.codebooks is None:
        return ()
    books, codes, features = network.codebooks.shape
    layout = f"[codebooks: {books}][codes: {codes}][features: {features}]"
    return (Table("codebooks", "feature_extractor's codebooks", layout, network.codebooks),)


def _rows(operation: Operation) -> Table:
    """The bias and the weight's rows, or the scale and the shift."""
    rows, text = [operation.tensors.get("scale"), operation.tensors.get("shift")], "scale, shift"
    if "bias" in operation.tensors:
        rows, text = [operation.bias, *operation.weight], "bias, taps" if operation.taps > 1 else "bias, inputs"
    data: NDArray[np.float32] = np.zeros((len(rows), padded(operation.outputs)), np.float32)
    data[:, : operation.outputs] = rows
    return Table(operation.name, operation.source, f"[{text}: {len(data)}][{data.shape[1]}]", data)


def input_limits(network: Network, tables: Sequence[Table]) -> dict[str, int]:
    """The largest int16 inputs of each kernel of integers for which no 32-bit sum of any of its tables overflows."""
    kernels = {operation.name: operation.kernel for operation in network.operations}
    found: dict[str, int] = {}
    for table in tables:
        if table.largest_sum:
            kernel = kernels[table.name]
            found[kernel] = min(found.get(kernel, table.input_limit), table.input_limit)
    return found
