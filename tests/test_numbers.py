"""Weights that are finite and yet too large: refused with their names; never an object that is broken."""

import json
from pathlib import Path

import numpy as np
import pytest

from compiler.bounds import LARGEST, check_bounds
from compiler.errors import CompileError
from compiler.formats import FORMATS
from tests import make_checkpoint
from tests.objects import ROOT, TINY, every, folded, one_line, run_compiler

PREFIX = "decoder.0."
HUGE = {
    "the embedding": (f"{PREFIX}embed.conv.conv.weight_g", "0.embed"),
    "a LayerNorm's gain": (f"{PREFIX}convnext.0.norm.weight", "0.convnext.0.pwconv1"),
    "the first LayerNorm's gain": (f"{PREFIX}norm.weight", "0.norm"),
    "a depthwise convolution": (f"{PREFIX}convnext.0.dwconv.conv.conv.weight_g", "0.convnext.0.dwconv"),
    "an expansion": (f"{PREFIX}convnext.0.pwconv1.weight", "0.convnext.0.pwconv1"),
    "a contraction": (f"{PREFIX}convnext.0.pwconv2.weight", "0.convnext.0.pwconv2"),
    "a layer scale": (f"{PREFIX}convnext.0.gamma", "0.convnext.0.pwconv2"),
    "the head": ("decoder.1.out.weight", "1.out"),
    "a bias": (f"{PREFIX}convnext.0.pwconv1.bias", "0.convnext.0.pwconv1"),
}


def write(path: Path, **changes: float) -> Path:
    """A checkpoint, some tensors of which are multiplied or replaced."""
    state = make_checkpoint.tensors(TINY, 3)
    for name, value in changes.items():
        state[name] = np.asarray(np.broadcast_to(value, state[name].shape), np.float32)
    metadata = {"hyper_parameters": json.dumps(make_checkpoint.hyper_parameters(TINY))}
    make_checkpoint.write_safetensors(path, state, metadata=metadata)
    return path


@pytest.mark.parametrize("what", list(HUGE))
def test_huge_weights_are_refused_by_name(tmp_path: Path, what: str) -> None:
    tensor, named = HUGE[what]
    for value in (1e20, 1e30, 3e38):
        try:
            network = folded(write(tmp_path / "huge.safetensors", **{tensor: value}))
            check_bounds(network)
        except CompileError as error:
            assert named in str(error), str(error)
        else:
            raise AssertionError(f"{what} of {value:g} was taken")


@pytest.mark.parametrize("precision", ["f32", "w8a8"])
def test_the_command_refuses_them_in_one_line(tmp_path: Path, precision: str) -> None:
    path = write(tmp_path / "huge.safetensors", **{f"{PREFIX}convnext.0.norm.weight": 1e20})
    command = ("-o", tmp_path / "out", "--precision", precision)
    one_line(run_compiler(path, *command), "0.convnext.0.norm", "float32")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_format_cannot_decode_is_refused_by_name(tmp_path: Path) -> None:
    """Finite in float32; but in halves a bias is divided by its weights' scale."""
    changes = {f"{PREFIX}convnext.0.pwconv1.weight": 1e-30, f"{PREFIX}convnext.0.pwconv1.bias": 1e12}
    changes |= {f"{PREFIX}convnext.0.norm.weight": 1.0, f"{PREFIX}convnext.0.pwconv2.weight": 1e-9}
    path = write(tmp_path / "tiny.safetensors", **changes)
    command = ("-o", tmp_path / "out", "--precision", "f16", "--target", "portable", "--sources-only")
    one_line(run_compiler(path, *command), "0.convnext.0.pwconv1", "f16")
    assert list(tmp_path.iterdir()) == [path]


def test_trained_models_are_far_from_the_bound() -> None:
    for name in ("demo", "tiny"):
        network = folded(ROOT / "examples/model" / f"{name}.ckpt")
        check_bounds(network)
        for operation in network.operations:
            for values in operation.tensors.values():
                assert np.abs(values).max() * 1e12 < LARGEST


@pytest.mark.parametrize("precision", every(list(FORMATS), ["w8a8"]))
def test_large_weights_that_are_taken_pass_the_selftest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """At the bound's edge: the object is built, which includes its self-test on every instruction set."""
    changes = {f"{PREFIX}convnext.0.pwconv1.weight": 3e7, f"{PREFIX}convnext.0.gamma": 1e5}
    path = write(tmp_path / "large.safetensors", **changes)
    monkeypatch.setenv("CFLAGS", "-O0")  # built in a quarter of the time
    done = run_compiler(path, "-o", tmp_path / "out", "--precision", precision, "--chunk", "1")
    assert done.returncode == 0, done.stderr
