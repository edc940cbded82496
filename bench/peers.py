"""What the bench times. Each peer is one class; another joins by having the four methods of `Peer`."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.metrics import Summary, summary_from

ROOT = Path(__file__).resolve().parent.parent

OUTDATED_CORES = ("Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Sandybridge", "Generic", "generic")
"""What OpenBLAS takes a CPU for that is newer than itself: it then runs without AVX2, several times too slow."""

INTEGER_ROWS = {"w8": "int16_macs", "w8a8": "int8_macs", "w4": "int16_macs"}
"""The field of a Cost that the products of integers are in, by precision."""

AVX2_CORES = ("Haswell", "Zen")
"""What it takes others for: then it runs without the AVX-512 that they may have, a third slower."""

Progress = Callable[[int], None]
"""Told how many runs of the round are done."""


class PeerError(Exception):
    """A peer cannot run a row; the message says why, in one line."""


@dataclass(frozen=True)
class Row:
    """One line of the table: frames per chunk (None: the whole utterance at once) on so many threads."""

    chunk: int | None
    threads: int
    streams: int = 1
    """How many a call decodes: a chunk of each."""
    quiet: bool = False
    """Whether quiet inputs take turns with speech: `bench/quiet.py`."""

    @property
    def plain(self) -> bool:
        """Whether it is for all peers: one stream of speech. The others are for our own."""
        return self.streams == 1 and not self.quiet

    @property
    def chunk_text(self) -> str:
        """`5` or `whole`."""
        return "whole" if self.chunk is None else str(self.chunk)

    @property
    def label(self) -> str:
        """`5`, `whole` or `5 (16 streams)`."""
        return self.chunk_text if self.streams == 1 else f"{self.chunk_text} ({self.streams} streams)"


@dataclass(frozen=True)
class Cost:
    """What decoding takes at least: bytes of weights read by every call, multiply-adds of every frame.

    Of these the last two are products of integers: int16 or bytes, by int8 weights.
    """

    weight_bytes: int
    macs_per_frame: int
    int16_macs: int = 0
    int8_macs: int = 0


class Peer(Protocol):
    """Something that decodes the utterance, and is timed doing so."""

    @property
    def name(self) -> str:
        """Short name, for the table and the JSON."""

    def prepare(self, row: Row) -> dict[str, Any]:
        """Load what `row` needs, untimed; return facts worth reporting (versions, flags). Raises PeerError."""

    def run_round(self, row: Row, warmup: int, runs: int, progress: Progress) -> Summary:
        """Time `runs` decodes of the utterance after `warmup` untimed ones. Raises PeerError."""

    def decode(self, row: Row) -> NDArray[np.float32]:
        """The audio of one decode, samples in full scale +-1, at least frames * hop. Raises PeerError."""

    def close(self) -> None:
        """End whatever runs."""


def thread_environment(threads: int) -> dict[str, str]:
    """An environment in which every maths library that PyTorch may bring uses `threads` threads.

    Debian's OpenBLAS built on OpenMP is taken where it is installed: it shares PyTorch's threads. The one on pthreads
    brings a second team, and the two, both spinning, halve each other's speed.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(threads))}
    shared = [str(path) for path in sorted(Path("/usr/lib").glob("*/openblas-openmp"))]
    path = [*shared, *filter(None, [env.get("LD_LIBRARY_PATH")])]
    return {**env, "LD_LIBRARY_PATH": ":".join(path)} if path else env


def openblas_core_for(cpu_flags: Collection[str]) -> str | None:
    """The OpenBLAS core type to ask for on an x86 CPU with these flags of /proc/cpuinfo; none if it has no AVX2."""
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(cpu_flags):
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= set(cpu_flags) else None


def better_openblas_core(taken: str, cpu_flags: Collection[str]) -> str | None:
    """The core type to ask for where OpenBLAS takes the CPU for one of fewer instructions; none where it does not."""
    core = openblas_core_for(cpu_flags)
    return core if taken in OUTDATED_CORES or (core == "SkylakeX" and taken in AVX2_CORES) else None


