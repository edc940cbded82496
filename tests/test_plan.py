"""The memory map: a scratch buffer lives through every step that touches it, and no two that live at once overlap."""

import itertools
from dataclasses import replace

import pytest

from compiler.arrange import small_halves
from compiler.checkpoint import read_checkpoint
from compiler.fold import fold
from compiler.isa import isas_of
from compiler.network import read_network
from compiler.plan import padded, plan
from tests import builds
from tests.objects import TINY


@pytest.mark.parametrize("precision", ["f32", "w8", "w8a8"])
@pytest.mark.parametrize("sizes", ["odd", {**TINY, "dim": 20, "num_layers": 1}], ids=["odd", "tiny"])
def test_scratch_is_never_used_twice_at_once(sizes: str | dict[str, int | float], precision: str) -> None:
    network = fold(read_network(read_checkpoint(builds.checkpoint(sizes)), {}))
    layout = plan(network, [1, 7], precision)
    buffers = {buffer.name: buffer for buffer in layout.scratch}
    for i, step in enumerate(layout.steps):
        for name in {step.x, step.y, step.operation.y} & set(buffers):
            assert buffers[name].first <= i <= buffers[name].last or name == "audio", (step.name, name)
    del buffers["analysis"]  # a call of its own
    for one, other in itertools.combinations(buffers.values(), 2):
        if one.first <= other.last and other.first <= one.last:
            low, high = sorted((one, other), key=lambda buffer: buffer.offset)
            assert low.offset + padded(low.floats) <= high.offset, (low.name, high.name)
    assert all(0 <= buffer.offset <= layout.scratch_floats - padded(buffer.floats) for buffer in layout.scratch)


def test_halves_stay_small_where_no_row_can_overflow() -> None:
    """On RISC-V, whose f16 multiplies them 2^112 times too small by rows that are as much too large."""
    network = fold(read_network(read_checkpoint(builds.checkpoint("odd")), {}))
    behind_norms = {"expand", "magnitude", "phase"}
    small, enlarged = small_halves(plan(network, [5], "f16"), isas_of("riscv"))
    assert small == behind_norms | {"contract"}
    assert enlarged == {"conv_norm", "layer_norm", "expand"}
    assert small_halves(plan(network, [5], "w8"), isas_of("riscv"))[0] == {"magnitude", "phase"}
    assert not any(small_halves(plan(network, [5], "f16"), isas_of("armv7e-m")))

    # A GELU of up to 2^16 and more: what reads it multiplies halves of their own size.
    large = [
        replace(op, tensors={**op.tensors, "bias": op.bias + 2.0**17}) if op.kernel == "expand" else op
        for op in network.operations
    ]
    loud = plan(replace(network, operations=tuple(large)), [5], "f16")
    small, enlarged = small_halves(loud, isas_of("riscv"))
    assert small == behind_norms
    assert enlarged == {"conv_norm", "layer_norm"}
