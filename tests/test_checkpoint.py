"""compiler/checkpoint.py: what is read is what was written, nothing is run, and bad files give one clear line."""

import json
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.checkpoint import Checkpoint, read_checkpoint
from compiler.errors import CompileError
from compiler.network import read_network
from tests import make_checkpoint as make
from tests.bombs import SIZE, defused
from tests.make_checkpoint import Call, Global, New, Pickler, Storage, Tensor
from tests.objects import TINY

GOLDEN = Path(__file__).parent / "golden"
WANTED = make.tensors(TINY, 3)


def assert_tensors(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].flags.c_contiguous, name
        assert found[name].dtype == (np.float64 if array.dtype == np.float64 else np.float32), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def refused(path: Path, *words: str) -> str:
    """The one line with which a file is refused; it must name the file and hold all the words."""
    with pytest.raises(CompileError) as info:
        read_checkpoint(path)
    text = str(info.value)
    assert "\n" not in text and text.startswith(f"{path}: ")
    for word in words:
        assert word in text
    return text


def views() -> "OrderedDict[str, Any]":
    laid_out: OrderedDict[str, Any] = make.laid_out(WANTED, "float32", "plain")
    return laid_out


# ---- what is written is read -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "odd"])
def test_the_golden_recipe_is_unchanged(name: str) -> None:
    # Checksums of the weights that the golden audio was made with
    config = json.loads((GOLDEN / f"{name}.json").read_text())
    crc = 0
    for key, value in make.tensors(config, config["seed"]).items():
        crc = zlib.crc32(value.tobytes(), zlib.crc32(key.encode(), crc))
    assert crc == {"small": 0x29CF5FDB, "odd": 0x21886724}[name]


def rounded(array: Any, dtype: str) -> Any:
    """What is left of float32 values after a passage through another type."""
    if dtype == "bfloat16":
        pairs = np.frombuffer(make.encoded(array, dtype), np.uint8).reshape(-1, 2)
        return np.pad(pairs, ((0, 0), (2, 0))).view("<f4").reshape(array.shape)
    stored = array.astype(dtype)
    return stored if dtype == "float64" else stored.astype(np.float32)


