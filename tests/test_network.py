"""compiler/network.py: sizes and tensors of a checkpoint, checked; every tensor used or named."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.checkpoint import Checkpoint, read_checkpoint
from compiler.config import Config
from compiler.errors import CompileError
from compiler.network import Network, read_network
from tests import make_checkpoint as make
from tests import objects

GOLDEN = Path(__file__).parent / "golden"
TINY = {**objects.TINY, "num_layers": 2}
V = "decoder.0.convnext.1.dwconv.conv.conv.weight_v"
G = "decoder.0.convnext.1.dwconv.conv.conv.weight_g"
DECONV = "decoder.1.istft.overlap_add.deconv.weight"
NO_HYPER = {"hop_length": 4, "sample_rate": 8000}


def checkpoint(hyper: bool = True, **changes: Any) -> Checkpoint:
    """A small checkpoint, never in a file; `changes` to its configuration."""
    config = {**TINY, **changes}
    tensors = {name: array.copy() for name, array in make.tensors(config, 3).items()}
    return Checkpoint(Path("a.ckpt"), "0" * 64, tensors, make.hyper_parameters(config) if hyper else None)


def changed(change: Callable[[dict[str, Any]], object], hyper: bool = True) -> Checkpoint:
    """A small checkpoint after a change of its tensors."""
    made = checkpoint(hyper)
    change(made.tensors)  # type: ignore[arg-type]
    return made


def refused(made: Checkpoint, *words: str, **overrides: float) -> None:
    with pytest.raises(CompileError) as info:
        read_network(made, overrides)
    text = str(info.value)
    assert "\n" not in text and text.startswith("a.ckpt: ")
    for word in words:
        assert word in text


def tensors(model: Network) -> dict[str, dict[str, Any]]:
    """All tensors, by their operations' names and their own."""
    return {operation.name: dict(operation.tensors) for operation in model.operations}


def assert_same(a: Network, b: Network) -> None:
    assert a.config == b.config
    assert [replace(x, tensors={}) for x in a.operations] == [replace(y, tensors={}) for y in b.operations]
    for x, y in zip(a.operations, b.operations, strict=True):
        assert set(x.tensors) == set(y.tensors)
        for name in x.tensors:
            np.testing.assert_array_equal(x.tensors[name], y.tensors[name])


@pytest.mark.parametrize("name", ["small", "odd"])
def test_golden_sizes(tmp_path: Path, name: str) -> None:
    config = json.loads((GOLDEN / f"{name}.json").read_text())
    make.write_checkpoint(tmp_path / "a.ckpt", config)
    found = asdict(read_network(read_checkpoint(tmp_path / "a.ckpt"), {}).config)
    for key in ("sample_rate", "n_fft", "hop_length", "n_mels", "dim", "kernel_size", "num_layers"):
        assert found[key] == config[key], key
    assert found["hidden"] == int(config["mlp_ratio"] * config["dim"])
    assert (found["f_min"], found["f_max"]) == (0.0, config["sample_rate"] / 2)


def test_every_array_is_where_it_belongs() -> None:
    made = checkpoint()
    model = read_network(made, {})
    t = {name.removeprefix("decoder."): array for name, array in made.tensors.items()}
    found, name = tensors(model), "0.convnext.1."
    half = len(t["1.out.bias"]) // 2
    np.testing.assert_array_equal(found["magnitude"]["weight"], t["1.out.weight"][:half])
    np.testing.assert_array_equal(found["phase"]["weight"], t["1.out.weight"][half:])
    np.testing.assert_array_equal(found["magnitude"]["bias"], t["1.out.bias"][:half])
    np.testing.assert_array_equal(found["phase"]["bias"], t["1.out.bias"][half:])
    for operation, tensor, wanted in (
        ("embed", "bias", "0.embed.conv.conv.bias"),
        ("embed_norm", "scale", "0.norm.weight"),
        ("embed_norm", "shift", "0.norm.bias"),
        ("block1_conv", "bias", name + "dwconv.conv.conv.bias"),
        ("block1_norm", "scale", name + "norm.weight"),
        ("block1_norm", "shift", name + "norm.bias"),
        ("block1_expand", "weight", name + "pwconv1.weight"),
        ("block1_expand", "bias", name + "pwconv1.bias"),
        ("block1_contract", "weight", name + "pwconv2.weight"),
        ("block1_contract", "bias", name + "pwconv2.bias"),
        ("block1_contract", "layer_scale", name + "gamma"),
        ("final_norm", "scale", "0.final_layer_norm.weight"),
        ("final_norm", "shift", "0.final_layer_norm.bias"),
    ):
        np.testing.assert_array_equal(found[operation][tensor], t[wanted], err_msg=wanted)
    for conv, wanted in (("embed", "0.embed.conv.conv"), ("block1_conv", name + "dwconv.conv.conv")):
        for out, row in enumerate(t[wanted + ".weight_v"].astype(float)):
            norm = math.sqrt(math.fsum(float(x) ** 2 for x in row.flat))
            wanted_row = t[wanted + ".weight_g"][out, 0, 0] * (row / norm)
            np.testing.assert_allclose(found[conv]["weight"][out], wanted_row, rtol=1e-14)
    assert all(array.dtype == np.float64 for of_one in found.values() for array in of_one.values())