def last_line(text: str) -> str:
    """The last line of `text` that is not blank, for an error message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def exit_reason(returncode: int) -> str:
    """`exit status 3`, or `signal SIGILL`."""
    return f"exit status {returncode}" if returncode >= 0 else f"signal {signal.Signals(-returncode).name}"


class Worker:
    """A process that answers one JSON line with one, after any number of `{"done": runs}` lines."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        # stderr is left to the terminal: what the worker has to complain about is for the user.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True
        )

    def ask(self, request: Mapping[str, Any], progress: Progress = lambda _: None) -> dict[str, Any]:
        """The worker's answer. Raises PeerError if it died or answers `{"error": ...}`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"worker died: {exit_reason(self._process.wait())}") from None
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "done" in answer:
                progress(int(answer["done"]))
            elif "error" in answer:
                raise PeerError(str(answer["error"]))
            else:
                return answer
        raise PeerError(f"worker died: {exit_reason(self._process.wait())}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@dataclass
class WorkerPeer:
    """A peer in a process of its own, fresh for every thread count: `COMMAND TENSORS.npz MEL.npy THREADS ARGUMENTS`."""

    name: str
    tensors: Path
    mel: Path
    work: Path
    command: Sequence[str]
    arguments: Sequence[str] = ()
    _worker: Worker | None = None
    _threads: int = 0
    _facts: dict[str, Any] = field(default_factory=dict)

    def prepare(self, row: Row) -> dict[str, Any]:
        """Start the worker for the row's threads, unless it is running; return what it says of itself."""
        if self._worker is None or self._threads != row.threads:
            self._start(row.threads, thread_environment(row.threads))
        return self._facts

    def _start(self, threads: int, env: Mapping[str, str]) -> None:
        self.close()
        paths = [str(self.tensors.resolve()), str(self.mel.resolve())]
        self._worker = Worker([*self.command, *paths, str(threads), *self.arguments], env)
        self._threads = threads
        self._facts = self._worker.ask({"do": "describe"})

    def _ask(self, request: Mapping[str, Any], progress: Progress = lambda _: None) -> dict[str, Any]:
        if self._worker is None:
            raise PeerError("not prepared")
        return self._worker.ask(request, progress)

    def run_round(self, row: Row, warmup: int, runs: int, progress: Progress) -> Summary:
        """As `Peer.run_round`; the whole utterance is one call."""
        request = {"do": "time", "chunk": row.chunk, "warmup": warmup, "runs": runs}
        return summary_from(self._ask(request, progress))

    def decode(self, row: Row) -> NDArray[np.float32]:
        """As `Peer.decode`."""
        out = audio_file(self.work, self.name)
        self._ask({"do": "decode", "chunk": row.chunk, "out": str(out.resolve())})
        return load_audio(out)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


@dataclass
class PyTorchPeer(WorkerPeer):
    """The reference, `train/model.py`, on Debian's PyTorch."""

    cpu_flags: Collection[str] = ()

    def prepare(self, row: Row) -> dict[str, Any]:
        """As `WorkerPeer.prepare`; an OpenBLAS that does not know the CPU is told what it is."""
        if self._worker is None or self._threads != row.threads:
            self._start(row.threads, thread_environment(row.threads))
            core = better_openblas_core(self._facts.get("openblas_core", "none"), self.cpu_flags)
            if core and "OPENBLAS_CORETYPE" not in os.environ:
                self._start(row.threads, {**thread_environment(row.threads), "OPENBLAS_CORETYPE": core})
        return self._facts


@dataclass
class CompiledPeer:
    """The compiled object, through its host tool.

    The whole utterance streams through another with larger chunks, and a batch of streams through a third.
    """

    stream_object: Path
    whole_object: Path
    whole_chunk: int
    mel: Path
    work: Path
    name: str = "vocosc f32"
    batch_object: Path | None = None

    def chunk(self, row: Row) -> int:
        """Frames a call, of each stream."""
        return self.whole_chunk if row.chunk is None else row.chunk

    def cost(self, row: Row) -> Cost:
        """What the compiler's report says that decoding costs. Raises PeerError."""
        report = read_report(self._directory(row))
        try:
            return cost_of(report)
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(f"{self.name}: the report lacks {error}") from None

    def _directory(self, row: Row) -> Path:
        if row.streams == 1:
            return self.whole_object if row.chunk is None else self.stream_object
        if self.batch_object is None:
            raise PeerError(f"{self.name}: no object for {row.streams} streams at once")
        return self.batch_object

    def _call(self, row: Row, command: str, *args: str) -> str:
        options = ["--chunk", str(self.chunk(row)), "--threads", str(row.threads)]
        line = [str(host_tool(self._directory(row))), command, *options, *args]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"{' '.join(line)}: {exit_reason(done.returncode)}: {last_line(done.stderr)}")
        return done.stdout

    def _measure(self, row: Row, warmup: int, runs: int) -> dict[str, Any]:
        options = ["--mel", str(self.mel), "--warmup", str(warmup), "--runs", str(runs), "--seconds", "0", "--json"]
        if row.streams > 1:
            options += ["--streams", str(row.streams)]
        text = self._call(row, "bench", *options)
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise PeerError(f"{self.name} bench --json printed no JSON: {error}") from None
        if not isinstance(data, dict):
            raise PeerError(f"{self.name} bench --json printed no JSON object")
        return data

    def prepare(self, row: Row) -> dict[str, Any]:
        """One short measurement: that the row runs at all, and what the tool says of itself."""
        data = self._measure(row, 0, 1)
        metrics = set(_summary(self.name, data))
        return {key: value for key, value in data.items() if key not in metrics and isinstance(value, str)}

    def run_round(self, row: Row, warmup: int, runs: int, progress: Progress) -> Summary:
        """As `Peer.run_round`. The tool times its own loop; it starts anew for every round."""
        summary = _summary(self.name, self._measure(row, warmup, runs))
        progress(runs)
        return summary

    def decode(self, row: Row) -> NDArray[np.float32]:
        """As `Peer.decode`; may be longer than frames * hop, by the overlap's tail."""
        out = audio_file(self.work, self.name)
        self._call(row, "decode", str(self.mel), str(out))
        return load_audio(out)

    def close(self) -> None:
        """Nothing runs between rounds."""


