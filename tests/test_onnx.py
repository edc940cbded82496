"""compiler/onnx_file.py: weights found by following the graph; what is no Vocos, or means harm, refused in one line."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler.checkpoint import VOCOS, read_checkpoint
from compiler.config import read_config
from compiler.errors import CompileError
from tests import make_vocos
from tests.bombs import defused
from tests.make_onnx_golden import GOLDEN, OPSETS
from tests.objects import every

FILES = [GOLDEN / f"vocos_opset{opset}.onnx" for opset in OPSETS]
WANTED = make_vocos.tensors(make_vocos.TINY)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(CompileError) as info:
        read_checkpoint(path)
    text = str(info.value)
    assert "\n" not in text and text.isprintable() and len(text) < 1000
    for word in (str(path), *words):
        assert word in text, text


def changed(tmp_path: Path, change: Callable[[Any], object], file: Path = FILES[0]) -> Path:
    """A golden file after a change of its model."""
    model = onnx.load(file)
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "a.onnx"


def assert_weights(path: Path) -> None:
    found = read_checkpoint(path)
    assert found.family == VOCOS and set(found.tensors) == set(WANTED)
    for name, array in WANTED.items():
        np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)


def nodes(model: Any, kind: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind]


def initializer(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


# ---- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_weights_are_found(file: Path) -> None:
    assert_weights(file)
    config = read_config(read_checkpoint(file), {"sample_rate": 8000, "hop_length": 4})
    assert (config.n_fft, config.dim, config.hidden, config.lookahead) == (16, 6, 12, (3, 3, 3))


@pytest.mark.parametrize("file", FILES)
def test_names_do_not_matter(tmp_path: Path, file: Path) -> None:
    """Every value renamed, and the nodes in another order."""

    def change(model: Any) -> None:
        graph = model.graph
        names: dict[str, str] = {value.name: value.name for value in (*graph.input, *graph.output)}
        for tensor in graph.initializer:
            tensor.name = names.setdefault(tensor.name, f"onnx::{len(names)}")
        for node in graph.node:
            node.name = ""
            for side in (node.input, node.output):
                side[:] = [name and names.setdefault(name, f"v{len(names)}") for name in side]
        order = list(graph.node)
        random.Random(1).shuffle(order)
        del graph.node[:]
        graph.node.extend(order)

    assert_weights(changed(tmp_path, change, file))


def test_a_folder_with_a_configuration(tmp_path: Path) -> None:
    folder = make_vocos.write_folder(tmp_path / "model", {**make_vocos.TINY, "padding": "same"})
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.onnx").write_bytes(FILES[0].read_bytes())
    config = read_config(read_checkpoint(folder), {})
    assert (config.sample_rate, config.hop_length, config.padding) == (8000, 4, "same")
    assert config.mel is not None and config.mel.assumed == ()


def test_metadata_stand_in_for_a_configuration(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        helper.set_model_props(model, {"sample_rate": "8000", "n_fft": "16", "hop_length": "4", "center": "1"})

    config = read_config(read_checkpoint(changed(tmp_path, change)), {})
    assert (config.sample_rate, config.n_fft, config.hop_length, config.padding) == (8000, 16, 4, "center")
    folder = make_vocos.write_folder(tmp_path, make_vocos.TINY)
    assert read_config(read_checkpoint(folder / "a.onnx"), {}).hop_length == 4


def test_padding_may_be_a_node_of_its_own(tmp_path: Path) -> None:
    """Look-ahead as thewh1teagle/vocos exports it: zeros in front of a convolution that pads nothing."""

    def change(model: Any) -> None:
        for i, (node, ahead) in enumerate(zip(nodes(model, "Conv"), (3, 1, 0), strict=True)):
            (pads,) = [attribute for attribute in node.attribute if attribute.name == "pads"]
            pads.ints[:] = [0, 0]
            amounts = np.array([0, 0, 6 - ahead, 0, 0, ahead])
            model.graph.initializer.append(numpy_helper.from_array(amounts, f"amounts{i}"))
            model.graph.node.append(helper.make_node("Pad", [node.input[0], f"amounts{i}"], [f"padded{i}"]))
            node.input[0] = f"padded{i}"

    path = changed(tmp_path, change)
    assert_weights(path)
    assert read_config(read_checkpoint(path), {"sample_rate": 8000, "hop_length": 4}).lookahead == (3, 1, 0)


def test_half_precision_and_transposed_weights(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        for node in nodes(model, "MatMul"):
            tensor = initializer(model, node.input[1])
            array = numpy_helper.to_array(tensor).T.astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
            model.graph.node.append(helper.make_node("Transpose", [tensor.name], [tensor.name + "T"], perm=[1, 0]))
            node.input[1] = tensor.name + "T"

    found = read_checkpoint(changed(tmp_path, change)).tensors
    for name, array in WANTED.items():
        is_half = "pwconv" in name or name.startswith("head")
        wanted = array.astype(np.float16).astype(np.float32) if is_half and name.endswith("weight") else array
        np.testing.assert_array_equal(found[name], wanted)


def external(tmp_path: Path, file: str = "weights.data") -> Path:
    """A golden model with its weights in a file beside."""
    model = onnx.load(FILES[0])
    path = tmp_path / "a.onnx"
    onnx.save(model, path, save_as_external_data=True, location=file, size_threshold=0)
    return path


def test_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    assert (tmp_path / "weights.data").stat().st_size > 3000
    assert_weights(path)
    digest = read_checkpoint(path).sha256
    data = bytearray((tmp_path / "weights.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights.data").write_bytes(data)
    assert read_checkpoint(path).sha256 != digest, "the hash is not of the weights"


def test_links_as_a_model_hub_makes_them(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    external(blobs)
    for name in ("a.onnx", "weights.data"):
        (snapshot / name).symlink_to(Path("..") / "blobs" / name)
    assert_weights(snapshot / "a.onnx")


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "C:\\x", "", "link"])
def test_external_data_stay_in_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder)
    (tmp_path / "secret").write_bytes((folder / "weights.data").read_bytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    refused(path, "not in the model's folder")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("location", "missing", ["cannot read missing"]),
        ("location", ".", ["end of ."]),
        ("offset", "99999999", ["behind the end"]),
        ("offset", "-1", ["behind the end"]),
        ("offset", "x", ["offset"]),
        ("offset", "9" * 5000, ["offset"]),
        ("length", "99999999", ["behind the end"]),
        ("length", "4", ["malformed"]),
    ],
)
def test_external_data_that_are_not_there(tmp_path: Path, key: str, value: str, words: list[str]) -> None:
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value
    path.write_bytes(model.SerializeToString())
    refused(path, *words)


def scalar(model: Any, kind: str, index: int, value: float) -> None:
    """Give the constant operand of all nodes of a kind another value."""
    for node in nodes(model, kind):
        for maker in nodes(model, "Constant"):
            is_float = maker.attribute[0].t.data_type == onnx.TensorProto.FLOAT
            if is_float and index < len(node.input) and maker.output[0] == node.input[index]:
                maker.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(value, np.float32)))


def rename_operation(kind: str, other: str, domain: str = "") -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for node in nodes(model, kind):
            node.op_type, node.domain = other, domain

    return change


def swap_phases(model: Any) -> None:
    cos, sin, exp = nodes(model, "Cos")[0], nodes(model, "Sin")[0], nodes(model, "Exp")[0]
    cos.input[0], exp.input[0] = exp.input[0], cos.input[0]
    sin.input[0] = cos.input[0]


def cycle(model: Any) -> None:
    nodes(model, "Conv")[0].input[0] = nodes(model, "Conv")[-1].output[0]


def skip_residual(model: Any) -> None:
    conv = nodes(model, "Conv")
    conv[2].input[0] = conv[1].input[0]


def same_output(model: Any) -> None:
    model.graph.node.append(helper.make_node("Relu", ["mels"], ["mag"]))


def integers(model: Any) -> None:
    tensor = initializer(model, nodes(model, "MatMul")[0].input[1])
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.int8), tensor.name))


def huge(model: Any) -> None:
    tensor = initializer(model, nodes(model, "MatMul")[0].input[1])
    tensor.dims[:] = [1 << 40, 1 << 40]


def short(model: Any) -> None:
    tensor = initializer(model, nodes(model, "MatMul")[0].input[1])
    tensor.raw_data = tensor.raw_data[:-4]


def fewer_outputs(model: Any) -> None:
    del model.graph.output[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename_operation("Erf", "Tanh"), ["GELU with erf"]),
        (rename_operation("Sqrt", "Relu"), ["layer norm"]),
        (rename_operation("MatMul", "MatMulInteger"), ["MatMulInteger", "linear layer"]),
        (rename_operation("Erf", "BiasGelu", "com.microsoft"), ["GELU"]),
        (rename_operation("MatMul", "FusedMatMul", "com.microsoft"), ["com.microsoft", "fused"]),
        (rename_operation("Conv", "ConvTranspose"), ["ConvTranspose", "convolution"]),
        (lambda model: scalar(model, "Clip", 2, 50.0), ["limited to 100"]),
        (lambda model: scalar(model, "Div", 1, 2.0), ["GELU"]),
        (lambda model: scalar(model, "Add", 1, 1e-3), ["epsilon"]),
        (swap_phases, ["first and the second half"]),
        (skip_residual, ["residual"]),
        (cycle, ["cycle"]),
        (same_output, ["two nodes make mag"]),
        (integers, ["type INT8", "without quantisation"]),
        (huge, ["impossible shape"]),
        (short, ["malformed"]),
        (fewer_outputs, ["outputs mag", "expected mag"]),
    ],
)
def test_what_is_no_vocos(tmp_path: Path, change: Callable[[Any], None], words: list[str]) -> None:
    refused(changed(tmp_path, change), *words)


def test_convolutions_that_are_others(tmp_path: Path) -> None:
    for name, value, word in (("strides", [2], "stride"), ("dilations", [2], "dilation"), ("pads", [2, 3], "pads")):

        def change(model: Any, name: str = name, value: list[int] = value) -> None:
            for attribute in nodes(model, "Conv")[1].attribute:
                if attribute.name == name:
                    attribute.ints[:] = value

        refused(changed(tmp_path, change), word)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def message(number: int, data: bytes) -> bytes:
    """A field of the protobuf format that holds bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def test_bombs_are_refused_before_they_go_off(tmp_path: Path) -> None:
    nested = b""
    for _ in range(5000):
        nested = message(7, message(1, message(5, message(6, nested))))
    bombs = (
        message(7, message(1, b"") * (3 << 19)),  # nodes of two bytes
        message(7, message(1, message(5, b"") * (3 << 19))),  # attributes
        message(7, message(5, message(13, b"") * (3 << 19))),  # entries of external data
        message(7, message(1, b"") * 40000),  # not so many, yet too many
        nested,
    )
    paths = [tmp_path / f"{number}.onnx" for number in range(len(bombs))]
    for path, data in zip(paths, bombs, strict=True):
        path.write_bytes(data)
    for path, line in zip(paths, defused(*paths, largest=8_000_000), strict=True):
        assert line.startswith(f"{path}: "), line


def test_files_that_are_cut_off_or_noise(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    data = FILES[1].read_bytes()
    for end in range(0, len(data) - 1, every(7, 131)):
        path.write_bytes(data[:end])
        refused(path)
    noise = random.Random(2)
    for length in (1, 2, 3, 10, 100, 1000):
        for _ in range(20):
            path.write_bytes(noise.randbytes(length))
            refused(path)
    path.write_bytes(b"")
    refused(path)
