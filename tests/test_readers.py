"""Models of gemelo-ai/vocos: folders, configurations and files are read as data, and bad ones refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.checkpoint import CODEBOOKS, MEL_FILTERS, VOCOS, Checkpoint, read_checkpoint
from compiler.config import Config, read_config
from compiler.errors import CompileError
from compiler.mel import Mel, describe, mel_filters, parse_mel
from compiler.yaml_config import parse_yaml
from tests import make_checkpoint, make_vocos
from tests.bombs import defused
from tests.objects import GOLDEN, every, run_compiler

AUDIO = "padding of the audio"
HTK = Mel(scale="htk", norm="none", power_floor=0.0, floor=1e-7, padding="center")


def model(tmp_path: Path, file: str = "pytorch_model.bin", **changes: Any) -> Checkpoint:
    """A small model with changes of its sizes, as read from a folder."""
    return read_checkpoint(make_vocos.write_folder(tmp_path / "model", {**make_vocos.TINY, **changes}, file))


def sizes_of(tmp_path: Path, overrides: dict[str, Any] | None = None, **changes: Any) -> Config:
    return read_config(model(tmp_path, **changes), overrides or {})


def refused(action: Any, *words: str) -> None:
    with pytest.raises(CompileError) as info:
        action()
    text = str(info.value)
    assert "\n" not in text and text.isprintable() and len(text) < 1000
    for word in words:
        assert word in text, text


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors", "last.ckpt", "weights.pt"])
def test_a_folder_in_every_format_is_the_same_model(tmp_path: Path, file: str) -> None:
    found = model(tmp_path, file)
    wanted = make_vocos.tensors(make_vocos.TINY)
    assert found.family == VOCOS and found.path.name == file
    assert set(found.tensors) == set(wanted), "the window and the feature extractor are set aside"
    for name, array in wanted.items():
        np.testing.assert_array_equal(found.tensors[name], array)
    config = read_config(found, {})
    assert (config.sample_rate, config.n_fft, config.hop_length, config.n_mels) == (8000, 16, 4, 5)
    assert (config.dim, config.hidden, config.kernel_size, config.num_layers) == (6, 12, 7, 2)
    assert (config.padding, config.lookahead, config.mel) == ("center", (3, 3, 3), HTK)
    assert config.mel is not None and config.mel.assumed == ()
    # The file itself is as good as its folder
    assert read_config(read_checkpoint(found.path), {}) == config


def test_every_format_compiles_with_one_command(tmp_path: Path) -> None:
    """To the same figures, whatever the file; and what had to be assumed is printed."""
    folder = make_vocos.write_folder(tmp_path / "model", make_vocos.TINY)
    found = []
    files = ("pytorch_model.bin", "model.safetensors", "last.ckpt", "model.onnx")
    for file in every(files, files[2:]):
        for path in folder.glob("*.*[!l]"):
            path.unlink()
        if file.endswith(".onnx"):
            (folder / file).write_bytes((GOLDEN / "vocos_opset17.onnx").read_bytes())
        else:
            make_vocos.write_file(folder / file, make_vocos.tensors(make_vocos.TINY))
        done = run_compiler(folder, "--report", "--json", "--target", "portable")
        assert done.returncode == 0, done.stderr
        found.append({**json.loads(done.stdout), "checkpoint_sha256": ""})
    assert all(figures == found[0] for figures in found)
    assert found[0]["mel"]["assumed"] == [] and found[0]["mel"]["scale"] == "htk"
    (folder / "config.yaml").unlink()
    done = run_compiler(folder / "model.onnx", "--report", "--sample-rate", 8000, "--hop-length", 4)
    assert done.returncode == 0, done.stderr
    assert "assumed: scale, norm, power, power_floor, floor, padding, padding of the audio" in done.stdout


def test_folders_that_do_not_say_which(tmp_path: Path) -> None:
    refused(lambda: read_checkpoint(tmp_path), "holds no checkpoint")
    for name in ("a.ckpt", "b.ckpt"):
        make_vocos.write_file(tmp_path / name, make_vocos.tensors(make_vocos.TINY))
    refused(lambda: read_checkpoint(tmp_path), "a.ckpt", "b.ckpt", "expected one")
    make_vocos.write_file(tmp_path / "pytorch_model.bin", make_vocos.tensors(make_vocos.TINY))
    assert read_checkpoint(tmp_path).path.name == "pytorch_model.bin"
    for name in ("config.yaml", "config.yml"):
        (tmp_path / name).write_text("{}")
    refused(lambda: read_checkpoint(tmp_path), "config.yaml", "config.yml")


def test_without_a_configuration_options_say_it_and_the_mel_is_assumed(tmp_path: Path) -> None:
    path = make_vocos.write_file(tmp_path / "a.bin", make_vocos.tensors(make_vocos.TINY))
    refused(lambda: read_config(read_checkpoint(path), {}), "--hop-length")
    config = read_config(read_checkpoint(path), {"hop_length": 4, "sample_rate": 8000})
    assert (config.padding, config.mel) == ("center", HTK)
    assert config.mel is not None
    assert config.mel.assumed == ("scale", "norm", "power", "power_floor", "floor", "padding", AUDIO)
    overrides: dict[str, Any] = {
        "hop_length": 4,
        "sample_rate": 8000,
        "padding": "same",
        "mel": "scale=slaney,floor=1e-5",
    }
    config = read_config(read_checkpoint(path), overrides)
    assert config.mel is not None
    assert (config.padding, config.mel.scale, config.mel.floor) == ("same", "slaney", 1e-5)
    assert config.mel.assumed == ("norm", "power", "power_floor", "padding")


def test_a_training_run_keeps_the_model_a_level_deeper(tmp_path: Path) -> None:
    folder = make_vocos.write_folder(tmp_path / "run", make_vocos.TINY, "last.ckpt")
    text = (folder / "config.yaml").read_text()
    inner = "".join(f"    {line}\n" for line in text.splitlines())
    (folder / "config.yaml").write_text(
        f"seed_everything: 4\nmodel:\n  class_path: vocos.experiment.VocosExp\n  init_args:\n{inner}"
    )
    assert read_config(read_checkpoint(folder), {}).padding == "center"
    # Lightning's folders: version_0/config.yaml, version_0/checkpoints/last.ckpt
    (folder / "checkpoints").mkdir()
    path = (folder / "last.ckpt").rename(folder / "checkpoints" / "last.ckpt")
    assert read_config(read_checkpoint(path), {}).padding == "center"
    assert read_config(read_checkpoint(path.parent), {}).padding == "center"


def test_models_that_are_known_and_do_not_compile(tmp_path: Path) -> None:
    for name, words in (
        ("backbone.pos_net.0.norm1.weight", "WavTokenizer"),
        ("backbone.transformers.0.att.c_attn.weight", "X-Codec 2"),
        ("backbone.resnet.0.convs1.0.bias", "VocosResNetBackbone"),
        ("head.imdct.pre_twiddle", "IMDCT"),
        ("upsampler.layers.0.weight", "UpSampler"),
    ):
        for file in ("a.bin", "a.safetensors"):
            extra = {**make_vocos.tensors(make_vocos.TINY), name: np.zeros(3, np.float32)}
            prefixed = {"generator." + key: value for key, value in extra.items()}
            path = make_vocos.write_file(tmp_path / file, prefixed)
            refused(lambda path=path: read_checkpoint(path), str(path), name, words)
    for part, name in (("head", "vocos.heads.IMDCTCosHead"), ("backbone", "os.system")):
        folder = make_vocos.write_folder(tmp_path / "model", make_vocos.TINY)
        text = (folder / "config.yaml").read_text()
        known = {"head": "vocos.heads.ISTFTHead", "backbone": "vocos.models.VocosBackbone"}[part]
        (folder / "config.yaml").write_text(text.replace(known, name))
        refused(lambda folder=folder: read_config(read_checkpoint(folder), {}), name, "no class that we compile")


def test_another_window_is_refused(tmp_path: Path) -> None:
    state = {**make_vocos.tensors(make_vocos.TINY), "head.istft.window": np.ones(16, np.float32)}
    refused(lambda: read_checkpoint(make_vocos.write_file(tmp_path / "a.bin", state)), "Hann")


# ---- look-ahead --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (3, 3, 3)),
        ({"lookahead_frames": 4}, (3, 3, 3)),  # without `causal` it means nothing
        ({"causal": True}, (0, 0, 0)),
        ({"causal": True, "lookahead_frames": 4}, (3, 1, 0)),
        ({"causal": True, "lookahead_frames": 9}, (3, 3, 3)),
        ({"causal": True, "lookahead_frames": [0, 6, 2]}, (0, 6, 2)),
    ],
)
def test_the_budget_goes_to_the_earliest(tmp_path: Path, given: dict[str, Any], wanted: tuple[int, ...]) -> None:
    assert sizes_of(tmp_path, backbone=given).lookahead == wanted


@pytest.mark.parametrize("given", [10, -1, 1.5, "4", [1, 2], [7, 0, 0], [True, 0, 0]])
def test_look_aheads_that_cannot_be(tmp_path: Path, given: Any) -> None:
    made = model(tmp_path, backbone={"causal": True, "lookahead_frames": given})
    refused(lambda: read_config(made, {}), "backbone.init_args.lookahead_frames")


def test_streaming_models_look_ahead_where_they_say_so() -> None:
    sizes = {"sample_rate": 8000, "n_fft": 12, "hop_length": 4, "n_mels": 5, "dim": 6, "mlp_ratio": 2.0}
    sizes |= {"kernel_size": 7, "num_layers": 2}
    hyper = make_checkpoint.hyper_parameters(sizes)
    made = Checkpoint(Path("a.ckpt"), "0" * 64, make_checkpoint.tensors(sizes, 1), hyper)
    assert read_config(made, {}).lookahead == (0, 0, 0)
    hyper["vocoder_args"]["lookahead_frames"] = 5
    assert (read_config(made, {}).lookahead, read_config(made, {}).padding) == ((3, 2, 0), "causal")
    hyper["vocoder_args"]["lookahead_frames"] = [1, 0, 4]
    assert read_config(made, {}).lookahead == (1, 0, 4)


# ---- the mel -----------------------------------------------------------------------------------


def test_the_mel_is_what_the_configuration_says(tmp_path: Path) -> None:
    given = {"f_min": 0, "f_max": 3000, "norm": "slaney", "mel_scale": "slaney", "padding": "same"}
    config = sizes_of(tmp_path, mel=given)
    assert config.mel == Mel(power_floor=0.0, floor=1e-7, padding="same")
    assert (config.f_min, config.f_max) == (0, 3000)
    assert "Slaney scale, Slaney norm, 0 to 3000 Hz, magnitudes, floor 1e-07" in describe(config)
    refused(lambda: sizes_of(tmp_path, mel={"mel_scale": "bark"}), "mel_scale", "bark", "htk")


def test_the_checkpoints_own_filters_tell_the_scale(tmp_path: Path) -> None:
    state = make_vocos.tensors(make_vocos.TINY)
    for scale in ("htk", "slaney"):
        for norm in ("none", "slaney"):
            filters = mel_filters(8000, 16, 5, 0, 4000, scale=scale, norm=norm).T.astype(np.float32)
            path = make_vocos.write_file(tmp_path / "a.bin", {**state, MEL_FILTERS: filters})
            config = read_config(read_checkpoint(path), {"hop_length": 4, "sample_rate": 8000})
            assert config.mel is not None
            assert (config.mel.scale, config.mel.norm) == (scale, norm)
            assert config.mel.assumed == ("power", "power_floor", "floor", "padding", AUDIO)
    path = make_vocos.write_file(tmp_path / "a.bin", {**state, MEL_FILTERS: np.ones((9, 5), np.float32)})
    refused(lambda: read_config(read_checkpoint(path), {"hop_length": 4, "sample_rate": 8000}), "--mel")
    folder = make_vocos.write_folder(
        tmp_path / "model", {**make_vocos.TINY, "mel": {"mel_scale": "htk"}}, more={MEL_FILTERS: filters}
    )
    refused(lambda: read_config(read_checkpoint(folder), {}), "filterbank")


def test_the_option_for_the_mel() -> None:
    assert parse_mel("scale=htk,norm=none,power=2,floor=1e-9,power_floor=0,padding=same") == {
        **{"scale": "htk", "norm": "none", "power": 2, "floor": 1e-9, "power_floor": 0.0, "padding": "same"}
    }
    for text in ("", "scale", "scale=bark", "power=3", "floor=0", "floor=x", "floor=nan", "floor=-1", "taps=3"):
        refused(lambda text=text: parse_mel(text), "--mel")


# ---- bandwidths and codebooks ------------------------------------------------------------------


def test_bandwidths_choose_norms_and_codebooks(tmp_path: Path) -> None:
    sizes = {**make_vocos.TINY, "bandwidths": 4, "sample_rate": 24000, "n_fft": 640, "hop_length": 320}
    books = np.zeros((8 * 1024, 5), np.float32)
    folder = make_vocos.write_folder(tmp_path / "model", sizes, more={CODEBOOKS: books})
    made = read_checkpoint(folder)
    refused(lambda: read_config(made, {}), "--bandwidth-id 0 to 3", "1.5, 3.0, 6.0, 12.0")
    for wrong in (-1, 4):
        refused(lambda wrong=wrong: read_config(made, {"bandwidth_id": wrong}), "--bandwidth-id")
    for chosen, codebooks in ((0, 2), (1, 4), (2, 8), (3, 8)):  # 10 bits, 75 times a second; no more than there are
        config = read_config(made, {"bandwidth_id": chosen})
        assert (config.bandwidths, config.bandwidth_id, config.codebooks) == (4, chosen, codebooks)
        assert (config.mel, config.sample_rate) == (None, 24000)
    assert "EnCodec" in describe(config)
    refused(lambda: read_config(made, {"bandwidth_id": 0, "mel": "floor=1e-5"}), "--mel")
    refused(lambda: sizes_of(tmp_path, {"bandwidth_id": 0}), "--bandwidth-id", "AdaLayerNorm")


def test_codebooks_may_be_one_by_one(tmp_path: Path) -> None:
    random = np.random.RandomState(2)
    books = random.standard_normal((3, 32, 5)).astype(np.float32)
    layers = {f"feature_extractor.encodec.quantizer.vq.layers.{i}._codebook.embed": books[i] for i in range(3)}
    state = make_vocos.tensors({**make_vocos.TINY, "bandwidths": 2})
    path = make_vocos.write_file(tmp_path / "a.bin", {**state, **layers})
    np.testing.assert_array_equal(read_checkpoint(path).features[CODEBOOKS], books)
    del layers["feature_extractor.encodec.quantizer.vq.layers.1._codebook.embed"]
    refused(lambda: read_checkpoint(make_vocos.write_file(path, {**state, **layers})), "codebooks")
    refused(lambda: read_checkpoint(make_vocos.write_file(path, {**state, CODEBOOKS: books[0]})), "1024 rows")


# ---- YAML as data ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x\n", ["line 1", "anchors"]),
        ("a: &x [*x]\n", ["anchors"]),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", ["anchors"]),
        ("<<: *missing\n", ["anchors"]),
        ("a: !!python/object/apply:os.system ['false']\n", ["line 1", "python/object/apply", "refused"]),
        ("a: !!python/tuple [1, 2]\n", ["refused"]),
        ("a: !include other.yaml\n", ["!include", "refused"]),
        ("[" * 100, ["nested"]),
        ("- " * 100, ["nested"]),
        ("a: [" + "1," * 70000 + "]\n", ["values"]),
        ("a: " + "x" * 300000, ["KB"]),
        ("a: " + "1:" * 2000 + "1\n", ["characters"]),
        ("a: 0x" + "f" * 2000 + "\n", ["characters"]),
        ("a: 2026-99-99\n", ["malformed"]),
        ("a: [1\nb: }", ["no YAML", "line"]),
        ("a: \x00", ["no YAML"]),
        ("? [1, 2]\n: 3\n", ["no YAML"]),
        ("- 1\n- 2\n", ["no mapping"]),
        ("just text", ["no mapping"]),
        ("", ["no mapping"]),
        ("a: 1\n---\nb: 2\n", ["no YAML"]),
    ],
)
def test_yaml_that_is_refused(text: str, words: list[str]) -> None:
    refused(lambda: parse_yaml(text.encode()), *words)
    refused(lambda: parse_yaml(b"\xff\xfe\xfa" + text.encode()))


YAML_BOMBS = {
    "anchors": "a: &a [x, x]\n" + "".join(f"a{i}: &b{i} [*a, *a]\n" for i in range(11_000)),
    "colliding keys": "".join(f"{i * (2**61 - 1)}: 1\n" for i in range(8000)),
    "digits": "a: " + "9" * 240_000,
    "digits in base 60": "a: " + "1:" * 120_000 + "1",
    "deep lists": "[" * 240_000,
    "deep lists in lines": "- " * 120_000,
    "deep keys": "{" * 240_000,
    "questions": "? " * 120_000,
    "many values": "a: [" + "1," * 120_000 + "]",
    "many pairs": "".join(f"k{i}: v\n" for i in range(20_000)),
    "escapes": 'a: "' + "\\x41" * 60_000 + '"',
    "an open string": "a: '" + "x " * 120_000,
    "a long key": "a" * 240_000 + ": 1",
    "words": "[" + "a " * 120_000,
    "comments": "#\n" * 120_000,
}


def test_yaml_that_would_take_minutes_or_gigabytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.yaml" for name in YAML_BOMBS]
    for path, text in zip(paths, YAML_BOMBS.values(), strict=True):
        path.write_text(text)
    for path, line in zip(paths, defused(*paths), strict=True):
        assert line.startswith(f"{path}: ") or path.stem == "colliding keys", line


def test_yaml_of_every_kind_is_plain() -> None:
    assert parse_yaml(b"a: {b: [1, 2.5, yes]}\n3: ~\n") == {"a": {"b": [1, 2.5, True]}, "3": None}
    dated = parse_yaml(b"when: 2026-01-02\nwhat: !!binary aGk=\n")
    assert all(isinstance(value, str) for value in dated.values())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("head.init_args.n_fft", 0x1 << 200, ["n_fft", "number"]),
        ("head.init_args.padding", "valid", ["padding", "valid", "same or center"]),
        ("backbone.init_args.dim", 8, ["dim 8", "head.init_args.dim 6"]),
        ("backbone.init_args.intermediate_dim", 13, ["intermediate_dim 13", "12"]),
        ("feature_extractor.init_args.hop_length", 5, ["hop_length"]),
        ("backbone.init_args.num_layers", 3, ["num_layers 3"]),
    ],
)
def test_configurations_that_contradict(tmp_path: Path, place: str, value: Any, words: list[str]) -> None:
    made = model(tmp_path)
    group: Any = made.hyper_parameters
    *path, name = place.split(".")
    for part in path:
        group = group[part]
    group[name] = value
    refused(lambda: read_config(made, {}), *words)
