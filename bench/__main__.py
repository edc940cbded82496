"""Time the compiled object beside PyTorch: see README.md in this directory, and `python3 -m bench --help`."""

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

from bench.metrics import share, snr_db
from bench.peers import ROOT, CompiledPeer, Peer, PeerError, PyTorchPeer, Row, compile_object, unpack_checkpoint
from bench.report import RowResult, as_json, heading, table, this_machine

FRAMES = 162
"""Frames of the utterance unless one is given: 3.24 s at 50 frames a second."""

WHOLE_CHUNK = 54
"""Largest chunk of the object that decodes the whole utterance: 3 x 54 frames, and 54 fills row tiles of 6 exactly."""

REST_S = 0.2
"""Pause before each round: threads of the peer before may still spin for a moment, waiting for work."""


@dataclass(frozen=True)
class Effort:
    """Runs per row and peer: untimed, timed, and the number of turns that the timed ones are split into."""

    warmup: int
    runs: int
    rounds: int


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
    if reference not in audio:
        return
    expected = audio[reference]
    for name, samples in audio.items():
        if name == reference:
            continue
        if len(samples) < len(expected):
            result.errors[name] = f"decoded {len(samples)} samples, the reference {len(expected)}"
        else:
            # A peer may add the overlap's tail, which the reference never emits.
            result.snr_db[name] = snr_db(expected, samples[: len(expected)])


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


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Time a compiled vocoder beside PyTorch.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--chunks", type=positive_list, default=[1, 2, 5, 10], metavar="N,N", help="frames per chunk")
    parser.add_argument("--no-whole", action="store_true", help="leave out the whole utterance at once")
    parser.add_argument("--threads", type=positive_list, default=[1, 2], metavar="T,T")
    parser.add_argument("--warmup", type=int, default=100, help="untimed runs a row, per peer (%(default)s)")
    parser.add_argument("--runs", type=positive, default=1000, help="timed runs a row, per peer (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="turns the runs are split into (%(default)s)")
    parser.add_argument("--object", type=Path, help="use this compiled object for the chunks: do not compile")
    parser.add_argument("--whole-object", type=Path, help=f"and this, for chunks of {WHOLE_CHUNK}, for the whole")
    parser.add_argument("--compiler-python", default=sys.executable, help="the Python that runs the compiler")
    parser.add_argument("--mel", type=Path, help=f".npy, frames x mels (default: {FRAMES} frames made up)")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "bench", help="for objects and audio (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write. Returns the exit status: 1 if any peer failed; a bar that is missed is no failure."""
    progress = ProgressLine()
    work: Path = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    mel_path = work / "mel.npy"
    tensors = unpack_checkpoint(args.compiler_python, args.checkpoint, work / "tensors.npz")
    if args.mel is None:
        mel = made_up_mel(FRAMES, mel_bins(tensors))
    else:
        mel = np.load(args.mel, allow_pickle=False).astype(np.float32)
        if mel.ndim != 2 or mel.shape[0] < 1:
            raise PeerError(f"{args.mel}: shape {mel.shape}, expected frames x mels")
    np.save(mel_path, mel)

    def object_for(given: Path | None, name: str, chunks: list[int]) -> Path:
        if given is not None:
            return given.resolve()
        progress.show(f"compiling for chunks of {','.join(map(str, chunks))}", always=True)
        return compile_object(args.compiler_python, args.checkpoint, work / name, chunks)

    stream = object_for(args.object, "stream", args.chunks)
    whole = stream if args.no_whole else object_for(args.whole_object, "whole", [WHOLE_CHUNK])
    machine = this_machine()
    peers: list[Peer] = [
        PyTorchPeer(tensors, mel_path, work, machine["cpu_flags"]),
        CompiledPeer(stream, whole, WHOLE_CHUNK, mel_path, work),
    ]
    chunks: list[int | None] = [*args.chunks, *([] if args.no_whole else [None])]
    rows = [Row(chunk, threads) for threads in args.threads for chunk in chunks]
    effort = Effort(args.warmup, args.runs, min(args.rounds, args.runs))
    results: list[RowResult] = []
    settings = {
        **asdict(effort),
        "frames": mel.shape[0],
        "whole_chunk": WHOLE_CHUNK,
    }

    with ExitStack() as stack:
        for peer in peers:
            stack.callback(peer.close)
        for i, row in enumerate(rows):
            place = f"row {i + 1}/{len(rows)}:"
            results.append(run_row(row, peers, effort, progress, place))
            if args.json is not None:  # after every row: a long bench that is interrupted has still measured something
                text = json.dumps(as_json(machine, settings, results), indent=1, allow_nan=False)
                args.json.write_text(text + "\n")
    print(heading(machine, results))
    print(f"{args.runs} runs of {mel.shape[0]} frames a row and peer, {args.warmup} to warm up, {effort.rounds} rounds")
    print(f"times in ms, medians over the rounds; whole: {WHOLE_CHUNK} frames a call for the compiled object\n")
    print(table(results))
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
