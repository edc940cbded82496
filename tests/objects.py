"""What the tests build and call: compiled models, decoders loaded from them, and C programs linked against them."""

import contextlib
import ctypes
import io
import json
import mmap
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from compiler import __main__ as compiler
from compiler.checkpoint import read_checkpoint
from compiler.fold import fold
from compiler.isa import ISAS
from compiler.network import Network, Operation, read_network
from tests import make_checkpoint, reference

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
PROGRAMS = ROOT / "tests" / "c"
SENTENCE = ROOT / "examples" / "speech" / "bdl_arctic_a0001.wav"

BAD_ARGUMENT, BAD_INPUT, BAD_STREAM, BAD_TARGET, BAD_WEIGHTS, BAD_SELFTEST = -1, -2, -3, -4, -5, -6
TARGETS = {"best": 0, **{isa.name: isa.number for isa in ISAS}}
ASKED = [isa.name for isa in ISAS if isa.asks]  # those that Linux must be asked for
ISA_FLAGS = {isa.name: [*isa.flags, f"-DVOCOSC_ISA_{isa.name.upper()}"] for isa in ISAS if isa.lanes}
# What models of other shapes differ from.
BASE: dict[str, Any] = {"sample_rate": 16000, "n_fft": 64, "hop_length": 20, "n_mels": 9, "dim": 24, "seed": 5}
BASE |= {"mlp_ratio": 2.0, "kernel_size": 3, "num_layers": 2}
# The least model of all, for tests of a transform; it lacks n_fft and hop_length.
LEAST = {"sample_rate": 8000, "n_mels": 1, "dim": 1, "mlp_ratio": 1.0, "kernel_size": 1, "num_layers": 1, "seed": 1}
# The least model that has everything: for tests of files and commands, not of arithmetic.
TINY = {
    "sample_rate": 8000,
    "n_fft": 12,
    "hop_length": 4,
    "n_mels": 5,
    "dim": 6,
    "mlp_ratio": 2.0,
    "kernel_size": 3,
    "num_layers": 1,
    "seed": 3,
}

CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O0", "-g"]
# As in the object's own makefile: what the kernels' bits depend on.
KERNEL_FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Unoptimised, it is built in a tenth of the time, and no access that the sources make is optimised away.
SANITIZED = [f"EXTRA_CFLAGS=-O0 -g {' '.join(SANITIZERS)}"]
WRAPPED = [f"-Wl,--wrap={function}" for function in ("malloc", "calloc", "realloc", "free")]

# `make test-all` sets it: every case is tested, and not only some of those that are alike.
ALL = os.environ.get("VOCOSC_TEST_ALL") == "1"

Floats = NDArray[np.float32]
T = TypeVar("T")


def every(cases: T, few: T) -> T:
    """The cases of `make test-all`, and the few of `make test`."""
    return cases if ALL else few


# ---- models ----


@cache
def config(name: str) -> dict[str, Any]:
    """The configuration and seed of a golden set."""
    values: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return values


def golden(name: str, what: str) -> NDArray[Any]:
    return np.asarray(np.load(GOLDEN / f"{name}.{what}.npy"))


def truth(sizes: Mapping[str, Any]) -> reference.Reference:
    """The float64 reference of a configuration."""
    return reference.Reference(make_checkpoint.tensors(sizes, sizes["seed"]), sizes)


