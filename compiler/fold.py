"""Rewrites the schedule so that what can be computed at build time is.

A layer norm's scale and shift go into the linear layers that read it, a layer scale into its layer (weight norm went
into the convolutions when they were read). All sums are float64; the result is rounded to float32 once. A norm that
something else reads keeps its scale and shift.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .network import Network, Operation, readers
from .tensors import Array

Float32 = NDArray[np.float32]


def fold(network: Network) -> Network:
    """The folded network, its tensors in the kernels' layouts. Raises CompileError for what float32 cannot hold."""
    operations = list(network.operations)
    for i, norm in enumerate(operations):
        found = readers(operations, i) if norm.kind == "layer_norm" else []
        if found and all(operations[reader].kind == "linear" for reader in found):
            for reader in found:
                operations[reader] = _after_norm(operations[reader], norm)
            operations[i] = replace(norm, tensors={})
    return replace(network, operations=tuple(map(_layout, operations)))


def _after_norm(linear: Operation, norm: Operation) -> Operation:
    """W (n * scale + shift) + b = (W * scale) n + (W shift + b)."""
    weight, scale, shift = linear.weight, norm.tensors["scale"], norm.tensors["shift"]
    tensors = {**linear.tensors, "weight": weight * scale, "bias": weight @ shift + linear.bias}
    source = linear.source.split(", ")
    return replace(linear, tensors=tensors, source=", ".join([source[0], f"{norm.source} folded", *source[1:]]))


def _layout(operation: Operation) -> Operation:
    tensors, source = dict(operation.tensors), operation.source
    scale = tensors.pop("layer_scale", None)
    if scale is not None:
        tensors = {"weight": tensors["weight"] * scale[:, None], "bias": tensors["bias"] * scale}
    if operation.kind == "conv":
        tensors["weight"] = tensors["weight"].transpose(2, 1, 0).reshape(-1, operation.outputs)
    elif operation.kind in ("depthwise_conv", "linear"):
        tensors["weight"] = tensors["weight"].reshape(operation.outputs, -1).T
    return replace(operation, tensors={name: _round(source, value) for name, value in tensors.items()}, source=source)


def _round(source: str, values: Array) -> Float32:
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(rounded).all():
        raise CompileError(f"{source}: the product of these tensors is too large for float32")
    return rounded