def test_names_of_weight_norm() -> None:
    made = checkpoint()
    model = read_network(made, {})
    new = make.with_new_norm_keys(made.tensors)
    assert any("original0" in name for name in new)
    assert_same(read_network(Checkpoint(made.path, made.sha256, new, made.hyper_parameters), {}), model)
    # Already folded, as by remove_weight_norm
    folded = {name: array for name, array in made.tensors.items() if not name.endswith(("weight_g", "weight_v"))}
    found = tensors(model)
    folded["decoder.0.embed.conv.conv.weight"] = found["embed"]["weight"]
    for i in range(model.config.num_layers):
        folded[f"decoder.0.convnext.{i}.dwconv.conv.conv.weight"] = found[f"block{i}_conv"]["weight"]
    assert_same(read_network(Checkpoint(made.path, made.sha256, folded, made.hyper_parameters), {}), model)


def test_gamma_may_be_absent() -> None:
    model = read_network(changed(lambda t: t.pop("decoder.0.convnext.0.gamma")), {})
    found = tensors(model)
    np.testing.assert_array_equal(found["block0_contract"]["layer_scale"], np.ones(6))
    assert not np.array_equal(found["block1_contract"]["layer_scale"], np.ones(6))


# ---- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": 1},
        {"n_mels": 1, "kernel_size": 1},
        {"num_layers": 5, "mlp_ratio": 8 / 3, "dim": 10},
        {"n_fft": 2, "hop_length": 1},
        {"n_fft": 30, "hop_length": 30},
        {"n_fft": 15},
        {"n_fft": 45, "kernel_size": 12},
    ],
)
def test_any_size_with_and_without_hyper_parameters(changes: dict[str, Any]) -> None:
    with_hyper = read_network(checkpoint(**changes), {})
    hop = changes.get("hop_length", 4)
    assert with_hyper.config.n_fft == changes.get("n_fft", 12)
    assert with_hyper.config.hop_length == hop
    # Without them, the identity of the overlap-add tells even from odd
    assert_same(read_network(checkpoint(False, **changes), {**NO_HYPER, "hop_length": hop}), with_hyper)


def test_what_the_shapes_do_not_tell() -> None:
    made = changed(lambda t: t.pop(DECONV), hyper=False)
    assert read_network(made, NO_HYPER).config == Config(8000, 12, 4, 5, 6, 12, 3, 2, 0.0, 4000.0, (0, 0, 0))
    assert read_network(made, {**NO_HYPER, "n_fft": 12}).config.n_fft == 12
    refused(made, "13", n_fft=13, **NO_HYPER)
    refused(checkpoint(False), "--hop-length", sample_rate=8000)
    refused(checkpoint(False), "--sample-rate", hop_length=4)
    refused(checkpoint(False, n_fft=1024), "--hop-length")  # the published sizes are no exception
    odd = checkpoint(False, n_fft=15)
    del odd.tensors[DECONV]  # type: ignore[attr-defined]
    refused(odd, "factor 7", **NO_HYPER)
    assert read_network(odd, {**NO_HYPER, "n_fft": 15}).config.n_fft == 15


