"""The AArch64 object, cross-compiled and run by qemu-user: the same bits as on x86-64, and the same tests.

The proofs of its promises, for every precision, are in test_proofs.py.
"""

import contextlib
import itertools
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.instructions import disassemble, inner_loops
from compiler.formats import FORMATS
from tests.make_checkpoint import write_checkpoint
from tests.objects import (
    ROOT,
    SENTENCE,
    Floats,
    Vocoder,
    build_c,
    compile_model,
    compile_sources,
    golden,
    make_library,
    run_c,
    run_compiler,
    run_ok,
    some_audio,
    some_mel,
)
from tests.reference import snr_db
from tests.test_kernels import TINY
from tests.test_linking import (  # noqa: F401 these run again here, on what `vocoder` is below
    test_nothing_is_writable,
    test_only_memory_functions_are_needed,
    test_the_global_symbols_are_the_functions_of_the_header,
    test_the_report_tells_the_tables_sizes,
    test_the_stack_is_not_executable,
)
from tests.test_mel import (  # noqa: F401
    test_audio_to_mel_to_audio_chunk_by_chunk,
    test_bad_audio_gives_silence_and_leaves_the_stream_alone,
    test_int16_is_float,
    test_log_mel_is_as_close_to_the_truth_as_promised,
    test_silence_is_the_square_roots_floor,
    test_streams_are_independent_and_can_be_copied_and_reset,
    test_there_are_as_many_frames_as_hops_begun,
)
from tests.test_object import (  # noqa: F401
    random_splits,
    test_a_bad_mel_gives_silence_and_leaves_the_stream_alone,
    test_a_copied_stream_resumes,
    test_extreme_mels_give_finite_audio,
    test_flush_gives_the_rest_of_the_overlap_add,
    test_flush_is_what_silence_would_add_nothing_to,
    test_int16_is_the_float_rounded_and_clipped,
    test_reset_in_mid_utterance,
    test_the_golden_audio_has_one_hash_on_every_target,
    test_two_streams_interleaved,
)

STAND_INS = ROOT / "tests" / "stand_ins"
GCC = "aarch64-linux-gnu-gcc"
QEMU = "qemu-aarch64"
CLANG = "clang --target=aarch64-linux-gnu"
BASELINE = "cortex-a53"  # the first AArch64: any object but those of aarch64-dotprod must run on it
NAMES = ("small", "odd")
ISAS = ("neon", "portable")

EMULATED = bool(shutil.which(GCC) and shutil.which(QEMU))

pytestmark = pytest.mark.skipif(not EMULATED, reason=f"no {GCC} or no {QEMU} here: .ci/setup test")


def build_cross(
    program: str,
    build: Path,
    directory: Path,
    name: str,
    *,
    flags: Iterable[object] = (),
    inputs: Iterable[Path] | None = None,
    isa: str | None = None,
) -> Path:
    """As build_c, for AArch64; stand-ins take the place of the libraries that Debian has no cross packages of."""
    build.mkdir(parents=True, exist_ok=True)
    (build / "libcmocka.a").write_bytes(b"!<arch>\n")  # an empty archive: all is in the header
    flags = ("-O2", *flags, "-I", STAND_INS, "-L", build)
    return build_c(program, build, directory, name, isa=isa, flags=flags, inputs=inputs, compiler=(GCC, "-static"))


