"""The network is stated once: another schedule compiles by the same steps and gives the bits of its interpreter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.checkpoint import read_checkpoint
from compiler.compile import compile_network
from compiler.emit import Options
from compiler.fold import fold
from compiler.golden import exact_decode
from compiler.network import Network, read_network
from compiler.pack import pack
from compiler.plan import plan
from tests.make_checkpoint import write_checkpoint
from tests.objects import TINY, Vocoder, every, make_library, some_mel


def without_up_projections(network: Network) -> Network:
    """Blocks of convolution, norm and one linear layer, x += W norm(conv(x)) + b, and no GELU."""
    operations = [operation for operation in network.operations if operation.kernel != "expand"]
    for i, operation in enumerate(operations):
        if operation.kernel == "contract":
            dim = operation.outputs
            tensors = {**operation.tensors, "weight": operation.weight[:, :dim]}
            operations[i] = replace(operation, x="normalised", inputs=dim, tensors=tensors)
    return replace(network, operations=tuple(operations))


@pytest.mark.parametrize("precision", every(["f32", "w8", "w8a8", "w4"], ["f32", "w8a8", "w4"]))
def test_another_architecture_compiles(tmp_path: Path, precision: str) -> None:
    write_checkpoint(tmp_path / "toy.ckpt", {**TINY, "dim": 20, "num_layers": 3})
    network = fold(without_up_projections(read_network(read_checkpoint(tmp_path / "toy.ckpt"), {})))
    compile_network(network, "0" * 64, [5], Options("toy", precision), tmp_path / "toy", sources_only=True)
    make_library(tmp_path / "toy", "toy", "EXTRA_CFLAGS=-O0")
    vocoder, mel = Vocoder(tmp_path / "toy", "toy"), some_mel(17, int(TINY["n_mels"]))
    expected = exact_decode(plan(network, [5], precision), pack(network, precision), mel)
    for target in vocoder.targets:
        assert vocoder.selftest(target) == 0
        stream = vocoder.stream(target)
        audio = vocoder.continue_decode(stream, mel, [5, 1, 2, 4, 5])
        assert np.concatenate([audio, vocoder.flush(stream)]).tobytes() == expected.tobytes(), target