def test_overrides_win() -> None:
    overrides = {"sample_rate": 16000, "hop_length": 3, "f_min": 20.0, "f_max": 7000.5, "n_fft": 12}
    assert read_network(checkpoint(), overrides).config == Config(16000, 12, 3, 5, 6, 12, 3, 2, 20.0, 7000.5, (0, 0, 0))
    refused(checkpoint(), "n_fft 16", "7 bins", n_fft=16)
    refused(checkpoint(), "dim", dim=6)
    wrong: tuple[dict[str, float], ...] = (
        {"hop_length": 13},
        {"hop_length": 0},
        {"hop_length": -4},
        {"hop_length": 2.5},
        {"sample_rate": 0},
        {"sample_rate": 10**12},
        {"sample_rate": math.nan},
        {"f_min": -1.0},
        {"f_max": 4001.0},
        {"f_min": 10.0, "f_max": 10.0},
        {"f_max": math.inf},
    )
    for options in wrong:
        refused(checkpoint(), next(iter(options)).split("_")[0], **options)


@pytest.mark.parametrize(("n_fft", "left"), [(14, 7), (22, 11), (2 * 7 * 7, 49), (3 * 13 * 4, 13)])
def test_factors(n_fft: int, left: int) -> None:
    refused(checkpoint(n_fft=n_fft), f"n_fft {n_fft}", f"factor {left}")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("vocoder_args.dim", 8, ["vocoder_args.dim 8", "istft_head_args.dim 6"]),
        ("vocoder_args.input_channels", 6, ["vocoder_args.input_channels 6", "vocoder_feature_args.n_mels 5"]),
        ("vocoder_args.kernel_size", 5, ["vocoder_args.kernel_size 5", "embed.conv.conv.weight_v", "has 3"]),
        ("vocoder_args.num_layers", 3, ["vocoder_args.num_layers 3", "has 2"]),
        ("vocoder_args.mlp_ratio", 3.0, ["mlp_ratio 3", "pwconv1.weight"]),
        ("vocoder_args.causal", False, ["vocoder_args.causal", "causal"]),
        ("vocoder_args.kernel_size", "3", ["vocoder_args.kernel_size", "expected a number"]),
        ("vocoder_args.kernel_size", 3.5, ["vocoder_args.kernel_size", "integer"]),
        ("vocoder_args.kernel_size", True, ["vocoder_args.kernel_size", "number"]),
        ("istft_head_args.hop_length", 3, ["istft_head_args.hop_length 3", "--hop-length"]),
        ("istft_head_args.n_fft", 16, ["istft_head_args.n_fft 16", "vocoder_feature_args.n_fft 12"]),
        ("vocoder_feature_args.win_length", 10, ["win_length 10"]),
        ("vocoder_feature_args.f_max", math.nan, ["f_max", "number"]),
        ("sample_rate", 16000, ["vocoder_feature_args.sample_rate 8000", "sample_rate 16000", "--sample-rate"]),
    ],
)
def test_hyper_parameters_that_contradict(place: str, value: Any, words: list[str]) -> None:
    made = checkpoint()
    group: Any = made.hyper_parameters
    *path, name = place.split(".")
    for part in path:
        group = group[part]
    group[name] = value
    refused(made, *words)


def test_an_override_settles_a_contradiction() -> None:
    made = checkpoint()
    assert made.hyper_parameters is not None
    made.hyper_parameters["istft_head_args"]["hop_length"] = 3
    assert read_network(made, {"hop_length": 2}).config.hop_length == 2


@pytest.mark.parametrize("group", ["vocoder_feature_args", "vocoder_args", "istft_head_args", "lambdas"])
def test_groups_may_be_missing_or_odd(group: str) -> None:
    values: tuple[Any, ...] = (None, [], {}, 5)
    for value in values:
        made = checkpoint()
        assert made.hyper_parameters is not None
        made.hyper_parameters[group] = value
        assert_same(read_network(made, {}), read_network(checkpoint(), {}))


# ---- tensors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in make.tensors(TINY, 3) if name != DECONV and "gamma" not in name])
def test_missing_and_misshapen_tensors_are_named(name: str) -> None:
    for hyper in (True, False):
        overrides = {} if hyper else NO_HYPER
        stem = name.removesuffix("_g").removesuffix("_v").removesuffix(".weight")
        refused(changed(lambda t: t.pop(name), hyper), stem, **overrides)
        refused(changed(lambda t: t.update({name: t[name][..., None]}), hyper), name, "shape", **overrides)
        # A row less contradicts some other tensor: which of the two is wrong nobody can tell
        refused(changed(lambda t: t.update({name: t[name][1:]}), hyper), "decoder.", **overrides)
        refused(changed(lambda t: t.update({name: t[name][:0]}), hyper), "decoder.", **overrides)


