"""Puts the weights of a panel into the order that an instruction set's own products read them in (compiler/isa.py).

A permutation within each panel: sizes, headers and values stay, and so do the integers' sums and the order of floats'
inputs. The golden hash is computed from the usual order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .arithmetic import PANEL
from .bounds import largest_values
from .formats import Table
from .formats.format import split
from .isa import Isa, Order
from .plan import Kernel, Plan
from .steps import Step

SMALLEST_BIAS = 2.0**-103  # the last bit of which is that of the smallest normal number


def arrange(plan: Plan, tables: Sequence[Table], isas: Sequence[Isa]) -> tuple[Table, ...]:
    """The tables of a build for these instruction sets. One with orders of its own must be alone."""
    isa, kernels, vectors = isas[-1], _kernels(plan), by_vectors(plan, tables, isas)
    assert len(isas) == 1 or not any(isa.orders for isa in isas), "an order of its own needs a build of its own"
    channels = conv_channels(plan, isa)
    convolutions = {step.name for step in plan.steps if step.kind == "conv_norm"} if channels else set()
    found = []
    for table in tables:
        kernel = kernels.get(table.name)
        if table.name in convolutions:
            rows = table.data.reshape(len(table.data), -1, channels).swapaxes(0, 1)
            layout = f"[channels / {channels}: {len(rows)}][bias, taps: {len(table.data)}][{channels}]"
            found.append(replace(table, data=np.ascontiguousarray(rows), layout=layout))
            continue
        order = None
        if kernel is not None:
            order = isa.vector_order if kernel.name in vectors else isa.order(kernel.format.name)
        found.append(_arranged(table, kernel, order) if kernel and order else table)
    return tuple(found)


def by_vectors(plan: Plan, tables: Sequence[Table], isas: Sequence[Isa]) -> frozenset[str]:
    """The kernels that vectors which take denormals for zero can multiply, with the same bits.

    Inputs, the mel's and those of a layer norm, are 0 or at least 2^-67, and their last bits 2^-90; those of halves
    are 2^-24. So if a bias is 0 or at least SMALLEST_BIAS, a sum is a multiple of the smallest normal number, 2^-126,
    and so is what it is rounded to: nothing is ever denormal.
    """
    kernels = _kernels(plan)
    order = isas[-1].vector_order
    if order is None:
        return frozenset()
    good = {name for name, kernel in kernels.items() if kernel.format.name == order.format}
    good = {name for name in good if kernels[name].inputs % len(order.shuffle) == 0}
    good = {step.name for i, step in enumerate(plan.steps) if step.name in good and _has_no_tiny(plan.steps, i)}
    for table in tables:
        if table.name in good:
            (bias, *_), _weights = split(table, kernels[table.name].format.header_rows, np.uint16)
            if ((bias != 0) & (np.abs(bias) < SMALLEST_BIAS)).any():
                good.remove(table.name)
    return frozenset(
        kernel.name
        for kernel in plan.kernels
        if {name for name, its in kernels.items() if its.name == kernel.name} <= good
    )


def small_halves(plan: Plan, isas: Sequence[Isa]) -> tuple[frozenset[str], frozenset[str]]:
    """The kernels that multiply halves as they are cheapest to widen, 2^112 times too small, by rows that are as much
    too large; and what writes those rows: kernels' names, or the steps' kinds.

    Products are the same, and so are their sums' bits, if a row's values are below 2^16: times 2^112, they are floats.
    Those of a layer norm are, and those behind a GELU if the weights say so. All that a function writes is enlarged, so
    that all that reads it must want that.
    """
    if not isas[-1].small_halves:
        return frozenset(), frozenset()
    bounds = largest_values(plan.network, math.inf)
    largest = {operation.name: bound for operation, bound in zip(plan.network.operations, bounds, strict=True)}
    read: dict[str, set[str]] = {}  # by writer
    good = {kernel.name for kernel in plan.kernels if kernel.format.name == "f16"}
    for i, step in enumerate(plan.steps):
        if step.is_product:
            before = next((other for other in reversed(plan.steps[:i]) if other.y == step.x), None)
            writer = "" if before is None else before.operation.kernel if before.is_product else before.kind
            is_norm = writer == "conv_norm" or (
                before is not None and writer == "layer_norm" and not before.operation.tensors
            )
            is_gelu = before is not None and before.is_product and before.operation.epilogue == "gelu"
            if not is_norm and not (is_gelu and before is not None and largest[before.name] < 2.0**15):
                good.discard(step.operation.kernel)
            read.setdefault(writer, set()).add(step.operation.kernel)
    while any(kernels & good and not kernels <= good for kernels in read.values()):
        good = {name for name in good if all(kernels <= good for kernels in read.values() if name in kernels)}
    return frozenset(good), frozenset(writer for writer, kernels in read.items() if kernels <= good)


def conv_channels(plan: Plan, isa: Isa) -> int:
    """How many channels of a depthwise convolution lie together: 4, where an instruction set convolves so; else 0.

    It has a register for each tap's row.
    """
    return 4 if isa.order("f32") and plan.left + 1 <= 7 else 0


def gelu_by_vectors(plan: Plan, tables: Sequence[Table], isas: Sequence[Isa]) -> frozenset[str]:
    """The kernels of w8 and w4 whose sums such vectors can finish, GELU included.

    Integers are made of the result, and what is denormal is 0 there. A bias must not be denormal, nor an output's scale
    times a row's, which is 1e-30 / 32639 at least; or else that must not count: times a sum of 32 bits it is below
    2^-95, which a bias of 2^-69 or more loses in rounding.
    """
    isa, found, kernels = isas[-1], set(), _kernels(plan)
    good = {kernel.name for kernel in plan.kernels if kernel.format.name in ("w8", "w4")}
    for table in tables:
        kernel = kernels.get(table.name)
        if kernel is not None and kernel.name in good:
            (bias, scale, *_), _weights = split(table, kernel.format.header_rows, np.int8)
            is_small = (scale != 0) & (scale < 4e-4) & (np.abs(bias) < 2.0**-69)
            if ((bias != 0) & (np.abs(bias) < 2.0**-126)).any() or is_small.any():
                good.remove(kernel.name)
    for step, after in itertools.pairwise(plan.steps):
        if step.is_product and step.operation.epilogue == "gelu" and isa.vector_order and step.format:
            is_quantised = after.kind == "quantise" and after.x == step.y
            readers = [other for other in plan.steps if step.y in (other.x, other.operation.x) and other is not step]
            own = all(other.kind == "quantise" or other.operation.kind == "linear" for other in readers)
            if is_quantised and own and step.operation.kernel in good:
                found.add(step.operation.kernel)
    return frozenset(found)


def _has_no_tiny(steps: Sequence[Step], index: int) -> bool:
    """Whether a product's inputs are the mel's, or those of a layer norm that counts tiny ones as zero."""
    step = steps[index]
    writers = [before for before in steps[:index] if step.x in (before.y, before.operation.y)]
    is_norm = bool(writers) and writers[-1].kind == "layer_norm" and not writers[-1].operation.tensors
    return step.kind == "conv" or is_norm


def _kernels(plan: Plan) -> dict[str, Kernel]:
    """The kernel of each product, by the product's name."""
    by_name = {kernel.name: kernel for kernel in plan.kernels}
    return {step.name: by_name[step.operation.kernel] for step in plan.steps if step.is_product}


