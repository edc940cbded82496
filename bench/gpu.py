"""Time a GPU build beside PyTorch on the same GPU: `python3 -m bench.gpu --help`, README.md here."""

import argparse
import ctypes
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.__main__ import FRAMES, made_up_mel, mel_bins, positive, positive_list
from bench.metrics import Summary, snr_db
from bench.peers import (
    ROOT,
    PeerError,
    Row,
    WorkerPeer,
    compile_object,
    has_packages,
    host_tool,
    last_line,
    read_report,
    unpack_checkpoint,
)
from bench.report import aligned, this_machine

SOURCE = Path(__file__).with_name("gpu.c")
NO_GPU_EXIT = 77
TIMEOUT = 600  # seconds of one case
UTTERANCE_MS = 30  # what PyTorch takes an utterance, about: for its warm-up
NO_GRAPH, NO_OVERLAP, SINGLE_KERNEL, LIBRARIES, ONE_GRAPH, TENSOR, RESIDENT = 2, 4, 8, 16, 32, 64, 128
"""Options of init, as in NAME_cuda.h."""

ONE, MANY, LINKED = "one", "many", "libraries"
"""The builds: for one stream a call, for many, and for many with cuBLAS and cuFFT (--link libs, float32)."""

WHOLE = 54
"""Frames a call of a whole utterance, as in the bench of the CPU."""

STATED_MS = 3.4
"""What the published reference says of a chunk of 5 on its GPU."""


@dataclass(frozen=True)
class Case:
    """One line of the table: what `gpu.c` is asked to time."""

    chunk: int
    streams: int = 1
    memory: str = "device"
    cache: str = "warm"
    flags: int = 0
    build: str = ONE

    def label(self) -> str:
        """What is special about it."""
        words = [self.memory if self.memory != "device" else "", self.cache if self.cache != "warm" else ""]
        words += ["no graph" if self.flags & NO_GRAPH else "", "no overlap" if self.flags & NO_OVERLAP else ""]
        words += ["resident" if self.flags & RESIDENT else "", "single kernel" if self.flags & SINGLE_KERNEL else ""]
        words += ["one graph" if self.flags & ONE_GRAPH else "", "tensor cores" if self.flags & TENSOR else ""]
        words += ["cuBLAS and cuFFT" if self.flags & LIBRARIES else ""]
        return ", ".join(word for word in words if word)


def latency_cases(chunks: Sequence[int]) -> list[Case]:
    """One stream: every chunk size, by the graph and by the single kernel; for the one that the bars are for, more."""
    usual = 5 if 5 in chunks else chunks[0]
    special = [
        Case(usual, cache="cold"),
        Case(usual, memory="pinned"),
        Case(usual, memory="host"),
        Case(usual, flags=NO_OVERLAP),
        Case(usual, flags=NO_GRAPH),
        Case(usual, flags=NO_GRAPH | NO_OVERLAP),
        Case(usual, cache="cold", flags=SINGLE_KERNEL),
    ]
    by_both = [Case(chunk, flags=flags) for chunk in chunks for flags in (0, SINGLE_KERNEL)]
    return [*by_both, *special]


def server_cases(chunk: int, streams: Sequence[int]) -> list[Case]:
    """Many streams, by the graph and by the single kernel."""
    return [Case(chunk, n, flags=flags, build=MANY) for n in streams if n > 1 for flags in (0, SINGLE_KERNEL)]


def library_cases(chunk: int, longest: int, streams: int) -> list[Case]:
    """What the libraries are for, by them and by our kernels: a large batch, a long chunk, a batch of such."""
    sizes = [(chunk, streams), (longest, 1), (longest, streams)]
    return [Case(*size, flags=flags, build=LINKED) for size in sizes for flags in (0, LIBRARIES)]


def no_gpu() -> str | None:
    """Why there is no GPU, or nothing if there is one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver (libcuda.so.1)"
    found = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(ctypes.c_int()), 0) == 0
    return None if found else "the CUDA driver finds none"


def driver_release() -> str | None:
    """The driver's own version, such as 580.65.06, if nvidia-smi is there to tell."""
    try:
        line = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.split("\n")[0].strip() or None


