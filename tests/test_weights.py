"""--weights blob: the weights in a file of their own, used in place, and refused unless every byte is right."""

import json
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import builds
from tests.objects import (
    BAD_ARGUMENT,
    BAD_SELFTEST,
    BAD_STREAM,
    BAD_TARGET,
    BAD_WEIGHTS,
    TINY,
    Separate,
    Vocoder,
    golden,
    run_compiler,
    run_ok,
    some_mel,
    symbols,
    weights_file,
)

Bytes = NDArray[np.uint8]


def aligned(data: bytes, offset: int = 0) -> Bytes:
    """A writable copy, `offset` bytes behind a multiple of 64."""
    memory = np.zeros(len(data) + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return memory[start : start + len(data)]


def refit(data: bytes, offset: int, change: bytes) -> bytes:
    """With other bytes at an offset, and a checksum that says so."""
    data = data[:offset] + change + data[offset + len(change) :]
    return data[:20] + struct.pack("<I", zlib.crc32(data[24:])) + data[24:]


def build(checkpoint: Path, name: str, *options: object) -> Separate:
    return Separate(builds.library(checkpoint, name, "--chunk", "7", "--weights", "blob", *options), name)


@pytest.fixture(scope="module")
def separate(odd_checkpoint: Path) -> Separate:
    options = ("--chunk", "7", "--weights", "blob", "--target", "portable")
    return Separate(builds.model(odd_checkpoint, "odd", *options, light=True), "odd")


@pytest.fixture(scope="module")
def tiny() -> Separate:
    return build(builds.checkpoint(TINY), "tiny")


# ---- it is the same model ----


def test_the_audio_is_that_of_baked_weights(separate: Separate, odd: Vocoder) -> None:
    mel = golden("odd", "mel")
    expected = odd.decode(mel).tobytes()
    assert separate.decode(mel, 3).tobytes() == expected
    assert separate.selftest() == 0


@pytest.mark.parametrize("precision", ["f16", "w8", "w4"])
def test_every_precision(odd_checkpoint: Path, precision: str) -> None:
    options = ("--chunk", 7, "--precision", precision, "--target", "portable")
    baked = Vocoder(builds.library(odd_checkpoint, "odd", *options), "odd")
    separate = build(odd_checkpoint, "odd", *options)
    mel = some_mel(9, separate.mels)
    assert separate.decode(mel).tobytes() == baked.decode(mel).tobytes()
    assert separate.selftest() == 0


def test_the_object_holds_no_weights(separate: Separate) -> None:
    listing = run_ok(["size", "-A", separate.directory / "odd.o"])
    assert ".weights" not in listing
    assert separate.file.stat().st_size == 64 + separate.report["weight_bytes"]
    found = symbols(separate.directory / "odd.o")
    assert set(found["undefined"]) <= {"memcpy", "memset", "memmove"}
    assert {"odd_init_weights"} == {name for name in found["global"] if name.startswith("odd_init")}
    header = (separate.directory / "odd.h").read_text()
    assert f"#define ODD_WEIGHTS_FILE_BYTES {separate.file.stat().st_size} " in header
    assert separate.stream_bytes == separate.report["state_bytes"]


def test_other_weights_of_the_same_architecture_take_their_place(tiny: Separate) -> None:
    """The point of it: a newly trained model needs no new object."""
    new = build(builds.checkpoint(TINY, seed=77), "tiny")
    mel = some_mel(9, tiny.mels)
    before, expected = tiny.decode(mel), new.decode(mel)
    assert before.tobytes() != expected.tobytes()
    kept = tiny.weights
    try:
        tiny.weights = new.weights
        assert tiny.decode(mel).tobytes() == expected.tobytes()
        assert tiny.selftest() == 0
    finally:
        tiny.weights = kept


def test_snapshots_and_resets_keep_the_weights(tiny: Separate) -> None:
    mel = some_mel(8, tiny.mels)
    stream = tiny.stream()
    first = tiny.continue_decode(stream, mel[:3])
    snapshot = stream.copy()
    assert tiny.call("reset", stream) == 0
    assert np.array_equal(stream, tiny.stream())
    assert tiny.continue_decode(stream, mel).tobytes() == tiny.decode(mel).tobytes()
    rest = tiny.continue_decode(snapshot, mel[3:])
    assert np.concatenate([first, rest]).tobytes() == tiny.decode(mel).tobytes()


def test_a_batch_has_one_set_of_weights(tiny: Separate) -> None:
    twin = aligned(tiny.file.read_bytes())
    streams = [tiny.stream(), tiny.stream()]
    mel, audio = some_mel(2, tiny.mels), np.zeros((2, tiny.hop), np.float32)
    scratch = np.zeros(tiny.call("scratch_bytes"), np.uint8)

    def decode() -> int:
        rows = [(s.ctypes.data, mel[i:].ctypes.data, audio[i:].ctypes.data) for i, s in enumerate(streams)]
        return tiny.call("decode_batch", np.array(rows, np.uint64), 2, scratch, 1, None)

    assert decode() == tiny.hop
    assert tiny.init(twin, twin.size, streams[1]) == 0
    assert decode() == BAD_ARGUMENT


# ---- what is refused ----


def refused(vocoder: Separate, weights: Bytes | None, size: int, status: int = BAD_WEIGHTS) -> None:
    """Init refuses the weights, and leaves a stream that nothing decodes."""
    stream = np.full(vocoder.stream_bytes, 0xA5, np.uint8)
    assert vocoder.init(weights, size, stream) == status
    assert not stream.any()
    audio = np.full(vocoder.hop, 7, np.float32)
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    assert vocoder.call("decode", stream, scratch, some_mel(1, vocoder.mels), 1, audio) == BAD_STREAM
    assert not audio.any()
    assert vocoder.call("selftest", stream, scratch) == BAD_STREAM


def test_null_and_unknown_targets(tiny: Separate) -> None:
    refused(tiny, None, tiny.weights.size, BAD_ARGUMENT)
    assert tiny.call("init_weights", None, 0, tiny.weights, tiny.weights.size) == BAD_ARGUMENT
    assert tiny.call("init_weights", np.zeros(tiny.stream_bytes, np.uint8), 99, tiny.weights, 0) == BAD_TARGET


def test_misaligned(tiny: Separate) -> None:
    data = tiny.file.read_bytes()
    for offset in range(1, 64):
        refused(tiny, aligned(data, offset), len(data))
    assert tiny.init(aligned(data), len(data)) == 0


def test_cut_off_or_longer(tiny: Separate) -> None:
    """The caller states less than there should be; a partition, though, may be larger than the file."""
    data = aligned(tiny.file.read_bytes())
    for size in (0, 1, 8, 23, 24, 63, 64, 65, data.size // 2, data.size - 1):
        refused(tiny, data, size)
    assert tiny.init(aligned(data.tobytes() + b"\xff" * 100), data.size + 100) == 0


def test_every_byte_of_the_header(tiny: Separate) -> None:
    data = tiny.file.read_bytes()
    for offset in range(64):
        for bit in range(8):
            broken = aligned(data)
            broken[offset] ^= 1 << bit
            refused(tiny, broken, broken.size)


def test_bytes_of_the_tables(separate: Separate) -> None:
    """Each table's first and last byte, and a few at random."""
    data = separate.file.read_bytes()
    ends = 64 + np.cumsum([0] + [table["bytes"] for table in separate.report["tables"]])
    assert ends[-1] == len(data)
    places = {*ends[:-1].tolist(), *(ends[1:] - 1).tolist()}
    places |= set(np.random.default_rng(0).integers(64, len(data), 50).tolist())
    broken = aligned(data)
    for place in places:
        broken[place] ^= 1
        refused(separate, broken, broken.size)
        broken[place] ^= 1
    assert separate.init(broken, broken.size) == 0


def wrong_headers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that are whole, with the right checksum, but not what the object wants."""
    yield "magic", refit(data, 0, b"VOCOSCXX")
    yield "version", refit(data, 8, struct.pack("<I", 2))
    yield "byte order", refit(data, 12, struct.pack(">I", 0x01020304))
    yield "length", refit(data, 16, struct.pack("<I", len(data) - 64))
    yield "architecture", refit(data, 24, bytes(32))
    yield "big-endian", np.frombuffer(refit(data, 0, data[:8]), ">u4").astype("<u4").tobytes()
    yield "zeros", bytes(len(data))
    yield "erased flash", b"\xff" * len(data)


def test_wrong_headers(tiny: Separate) -> None:
    data = tiny.file.read_bytes()
    assert refit(data, 0, data[:8]) == data
    for what, wrong in wrong_headers(data):
        memory = aligned(wrong)
        assert tiny.init(memory, memory.size) == BAD_WEIGHTS, what
        refused(tiny, memory, memory.size)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"dim": 7}, []),
        ({"num_layers": 2}, []),
        ({"f_min": 100.0}, ["--f-min", "100"]),
        ({}, ["--hop-length", "3"]),
        ({}, ["--sample-rate", "16000", "--f-max", "4000"]),
        ({}, ["--precision", "f16"]),
        ({}, ["--precision", "w8"]),
    ],
    ids=str,
)
def test_weights_of_another_architecture(tiny: Separate, changes: dict[str, Any], options: list[str]) -> None:
    """Another size, front end or precision: even if the tables' sizes agree."""
    file = weights_file(builds.sources(builds.checkpoint({**TINY, **changes}), "tiny", *options), "tiny")
    assert file is not None
    other = aligned(file.read_bytes() + bytes(tiny.weights.size))
    refused(tiny, other, other.size)


# ---- the self-test ----


def test_the_selftest_finds_damage_done_after_init(separate: Separate) -> None:
    """In each table, somewhere that matters."""
    data = separate.file.read_bytes()
    memory = aligned(data)
    stream = separate.stream()
    scratch = np.zeros(separate.call("scratch_bytes"), np.uint8)
    assert separate.init(memory, memory.size, stream) == 0
    start = 64
    for table in separate.report["tables"]:
        memory[start + 3] ^= 0x40  # the exponent of a bias
        assert separate.call("selftest", stream, scratch) == BAD_SELFTEST, table["name"]
        memory[start + 3] ^= 0x40
        assert separate.call("selftest", stream, scratch) == 0
        start += table["bytes"]


def test_the_selftest_reads_every_weight(tiny: Separate) -> None:
    """Any weight that is not padding, of all taps: the oldest too."""
    data = tiny.file.read_bytes()
    memory = aligned(data)
    stream = tiny.stream()
    scratch = np.zeros(tiny.call("scratch_bytes"), np.uint8)
    assert tiny.init(memory, memory.size, stream) == 0
    assert tiny.call("selftest", stream, scratch) == 0
    floats = memory[64:].view(np.float32)  # f32, and no padding but zeros
    unnoticed = []
    for place in np.flatnonzero(floats):
        value = floats[place]
        floats[place] = value + 1
        if tiny.call("selftest", stream, scratch) == 0:
            unnoticed.append(int(place))
        floats[place] = value
    assert not unnoticed
    assert np.count_nonzero(floats) > 300


# ---- baked weights, and the tool ----


def test_baked_weights_are_the_same_file(separate: Separate, odd: Vocoder) -> None:
    file = weights_file(odd.directory, "odd")
    assert file is not None and file.read_bytes() == separate.file.read_bytes()
    header = run_ok(["cc", "-E", "-P", odd.directory / "odd.h"])
    assert "odd_init_weights" not in header and "odd_init_target" in header


def test_the_tool_takes_the_file_beside_it_or_another(separate: Separate, odd: Vocoder, tmp_path: Path) -> None:
    mel = golden("odd", "mel")[:20]
    np.save(tmp_path / "mel.npy", mel)
    tool, out = separate.directory / "odd", tmp_path / "out.npy"
    expected = odd.decode(mel).tobytes()
    run_ok([tool, "decode", tmp_path / "mel.npy", out])
    assert np.load(out).tobytes() == expected
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    lone = moved / "odd"
    lone.write_bytes(tool.read_bytes())
    lone.chmod(0o755)
    run_ok([lone, "decode", "--weights", separate.file, tmp_path / "mel.npy", out])
    assert np.load(out).tobytes() == expected
    assert json.loads(run_ok([lone, "info", "--json"]))["name"] == "odd"
    out.unlink()

    broken = tmp_path / "broken.bin"
    broken.write_bytes(separate.file.read_bytes()[:-1] + b"?")
    for options, words in (
        ([], ["odd_weights.bin", "No such file", "--weights"]),
        (["--weights", broken], ["broken.bin", "bad weights"]),
        (["--weights", os.devnull], ["null", "--weights"]),
    ):
        command = [lone, "decode", *options, tmp_path / "mel.npy", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert all(word in done.stderr for word in words), done.stderr
        assert not out.exists()


def test_libs_bake_their_weights(odd_checkpoint: Path, tmp_path: Path) -> None:
    for option in (["--weights", "blob"], ["--no-libc"]):
        done = run_compiler(odd_checkpoint, "-o", tmp_path / "out", "--link", "libs", *option)
        assert done.returncode == 1 and done.stderr.startswith("vocosc: error: --link libs:")
