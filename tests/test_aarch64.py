"""The AArch64 object, cross-compiled and run by qemu-user: the same bits as on x86-64, and the same tests.

The proofs of its promises, for every precision, are in test_proofs.py.
"""

import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.instructions import disassemble, inner_loops
from compiler.formats import FORMATS
from tests import aarch64, builds, vocoders
from tests.aarch64 import BASELINE, CROSS, GCC, QEMU, Emulated, build_cross
from tests.objects import (
    ALL,
    LEAST,
    ROOT,
    SENTENCE,
    Floats,
    Vocoder,
    build_c,
    every,
    golden,
    random_splits,
    run_c,
    run_compiler,
    run_ok,
    some_audio,
    some_mel,
    source,
    team_and_library,
)
from tests.reference import snr_db
from tests.vocoders import emulated

CLANG = "clang --target=aarch64-linux-gnu"
NAMES = every(("small", "odd"), ("odd",))
ISAS = ("neon", "portable")

pytestmark = pytest.mark.skipif(bool(aarch64.MISSING), reason=aarch64.MISSING)


@pytest.fixture(scope="module")
def objects() -> dict[str, Path]:
    """The directories of `small` and `odd`, compiled for AArch64."""
    return {name: vocoders.directory(f"{name}-aarch64") for name in NAMES}


@pytest.fixture(scope="module")
def x86_objects() -> dict[str, Path]:
    """The same, compiled for this CPU."""
    return {name: vocoders.directory(name) for name in NAMES}


# ---- the same bits as on x86-64 ----


@emulated
def test_it_has_neon_and_plain_c(vocoder: Vocoder) -> None:
    assert vocoder.targets == ["portable", "neon"]
    assert vocoder.report["targets"] == ["portable", "neon"]


@emulated
def test_audio_is_close_to_the_truth_and_does_not_depend_on_the_split(vocoder: Vocoder) -> None:
    mel = golden(vocoder.name, "mel")
    audio = vocoder.decode(mel)
    assert snr_db(golden(vocoder.name, "audio64"), audio) >= {"small": 111.0, "odd": 89.0}[vocoder.name]
    mel = some_mel(37, vocoder.mels)
    expected = vocoder.decode(mel).tobytes()
    for target, largest in itertools.product(vocoder.targets, (1, 2, 3, 4, 5, 6, 7, 9, 13, 16)):
        assert vocoder.decode(mel, largest, target).tobytes() == expected, f"chunk {largest}, {target}"
        splits = random_splits(len(mel), largest, seed=largest)
        assert vocoder.decode(mel, splits, target).tobytes() == expected, f"split {splits}, {target}"


@emulated
def test_log_mel_does_not_depend_on_the_split_nor_on_the_target(vocoder: Vocoder) -> None:
    audio = some_audio(12 * vocoder.hop + 11)
    expected = vocoder.log_mel(audio).tobytes()
    for target, largest in itertools.product(vocoder.targets, (7, vocoder.hop - 1, vocoder.hop, 3 * vocoder.hop)):
        pieces = [0, 1, *random_splits(len(audio) - 1, largest, seed=largest)]
        assert vocoder.log_mel(audio, pieces, target).tobytes() == expected, f"pieces of 0 .. {largest}, {target}"


@pytest.fixture(scope="module")
def x86_audio(x86_objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Floats]:
    """The golden mels' audio, by the tools on this machine."""
    folder = tmp_path_factory.mktemp("x86")
    return {name: decode([x86_objects[name] / name], name, folder / f"{name}.npy") for name in NAMES}


def decode(tool: list[Any], name: str, output: Path, *options: object) -> Floats:
    run_ok([*tool, "decode", *options, ROOT / "tests" / "golden" / f"{name}.mel.npy", output])
    return np.asarray(np.load(output), np.float32)


@pytest.mark.parametrize(
    ("name", "isa"), every([*itertools.product(NAMES, ISAS)], [("odd", "neon"), ("odd", "portable")])
)
def test_the_tool_decodes_to_the_bits_of_x86(
    objects: dict[str, Path], x86_audio: dict[str, Floats], tmp_path: Path, name: str, isa: str
) -> None:
    tool = [QEMU, objects[name] / name]
    for chunk, threads in every(((1, 1), (2, 2), (5, 1), (16, 2)), ((5, 1), (16, 2))):
        options = ("--target", isa, "--chunk", chunk, "--threads", threads)
        audio = decode(tool, name, tmp_path / "audio.npy", *options)
        assert audio.tobytes() == x86_audio[name].tobytes(), f"chunk {chunk}, {threads} threads"