class Emulated(Vocoder):
    """A compiled model that runs in a process of qemu's, which tests/c/serve.c makes the calls in."""

    def __init__(self, directory: Path, name: str, build: Path, cpu: str) -> None:
        program = build_cross("serve.c", build, directory, name)
        self.command = [QEMU, "-cpu", cpu]
        self.process = subprocess.Popen([*self.command, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.name = name
        self.directory = directory
        self.report: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
        model = self.report["model"]
        self.mels, self.hop, self.n_fft = int(model["n_mels"]), int(model["hop_length"]), int(model["n_fft"])
        self.tail = self.n_fft - self.hop
        self.max_frames = self.call("max_frames")
        self.stream_bytes = self.call("stream_bytes")
        self.mel_stream_bytes = self.call("mel_stream_bytes")
        self._scratch = np.zeros(self.call("scratch_bytes"), np.uint8)

    def call(self, function: str, *arguments: NDArray[Any] | int | None) -> int:
        to, back = self.process.stdin, self.process.stdout
        assert to is not None and back is not None
        to.write(struct.pack("<32si", function.encode(), len(arguments)))
        arrays = []
        for argument in arguments:
            if argument is None:
                to.write(struct.pack("<i", -2))
            elif isinstance(argument, int):
                to.write(struct.pack("<ii", -1, argument))
            else:
                assert argument.flags.c_contiguous
                to.write(struct.pack("<i", argument.nbytes) + argument.tobytes())
                arrays.append(argument)
        to.flush()
        answer = back.read(4)
        assert len(answer) == 4, f"{function}: the process ended, with {self.process.wait()}"
        for array in arrays:
            array.ravel()[:] = np.frombuffer(back.read(array.nbytes), array.dtype).reshape(-1)
        return int(struct.unpack("<i", answer)[0])


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path, odd_checkpoint: Path) -> dict[str, Path]:
    """The directories that hold `small` and `odd`, compiled for at most 16 frames."""
    root = tmp_path_factory.mktemp("aarch64")
    checkpoints = {"small": small_checkpoint, "odd": odd_checkpoint}
    return {
        name: compile_model(checkpoint, root / name, name, "--chunk", "5,16", "--target", "aarch64")
        for name, checkpoint in checkpoints.items()
    }


@pytest.fixture(scope="module")
def x86_objects(small_object: Path, odd_object: Path) -> dict[str, Path]:
    return {"small": small_object, "odd": odd_object}


@contextlib.contextmanager
def emulated(directory: Path, name: str, build: Path, cpu: str = BASELINE) -> Iterator[Emulated]:
    """The model's calls, as long as the process of qemu's lives."""
    vocoder = Emulated(directory, name, build, cpu)
    try:
        yield vocoder
    finally:
        vocoder.process.communicate()


@pytest.fixture(scope="module")
def small(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(objects["small"], "small", tmp_path_factory.mktemp("serve")) as vocoder:
        yield vocoder


@pytest.fixture(scope="module")
def odd(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(objects["odd"], "odd", tmp_path_factory.mktemp("serve")) as vocoder:
        yield vocoder


@pytest.fixture(params=NAMES)
def vocoder(request: pytest.FixtureRequest) -> Vocoder:
    """What the tests of the other modules ask for."""
    found: Vocoder = request.getfixturevalue(request.param)
    return found


# ---- the same bits as on x86-64 ----


def test_it_has_neon_and_plain_c(vocoder: Vocoder) -> None:
    assert vocoder.targets == ["portable", "neon"]
    assert vocoder.report["targets"] == ["portable", "neon"]


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


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_the_tool_decodes_to_the_bits_of_x86(
    objects: dict[str, Path], x86_audio: dict[str, Floats], tmp_path: Path, name: str, isa: str
) -> None:
    tool = [QEMU, objects[name] / name]
    for chunk, threads in ((1, 1), (2, 2), (3, 1), (5, 1), (5, 2), (7, 1), (16, 1), (16, 2)):
        options = ("--target", isa, "--chunk", chunk, "--threads", threads)
        audio = decode(tool, name, tmp_path / "audio.npy", *options)
        assert audio.tobytes() == x86_audio[name].tobytes(), f"chunk {chunk}, {threads} threads"


def test_the_sentences_log_mel_has_the_bits_of_x86(
    objects: dict[str, Path], x86_objects: dict[str, Path], tmp_path: Path
) -> None:
    run_ok([QEMU, objects["small"] / "small", "mel", SENTENCE, tmp_path / "aarch64.npy"])
    run_ok([x86_objects["small"] / "small", "mel", SENTENCE, tmp_path / "x86.npy"])
    assert (tmp_path / "aarch64.npy").read_bytes() == (tmp_path / "x86.npy").read_bytes()


@pytest.mark.parametrize(
    ("precision", "target", "compiler"),
    [
        *(("f32", "aarch64", CLANG), ("f16", "aarch64", GCC), ("w8", "aarch64", GCC)),
        *(("f32", "aarch64-dotprod", GCC), ("w8", "aarch64-dotprod", CLANG)),
        *(("w8a8", "aarch64", GCC), ("w8a8", "aarch64-dotprod", GCC)),
    ],
)
def test_precisions_and_compilers(
    odd_checkpoint: Path, tmp_path: Path, precision: str, target: str, compiler: str
) -> None:
    """The bits of x86-64, for each precision and with another compiler."""
    if shutil.which(compiler.split(maxsplit=1)[0]) is None:
        pytest.skip(f"no {compiler} here")
    options = ("--chunk", "5", "--precision", precision, "--target")
    portable = compile_sources(odd_checkpoint, tmp_path / "portable", "odd", *options, "portable")
    make_library(portable, "odd", "EXTRA_CFLAGS=-O1")
    aarch64 = compile_sources(odd_checkpoint, tmp_path / "aarch64", "odd", *options, target)
    make_library(aarch64, "odd", f"CC={compiler}", "EXTRA_CFLAGS=-O1")
    mel = golden("odd", "mel")
    expected = Vocoder(portable, "odd").decode(mel).tobytes()
    with emulated(aarch64, "odd", tmp_path / "serve", "max" if has_dot_products(aarch64) else BASELINE) as vocoder:
        assert [vocoder.selftest(isa) for isa in vocoder.targets] == [0, 0]
        for isa, chunk in itertools.product(vocoder.targets, (1, 2, 3, 4, 5)):
            assert vocoder.decode(mel, chunk, isa).tobytes() == expected, f"chunk {chunk}, {isa}"
    assert has_dot_products(aarch64) == (FORMATS[precision].is_integer and target == "aarch64-dotprod")


def has_dot_products(directory: Path) -> bool:
    """Whether the object that was built there multiplies by `sdot`."""
    return "\tsdot\t" in run_ok([f"{GCC.removesuffix('gcc')}objdump", "-d", directory / "odd.o"])


def test_tiles_keep_their_sums_in_registers(odd_checkpoint: Path) -> None:
    """As GCC compiles them; and with dot products, half the instructions for the same integers, or nearly."""
    loops = {
        target: inner_loops(disassemble(odd_checkpoint, target, "w8")) for target in ("aarch64", "aarch64-dotprod")
    }
    for target, found in loops.items():
        assert len({loop.tile.split("_")[0] for loop in found}) == 5, "a product is missing"
        assert [loop for loop in found if loop.stack or not loop.multiply_adds] == [], target

    def speed(target: str, rows: int) -> float:
        tiles = [loop for loop in loops[target] if loop.tile.startswith(f"contract_{rows}x")]
        return max(loop.multiply_adds / loop.instructions for loop in tiles)

    for rows in range(1, 7):
        assert speed("aarch64-dotprod", rows) >= 1.7 * speed("aarch64", rows) >= 1.7 * 1.2, f"{rows} rows"


def test_dot_products(odd_checkpoint: Path, tmp_path: Path) -> None:
    """The bits of plain C for any chunk and number of workers; batches are test_api.c's."""
    options = ("--chunk", 16, "--precision", "w8", "--target")
    portable = compile_model(odd_checkpoint, tmp_path / "portable", "odd", *options, "portable")
    directory = compile_model(odd_checkpoint, tmp_path / "dot", "odd", *options, "aarch64-dotprod")
    under = [QEMU, "-cpu", "max"]
    expected = decode([portable / "odd"], "odd", tmp_path / "portable.npy").tobytes()
    for chunk, threads in itertools.product(range(1, 17), (1, 2)):
        of_call = ("--target", "neon", "--chunk", chunk, "--threads", threads)
        audio = decode([*under, directory / "odd"], "odd", tmp_path / "audio.npy", *of_call)
        assert audio.tobytes() == expected, f"chunk {chunk}, {threads} threads"
    inputs = [directory / "odd_team_pthread.c", directory / "libodd.a"]
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
    inputs = [objects[name] / f"{name}_team_pthread.c", objects[name] / f"lib{name}.a"]
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


@pytest.mark.parametrize("n_fft", [2, 3, 15, 64, 75, 128, 240, 1024])
def test_fft_by_the_book(tmp_path: Path, n_fft: int) -> None:
    checkpoint = tmp_path / "tiny.ckpt"
    write_checkpoint(checkpoint, {**TINY, "n_fft": n_fft, "hop_length": 1 + n_fft // 3})
    directory = compile_sources(checkpoint, tmp_path / "out", "tiny", "--chunk", 1, "--target", "aarch64")
    tables = [directory / "tiny_tables.c"]
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