@pytest.mark.parametrize("layout", make.LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_tensors_come_back(tmp_path: Path, dtype: str, layout: str) -> None:
    path = tmp_path / "a.ckpt"
    make.write_checkpoint(path, TINY, dtype=dtype, layout=layout, baggage=100)
    assert_tensors(read_checkpoint(path).tensors, {name: rounded(array, dtype) for name, array in WANTED.items()})


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_safetensors_equal_the_container(tmp_path: Path, dtype: str) -> None:
    make.write_checkpoint(tmp_path / "a.safetensors", TINY, dtype=dtype)
    make.write_checkpoint(tmp_path / "a.ckpt", TINY, dtype=dtype)
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert_tensors(found.tensors, read_checkpoint(tmp_path / "a.ckpt").tensors)
    assert found.hyper_parameters is None


def test_safetensors_may_carry_hyper_parameters(tmp_path: Path) -> None:
    path = tmp_path / "weights"  # the contents decide, not the suffix
    make.write_safetensors(path, WANTED, metadata={"hyper_parameters": json.dumps(make.hyper_parameters(TINY))})
    assert read_checkpoint(path).hyper_parameters == make.hyper_parameters(TINY)
    make.write_safetensors(path, WANTED, metadata={"hyper_parameters": "{"})
    refused(path, "malformed")


@pytest.mark.parametrize("hparams", ["dataclass", "dict"])
def test_hyper_parameters_come_back_plain(tmp_path: Path, hparams: str) -> None:
    path = tmp_path / "a.ckpt"
    make.write_checkpoint(path, TINY, hparams=hparams)
    assert read_checkpoint(path).hyper_parameters == make.hyper_parameters(TINY)
    make.write_checkpoint(path, TINY, hparams="none")
    assert read_checkpoint(path).hyper_parameters is None


def test_sha256_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    make.write_checkpoint(path, TINY)
    tool = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert read_checkpoint(path).sha256 == tool.stdout.split()[0]


@pytest.mark.parametrize("prefix", ["module.decoder.", "decoder._orig_mod.", ""])
def test_other_prefixes(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "a.pt"
    state = OrderedDict((prefix + name.removeprefix("decoder."), view) for name, view in views().items())
    state["discriminator.weight"] = views()["decoder.0.norm.bias"]
    for root in (state, {"state_dict": state}, {"epoch": 1, "model": state}):
        make.write_container(path, root)
        assert_tensors(read_checkpoint(path).tensors, WANTED)


def test_two_decoders(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    state = OrderedDict(("ema." + name, view) for name, view in views().items())
    make.write_container(path, OrderedDict({**state, **views()}))
    assert_tensors(read_checkpoint(path).tensors, WANTED)  # the plain name wins
    make.write_container(path, OrderedDict({**state, **{"b." + name: view for name, view in state.items()}}))
    refused(path, "several decoders", "ema.decoder.")


def test_what_torch_and_lightning_leave_in_a_file(tmp_path: Path) -> None:
    hidden = Global("src.other", "Thing")
    group = make.hyper_parameters(TINY)["vocoder_args"]
    scalar = Global("numpy.core.multiarray", "scalar")
    dtype = Call(Global("numpy", "dtype"), ("i8", False, True), state=(3, "<", None, None, None, -1, -1, 0))
    state = views()
    # A parameter, a tensor of an unknown dtype in the baggage, a state_dict with attributes
    key = "decoder.0.norm.weight"
    state[key] = Call(Global("torch._utils", "_rebuild_parameter"), (state[key], True, OrderedDict()))
    storage = ("storage", Global("torch", "QUInt8Storage"), "99", "cpu", 4)
    root = {
        "state_dict": Call(
            Global("collections", "OrderedDict"), items=state, state={"_metadata": OrderedDict(a={"version": 1})}
        ),
        "hyper_parameters": New(
            Global("lightning.fabric.utilities.data", "AttributeDict"),
            items={
                "vocoder_args": New(Global("argparse", "Namespace"), state=group),
                "content": New(
                    Global("omegaconf.dictconfig", "DictConfig"), state={"_content": {"a": 1}, "_parent": None}
                ),
                "rate": Call(scalar, (dtype, Call(Global("_codecs", "encode"), ("@\x1f" + "\0" * 6, "latin1")))),
                "flag": New(Global("my", "Int"), (5,)),
                "old": Call(Global("copy_reg", "_reconstructor"), (hidden, Global("__builtin__", "object"), None)),
                "path": Call(Global("pathlib", "PosixPath"), ("/", "data", "x")),
                "set": Call(Global("__builtin__", "set"), ([1, 2],)),
                "default": Call(Global("collections", "defaultdict"), (Global("__builtin__", "list"),), {"k": [1]}),
                "partial": Call(Global("functools", "partial"), (Global("torch.optim.adamw", "AdamW"),)),
                "size": Call(Global("torch", "Size"), ((1, 2),)),
                "device": Call(Global("torch", "device"), ("cpu",)),
                "dtype": Global("torch", "float32"),
                "big": 2**80,
            },
        ),
        "callbacks": {Global("my.callbacks", "Class"): New(hidden, state={"x": None})},
        "storage": storage,
    }
    path = tmp_path / "a.ckpt"
    make.write_container(path, root)
    found = read_checkpoint(path)
    assert_tensors(found.tensors, WANTED)
    assert found.hyper_parameters == {
        "vocoder_args": group,
        "content": {"a": 1},
        "rate": 8000,
        "flag": 5,
        "old": {},
        "path": ["/", "data", "x"],
        "set": [1, 2],
        "default": {"k": [1]},
        "partial": "torch.optim.adamw.AdamW",
        "size": [1, 2],
        "device": "cpu",
        "dtype": "torch.float32",
        "big": 2**80,
    }


def test_untyped_storage_and_tensor_v3(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    state = views()
    bias = state["decoder.1.out.bias"]
    writer = Pickler()
    args: tuple[Any, ...] = (
        bias.storage,
        0,
        bias.shape,
        bias.strides,
        False,
        OrderedDict(),
        Global("torch", "float32"),
    )
    state["decoder.1.out.bias"] = Call(Global("torch._utils", "_rebuild_tensor_v3"), args)
    data = writer.dump(state)
    # The same storage without a type counts bytes
    key = str(writer.storages.index(bias.storage)).encode()
    old = b"ctorch\nFloatStorage\nX" + struct.pack("<I", len(key)) + key + b"X\x03\0\0\0cpuJ" + struct.pack("<i", 14)
    new = old.replace(b"ctorch\nFloatStorage", b"ctorch.storage\nUntypedStorage")[:-4] + struct.pack("<i", 56)
    assert data.count(old) == 1
    make.write_zip(path, data.replace(old, new), writer.storages)
    assert_tensors(read_checkpoint(path).tensors, WANTED)


def test_deflated_entries(tmp_path: Path) -> None:
    make.write_container(tmp_path / "a.pt", views(), zipfile.ZIP_DEFLATED)
    assert_tensors(read_checkpoint(tmp_path / "a.pt").tensors, WANTED)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change the entries of a container."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)


def test_byteorder(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    make.write_container(path, views())

    def swap(entries: dict[str, bytes]) -> None:
        for name, data in entries.items():
            if name.startswith("a/data/"):
                entries[name] = np.frombuffer(data, "<f4").astype(">f4").tobytes()
        entries["a/byteorder"] = b"big"

    rewritten(path, swap)
    assert_tensors(read_checkpoint(path).tensors, WANTED)
    rewritten(path, lambda entries: entries.pop("a/byteorder"))
    assert not np.array_equal(read_checkpoint(path).tensors["decoder.1.out.bias"], WANTED["decoder.1.out.bias"])
    rewritten(path, lambda entries: entries.update({"a/byteorder": b"middle"}))
    refused(path, "byteorder")


# ---- memory ------------------------------------------------------------------------------------


def test_memory_is_the_decoders(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    make.write_checkpoint(path, TINY, baggage=10_000_000)
    assert path.stat().st_size > 200_000_000
    tracemalloc.start()
    read_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_memory_of_a_decoder_inside_a_large_storage(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    state = make.laid_out(WANTED, "float32", "shared")
    for view in state.values():
        view.storage.zeros = 10_000_000  # before the data
        view.offset += 10_000_000
    make.write_container(path, {"state_dict": state})
    tracemalloc.start()
    found = read_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_tensors(found.tensors, WANTED)
    assert peak < 8_000_000


def test_resident_memory_with_safetensors(tmp_path: Path) -> None:
    small, large = tmp_path / "small.safetensors", tmp_path / "large.safetensors"
    make.write_safetensors(small, WANTED)
    length = struct.unpack("<Q", small.read_bytes()[:8])[0]
    header = json.loads(small.read_bytes()[8 : 8 + length])
    end = max(entry["data_offsets"][1] for entry in header.values())
    header["other"] = {"dtype": "F32", "shape": [50_000_000], "data_offsets": [end, end + 200_000_000]}
    text = json.dumps(header).encode()
    with large.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + small.read_bytes()[8 + length :])
        file.truncate(file.tell() + 200_000_000)
    program = (
        "import resource, sys; from pathlib import Path; from compiler.checkpoint import read_checkpoint\n"
        "def peak(path): read_checkpoint(Path(path)); return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(sys.argv[1]); print(peak(sys.argv[2]) - before)"
    )
    command = [sys.executable, "-c", program, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert int(done.stdout) < 32_000  # KiB


# ---- nothing is run ----------------------------------------------------------------------------

EVENTS: list[str] | None = None
DANGEROUS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "exec", "compile", "pickle.find_class")


def listen(event: str, _: Any) -> None:
    if EVENTS is not None and event.startswith(DANGEROUS):
        EVENTS.append(event)


sys.addaudithook(listen)


def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


MALICIOUS: dict[str, tuple[Callable[[str, str], bytes], str]] = {
    # how -> (pickle made of a shell command and a Python expression, a word of the message)
    "reduce": (lambda shell, _: b"\x80\x02cos\nsystem\n" + text(shell) + b"\x85R.", "os.system"),
    "posix": (lambda shell, _: b"\x80\x02cposix\nsystem\n" + text(shell) + b"\x85R.", "posix.system"),
    "eval": (lambda _, code: b"\x80\x02cbuiltins\neval\n" + text(code) + b"\x85R.", "builtins.eval"),
    "python 2": (lambda _, code: b"\x80\x02c__builtin__\neval\n" + text(code) + b"\x85R.", "builtins.eval"),
    "stack global": (
        lambda shell, _: b"\x80\x04" + text("os") + text("system") + b"\x93" + text(shell) + b"\x85R.",
        "os.",
    ),
    "inst": (lambda shell, _: b"(" + text(shell) + b"ios\nsystem\n.", "INST"),
    "inst of nothing": (lambda *_: b"(ievil_module\nrun\n.", "INST"),
    "obj": (lambda shell, _: b"\x80\x02(cos\nsystem\n" + text(shell) + b"o.", "OBJ"),
    "getattr": (
        lambda shell, _: (
            b"\x80\x02c__builtin__\ngetattr\ncos\nos\n" + text("system") + b"\x86R" + text(shell) + b"\x85R."
        ),
        "getattr",
    ),
    "dotted": (
        lambda shell, _: b"\x80\x04" + text("os") + text("path.os.system") + b"\x93" + text(shell) + b"\x85R.",
        "os.",
    ),
    "import": (lambda *_: b"\x80\x02cevil_module\nrun\n)R.", "evil_module.run"),
    "rebuild from type": (
        lambda shell, _: b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN" + text(shell) + b"\x85NtR.",
        "os.system",
    ),
    "partial": (
        lambda shell, _: b"\x80\x02cfunctools\npartial\ncos\nsystem\n\x85R" + text(shell) + b"\x85R.",
        "no global",
    ),
    "setstate": (
        lambda shell, _: (
            b"\x80\x02cevil_module\nA\n)\x81}" + text("__setstate__") + b"cos\nsystem\nsb" + text(shell) + b"b0N."
        ),
        "no dict",
    ),
    "build on a string": (lambda *_: text("abc") + b"}b.", "no object"),
    "build on a global": (lambda *_: b"cos\nenviron\n}b.", "no object"),
    "setitem on a global": (lambda *_: b"cos\nenviron\n" + text("A") + text("B") + b"s.", "item assignment"),
    "append on a global": (lambda *_: b"csys\npath\n" + text("A") + b"a.", "append"),
    "extension": (lambda *_: b"\x80\x02\x82\x01)R.", "EXT1"),
    "extension 2": (lambda *_: b"\x80\x02\x83\x01\x00)R.", "EXT2"),
    "extension 4": (lambda *_: b"\x80\x02\x84\x01\x00\x00\x00)R.", "EXT4"),
    "buffer": (lambda *_: b"\x80\x05\x97.", "NEXT_BUFFER"),
    "text persistent id": (lambda *_: b"Pos.system\n.", "persistent id"),
    "persistent id of a string": (lambda *_: text("storage") + b"Q.", "persistent id"),
    "persistent id of a call": (
        lambda shell, _: b"(" + text("storage") + b"cos\nsystem\n" + text(shell) * 3 + b"tQ.",
        "storage",
    ),
    "key without end": (lambda *_: b"}N\x85" + b"2\x86" * 200 + b"Ns.", "no decoder"),
}


@pytest.mark.parametrize("how", MALICIOUS)
def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    global EVENTS  # noqa: PLW0603
    path = tmp_path / "a.ckpt"
    ran = marker(tmp_path)
    (tmp_path / "evil_module.py").write_text(f"open({str(ran)!r}, 'w')\ndef run(): pass\nclass A: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    build, word = MALICIOUS[how]
    make.write_zip(path, build(f"touch {ran}", f"open({str(ran)!r}, 'w')"), [])
    modules = set(sys.modules)
    EVENTS = []
    try:
        refused(path, word)
        assert EVENTS == []
    finally:
        EVENTS = None
    assert set(sys.modules) == modules
    assert not ran.exists()


def test_the_proof_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle  # noqa: PLC0415

    global EVENTS  # noqa: PLW0603
    ran = marker(tmp_path)
    EVENTS = []
    try:
        pickle.loads(MALICIOUS["reduce"][0](f"touch {ran}", ""))
        assert "os.system" in EVENTS
    finally:
        EVENTS = None
    assert ran.exists()


def test_a_call_hidden_in_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    root = make.lightning(TINY, views())
    root["callbacks"] = {"x": [Call(Global("os", "system"), (f"touch {marker(tmp_path)}",))]}
    make.write_container(path, root)
    refused(path, "os.system", "nothing was run")
    assert not marker(tmp_path).exists()


# ---- bad files ---------------------------------------------------------------------------------


def test_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    refused(path, "No such file")
    refused(tmp_path, "holds no checkpoint", "pytorch_model.bin")
    for data, word in (
        (b"", "empty"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M", "torch >= 1.6"),
        (random.Random(1).randbytes(5000), "zip container"),
        (b"PK\x03\x04" + bytes(200), "zip"),
        (b"PK\x05\x06" + bytes(18), "data.pkl"),
        (b"\x10\0\0\0\0\0\0\0{" + bytes(40), "malformed"),
    ):
        path.write_bytes(data)
        refused(path, word)
    (tmp_path / "a.safetensors").write_bytes(b"")
    refused(tmp_path / "a.safetensors")


def test_damaged_containers(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"

    def fresh() -> bytes:
        make.write_container(path, views())
        return path.read_bytes()

    data = fresh()
    bias = WANTED["decoder.1.out.bias"].tobytes()
    assert data.count(bias) == 1
    path.write_bytes(data.replace(bias, bias[:-1] + bytes([bias[-1] ^ 1])))
    refused(path, "CRC")
    # The flag of encryption, in the local header and in the directory
    local, directory = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    flagged = bytearray(data)
    flagged[local + 6] |= 1
    flagged[directory + 8] |= 1
    path.write_bytes(flagged)
    refused(path, "encrypted")
    changes: tuple[tuple[Callable[[dict[str, bytes]], object], str], ...] = (
        (lambda entries: entries.pop("a/data.pkl"), "data.pkl"),
        (lambda entries: entries.pop("a/data/3"), "a/data/3"),
        (lambda entries: entries.update({"a/data/3": b"123"}), "bytes"),
        (lambda entries: entries.update({"b/data.pkl": b"N."}), "2 entries"),
        (lambda entries: entries.update({"a/data.pkl": b"N."}), "no dict"),
        (lambda entries: entries.update({"a/data.pkl": b""}), "malformed pickle"),
        (lambda entries: entries.update({"a/data.pkl": b"(" * 100_000 + b"."}), "malformed pickle"),
        (lambda entries: entries.update({"a/data.pkl": b"]" + b"\x85" * 200_000 + b"."}), "no dict"),
        (lambda entries: entries.update({"a/data.pkl": b"}."}), "no decoder"),
    )
    for change, word in changes:
        fresh()
        rewritten(path, change)
        refused(path, word)


def with_tensor(path: Path, tensor: Any, name: str = "decoder.1.out.bias") -> None:
    state = views()
    state[name] = tensor
    make.write_container(path, {"state_dict": state})


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (-1, (4,), (1,)),
        (0, (15,), (1,)),
        (1, (14,), (1,)),
        (0, (4,), (5,)),
        (0, (4,), (-1,)),
        (13, (-4,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2**62, 2**62), (1, 1)),
        (0, (2**62,), (0,)),
        (2**62, (1,), (1,)),
        (0, (2**70,), (1,)),
        (0, (100_000, 100_000), (0, 0)),
        (0, (1.5,), (1,)),
        (0, ("4",), (1,)),
        (0, "14", (1,)),
    ],
)
def test_views_outside_their_storage(tmp_path: Path, offset: int, shape: Any, strides: Any) -> None:
    path = tmp_path / "a.pt"
    with_tensor(path, Tensor(Storage("float32", bytes(56)), offset, shape, strides))
    tracemalloc.start()
    refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_tensors_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with_tensor(path, make.plain_tensor(np.ones(14), "int64"))
    refused(path, "decoder.1.out.bias", "long")
    with_tensor(path, 5)
    refused(path, "decoder.1.out.bias", "no dense tensor")
    with_tensor(path, Call(Global("torch._utils", "_rebuild_sparse_tensor"), (1, 2)))
    refused(path, "decoder.1.out.bias", "no dense tensor")
    good = make.plain_tensor(np.ones(14))
    args: tuple[Any, ...] = (good.storage, 0, (14,), (1,), False, OrderedDict(), {"neg": True})
    with_tensor(path, Call(Global("torch._utils", "_rebuild_tensor_v2"), args))
    refused(path, "decoder.1.out.bias", "negated")
    with_tensor(path, good, "decoder.a\nb")
    refused(path)
    make.write_safetensors(tmp_path / "a.safetensors", WANTED, "int64")
    refused(tmp_path / "a.safetensors", "I64")


def test_hyper_parameters_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    writer = Pickler()
    writer.write({"state_dict": views()})
    # Each list holds the one before twice: 2^40 values when written out
    double = (b"(h" + bytes([i]) + b"h" + bytes([i]) + b"lq" + bytes([i + 1]) + b"0" for i in range(40))
    deep = b"]q\x000" + b"".join(double) + b"h" + bytes([40])
    data = bytes(writer.out) + text("hyper_parameters") + b"}" + text("a") + deep + b"ss."
    make.write_zip(path, data, writer.storages)
    refused(path, "nested without end")
    # A cycle is cut
    data = bytes(writer.out) + text("hyper_parameters") + b"}q\x00" + text("a") + b"h\x00ss."
    make.write_zip(path, data, writer.storages)
    assert read_checkpoint(path).hyper_parameters == {"a": "Dict"}


# ---- bombs: files of 250 KB that would take minutes or gigabytes ---------------------------------


def called(name: str) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode()


def shared(value: bytes, other: bytes, part: bytes) -> bytes:
    """A list of a part as often as it fits, which may take two values from the memo, h\0 and h\1."""
    return value + b"q\0000" + other + b"q\0010](" + part * ((SIZE - len(value)) // len(part)) + b"e"


def copies(value: bytes, function: str) -> bytes:
    """A list of calls of a function with one and the same value."""
    return shared(value + b"\x85", called(function), b"h\1h\0R")


def colliding(count: int) -> list[int]:
    """Integers of one hash."""
    return [i * (2**61 - 1) for i in range(count)]


NONES = b"](" + b"N" * 120_000 + b"e"
ONES = b"(" + b"K\1" * 60_000 + b"t"
ITEMS = b"}(" + b"".join(text(str(i)) + b"N" for i in range(11_000)) + b"u"
FROM_TYPE = called("torch._tensor._rebuild_from_type_v2")
STORAGE = b"(" + text("storage") + called("torch.FloatStorage") + text("0") + text("cpu") + b"K\1tQ"
BOMBS = {
    **{name: copies(NONES, name) for name in ("builtins.list", "builtins.tuple", "builtins.set", "torch.Size")},
    **{name: copies(ITEMS, name) for name in ("builtins.dict", "collections.OrderedDict")},
    "_codecs.encode": copies(text("x" * 120_000) + text("latin1"), "_codecs.encode").replace(b"\x85", b"\x86", 1),
    "pathlib.Path": copies(2 * text("x" * 30_000), "pathlib.Path").replace(b"\x85", b"\x86", 1),
    "copyreg.__newobj__": shared(called("a.A") + ONES[1:], called("copyreg.__newobj__"), b"h\1h\0R").replace(
        b"c", b"(c", 1
    ),
    "one list, many times": shared(NONES, b"N", b"h\0"),
    "one dict, many times": shared(ITEMS, b"N", b"h\0"),
    "one state of many objects": shared(ITEMS, called("a.A"), b"h\1)\x81h\0b"),
    "one tuple of arguments": shared(ONES, called("a.A"), b"h\1h\0\x81"),
    "one long key": shared(b"}" + text("x" * 120_000) + b"Ns", b"N", b"h\0"),
    "one size of many tensors": shared(
        b"(" + STORAGE + b"K\0" + ONES + b")t", called("torch._utils._rebuild_tensor"), b"h\1h\0R0"
    ),
    "storages as keys": text("x" * 120_000)
    + b"q\0000}("
    + (b"(" + text("storage") + called("torch.FloatStorage") + b"h\0N" + b"K\1tQq\1N")
    + b"h\1N" * 30_000
    + b"u",
    "calls within calls": shared(
        FROM_TYPE + b"q\0020" + b"(h\2N" * 400 + b"(" + called("collections.OrderedDict") + b"N)Nt" + b"Nt" * 400,
        b"h\2",
        b"h\1h\0R",
    ),
    "colliding keys": b"}("
    + b"".join(b"\x8a\x0a" + i.to_bytes(10, "little") + b"q\0N" for i in colliding(8000))
    + b"u"
    + b"h\0Ns" * 32_000,
    "colliding memo": b"N" + b"".join(b"p%d\n" % i for i in colliding(11_500)),
    "long names": shared(text("x" * 120_000), b"N", b"h\0h\0\x93"),
    "deep tuples": b"N" + b"\x85" * SIZE,
    "deep lists": b"]" * (SIZE // 2) + b"a" * (SIZE // 2 - 1),
    "deep objects": called("a.A") + b"q\0)" + b"\x81\x85q\0010h\0h\1" * (SIZE // 10) + b"\x81",
    "200 000 bytes of a number": b"\x8b" + struct.pack("<i", 200_000) + b"\x7f" * 200_000,
    "5000 digits of a number": b"\x8b" + struct.pack("<i", 2000) + b"\x7f" * 2000,
    "200 000 digits of a number": b"L" + b"7" * 200_000 + b"L\n",
    "bytes beyond the end": b"\x96" + struct.pack("<Q", 1 << 40),
    "a string beyond the end": b"\x8d" + struct.pack("<Q", 1 << 40),
    "a frame beyond the end": b"\x95" + struct.pack("<Q", (1 << 63) - 1) + b"N",
}


def test_bombs_in_a_pickle(tmp_path: Path) -> None:
    writer = Pickler()
    writer.write(make.lightning(TINY, views(), "dict"))
    paths = []
    for name, bomb in BOMBS.items():
        # Among what nobody needs, and as a hyper-parameter that a message would show
        shown = text("hyper_parameters") + b"}" + text("sample_rate") + bomb + b"s"
        for place, data in (("baggage", text("callbacks") + bomb), ("hyper-parameter", shown)):
            paths.append(tmp_path / f"{name}, {place}.ckpt")
            make.write_zip(paths[-1], bytes(writer.out) + data + b"s.", writer.storages)
    for path, line in zip(paths, defused(*paths), strict=True):
        print(path.name, "->", line.removeprefix(str(path)))


def test_bombs_in_other_places(tmp_path: Path) -> None:
    many = b"}(" + b"".join(text(f"{i}.0.embed") + b"N" for i in range(8000)) + b"u"
    states = many + b"q\0000}(" + b"".join(text(str(i)) + b"h\0" for i in range(10_000)) + b"u."
    make.write_zip(tmp_path / "one state many times.pt", states, [])
    zeros = b"](" + b"N" * 10_000_000 + b"e."
    make.write_zip(tmp_path / "a deflated pickle.pt", zeros, [], zipfile.ZIP_DEFLATED)
    with_tensor(tmp_path / "a wide view.pt", Tensor(Storage("float16", bytes(2)), 0, (120_000_000,), (0,)))
    state = {f"decoder.0.convnext.{i}.{'x' * 8}": np.zeros(0, np.float32) for i in range(2000)}
    make.write_safetensors(tmp_path / "many halves.safetensors", {**WANTED, **state}, "bfloat16")
    paths = sorted(tmp_path.iterdir())
    words = ("too many for a pickle", "ask for", "sample_rate", "no decoder")
    for line, word in zip(defused(*paths), words, strict=True):
        assert word in line


def survives(path: Path) -> Checkpoint | None:
    """Read and build; anything but success or one clear line is a failure."""
    try:
        checkpoint = read_checkpoint(path)
        read_network(checkpoint, {})
    except CompileError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{path}: ")
        return None
    return checkpoint


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_truncated_and_flipped_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    make.write_checkpoint(path, TINY)
    data = path.read_bytes()
    rng = random.Random(5)
    for length in sorted(rng.sample(range(len(data)), 120)):
        path.write_bytes(data[:length])
        assert survives(path) is None, length
    for _ in range(200):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        survives(path)


@pytest.mark.filterwarnings("ignore:invalid escape")
def test_flipped_pickles(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    writer = Pickler()
    data = writer.dump(make.lightning(TINY, views()))
    rng = random.Random(6)
    passed = 0
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        make.write_zip(path, bytes(changed), writer.storages)
        passed += survives(path) is not None
    assert 0 < passed < 400  # the flips reach both ends
    for length in rng.sample(range(len(data)), 100):
        make.write_zip(path, data[:length], writer.storages)
        assert survives(path) is None