def test_wrong_shapes_tell_expected_and_found() -> None:
    refused(changed(lambda t: t.update({"decoder.0.norm.bias": np.ones(7)})), "decoder.0.norm.bias", "7", "expected 6")
    name = "decoder.0.convnext.0.pwconv2.weight"
    refused(changed(lambda t: t.update({name: t[name].T})), name, "12x6", "expected 6x12")
    refused(changed(lambda t: t.update({"decoder.1.out.weight": np.ones((13, 6))})), "13 rows")


def test_unknown_tensors_are_named() -> None:
    for name in ("decoder.0.extra.weight", "decoder.2.x", "decoder.0.convnext.x.gamma", "decoder.1.istft.other"):
        refused(changed(lambda t, name=name: t.update({name: np.ones(3)})), name, "unknown")  # type: ignore[misc]
    both = "decoder.0.embed.conv.conv.weight"
    refused(changed(lambda t: t.update({both: t[both + "_v"]})), both, "unknown")
    many = {f"decoder.0.extra.{i}": np.ones(1) for i in range(9)}
    refused(changed(lambda t: t.update(many)), "decoder.0.extra.0", "6 more")


def test_gaps_in_the_blocks() -> None:
    def rename(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            if ".convnext.0." in name:
                tensors[name.replace(".0.", ".7.").replace("decoder.7", "decoder.0")] = tensors.pop(name)

    refused(changed(rename), "decoder.0.convnext.0")
    refused(changed(lambda t: t.update({"decoder.0.convnext.7.gamma": np.ones(6)})), "decoder.0.convnext.2")
    refused(changed(lambda t: t.update({"decoder.0.convnext.1000000000000.gamma": np.ones(6)})), "unknown")
    refused(checkpoint(num_layers=0), "decoder.0.convnext.0")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
@pytest.mark.parametrize("name", list(make.tensors(TINY, 3)))
def test_non_finite_tensors_are_named(name: str, value: float) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors[name] = tensors[name].astype(np.float64)
        tensors[name].flat[-1] = value

    shape = make.tensors(TINY, 3)[name].shape
    refused(changed(spoil), name, str([n - 1 for n in shape]))


def test_weight_norm_of_extreme_vectors() -> None:
    refused(changed(lambda t: t[V][2].fill(0)), V, "channel 2")
    model = read_network(changed(lambda t: t[V][2].fill(1e-38)), {})
    gain = float(checkpoint().tensors[G][2, 0, 0])
    np.testing.assert_allclose(tensors(model)["block1_conv"]["weight"][2], gain / math.sqrt(3), rtol=1e-12)
    model = read_network(changed(lambda t: t[V][2].fill(3e38)), {})
    np.testing.assert_allclose(tensors(model)["block1_conv"]["weight"][2], gain / math.sqrt(3), rtol=1e-12)
    model = read_network(changed(lambda t: t[G].fill(0)), {})
    assert not tensors(model)["block1_conv"]["weight"].any()


def test_the_overlap_add_must_be_one() -> None:
    refused(changed(lambda t: t[DECONV].__setitem__((2, 0, 2), 0.5)), DECONV, "identity", "[2, 0, 2] is 0.5")
    refused(changed(lambda t: t[DECONV].__setitem__((2, 0, 3), 0.5)), DECONV, "identity", "[2, 0, 3] is 0.5")
    refused(changed(lambda t: t[DECONV].__setitem__((2, 0), t[DECONV][3, 0].copy())), DECONV, "identity")
    refused(changed(lambda t: t.update({DECONV: np.eye(13)[:, None]})), DECONV, "expected 12x1x12")
    read_network(changed(lambda t: t.pop(DECONV)), {})


def test_a_window_must_be_periodic_hann() -> None:
    name = "decoder.1.istft.window"
    hann = np.hanning(13)[:-1].astype(np.float32)
    read_network(changed(lambda t: t.update({name: hann})), {})
    half = hann.astype(np.float16).astype(np.float32)
    read_network(changed(lambda t: t.update({name: half})), {})
    refused(changed(lambda t: t.update({name: np.hanning(12)})), name, "Hann")
    refused(changed(lambda t: t.update({name: np.hamming(13)[:-1]})), name, "Hann")
    refused(changed(lambda t: t.update({name: hann[1:]})), name, "expected 12")