@pytest.mark.skipif(not ALL, reason="builds a larger model: make test-all")
def test_the_sentences_log_mel_has_the_bits_of_x86(
    objects: dict[str, Path], x86_objects: dict[str, Path], tmp_path: Path
) -> None:
    run_ok([QEMU, objects["small"] / "small", "mel", SENTENCE, tmp_path / "aarch64.npy"])
    run_ok([x86_objects["small"] / "small", "mel", SENTENCE, tmp_path / "x86.npy"])
    assert (tmp_path / "aarch64.npy").read_bytes() == (tmp_path / "x86.npy").read_bytes()


@pytest.mark.parametrize(
    ("precision", "target", "compiler"),
    [
        *(("f32", "aarch64", CLANG), ("w8", "aarch64", GCC), ("w4", "aarch64-dotprod", GCC)),
        *every([("w8", "aarch64-dotprod", CLANG), ("w16", "aarch64", GCC)], []),
        *every([("f16", "aarch64", GCC), ("f32", "aarch64-dotprod", GCC), ("w8a8", "aarch64", GCC)], []),
        *every([("w8a8", "aarch64-dotprod", GCC), ("w4", "aarch64", CLANG)], []),
    ],
)
def test_precisions_and_compilers(odd_checkpoint: Path, precision: str, target: str, compiler: str) -> None:
    """The bits of x86-64, for each precision and with another compiler."""
    if shutil.which(compiler.split(maxsplit=1)[0]) is None:
        pytest.skip(f"no {compiler} here")
    options = ("--chunk", "5", "--precision", precision, "--target")
    portable = builds.library(odd_checkpoint, "odd", *options, "portable")
    cross = builds.library(odd_checkpoint, "odd", *options, target, make=(f"CC={compiler}", "EXTRA_CFLAGS=-O1"))
    mel = golden("odd", "mel")[:40]
    expected = Vocoder(portable, "odd").decode(mel).tobytes()
    cpu = "max" if has_dot_products(cross) else BASELINE
    with contextlib.closing(Emulated(cross, "odd", cpu)) as vocoder:
        assert [vocoder.selftest(isa) for isa in vocoder.targets] == [0, 0]
        for isa, chunk in itertools.product(vocoder.targets, every((1, 2, 3, 4, 5), (1, 4, 5))):
            assert vocoder.decode(mel, chunk, isa).tobytes() == expected, f"chunk {chunk}, {isa}"
    assert has_dot_products(cross) == (FORMATS[precision].is_integer and target == "aarch64-dotprod")


def has_dot_products(directory: Path) -> bool:
    """Whether the object that was built there multiplies by `sdot`."""
    return "\tsdot\t" in run_ok([f"{CROSS}objdump", "-d", directory / "odd.o"])


def test_tiles_keep_their_sums_in_registers(odd_checkpoint: Path) -> None:
    """As GCC compiles them; and with dot products, three quarters of the instructions or less."""
    loops = {
        target: inner_loops(disassemble(odd_checkpoint, target, "w8")) for target in ("aarch64", "aarch64-dotprod")
    }
    for target, found in loops.items():
        assert len({loop.tile.split("_")[0] for loop in found}) == 5, "a product is missing"
        assert [loop for loop in found if loop.stack or not loop.multiply_adds] == [], target

    def speed(target: str, rows: int) -> float:
        tiles = [loop for loop in loops[target] if loop.tile.startswith(f"contract_{rows}x")]
        return max(loop.multiply_adds / loop.instructions for loop in tiles)

    wanted = {"aarch64": (2.0, 2.5, 2.7, 3.0, 3.1, 2.9), "aarch64-dotprod": (2.6, 3.9, 4.3, 4.4, 4.7, 4.6)}
    for target, speeds in wanted.items():
        for rows, least in enumerate(speeds, 1):
            assert speed(target, rows) >= least, f"{target}, {rows} rows"


