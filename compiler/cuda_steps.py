"""The folded schedule as the GPU's kernels run it: each step is a kernel that fuses some operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import CompileError
from .network import Network, Operation

# The kernels of templates/cuda/vocosc_cuda_steps.cuh: the operations that each fuses, from buffer to buffer. `rows` are
# in shared memory and gone when the kernel ends; so is `mel`, as `start` replaces its history. The first that fits is
# taken.
KERNELS = (
    ("embed", ("conv store: mel > embedded",)),
    ("start", ("layer_norm affine: embedded > residual", "depthwise_conv: residual > convolved")),
    ("expand", ("layer_norm: convolved > rows", "linear gelu: rows > hidden")),
    ("contract", ("linear add: hidden > residual", "depthwise_conv: residual > convolved")),
    ("contract", ("linear add: hidden > residual",)),
    ("head", ("layer_norm: residual > rows", "linear exp: rows > spectrum", "linear polar: rows > spectrum")),
    ("synthesis", ("inverse_rfft: spectrum > rows", "overlap_add: rows > audio")),
)
TRANSIENT = ("rows", "mel")


@dataclass(frozen=True)
class Step:
    """A kernel of a chunk, the operations that it fuses, and the buffer that each of them writes."""

    kernel: str
    operations: tuple[Operation, ...]
    writes: tuple[str, ...]

    @property
    def products(self) -> tuple[Operation, ...]:
        """Its matrix products: none, one, or two that are multiplied as one."""
        return tuple(operation for operation in self.operations if operation.is_product)

    @property
    def name(self) -> str:
        """That of its only product, such as block0_expand, or the kernel's."""
        return self.products[0].name if len(self.products) == 1 else self.kernel

    @property
    def norm(self) -> Operation | None:
        """The layer norm with scale and shift, if there is one."""
        return next((found for found in self.operations if found.kind == "layer_norm" and found.tensors), None)

    @property
    def conv(self) -> Operation | None:
        """The depthwise convolution behind the rest, if there is one."""
        return next((found for found in self.operations if found.kind == "depthwise_conv"), None)


def fuse(network: Network) -> tuple[Step, ...]:
    """All steps, in order. Raises CompileError for a schedule that there are no kernels for."""
    steps: list[Step] = []
    rest = network.operations
    buffers = {"mel": "mel"}  # where the kernels have each of the schedule's buffers
    while rest:
        tried = [(kernel, fused, _after(rest, fused, buffers)) for kernel, fused in KERNELS]
        fitting = [(kernel, fused, after) for kernel, fused, after in tried if after is not None]
        if not fitting:
            partly = [
                n for _, fused in KERNELS for n in range(len(fused)) if _after(rest, fused[:n], buffers) is not None
            ]
            misfit = rest[min(max(partly), len(rest) - 1)]
            raise CompileError(f"--target cuda: {misfit.name}: no kernel does this {misfit.kind} where it stands")
        kernel, fused, buffers = fitting[0]
        steps.append(Step(kernel, rest[: len(fused)], tuple(text.split()[-1] for text in fused)))
        rest = rest[len(fused) :]
    unused = {kernel for kernel, _ in KERNELS} - {step.kernel for step in steps}
    if unused:
        raise CompileError(f"--target cuda: the schedule has nothing for the kernels {', '.join(sorted(unused))}")
    return tuple(steps)


def _after(operations: Sequence[Operation], fused: Sequence[str], buffers: Mapping[str, str]) -> dict[str, str] | None:
    """Where the buffers are once a kernel has done the first operations; None if it is not what does these."""
    if len(operations) < len(fused):
        return None
    found = dict(buffers)
    for operation, text in zip(operations, fused, strict=False):
        what, x, y = text.replace(":", " >").split(" > ")
        updates = operation.epilogue in ("add", "polar")
        if (_text(operation), found.get(operation.x)) != (what, x) or (updates and found.get(operation.y) != y):
            return None
        found = {name: buffer for name, buffer in found.items() if buffer != y} | {operation.y: y}
    return {name: buffer for name, buffer in found.items() if buffer not in TRANSIENT}


def _text(operation: Operation) -> str:
    """An operation as KERNELS has it."""
    words = [operation.kind, *([operation.epilogue] if operation.is_product else [])]
    return " ".join([*words, *(["affine"] if operation.kind == "layer_norm" and operation.tensors else [])])


def loops(steps: Sequence[Step]) -> list[tuple[Sequence[Step], int]]:
    """The steps as runs of alike ones: (a run's steps, how many kernels are repeated in it)."""
    found, kernels = [], [step.kernel for step in steps]
    while kernels:
        length, period = 1, 1
        for tried in range(1, len(kernels) // 2 + 1):
            end = tried
            while kernels[end : end + tried] == kernels[:tried]:
                end += tried
            if end > max(length, tried):
                length, period = end, tried
        found.append((steps[:length], period))
        steps, kernels = steps[length:], kernels[length:]
    return found