def some_mel(frames: int, mels: int, seed: int = 1) -> Floats:
    """Log-mel (frames, mels) that wanders smoothly between about -9 and 0."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, mels) + np.arange(frames)[:, None] * rng.uniform(0.05, 0.3, mels)
    return np.asarray(-4.5 + 4.5 * np.sin(phase), np.float32)


def random_splits(frames: int, largest: int, seed: int) -> list[int]:
    """Chunk sizes of 1 .. largest that add up to `frames`."""
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    while sum(sizes) < frames:
        sizes.append(min(int(rng.integers(1, largest + 1)), frames - sum(sizes)))
    return sizes


def some_audio(samples: int, seed: int = 1) -> Floats:
    """Two tones and a little noise, exactly representable in 16 bits."""
    rng = np.random.default_rng(seed)
    n = np.arange(samples)
    wave = 0.3 * np.sin(0.11 * n) + 0.2 * np.sin(0.7 * n + 1) + 0.05 * rng.standard_normal(samples)
    return np.asarray(np.round(wave * 32767) / 32768, np.float32)


def folded(checkpoint: Path) -> Network:
    """The folded network of a checkpoint."""
    return fold(read_network(read_checkpoint(checkpoint), {}))


def linear(weight: Floats, bias: Floats, name: str = "block0_contract") -> Operation:
    """A folded product: weight (inputs, outputs), bias (outputs,)."""
    inputs, outputs = weight.shape
    return Operation("linear", name, "x", "y", inputs, outputs, {"weight": weight, "bias": bias})


# ---- the compiler ----


def run_compiler(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The compiler's command; with options, such as an environment, in a process of its own, as a user types it in the
    repository."""
    if not options:
        return subprocess.CompletedProcess([], *compile_here(*arguments))
    options = {"cwd": ROOT, **options}
    command = [sys.executable, "-m", "compiler", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def compile_here(*words: object) -> tuple[int, str, str]:
    """The compiler's command in this process, its packages read already: exit code, standard output and error."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.argv
    handlers = {number: signal.getsignal(number) for number in compiler._ENDING}
    sys.argv = ["vocosc", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = compiler.main()
    finally:
        sys.argv = before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code, out.getvalue(), errors.getvalue()


def compile_model(checkpoint: Path, output: Path, name: str, *options: object, light: bool = False) -> Path:
    """Compiles a checkpoint; returns the output directory. `light`: the C without optimisation, where a test is of what
    is computed, not of the object as it ships."""
    with mock.patch.dict(os.environ, {"CFLAGS": "-O0"} if light else {}):
        code, out, errors = compile_here(checkpoint, "-o", output, "--name", name, *options)
    assert code == 0, out + errors
    return output


def compile_sources(checkpoint: Path, output: Path, name: str, *options: object) -> Path:
    """As compile_model, the sources alone."""
    return compile_model(checkpoint, output, name, "--sources-only", *options)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path there."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed with one line, which says all of `words`, and no traceback."""
    assert done.returncode in (1, 2), f"exit code {done.returncode}\n{done.stderr}"
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("usage:", " "))]
    assert len(lines) == 1, done.stderr
    assert "error:" in lines[0] and "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def lint(directory: Path, source: str, standard: str) -> None:
    """clang-tidy, without its analyzer, and cppcheck find nothing in a source of a compiled model."""
    for program in ("clang-tidy", "cppcheck"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: .ci/setup test")
    checks = [f"--config-file={ROOT / '.clang-tidy'}", "--checks=-clang-analyzer-*"]
    paths = ["-I", ".", "-I", "network"]
    run_ok(["clang-tidy", "--quiet", *checks, source, "--", f"-std={standard}", *paths], cwd=directory)
    kinds = ["--enable=warning,performance,portability", "--suppress=missingIncludeSystem", "--suppress=toomanyconfigs"]
    options = ["--quiet", "--error-exitcode=1", f"--std={standard}", *kinds, "--max-configs=1"]
    run_ok(["cppcheck", *options, *paths, source], cwd=directory)


def make_library(directory: Path, name: str, *variables: str) -> Path:
    """Builds libNAME.a by the makefile that stands beside the sources."""
    command = ["make", "-s", f"-j{os.cpu_count()}", "-f", f"{name}.mk", f"lib{name}.a", *variables]
    run_ok(command, cwd=directory)
    return directory / f"lib{name}.a"


def source(directory: Path, name: str) -> Path:
    """A source of a compiled model, wherever it is below the directory."""
    (found,) = directory.rglob(name)
    return found


def sources(directory: Path, pattern: str) -> list[Path]:
    """The sources of a compiled model that are named so."""
    return sorted(directory.rglob(pattern))


def include_flags(directory: Path) -> list[str]:
    """The flags by which a program finds every header of a compiled model."""
    return [f"-I{folder}" for folder in sorted({directory, *(path.parent for path in directory.rglob("*.h"))})]


def weights_file(directory: Path, name: str) -> Path | None:
    """The file of a compiled model's weights; none if they were baked as C."""
    return next(directory.rglob(f"{name}_weights.bin"), None)


def team_and_library(directory: Path, name: str) -> list[Path]:
    """What a program links that runs a compiled model on several threads."""
    return [source(directory, f"{name}_team_pthread.c"), directory / f"lib{name}.a"]


def declared_functions(header: Path, prefix: str) -> set[str]:
    """The functions that a header, and those that it includes, declare under a prefix."""
    text = run_ok(["cc", "-E", "-P", header])
    return set(re.findall(rf"^[\w ]+[ *]({prefix}_\w+)\(", text, flags=re.MULTILINE))


def run_ok(command: Sequence[object], **options: Any) -> str:
    """Runs a command that must succeed; returns what it printed."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **options)
    assert done.returncode == 0, f"{' '.join(words)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    return str(done.stdout)


# ---- C programs ----


def rename(text: str, name: str) -> str:
    """The placeholder prefix replaced by the model's name, as the compiler does it."""
    return text.replace("vocosc", name).replace("VOCOSC", name.upper())


def copy_programs(build: Path, name: str) -> Path:
    """Writes tests/c, with the model's prefix, into a directory; returns it."""
    build.mkdir(parents=True, exist_ok=True)
    for path in PROGRAMS.iterdir():
        (build / path.name).write_text(rename(path.read_text(), name))
    return build


def build_c(
    program: str,
    build: Path,
    directory: Path,
    name: str,
    *,
    isa: str | None = None,
    flags: Iterable[object] = (),
    inputs: Iterable[object] | None = None,
    libraries: Iterable[str] = (),
    compiler: Sequence[str] = ("cc",),
) -> Path:
    """Builds tests/c/PROGRAM for the model NAME compiled in `directory`; returns the executable, which lies in `build`.

    The program is written with the placeholder prefix and gets the model's. It is linked with the model's library, or
    with `inputs`. An `isa` makes it a test of kernels: the flags of that instruction set, and of the object's makefile.
    """
    copy_programs(build, name)
    executable = build / Path(program).stem
    tiles = f'-DTILES="{name}_tiles_{isa}.h"'
    kernel = [*KERNEL_FLAGS, *(rename(flag, name) for flag in ISA_FLAGS[isa]), tiles] if isa else []
    standard = [] if program.endswith(".cpp") else CFLAGS
    run_ok(
        [
            *compiler,
            *standard,
            *kernel,
            *flags,
            *("-I", build, *include_flags(directory), f'-DWEIGHTS_FILE="{weights_file(directory, name)}"'),
            *("-o", executable, build / program),
            *([directory / f"lib{name}.a"] if inputs is None else inputs),
            *("-lcmocka", *libraries, "-lpthread", "-lm"),
        ]
    )
    return executable


def run_c(executable: Path, *arguments: object, under: Sequence[str] = ()) -> str:
    """Runs a C program; what it printed shows in the failure, if it fails."""
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "OPENBLAS_NUM_THREADS": "1"}
    return run_ok([*under, executable, *arguments], env=environment)