def test_dot_products(odd_checkpoint: Path, tmp_path: Path) -> None:
    """The bits of plain C for any chunk and number of workers; batches are test_api.c's."""
    options = ("--chunk", 16, "--precision", "w8", "--target")
    portable = Vocoder(builds.library(odd_checkpoint, "odd", *options, "portable"), "odd")
    directory = builds.model(odd_checkpoint, "odd", *options, "aarch64-dotprod")
    under = [QEMU, "-cpu", "max"]
    expected = portable.decode(golden("odd", "mel")).tobytes()
    some = [(chunk, 1 + chunk % 2) for chunk in (3, 16)]
    for chunk, threads in every(list(itertools.product(range(1, 17), (1, 2))), some):
        of_call = ("--target", "neon", "--chunk", chunk, "--threads", threads)
        audio = decode([*under, directory / "odd"], "odd", tmp_path / "audio.npy", *of_call)
        assert audio.tobytes() == expected, f"chunk {chunk}, {threads} threads"
    inputs = team_and_library(directory, "odd")
    run_c(build_cross("test_api.c", tmp_path, directory, "odd", inputs=inputs), under=under)
    run_c(build_cross("test_stack.c", tmp_path, directory, "odd"), under=under)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_tool_benches(objects: dict[str, Path], threads: int) -> None:
    options = ("--runs", 1, "--warmup", 0, "--frames", 10, "--threads", threads)
    figures = json.loads(run_ok([QEMU, objects["odd"] / "odd", "bench", *options, "--json"]))
    assert figures["target"] == "neon" and figures["threads"] == threads


# ---- the C programs ----


@pytest.mark.parametrize("name", NAMES)
def test_the_api_keeps_its_word(objects: dict[str, Path], tmp_path: Path, name: str) -> None:
    inputs = team_and_library(objects[name], name)
    run_c(build_cross("test_api.c", tmp_path, objects[name], name, inputs=inputs), under=[QEMU])


@pytest.mark.parametrize("name", NAMES)
def test_the_stack_is_as_deep_as_stated(objects: dict[str, Path], tmp_path: Path, name: str) -> None:
    run_c(build_cross("test_stack.c", tmp_path, objects[name], name), under=[QEMU])


def test_vector_math_keeps_its_word_and_has_the_bits_of_x86(
    objects: dict[str, Path], x86_objects: dict[str, Path], tmp_path: Path
) -> None:
    count = "-DCOUNT=0x20000"  # qemu takes its time
    neon = build_cross("test_math.c", tmp_path / "neon", objects["odd"], "odd", isa="neon", flags=[count])
    flags = ["-O2", "-mfma", count]
    plain = build_c("test_math.c", tmp_path / "x86", x86_objects["odd"], "odd", isa="portable", flags=flags)
    expected = hashes(run_c(plain))
    assert len(expected) == 5
    assert hashes(run_c(neon, under=[QEMU])) == expected


def hashes(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("hash")]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_products_by_the_book(objects: dict[str, Path], tmp_path: Path, name: str, isa: str) -> None:
    run_c(build_cross("test_products.c", tmp_path, objects[name], name, inputs=[], isa=isa), under=[QEMU])


@pytest.mark.parametrize("n_fft", every([2, 3, 15, 64, 75, 128, 240, 1024], [2, 75, 240, 1024]))
def test_fft_by_the_book(tmp_path: Path, n_fft: int) -> None:
    checkpoint = builds.checkpoint({**LEAST, "n_fft": n_fft, "hop_length": 1 + n_fft // 3})
    directory = builds.sources(checkpoint, "tiny", "--chunk", 1, "--target", "aarch64")
    tables = [source(directory, "tiny_tables.c")]
    run_c(build_cross("test_fft.c", tmp_path, directory, "tiny", inputs=tables, isa="neon"), under=[QEMU])


# ---- the compiler ----


def test_a_missing_cross_compiler_is_named(odd_checkpoint: Path, tmp_path: Path) -> None:
    """With nothing but make in the path; the sources alone need no compiler at all."""
    (tmp_path / "bin").mkdir()
    make = shutil.which("make")
    assert make is not None
    (tmp_path / "bin" / "make").symlink_to(make)
    environment = {**os.environ, "PATH": str(tmp_path / "bin")}
    arguments = (odd_checkpoint, "-o", tmp_path / "out", "--target", "aarch64")
    done = run_compiler(*arguments, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"vocosc: error: {GCC}: not found; apt-get install gcc-aarch64-linux-gnu")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert run_compiler(*arguments, "--sources-only", env=environment).returncode == 0
