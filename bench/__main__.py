"""Time the compiled object beside PyTorch and others: see README.md here, and `python3 -m bench --help`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.bars import bars_table, judge
from bench.limits import Limits, best_of, compile_limits, measure_limits
from bench.metrics import share, snr_db
from bench.peers import (
    ROOT,
    CompiledPeer,
    Peer,
    PeerError,
    PyTorchPeer,
    Row,
    WorkerPeer,
    compile_object,
    has_packages,
    read_report,
    unpack_checkpoint,
)
from bench.quiet import quiet_peers
from bench.report import RowLimit, RowResult, as_json, heading, tables, this_machine

FRAMES = 162
"""Frames of the utterance unless one is given: 3.24 s at 50 frames a second."""

WHOLE_CHUNK = 54
"""Largest chunk of the object that decodes the whole utterance: 3 x 54 frames, and 54 fills row tiles of 6 exactly."""

BATCH_STREAMS, BATCH_CHUNK = 16, 5
"""The batch: so many streams decoded at once, each in chunks of so many frames."""

QUIET_CHUNK = 5
"""Frames per chunk of the quiet inputs, unless all chunks of the bench are smaller."""

OWN = "vocosc"
"""Our own peers are this and the precision."""

OTHERS = {
    "pytorch": ["torch"],
    "pytorch-pypi": ["torch"],
    "onnxruntime": ["onnx", "onnxruntime"],
    "onnxruntime-int8": ["onnx", "onnxruntime"],
    "openvino": ["onnx", "openvino"],
}
"""The other peers, the reference first, and the packages that each needs."""

SETUPS = {"pytorch-pypi": "train"}
"""What brings a peer's packages, `.ci/setup bench` unless it is named here: PyPI's PyTorch takes gigabytes."""

PRECISIONS = ["f32", "f16", "w8", "w8a8", "w4"]

REST_S = 0.2
"""Pause before each round: threads of the peer before may still spin for a moment, waiting for work."""


@dataclass(frozen=True)
class Effort:
    """Runs per row and peer: untimed, timed, and the number of turns that the timed ones are split into."""

    warmup: int
    runs: int
    rounds: int

    def for_streams(self, streams: int) -> "Effort":
        """As many utterances, but at least a run a round: a run of a batch decodes one for each stream."""
        return Effort(-(-self.warmup // streams), max(self.rounds, -(-self.runs // streams)), self.rounds)


class ProgressLine:
    """Shows on stderr how far the bench is: one line that renews itself, or, in a log, a line now and then."""

    LOG_EVERY_S = 20.0

    def __init__(self) -> None:
        self._start = self._shown = time.monotonic()
        self._live = sys.stderr.isatty()

    def show(self, text: str, always: bool = False) -> None:
        """Show `text` with the time so far; in a log only if the last line is old, or `always`."""
        now = time.monotonic()
        seconds = int(now - self._start)
        stamped = f"[{seconds // 60}:{seconds % 60:02d}] {text}"
        if self._live:
            print(f"\r\033[K{stamped}", end="\n" if always else "", file=sys.stderr, flush=True)
        elif always or now - self._shown > self.LOG_EVERY_S:
            self._shown = now
            print(stamped, file=sys.stderr, flush=True)


def made_up_mel(frames: int, mels: int) -> NDArray[np.float32]:
    """A log-mel in the manner of speech, the same on every machine: slow syllables, falling spectrum, some noise."""
    rng = np.random.RandomState(1)
    t, bin_ = np.arange(frames)[:, None], np.arange(mels)[None, :] / mels
    loudness = 2.5 * np.sin(2 * np.pi * t / 13) + 1.5 * np.sin(2 * np.pi * t / 37)
    formants = np.cos(2 * np.pi * (3 * bin_ + t / 29)) - 5 * bin_
    mel = -2 + loudness + formants + 0.5 * rng.standard_normal((frames, mels))
    return np.maximum(mel, np.log(1e-5)).astype(np.float32)


def mel_bins(tensors: Path) -> int:
    """How many mel bins the decoder of an unpacked checkpoint takes. Raises PeerError if its embedding is missing."""
    with np.load(tensors, allow_pickle=False) as data:
        for key in data.files:
            # The weight is out x mels x taps; the weight norm's gain out x 1 x 1.
            if key.startswith("decoder.0.embed.") and data[key].ndim == 3 and data[key].shape[2] > 1:
                return int(data[key].shape[1])
    raise PeerError("the checkpoint has no decoder.0.embed weight")


def run_row(row: Row, peers: Sequence[Peer], effort: Effort, progress: ProgressLine, place: str) -> RowResult:
    """Measure one row: the peers take turns, round after round, so that all see the same state of the machine.

    A peer that fails is reported and left out; the others go on.
    """
    result = RowResult(row, os.getloadavg()[0])
    audio: dict[str, NDArray[np.float32]] = {}
    where = f"{place} chunk {row.label}, {row.threads} thread{'s' * (row.threads > 1)}"

    def attempt(peer: Peer, number: int, round_runs: int) -> None:
        done_text = f"{where}, round {number + 1}/{effort.rounds}, {peer.name}"
        progress.show(done_text)
        try:
            if number == 0:
                result.facts[peer.name] = peer.prepare(row)
                if row.plain:
                    audio[peer.name] = peer.decode(row)
            time.sleep(REST_S)
            # Every round warms up anew: what ran in between has emptied the caches.
            warmup = -(-effort.warmup // effort.rounds)
            summary = peer.run_round(
                row, warmup, round_runs, lambda done: progress.show(f"{done_text} {done}/{round_runs}")
            )
            result.rounds[peer.name].append(summary)
        except PeerError as error:
            result.errors[peer.name] = str(error)

    for peer in peers:
        result.rounds[peer.name] = []
    for number, round_runs in enumerate(share(effort.runs, effort.rounds)):
        for peer in peers:
            if peer.name not in result.errors:
                attempt(peer, number, round_runs)
    _compare_audio(result, audio, peers[0].name)
    for name in result.errors:
        result.rounds[name] = []
    progress.show(f"{where}: {_brief(result)}", always=True)
    return result


def _compare_audio(result: RowResult, audio: Mapping[str, NDArray[np.float32]], reference: str) -> None:
    def compare(names: Sequence[str], expected: NDArray[np.float32], snr: dict[str, float]) -> None:
        for name in names:
            samples = audio[name]
            if len(samples) < len(expected):
                result.errors[name] = f"decoded {len(samples)} samples, the reference {len(expected)}"
            else:
                # A peer may add the overlap's tail, which the reference never emits.
                snr[name] = snr_db(expected, samples[: len(expected)])

    f32 = f"{OWN} f32"
    if reference in audio:
        compare([name for name in audio if name != reference], audio[reference], result.snr_db)
    if f32 in audio:
        own = [name for name in audio if name.startswith(OWN) and name != f32]
        compare(own, audio[f32], result.snr_f32_db)


def _brief(result: RowResult) -> str:
    parts = []
    for name, rounds in result.rounds.items():
        speedup = result.speedup(name)
        times = f"{np.median([r['p50_total_ms'] for r in rounds]):.1f} ms" if rounds else "failed"
        parts.append(f"{name} {times}" + (f" ({speedup.median:.2f}x)" if speedup else ""))
    return ", ".join(parts)


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def positive_list(text: str) -> list[int]:
    """Integers of at least 1, separated by commas, for argparse."""
    return [positive(part) for part in text.split(",")]


def other_peers(text: str) -> list[str]:
    """Names of OTHERS separated by commas, or `none`, for argparse."""
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in OTHERS:
            raise argparse.ArgumentTypeError(f"no peer {name}: choose from {', '.join(OTHERS)}, none")
    return names


def default_torch_python() -> str:
    """The Python that `.ci/setup train` prepares, with the newest PyTorch of PyPI."""
    return str(ROOT / ".venv-train" / "bin" / "python")


def default_peer_python() -> str:
    """The Python that `.ci/setup bench` prepares for the peers that are not PyTorch."""
    return str(ROOT / ".venv-bench" / "bin" / "python")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Time a compiled vocoder beside PyTorch and others.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--chunks", type=positive_list, default=[1, 2, 5, 10], metavar="N,N", help="frames per chunk")
    parser.add_argument("--no-whole", action="store_true", help="leave out the whole utterance at once")
    parser.add_argument("--no-batch", action="store_true", help=f"leave out the {BATCH_STREAMS} streams at once")
    parser.add_argument("--no-quiet", action="store_true", help="leave out the quiet inputs")
    parser.add_argument("--threads", type=positive_list, default=[1, 2], metavar="T,T")
    parser.add_argument("--warmup", type=int, default=100, help="untimed runs a row, per peer (%(default)s)")
    parser.add_argument("--runs", type=positive, default=1000, help="timed runs a row, per peer (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="turns the runs are split into (%(default)s)")
    parser.add_argument(
        "--peers",
        type=other_peers,
        metavar="NAME,NAME",
        help=f"beside our own, of {', '.join(OTHERS)}; or none (default: all that are installed)",
    )
    parser.add_argument(
        "--precision",
        type=lambda text: text.split(","),
        default=PRECISIONS,
        metavar="P,P",
        help=f"of the objects to compile (default: {','.join(PRECISIONS)}, as far as the compiler has them)",
    )
    parser.add_argument(
        "--object",
        type=Path,
        action="append",
        default=[],
        help="use this compiled object for the chunks: do not compile; once for each precision",
    )
    parser.add_argument(
        "--whole-object",
        type=Path,
        action="append",
        default=[],
        help=f"and this, for chunks of {WHOLE_CHUNK}, for the whole: one for each --object",
    )
    parser.add_argument(
        "--batch-object",
        type=Path,
        action="append",
        default=[],
        help=f"and this, for chunks of {BATCH_STREAMS * BATCH_CHUNK}, for {BATCH_STREAMS} streams at once: likewise",
    )
    parser.add_argument("--compiler-python", default=sys.executable, help="the Python that runs the compiler")
    parser.add_argument("--mel", type=Path, help=f".npy, frames x mels (default: {FRAMES} frames made up)")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "bench", help="for objects and audio (%(default)s)"
    )
    parser.add_argument("--python", default=default_peer_python(), help="that of ONNX Runtime, OpenVINO (%(default)s)")
    parser.add_argument("--torch-python", default=default_torch_python(), help="that of PyPI's PyTorch (%(default)s)")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--date", help="to note in it")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Inputs:
    """What every peer is given."""

    tensors: Path
    mel: Path
    work: Path
    frames: int


def prepare_inputs(args: argparse.Namespace) -> Inputs:
    """Unpack the checkpoint, make or read the mel. Raises PeerError."""
    work: Path = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    tensors = unpack_checkpoint(args.compiler_python, args.checkpoint, work / "tensors.npz")
    if args.mel is None:
        mel = made_up_mel(FRAMES, mel_bins(tensors))
    else:
        mel = np.load(args.mel, allow_pickle=False).astype(np.float32)
        if mel.ndim != 2 or mel.shape[0] < 1:
            raise PeerError(f"{args.mel}: shape {mel.shape}, expected frames x mels")
    mel_path = work / "mel.npy"
    np.save(mel_path, np.ascontiguousarray(mel))
    return Inputs(tensors, mel_path, work, mel.shape[0])


def find_other_peers(
    args: argparse.Namespace, inputs: Inputs, cpu_flags: Sequence[str], missing: dict[str, str]
) -> list[Peer]:
    """The peers asked for that are installed; `missing` is told why others are not."""
    peers: list[Peer] = []
    for kind, packages in OTHERS.items():
        if args.peers is not None and kind not in args.peers:
            continue
        python = {"pytorch": sys.executable, "pytorch-pypi": args.torch_python}.get(kind, args.python)
        name = kind.replace("-", " ")
        if not has_packages(python, packages):
            missing[name] = f"{python} lacks {' or '.join(packages)}; .ci/setup {SETUPS.get(kind, 'bench')} brings it"
        elif kind == "pytorch":
            command = [python, "-m", "bench.torch_worker"]
            peers.append(PyTorchPeer(name, inputs.tensors, inputs.mel, inputs.work, command, cpu_flags=cpu_flags))
        elif kind == "pytorch-pypi":
            peers.append(
                WorkerPeer(name, inputs.tensors, inputs.mel, inputs.work, [python, "-m", "bench.torch_worker"])
            )
        else:
            command = [python, "-m", "bench.onnx_worker"]
            peers.append(WorkerPeer(name, inputs.tensors, inputs.mel, inputs.work, command, [kind]))
    return peers


def compile_peers(
    args: argparse.Namespace, inputs: Inputs, progress: ProgressLine, missing: dict[str, str]
) -> list[CompiledPeer]:
    """Our own peers, one per precision; `missing` is told what the compiler refuses. Raises PeerError if it is all."""

    def peer(precision: str, stream: Path, whole: Path, batch: Path) -> CompiledPeer:
        paths = (stream.resolve(), whole.resolve())
        name = f"{OWN} {precision}"
        return CompiledPeer(*paths, WHOLE_CHUNK, inputs.mel, inputs.work, name, batch.resolve())

    if args.object:
        wholes = args.object if args.no_whole else args.whole_object
        batches = args.object if args.no_batch else args.batch_object
        for objects, name in [(wholes, "whole"), (batches, "batch")]:
            if len(objects) != len(args.object):
                raise PeerError(f"as many --{name}-object as --object are needed, or --no-{name}")
        return [
            peer(read_report(stream).get("precision", "f32"), stream, whole, batch)
            for stream, whole, batch in zip(args.object, wholes, batches, strict=True)
        ]
    wanted = {"stream": args.chunks}
    if not args.no_whole:
        wanted["whole"] = [WHOLE_CHUNK]
    if not args.no_batch:
        wanted["batch"] = [BATCH_STREAMS * BATCH_CHUNK]
    peers = []
    for precision in args.precision:
        try:
            paths = {}
            for name, chunks in wanted.items():
                progress.show(f"compiling {precision} for chunks of {','.join(map(str, chunks))}", always=True)
                directory = inputs.work / f"{name}-{precision}"
                paths[name] = compile_object(args.compiler_python, args.checkpoint, directory, chunks, precision)
            stream = paths["stream"]
            peers.append(peer(precision, stream, paths.get("whole", stream), paths.get("batch", stream)))
        except PeerError as error:
            missing[f"{OWN} {precision}"] = str(error)
    if not peers:
        raise PeerError("; ".join(missing.values()))
    return peers


def rows_of(args: argparse.Namespace) -> list[Row]:
    """What is measured, in turn: the rows for all peers, and those for our own."""
    chunks: list[int | None] = [*args.chunks, *([] if args.no_whole else [None])]
    rows = [Row(chunk, threads) for threads in args.threads for chunk in chunks]
    if not args.no_batch:
        rows += [Row(BATCH_CHUNK, threads, BATCH_STREAMS) for threads in args.threads]
    if not args.no_quiet:
        rows.append(Row(min(QUIET_CHUNK, max(args.chunks)), 1, quiet=True))
    return rows


class LimitsMeter:
    """Measures the machine's limits, for all thread counts and for the sizes of our own peers' weights."""

    def __init__(self, args: argparse.Namespace, inputs: Inputs, own: Sequence[CompiledPeer]) -> None:
        self._program = compile_limits(inputs.work)
        self._threads: list[int] = args.threads
        self._sizes = sorted({peer.cost(row).weight_bytes for peer in own for row in rows_of(args)}, reverse=True)
        self.limits: dict[int, Limits] = {}
        """By thread count: the best of all measurements so far."""

    def measure(self, progress: ProgressLine) -> None:
        """Measure (again): some seconds a thread count. Raises PeerError."""
        for threads in self._threads:
            progress.show(f"measuring the machine's limits, {threads} thread{'s' * (threads > 1)}", always=True)
            found = measure_limits(self._program, threads, self._sizes)
            self.limits[threads] = best_of(self.limits.get(threads, found), found)

    def apply(self, result: RowResult, own: Sequence[CompiledPeer], frames: int) -> None:
        """Note in a row what the limits are for our own peers; the quiet inputs have none of their own."""
        row = result.row
        if row.quiet:
            return
        limits = self.limits[row.threads]
        for peer in own:
            cost, in_call, in_run = peer.cost(row), peer.chunk(row) * row.streams, frames * row.streams
            result.limits[peer.name] = RowLimit(
                bytes_ms=limits.bytes_ms(cost),
                frame_ms=limits.frame_ms(cost),
                call_ms=limits.call_ms(cost, in_call),
                run_ms=limits.run_ms(cost, in_run, in_call),
                run_fma_ms=limits.fma_ms(cost) * in_run,
                peak_gflops=limits.peak_gflops,
            )


def run(args: argparse.Namespace) -> int:
    """Measure, print, write. Returns the exit status: 1 if any peer failed; a bar that is missed is no failure."""
    progress = ProgressLine()
    inputs = prepare_inputs(args)
    machine = this_machine()
    missing: dict[str, str] = {}
    others = find_other_peers(args, inputs, machine["cpu_flags"], missing)
    own = compile_peers(args, inputs, progress, missing)
    quiet = quiet_peers(own, np.load(inputs.mel, allow_pickle=False), inputs.work)
    meter = LimitsMeter(args, inputs, own)
    meter.measure(progress)
    rows = rows_of(args)
    effort = Effort(args.warmup, args.runs, min(args.rounds, args.runs))
    settings = {**asdict(effort), "frames": inputs.frames, "whole_chunk": WHOLE_CHUNK}
    results: list[RowResult] = []

    def write_json() -> None:
        if args.json is None:
            return
        head = {"date": args.date, "machine": machine, "settings": settings, "missing": missing}
        limits = [asdict(limit) for limit in meter.limits.values()]
        bars = [{**asdict(verdict), "passed": verdict.passed} for verdict in judge(results)]
        data = {**head, "limits": limits, **as_json(results), "bars": bars}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")

    with ExitStack() as stack:
        for other in others:
            stack.callback(other.close)
        for i, row in enumerate(rows):
            peers: Sequence[Peer] = quiet if row.quiet else [*others, *own] if row.plain else own
            place = f"row {i + 1}/{len(rows)}:"
            results.append(run_row(row, peers, effort.for_streams(row.streams), progress, place))
            meter.apply(results[-1], own, inputs.frames)
            write_json()  # after every row: a long bench that is interrupted has still measured something
    # The machine may have been slower at the start than it can be: a limit is the best that was ever seen.
    meter.measure(progress)
    for result in results:
        meter.apply(result, own, inputs.frames)
    write_json()
    print(heading(machine, list(meter.limits.values()), results, missing))
    print(
        f"\n{args.runs} runs of {inputs.frames} frames a row and peer, {args.warmup} to warm up, {effort.rounds} rounds"
    )
    print(f"times in ms, medians over the rounds; whole: {WHOLE_CHUNK} frames a call for {OWN}, one call for others\n")
    print(tables(results))
    if verdicts := judge(results):
        print(f"\n{bars_table(verdicts)}")
    return 1 if any(result.errors for result in results) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; returns the exit status."""
    args = arguments(argv)
    try:
        return run(args)
    except (PeerError, OSError, ValueError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