# ---- a decoder in this process ----


def _pointer(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


@cache
def grants_tiles() -> bool:
    """Whether Linux grants AMX's tiles: to this process, from the first call on."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    arch_prctl, request, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0)


class Vocoder:
    """The library libNAME.a of a compiled model, loaded. Counts and status codes come back as they are."""

    def __init__(self, directory: Path, name: str, libraries: Sequence[str] = ()) -> None:
        with tempfile.TemporaryDirectory() as folder:  # loaded, it need not stay
            shared = Path(folder) / f"{name}.so"
            whole = ["-Wl,--whole-archive", directory / f"lib{name}.a", "-Wl,--no-whole-archive"]
            run_ok(["cc", "-shared", "-Wl,-z,defs", "-o", shared, *whole, *libraries])
            self._library = ctypes.CDLL(str(shared))
        self._describe(directory, name)

    def _describe(self, directory: Path, name: str) -> None:
        """What the report and the calls themselves say."""
        self.name = name
        self.directory = directory
        self.report: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
        model = self.report["model"]
        self.mels, self.hop, self.n_fft = int(model["n_mels"]), int(model["hop_length"]), int(model["n_fft"])
        self.tail = int(self.report["tail_samples"])
        self.lookahead = int(self.report["latency_lookahead_frames"])
        self.counts_frames = self.lookahead > 0 or self.report["padding"] != "causal"
        self.max_frames = self.call("max_frames")
        self.stream_bytes = self.call("stream_bytes")
        self.mel_stream_bytes = self.call("mel_stream_bytes")
        self._scratch = np.zeros(self.call("scratch_bytes"), np.uint8)

    def call(self, function: str, *arguments: NDArray[Any] | int | None) -> int:
        """Calls NAME_function; arrays are passed as pointers."""
        entry = getattr(self._library, f"{self.name}_{function}")
        values = [
            ctypes.c_int(value) if isinstance(value, int) else ctypes.c_void_p(_pointer(value)) for value in arguments
        ]
        return int(entry(*values))

    @property
    def targets(self) -> list[str]:
        """The targets of the build that this CPU and its operating system run."""
        stream = np.zeros(self.mel_stream_bytes, np.uint8)
        wanted = [name for name in TARGETS if name != "best" and (name not in ASKED or grants_tiles())]
        return [name for name in wanted if self.call("mel_init_target", stream, TARGETS[name]) == 0]

    def stream(self, target: str = "best") -> NDArray[np.uint8]:
        """A stream after init; a copy of it is a snapshot."""
        stream = np.full(self.stream_bytes, 0xA5, np.uint8)
        assert self.call("init_target", stream, TARGETS[target]) == 0
        return stream

    def selftest(self, target: str = "best") -> int:
        """The status of the self-test, on a new stream."""
        return self.call("selftest", self.stream(target), self._scratch)

    def decode_chunk(self, stream: NDArray[np.uint8], mel: Floats) -> Floats:
        """One call of decode: all that it wrote."""
        audio = np.full(len(mel) * self.hop, np.nan, np.float32)
        mel = np.ascontiguousarray(mel)
        expected = self.call("decode_samples", stream, len(mel)) if self.counts_frames else audio.size
        status = self.call("decode", stream, self._scratch, mel, len(mel), audio)
        assert status == expected >= 0, f"decode of {len(mel)} frames returned {status}"
        assert np.isnan(audio[status:]).all(), "more was written than the count says"
        return audio[:status]

    def decode(self, mel: Floats, chunks: Iterable[int] | int | None = None, target: str = "best") -> Floats:
        """An utterance from silence, split into chunks of those sizes (as long as they last, then the largest)."""
        return self.continue_decode(self.stream(target), mel, chunks)

    def continue_decode(
        self, stream: NDArray[np.uint8], mel: Floats, chunks: Iterable[int] | int | None = None
    ) -> Floats:
        size = chunks if isinstance(chunks, int) else self.max_frames
        sizes = iter(()) if chunks is None or isinstance(chunks, int) else iter(chunks)
        parts, start = [np.zeros(0, np.float32)], 0
        while start < len(mel):
            end = start + next(sizes, size)
            parts.append(self.decode_chunk(stream, mel[start:end]))
            start = end
        return np.concatenate(parts)

    def flush(self, stream: NDArray[np.uint8]) -> Floats:
        """The rest: of a model that looks ahead, or trims, of a short utterance less than the tail."""
        audio = np.full(self.tail, np.nan, np.float32)
        count = self.call("flush", stream, *([self._scratch] if self.lookahead else []), audio)
        assert 0 <= count <= self.tail and (self.counts_frames or count == self.tail), f"flush returned {count}"
        assert np.isnan(audio[count:]).all(), "more was written than the count says"
        return audio[:count]

    def utterance(self, mel: Floats, chunks: Iterable[int] | int | None = None, target: str = "best") -> Floats:
        """A whole one: decode and flush."""
        stream = self.stream(target)
        audio = self.continue_decode(stream, mel, chunks)
        return np.concatenate([audio, self.flush(stream)])

    def mel_stream(self, target: str = "best") -> NDArray[np.uint8]:
        stream = np.full(self.mel_stream_bytes, 0xA5, np.uint8)
        assert self.call("mel_init_target", stream, TARGETS[target]) == 0
        return stream

    def log_mel(self, audio: NDArray[Any], splits: Iterable[int] = (), target: str = "best") -> Floats:
        """The log-mel of float or int16 audio, pushed in pieces of those sizes, then the largest; flushed."""
        stream, sizes = self.mel_stream(target), iter(splits)
        function = "mel_int16" if audio.dtype == np.int16 else "mel"
        parts, start = [np.zeros((0, self.mels), np.float32)], 0
        while start < len(audio):
            piece = np.ascontiguousarray(audio[start : start + next(sizes, self.max_frames * self.hop)])
            frames = np.full((self.max_frames, self.mels), np.nan, np.float32)
            count = self.call(function, stream, self._scratch, piece, len(piece), frames)
            assert 0 <= count <= self.max_frames, f"{function} of {len(piece)} samples returned {count}"
            assert np.isnan(frames[count:]).all(), "more was written than the count says"
            parts.append(frames[:count])
            start += len(piece)
        # Mels that mirror their end give several
        frames = np.full((self.max_frames + 8, self.mels), np.nan, np.float32)
        count = self.call("mel_flush", stream, self._scratch, frames)
        assert 0 <= count <= len(frames)
        assert np.isnan(frames[count:]).all(), "more was written than the count says"
        return np.concatenate([*parts, frames[:count]])


class Separate(Vocoder):
    """A model whose weights are not in the object: streams get those of the memory `weights`."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(directory, name)
        file = weights_file(directory, name)
        assert file is not None
        self.file = file
        self.weights = self.mapped()

    def mapped(self) -> NDArray[np.uint8]:
        """The file in memory that faults when it is written to."""
        with self.file.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), np.uint8)

    def init(
        self,
        weights: NDArray[np.uint8] | None,
        size: int,
        stream: NDArray[np.uint8] | None = None,
        target: str = "best",
    ) -> int:
        """The status of init_weights."""
        stream = np.zeros(self.stream_bytes, np.uint8) if stream is None else stream
        return self.call("init_weights", stream, TARGETS[target], weights, size)

    def stream(self, target: str = "best") -> NDArray[np.uint8]:
        stream = np.full(self.stream_bytes, 0xA5, np.uint8)
        assert self.init(self.weights, self.weights.size, stream, target) == 0
        return stream


TIE = "_needs_the_library_of_this_header_"


def symbols(path: Path) -> dict[str, list[str]]:
    """The names in an object file that the linker sees: undefined, global, and those that tie a header to it."""
    lines = run_ok(["nm", "-P", "-g", path]).splitlines()
    fields = [line.split() for line in lines if re.match(r"\S+ [A-Za-z]", line)]
    return {
        "undefined": [field[0] for field in fields if field[1] == "U"],
        "global": [field[0] for field in fields if field[1] != "U" and TIE not in field[0]],
        "tied": [field[0] for field in fields if field[1] != "U" and TIE in field[0]],
    }