def _arranged(table: Table, kernel: Kernel, order: Order) -> Table:
    used, panels = kernel.format, len(table.data)
    data = table.data.reshape(panels, -1)
    first = used.header + used.scales(kernel.inputs)
    header, body = data[:, :first], data[:, first:]
    step, shuffle = len(order.shuffle), list(order.shuffle)
    by_input = used.by_input(body).reshape(panels, PANEL // order.outputs, order.outputs, -1, step)[..., shuffle]
    groups = by_input.transpose(0, 1, 3, 2, 4)
    if order.by_fours:
        fours = groups.reshape(*groups.shape[:3], order.outputs // 4, 4, step).swapaxes(-1, -2)
        groups = fours.reshape(*groups.shape[:3], -1, used.packed)
    body = used.together(groups).reshape(panels, -1)
    if order.flip:
        body = body ^ np.uint16(order.flip).astype(body.dtype)
    layout = f"{used.name}, [panels: {panels}][header][{PANEL // order.outputs}][inputs / {step}: {groups.shape[2]}]"
    inputs = f"inputs {', '.join(map(str, shuffle))}"
    layout += f"[outputs / 4][{inputs}][4]" if order.by_fours else f"[outputs: {order.outputs}][{inputs}]"
    return replace(table, data=np.concatenate([header, body], axis=1), layout=layout)
