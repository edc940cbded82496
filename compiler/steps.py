"""The folded schedule as the CPU's kernels run it: some operations fused, rows quantised where integers are multiplied.

Each step is one call in the emitted network (templates/network/vocosc_network.h).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import CompileError
from .formats import Format, format_of
from .network import PRODUCTS, Network, Operation, readers

QUANTISED = "quantised"


@dataclass(frozen=True)
class Step:
    """A call. `format` is that of its weights, or, if `product` is set, of the rows that it quantises for that product.

    The rows of its input are frames that came `lag` frames before those of the mel: the right contexts so far.

    kind: conv, linear, layer_norm, quantise, inverse_rfft, overlap_add, or conv_norm, a depthwise convolution and the
    layer norm behind it.
    """

    kind: str
    operation: Operation
    x: str
    y: str
    format: Format | None = None
    product: str = ""
    lag: int = 0

    @property
    def name(self) -> str:
        """The operation's name: its table's, if it has one."""
        return self.operation.name

    @property
    def is_product(self) -> bool:
        """Whether it multiplies by a table of weights."""
        return self.kind in PRODUCTS


def steps_of(network: Network, precision: str) -> tuple[Step, ...]:
    """All steps, in order. Raises CompileError for an order of operations that there are no kernels for."""
    steps: list[Step] = []
    operations = network.operations
    _check_delays(operations)
    for i, operation in enumerate(operations):
        chosen = format_of(operation, precision) if operation.is_product else None
        if operation.kind == "depthwise_conv":
            steps.append(Step("conv_norm", operation, operation.x, operation.y))
        elif i > 0 and operations[i - 1].kind == "depthwise_conv":
            conv = steps[-1]
            if (operation.kind, operation.x, operation.y) != ("layer_norm", conv.y, conv.y) or operation.tensors:
                raise CompileError(f"{operation.name}: a layer norm that linear layers read must follow {conv.name}")
            found = [operations[reader] for reader in readers(operations, i)]
            if len(found) == 1 and found[0].is_product and format_of(found[0], precision).is_integer:
                rows = format_of(found[0], precision)
                steps[-1] = replace(conv, y=QUANTISED, format=rows, product=found[0].kernel)
        elif chosen is not None and chosen.is_integer:
            if not steps or (steps[-1].y, steps[-1].product) != (QUANTISED, operation.kernel):
                steps.append(Step("quantise", operation, operation.x, QUANTISED, chosen, operation.kernel))
            steps.append(Step(operation.kind, operation, QUANTISED, operation.y, chosen))
        else:
            steps.append(Step(operation.kind, operation, operation.x, operation.y, chosen))
    ahead = [step.operation.right if step.kind in ("conv", "conv_norm") else 0 for step in steps]
    lags = itertools.accumulate(ahead, initial=0)
    return tuple(replace(step, lag=lag) for step, lag in zip(steps, lags, strict=False))


def _check_delays(operations: Sequence[Operation]) -> None:
    """Behind a convolution that looks ahead, the rows that are older than its own are its input's, which it delays."""
    for i, conv in enumerate(operations):
        written = {conv.y} | ({conv.x} if conv.kind == "depthwise_conv" else set())
        for operation in operations[i + 1 :] if conv.right else ():
            reads = {operation.x} | ({operation.y} if operation.epilogue in ("add", "polar") else set())
            if reads - written:
                raise CompileError(f"{operation.name}: reads {operation.x}, which {conv.name} looks ahead of")
            written.add(operation.y)


def normalised_products(steps: Sequence[Step]) -> set[str]:
    """The products whose rows come straight from a norm: these lie as far below zero as above."""
    pairs = itertools.pairwise(steps)
    return {step.name for before, step in pairs if before.kind == "conv_norm" and before.y == step.x == QUANTISED}