def _summary(name: str, data: Mapping[str, Any]) -> Summary:
    try:
        return summary_from(data)
    except KeyError as error:
        raise PeerError(f"{name} bench --json lacks {error}") from None
    except (ValueError, TypeError) as error:
        raise PeerError(f"{name} bench --json: {error}") from None


def host_tool(directory: Path) -> Path:
    """The host tool `NAME` beside `NAME.json` in a directory that the compiler wrote. Raises PeerError."""
    tools = [path.with_suffix("") for path in sorted(directory.glob("*.json"))]
    tools = [path for path in tools if path.is_file() and os.access(path, os.X_OK)]
    if len(tools) != 1:
        raise PeerError(f"{directory}: expected one host tool NAME beside its NAME.json, found {len(tools)}")
    return tools[0]


def read_report(directory: Path) -> dict[str, Any]:
    """The compiler's report on the object in a directory. Raises PeerError."""
    path = host_tool(directory).with_suffix(".json")
    try:
        report = json.loads(path.read_text())
    except ValueError as error:
        raise PeerError(f"{path}: {error}") from None
    if not isinstance(report, dict):
        raise PeerError(f"{path}: no JSON object")
    return report


def cost_of(report: Mapping[str, Any]) -> Cost:
    """What the compiler's report says that decoding costs. Raises KeyError, TypeError, ValueError."""
    cost = Cost(int(report["weight_bytes"]), int(report["macs_per_frame"]))
    if report["precision"] not in INTEGER_ROWS:
        return cost
    # The blocks' two products are of integers; embedding and head are not.
    model = report["model"]
    return replace(
        cost, **{INTEGER_ROWS[report["precision"]]: 2 * model["dim"] * model["hidden"] * model["num_layers"]}
    )


def audio_file(work: Path, name: str) -> Path:
    """Where a peer of this name writes what it decodes."""
    return work / f"{name.replace(' ', '-')}.npy"


def load_audio(path: Path) -> NDArray[np.float32]:
    """The samples of a .npy file."""
    audio: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32).reshape(-1)
    return audio


def has_packages(python: str, packages: Sequence[str]) -> bool:
    """Whether a Python can import these packages."""
    try:
        line = [python, "-c", f"import {', '.join(packages)}"]
        return subprocess.run(line, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run_in_root(python: str, *args: str) -> None:
    done = subprocess.run([python, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerError(f"{' '.join([python, *args])}: {exit_reason(done.returncode)}: {last_line(done.stderr)}")


def compile_object(
    python: str, checkpoint: Path, directory: Path, chunks: Sequence[int], precision: str, *, more: Sequence[str] = ()
) -> Path:
    """Compile `checkpoint` for the given chunk sizes into `directory`, and return that. Raises PeerError."""
    options = ["--name", "vocos", "--chunk", ",".join(map(str, chunks)), "--precision", precision, *more]
    out = str(directory.resolve())
    _run_in_root(python, "-m", "compiler", str(checkpoint.resolve()), "-o", out, *options)
    return directory


def unpack_checkpoint(python: str, checkpoint: Path, out: Path) -> Path:
    """Write `checkpoint`'s decoder to the file `out`, as `bench/export.py` says, and return that. Raises PeerError."""
    _run_in_root(python, "-m", "bench.export", str(checkpoint.resolve()), str(out.resolve()))
    return out