@functools.cache
def compile_with(source: Path, directory: Path | None, work: Path, name: str, *flags: object) -> Path:
    """A C program, with the object in a directory that the compiler wrote if there is one. Raises PeerError."""
    text, program, words = source.read_text(), work / name, list(flags)
    if directory is not None:
        model = host_tool(directory).name
        text = text.replace("vocosc", model).replace("VOCOSC", model.upper())
        words += ["-I", directory, directory / f"lib{model}.a"]
        words += ["-lopenblas", "-lfftw3f"] if read_report(directory).get("link") == "libs" else []
    path = work / f"{name}.c"
    path.write_text(text)
    standard = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-I", SOURCE.parent]
    line = ["gcc", *standard, path, *words, "-ldl", "-lm", "-o", program]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [text for text in done.stderr.splitlines() if "error" in text]
        raise PeerError(f"gcc cannot compile {source.name}: {(errors or [last_line(done.stderr)])[0]}")
    return program


def compile_program(directory: Path, work: Path, name: str = "") -> Path:
    """`gpu.c` for the object in a directory that the compiler wrote, compiled into `work`. Raises PeerError."""
    return compile_with(SOURCE, directory, work, f"gpu_{name or directory.name}")


def measure(
    program: Path, case: Case, warmup: int, runs: int, extra: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `gpu.c` says of a case, after `warmup` milliseconds. Raises PeerError."""
    words = [case.chunk, case.streams, warmup, runs, case.memory, case.cache, case.flags]
    environment = {**os.environ, **(extra or {})}
    done = subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, check=False, env=environment, timeout=TIMEOUT
    )
    if done.returncode == NO_GPU_EXIT:
        raise PeerError(last_line(done.stdout))
    if done.returncode != 0:
        raise PeerError(f"{program.name} {' '.join(map(str, words))}: {last_line(done.stderr)}")
    data: dict[str, Any] = json.loads(done.stdout)
    return data


@dataclass(frozen=True)
class GpuBar:
    """What has to be reached; `measured` is none where it was not measured."""

    text: str
    bar: float
    at_most: bool
    measured: float | None

    @property
    def passed(self) -> bool:
        """Whether it was reached."""
        return self.measured is not None and (self.measured <= self.bar if self.at_most else self.measured >= self.bar)


def judge(
    results: Sequence[Mapping[str, Any]], pytorch: Mapping[int, Summary], facts: Mapping[str, Any], precision: str
) -> list[GpuBar]:
    """The bars, on a result per case (`case` and what `gpu.c` said), PyTorch's summary per chunk size and its facts."""

    def of(case: Case, key: str, figure: str) -> float | None:
        found = [r for r in results if r["case"] == asdict(case)]
        return float(found[0][key][figure]) if found else None

    five = of(Case(5), "wall_us", "median")
    tail = of(Case(5), "wall_us", "p99")
    many = of(Case(5, streams=1000, build=MANY), "wall_us", "max")
    bar_db = 100 if precision == "f32" else 55
    least_db = min((float(r["snr_db"]) for r in results), default=None)
    torch_us = 1e3 * pytorch[5]["p50_per_chunk_ms"] if 5 in pytorch else None
    return [
        GpuBar("chunk 5, median, us", 60, True, five),
        GpuBar("chunk 1, median, us", 50, True, of(Case(1), "wall_us", "median")),
        GpuBar("chunk 5, p99 over median", 1.5, True, tail / five if five and tail else None),
        GpuBar(
            f"chunk 5, times as fast as the published {STATED_MS} ms",
            50,
            False,
            1e3 * STATED_MS / five if five else None,
        ),
        GpuBar("chunk 5, times as fast as PyTorch here", 25, False, torch_us / five if five and torch_us else None),
        GpuBar("1000 streams of chunk 5, longest round, ms", 100, True, 1e-3 * many if many else None),
        GpuBar("dB from the CPU, the least of all cases", bar_db, False, least_db),
        GpuBar("dB from PyTorch, cuBLAS and cuFFT on this GPU", bar_db, False, facts.get("snr_db")),
    ]


def bars_table(bars: Sequence[GpuBar]) -> str:
    """The verdicts as aligned text."""
    lines = [["bar", "", "", "measured", ""]]
    for bar in bars:
        measured = "not measured" if bar.measured is None else f"{bar.measured:.2f}"
        sign, verdict = ("<=" if bar.at_most else ">="), ("pass" if bar.passed else "miss")
        lines.append([bar.text, sign, f"{bar.bar:g}", measured, verdict])
    return aligned(lines)


def table(results: Sequence[Mapping[str, Any]], pytorch: Mapping[int, Summary]) -> str:
    """All cases as aligned text; times in microseconds."""
    case_heads = ["chunk", "streams", "batch", "weights", ""]
    time_heads = ["median", "p99", "max", "by events", "queueing", "first", "init ms", "dB", "x PyTorch"]
    lines = [[*case_heads, *time_heads]]
    for result in results:
        case = Case(**result["case"])
        wall = result["wall_us"]
        torch_us = 1e3 * pytorch[case.chunk]["p50_per_chunk_ms"] if case.chunk in pytorch else None
        numbers = [wall["median"], wall["p99"], wall["max"], result["event_us"]["median"], result["queue_us"]["median"]]
        lines.append(
            [
                *(str(case.chunk), str(case.streams), str(result["batch"]), result["precision"], case.label()),
                *(f"{number:.1f}" for number in [*numbers, result["first_us"], result["init_ms"], result["snr_db"]]),
                f"{torch_us * case.streams / wall['median']:.1f}" if torch_us else "",
            ]
        )
    for chunk, summary in pytorch.items():
        figures = [1e3 * summary[key] for key in ("p50_per_chunk_ms", "p99_per_chunk_ms", "max_per_chunk_ms")]
        first = f"{1e3 * summary['avg_first_chunk_proc_ms']:.1f}"
        numbers_text = [f"{figure:.1f}" for figure in figures]
        lines.append([str(chunk), "1", "1", "f32", "PyTorch", *numbers_text, "", "", first, "", "", "1.0"])
    return aligned(lines)


def pytorch_peer(args: argparse.Namespace, missing: dict[str, str]) -> WorkerPeer | None:
    """PyTorch on the GPU, if a Python with such a PyTorch was named or is this one."""
    if not has_packages(args.torch_python, ["torch"]):
        missing["pytorch"] = f"{args.torch_python} lacks torch; name one that has it: --torch-python"
        return None
    tensors = unpack_checkpoint(args.compiler_python, args.checkpoint, args.work / "tensors.npz")
    mel = args.work / "mel.npy"
    np.save(mel, made_up_mel(FRAMES, mel_bins(tensors)))
    return WorkerPeer("pytorch", tensors, mel, args.work, [args.torch_python, "-m", "bench.torch_worker"], ["cuda"])


def decode_utterance(directory: Path, chunk: int, work: Path) -> NDArray[np.float32]:
    """The object's audio of PyTorch's utterance, on the GPU. Raises PeerError."""
    out = work / "gpu.npy"
    words = [host_tool(directory), "decode", "--target", "cuda", "--chunk", str(chunk), work / "mel.npy", out]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerError(last_line(done.stderr))
    audio: NDArray[np.float32] = np.load(out)
    return audio


def measure_pytorch(
    args: argparse.Namespace, directory: Path, missing: dict[str, str]
) -> tuple[dict[int, Summary], dict[str, Any]]:
    """Summaries by chunk size, and what PyTorch says of itself; `missing` is told why there are none.

    Among the facts is `snr_db`, the distance of the audio of the object in `directory` from PyTorch's.
    """
    peer = pytorch_peer(args, missing)
    if peer is None:
        return {}, {}
    try:
        facts = peer.prepare(Row(1, 1))
        chunk = max(args.chunks)
        ours = decode_utterance(directory, chunk, args.work)
        facts["snr_db"] = snr_db(peer.decode(Row(chunk, 1))[: ours.size], ours)
        utterances = max(1, args.runs // FRAMES), max(1, args.warmup // UTTERANCE_MS)
        return {
            chunk: peer.run_round(Row(chunk, 1), utterances[1], utterances[0], _quiet) for chunk in args.chunks
        }, facts
    except PeerError as error:
        missing["pytorch"] = str(error)
        return {}, {}
    finally:
        peer.close()


def _quiet(_: int) -> None:
    pass


def builds(args: argparse.Namespace, missing: dict[str, str]) -> dict[str, Path]:
    """The directory of each build. `missing` is told why there is none with the libraries; another one: PeerError."""
    found = {build: path.resolve() for build, path in zip((ONE, MANY, LINKED), args.objects, strict=False)}
    if found:
        return found
    batch = ["--batch", str(args.batch)]
    for build, chunks, precision, options in (
        (ONE, args.chunks, args.precision, ["--batch", "1"]),
        (MANY, args.chunks, args.precision, batch),
        (LINKED, [usual_chunk(args), WHOLE], "f32", [*batch, "--link", "libs"]),
    ):
        print(f"compiling {precision} {' '.join(options)}", file=sys.stderr, flush=True)
        directory, more = args.work / f"gpu-{build}-{precision}", ["--target", "cuda", *options]
        try:
            compile_object(args.compiler_python, args.checkpoint, directory, chunks, precision, more=more)
            found[build] = directory
        except PeerError as error:
            if build != LINKED:
                raise
            missing["cublas and cufft"] = str(error)
    return found


def usual_chunk(args: argparse.Namespace) -> int:
    """The chunk size that most cases have."""
    return 5 if 5 in args.chunks else int(args.chunks[0])


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description="Time a GPU build beside PyTorch on the same GPU.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--chunks", type=positive_list, default=[1, 5, 10], metavar="N,N", help="frames per chunk")
    parser.add_argument("--streams", type=positive_list, default=[1, 10, 100, 1000], metavar="N,N", help="at once")
    parser.add_argument("--precision", default="f16", help="of the weights (%(default)s)")
    parser.add_argument("--batch", type=positive, default=32, help="streams a call, for many (%(default)s)")
    parser.add_argument("--warmup", type=int, default=1000, help="milliseconds of untimed rounds (%(default)s)")
    parser.add_argument("--runs", type=positive, default=2000, help="timed rounds a case (%(default)s)")
    parser.add_argument(
        "--objects",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="compile nothing; these are the objects for one stream a call, for many, and with --link libs",
    )
    parser.add_argument("--compiler-python", default=sys.executable, help="the Python that runs the compiler")
    parser.add_argument("--torch-python", default=sys.executable, help="the Python that has PyTorch with CUDA")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench", help="for objects (%(default)s)")
    parser.add_argument("--results", type=Path, help="write gpu-CHIP.json into this directory")
    parser.add_argument("--date", help="to note in it")
    return parser.parse_args(argv)


def result_file(chip: str) -> str:
    """`gpu-nvidia-h200.json`."""
    return f"gpu-{re.sub(r'[^a-z0-9]+', '-', chip.lower()).strip('-')}.json"


def run(args: argparse.Namespace) -> int:
    """Measure, print, write. Returns the exit status: no GPU, or a bar that is missed, is no failure."""
    reason = no_gpu()
    if reason:
        print(f"bench: no GPU: {reason}; nothing was measured")
        return 0
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    directories = builds(args, missing)
    programs = {build: compile_program(directory, args.work) for build, directory in directories.items()}
    usual = usual_chunk(args)
    cases = latency_cases(args.chunks)
    if MANY in directories:
        cases += server_cases(usual, args.streams)
    if LINKED in directories:
        longest = int(read_report(directories[LINKED])["max_frames"])
        cases += library_cases(min(usual, longest), longest, args.batch)
    results: list[dict[str, Any]] = []
    for case in cases:
        print(f"chunk {case.chunk}, {case.streams} streams {case.label()}", file=sys.stderr, flush=True)
        results.append({"case": asdict(case), **measure(programs[case.build], case, args.warmup, args.runs)})
    one = directories[ONE]
    pytorch, facts = measure_pytorch(args, one, missing)
    bars = judge(results, pytorch, facts, str(read_report(one).get("precision", args.precision)))
    chip = str(results[0]["chip"])
    data = {
        "date": args.date,
        "chip": chip,
        "driver": driver_release(),
        "driver_version": results[0]["driver_version"],
        "host": this_machine(),
        "results": results,
        "pytorch": {"facts": facts, "chunks": {str(chunk): summary for chunk, summary in pytorch.items()}},
        "missing": missing,
        "bars": [{**asdict(bar), "passed": bar.passed} for bar in bars],
    }
    if args.results is not None:
        args.results.mkdir(parents=True, exist_ok=True)
        (args.results / result_file(chip)).write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    version = int(results[0]["driver_version"])
    print(f"{chip}, driver {data['driver'] or ''} of CUDA {version // 1000}.{version % 1000 // 10}")
    for name, why in missing.items():
        print(f"{name}: not here: {why}")
    print(
        f"\ntimes of a round in us: every stream decodes one chunk\n\n{table(results, pytorch)}\n\n{bars_table(bars)}"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; returns the exit status."""
    try:
        return run(arguments(argv))
    except (PeerError, OSError, ValueError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
