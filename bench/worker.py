"""The frame of a peer's process: it reads one JSON request a line from stdin and writes one answer a line to stdout.

Requests are `{"do": "describe"}`, `{"do": "time", "chunk", "warmup", "runs"}` and `{"do": "decode", "chunk", "out"}`
(chunk null: the whole utterance in one call); see `bench.peers.Worker` for the other end. Needs numpy alone.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.metrics import RunTimes, Summary, summarise

PROGRESS_EVERY_S = 1.0


class Engine(Protocol):
    """What decodes, in the worker's process. What a chunk or an output is, the engine alone knows."""

    frames: int
    """Of the utterance."""
    frame_s: float
    """Seconds of audio that a frame stands for."""

    def describe(self) -> dict[str, Any]:
        """Facts worth reporting, or `{"error": ...}`."""

    def chunks(self, frames: int) -> Sequence[Any]:
        """The utterance in chunks of so many frames (the last may have fewer), and all made ready for it, untimed."""

    def reset(self) -> None:
        """Begin the utterance."""

    def step(self, chunk: Any) -> Any:
        """Decode one chunk; all the work to audio."""

    def audio(self, outputs: Sequence[Any]) -> NDArray[np.float32]:
        """The samples of the steps' outputs."""


def answer(message: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def decode(engine: Engine, chunks: Sequence[Any]) -> tuple[RunTimes, list[Any]]:
    """Decode the utterance from reset; times as the reference's bench takes them, and what each step gave."""
    times, outputs = [], []
    start = time.perf_counter()
    engine.reset()
    for chunk in chunks:
        before = time.perf_counter()
        outputs.append(engine.step(chunk))
        times.append(time.perf_counter() - before)
    return RunTimes(time.perf_counter() - start, tuple(times)), outputs


def timed(engine: Engine, frames: int, warmup: int, runs: int) -> Summary:
    """Metrics of `runs` runs in chunks of `frames`, after `warmup` untimed ones; says now and then how far it is."""
    chunks = engine.chunks(frames)
    shown = time.perf_counter()
    kept = []
    for i in range(warmup + runs):
        run, _ = decode(engine, chunks)
        if i >= warmup:
            kept.append(run)
        if time.perf_counter() - shown > PROGRESS_EVERY_S:
            shown = time.perf_counter()
            answer({"done": max(0, i + 1 - warmup)})
    return summarise(kept, 1e3 * engine.frame_s * frames, engine.frame_s * engine.frames)


class Model(NamedTuple):
    """What `bench.export` wrote: the decoder's tensors, hop in samples, rate in Hz, look-ahead in frames."""

    tensors: dict[str, NDArray[Any]]
    hop_length: int
    sample_rate: int
    lookahead_frames: int


def load_model(path: Path) -> Model:
    """Reads it."""
    with np.load(path, allow_pickle=False) as data:
        tensors = {key: data[key] for key in data.files}
    return Model(tensors, *(int(tensors.pop(name)) for name in Model._fields[1:]))


def serve(engine: Engine) -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        frames = request.get("chunk") or engine.frames
        if request["do"] == "describe":
            answer(engine.describe())
        elif request["do"] == "time":
            answer(dict(timed(engine, frames, request["warmup"], request["runs"])))
        elif request["do"] == "decode":
            np.save(request["out"], engine.audio(decode(engine, engine.chunks(frames))[1]))
            answer({"out": request["out"]})
        else:
            answer({"error": f"unknown request {request['do']}"})
