"""The promises of the README, each on the object as shipped, for every precision and target."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.aarch64 import CROSS, Emulated, build_cross
from tests.counts import Counts, build_counter, check_equal, collect, counted
from tests.objects import (
    ALL,
    BAD_INPUT,
    SANITIZED,
    SANITIZERS,
    WRAPPED,
    Floats,
    Vocoder,
    build_c,
    every,
    golden,
    include_flags,
    run_c,
    run_ok,
    some_audio,
    some_mel,
    symbols,
)
from tests.reference import log_mel
from tests.vocoders import SHIPPED, UNEVEN, Vocoders

NOW = "-Wl,-z,now"  # else the loader resolves memcpy at its first call, on our stack and among our instructions


@pytest.fixture(params=SHIPPED, ids=lambda name: name.replace(" ", "_"))
def built(request: pytest.FixtureRequest, loaded: Vocoders) -> Vocoder:
    return loaded.get(request.param)


def run_program(built: Vocoder, program: str, build: Path, *arguments: object, flags: Iterable[object] = ()) -> None:
    """Builds a program of tests/c for the CPU that the object is for, and runs it there."""
    if isinstance(built, Emulated):
        run_c(build_cross(program, build, built.directory, "tiny", flags=flags), *arguments, under=built.command)
    else:
        run_c(build_c(program, build, built.directory, "tiny", flags=flags), *arguments)


# ---- the object file ----


def test_nothing_is_needed_but_what_is_promised(built: Vocoder, request: pytest.FixtureRequest) -> None:
    needed = set(symbols(built.directory / "tiny.o")["undefined"])
    no_libc = "no-libc" in request.node.callspec.params["built"]
    assert needed <= (set() if no_libc else {"memcpy", "memset", "memmove"})


def test_there_is_no_instruction_that_calls_the_system(built: Vocoder) -> None:
    cross = CROSS if isinstance(built, Emulated) else ""
    code = run_ok([f"{cross}objdump", "-d", "--no-show-raw-insn", built.directory / "tiny.o"])
    found = set(re.findall(r"^\s*[0-9a-f]+:\t(\w+)", code, re.MULTILINE))
    assert {"ret", "bl" if cross else "call"} <= found
    assert not found & {"syscall", "sysenter", "int", "rdtsc", "rdtscp", "rdrand", "rdseed"}  # of x86-64
    assert not found & {"svc", "hvc", "smc", "brk", "mrs", "msr"}  # of AArch64


def test_two_models_chunk_sizes_and_precisions_in_one_program(
    small: Vocoder, odd_checkpoint: Path, tmp_path: Path
) -> None:
    options = ("--precision", "w8", "--chunk", 3, "--target", "portable", "--no-libc")
    odd = Vocoder(builds.library(odd_checkpoint, "odd", *options), "odd")
    arguments = []
    for name in ("small", "odd"):
        golden(name, "mel")[:40].tofile(tmp_path / f"{name}.mel")
        arguments += [tmp_path / f"{name}.mel", tmp_path / f"{name}.audio"]
    inputs = [odd.directory / "odd.o", small.directory / "small.o"]
    flags = include_flags(odd.directory)
    program = build_c("two_models.c", tmp_path / "build", small.directory, "small", flags=flags, inputs=inputs)
    run_c(program, *arguments)
    for vocoder in (small, odd):
        audio = np.fromfile(tmp_path / f"{vocoder.name}.audio", np.float32)
        assert audio.tobytes() == vocoder.decode(golden(vocoder.name, "mel")[:40]).tobytes(), vocoder.name


# ---- memory ----


def test_only_the_arrays_given_are_touched_and_the_system_is_never_called(built: Vocoder, tmp_path: Path) -> None:
    run_program(built, "test_memory.c", tmp_path, flags=WRAPPED)


def test_valgrind_finds_nothing(built: Vocoder, tmp_path: Path) -> None:
    if isinstance(built, Emulated):
        pytest.skip("Valgrind runs what this CPU runs")
    program = build_c("test_memory.c", tmp_path, built.directory, "tiny", flags=WRAPPED)
    run_c(program, "first", under=[valgrind(), "--quiet", "--error-exitcode=99"])


@pytest.mark.parametrize("precision", every(["f16", "w8", "w8a8", "w4"], ["w8a8", "w4"]))
def test_sanitizers_find_nothing(tmp_path: Path, precision: str) -> None:
    """As for float weights in test_linking.py."""
    options = ("--chunk", 3, "--target", "x86-64", "--precision", precision)
    directory = builds.library(builds.checkpoint(UNEVEN), "tiny", *options, make=SANITIZED)
    run_c(build_c("test_memory.c", tmp_path / "build", directory, "tiny", flags=[*SANITIZERS, *WRAPPED]))


def test_the_stack_is_as_deep_as_stated(built: Vocoder, tmp_path: Path) -> None:
    run_program(built, "test_stack.c", tmp_path, flags=[NOW])
    assert 0 < built.report["stack_bytes"] <= (4096 if built.report["targets"] == ["portable"] else 8192)


@pytest.mark.parametrize("name", ["small", "odd"])
def test_the_stack_of_larger_models_is_as_deep_as_stated(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    vocoder: Vocoder = request.getfixturevalue(name)
    run_c(build_c("test_stack.c", tmp_path, vocoder.directory, name, flags=[NOW]))


# ---- time ----


def valgrind() -> str:
    found = shutil.which("valgrind")
    if found is None:
        pytest.skip("no valgrind here")
    return found


def callgrind(program: Path, build: Path) -> Counts:
    """Valgrind knows AVX2, not AVX-512."""
    files = build / "counts"
    printed = run_c(program, under=[valgrind(), "--tool=callgrind", "--quiet", f"--callgrind-out-file={files}"])
    calls = printed.splitlines()
    texts = [(build / f"counts.{number}").read_text() for number in range(1, len(calls) + 1)]
    return collect(calls, [int(text.rpartition("totals: ")[2].split()[0]) for text in texts])


def test_the_count_of_instructions_does_not_depend_on_the_input(built: Vocoder, tmp_path: Path) -> None:
    """The first chunk's count, too, is every chunk's."""
    if isinstance(built, Emulated):
        program = build_cross("test_time.c", tmp_path, built.directory, "tiny")
        found = counted([*built.command, "-plugin", build_counter(tmp_path), program])
    else:
        build = (built.directory, "tiny")
        found = callgrind(build_c("test_time.c", tmp_path, *build, flags=[NOW, "-DCOUNT_BY_CALLGRIND"]), tmp_path)
        if "avx512" in built.targets:
            # Single steps take minutes for all inputs
            few = [] if ALL else ["-DFEW_INPUTS"]
            found |= counted(
                [build_c("test_time.c", tmp_path / "steps", *build, flags=[NOW, "-DCOUNT_BY_STEPS", *few])]
            )
    check_equal(found, built.targets)


# ---- faults ----


def faults(mels: int) -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], (3, mels))
    values = {f"all {value:g}": np.full((3, mels), value) for value in (0, -11.5, 1, 1e30, -1e30)}
    values |= {
        "largest": 3.4e38 * signs,
        "denormal": 1e-42 * signs,
        "mixed": signs * 10.0 ** rng.integers(-44, 38, signs.shape),
    }
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def test_after_any_fault_a_reset_gives_the_golden_bits(built: Vocoder) -> None:
    mel = some_mel(12, built.mels)
    expected = built.decode(mel).tobytes()
    scratch = np.zeros(built.call("scratch_bytes"), np.uint8)
    for target in built.targets:
        stream = built.stream(target)
        for name, fault in faults(built.mels).items():
            audio = built.continue_decode(stream, fault)
            assert np.isfinite(audio).all(), f"{name} on {target}"
            assert np.abs(audio).max() <= 100 * built.n_fft, f"{name} on {target}"
            for bad in (np.nan, np.inf, -np.inf):
                broken = fault.copy()
                broken[2, -1] = bad
                silence = np.full(3 * built.hop, 7, np.float32)
                assert built.call("decode", stream, scratch, broken, 3, silence) == BAD_INPUT
                assert not silence.any()
            assert built.call("reset", stream) == 0
            assert built.continue_decode(stream, mel).tobytes() == expected, f"{name} on {target}"
            assert built.call("reset", stream) == 0
            assert built.selftest(target) == 0


def test_any_finite_audio_has_a_finite_log_mel(built: Vocoder) -> None:
    sound = some_audio(9 * built.hop)
    expected = built.log_mel(sound).tobytes()
    assert np.abs(built.log_mel(sound) - log_mel(sound, UNEVEN)).max() <= 2e-3
    for target in built.targets:
        for value in (0, 1, -1, 1e30, -3.4e38, 1e-42, 1e18):
            for audio in (np.full(7 * built.hop, value, np.float32), value * np.sign(some_audio(7 * built.hop))):
                mel = built.log_mel(np.asarray(audio, np.float32), target=target)
                assert np.isfinite(mel).all(), f"{value:g} on {target}"
        assert built.log_mel(sound, target=target).tobytes() == expected


def test_nothing_drifts(built: Vocoder, tmp_path: Path) -> None:
    """A million chunks, or a tenth of them; fewer where they are slow."""
    blocks = f"-DBLOCKS={built.report['model']['num_layers']}"
    slow = isinstance(built, Emulated) or built.report["targets"] == ["portable"]
    chunks = every(20_000, 2000) if slow else every(1_000_000, 100_000)
    run_program(built, "test_drift.c", tmp_path, chunks, flags=["-O2", blocks])
