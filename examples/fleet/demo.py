"""A fleet on loopback: two Triton servers behind HAProxy, real-time streams, one server killed, the other drained.

`make fleet`, or `.venv-fleet/bin/python -m examples.fleet.demo`. Every stream's audio is compared with what the object
gives alone. Then the load is raised, step by step, until chunks are late. Writes fleet.json and fleet.png into
build/fleet.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
import wave
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from examples.fleet.client import Fleet, FleetError
from examples.fleet.servers import Balancer, Server, balanced

mpl.use("Agg")

ROOT = Path(__file__).resolve().parents[2]
SPEECH = sorted((ROOT / "examples" / "speech").glob("*.wav"))
NAME = "fleet"
VOICES = 20
"""Different utterances; more streams than that share them, each at a time of its own."""


@dataclass
class Heard:
    """What became of a stream."""

    number: int
    samples: int = 0
    digest: str = ""
    moves: int = 0
    chunks: list[tuple[float, float]] = field(default_factory=list)
    """Of each chunk: seconds since the beginning when its frames were there, and until its audio was."""


@dataclass(frozen=True)
class Material:
    """What is spoken, and what must be heard."""

    mel: NDArray[np.float32]  # a loop
    module: ModuleType
    chunk: int  # frames

    @property
    def seconds(self) -> float:
        """Of a chunk."""
        return float(self.chunk * self.module.HOP / self.module.SAMPLE_RATE)

    def frames(self, voice: int, start: int, count: int) -> NDArray[np.float32]:
        """Of a voice, which begins somewhere of its own in the loop."""
        first = start + voice * len(self.mel) // VOICES
        return np.ascontiguousarray(self.mel[np.arange(first, first + count) % len(self.mel)])

    def expected(self, voice: int, chunks: int) -> tuple[int, str]:
        """Samples and hash of an utterance of so many chunks, its end included, decoded alone."""
        stream = self.module.Stream()
        parts = [stream.decode(self.frames(voice, 0, chunks * self.chunk)), stream.flush()]
        audio = np.concatenate(parts)
        return len(audio), hashlib.sha256(audio.tobytes()).hexdigest()


def build(checkpoint: Path, precision: str, chunk: int, out: Path) -> None:
    """Compiles the model: a repository for the servers, and a wheel for what is expected."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "compiler",
        checkpoint,
        "--name",
        NAME,
        "--chunk",
        str(chunk),
        "--wheel",
    ]
    command += ["--precision", precision, "-o", out / "model", "--triton", out / "models"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def load_material(chunk: int, out: Path) -> Material:
    """The model in this process, from its wheel, and the speech of examples/speech."""
    (wheel,) = (out / "model").glob("*.whl")
    site = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    sys.path.insert(0, str(site))
    module = importlib.import_module(NAME)
    sound = []
    for path in SPEECH:
        with wave.open(str(path)) as file:
            sound.append(np.frombuffer(file.readframes(file.getnframes()), np.int16))
    return Material(module.mel(np.concatenate(sound)), module, chunk)


async def speak(fleet: Fleet, material: Material, number: int, chunks: int, begin: float) -> Heard:
    """A stream in real time: a chunk is sent when its last frame would be there."""
    heard, period, voice = Heard(number), material.seconds, number % VOICES
    digest = hashlib.sha256()
    async with await fleet.open() as stream:
        for at in range(chunks):
            due = begin + (at + 1) * period
            await asyncio.sleep(due - time.monotonic())
            audio = await stream.decode(material.frames(voice, at * material.chunk, material.chunk))
            heard.chunks.append((due, time.monotonic() - due))
            heard.samples += len(audio)
            digest.update(audio.tobytes())
        tail = await stream.flush()
        heard.samples += len(tail)
        digest.update(tail.tobytes())
        heard.moves = stream.moves
    heard.digest = digest.hexdigest()
    return heard


async def play(fleet: Fleet, material: Material, count: int, chunks: int, begin: float) -> list[Heard]:
    """So many streams at a time, which begin at moments spread over a chunk's time."""
    begins = [begin + material.seconds * number / count for number in range(count)]
    return await asyncio.gather(*[speak(fleet, material, n, chunks, start) for n, start in enumerate(begins)])


def whole(material: Material, heard: list[Heard], chunks: int) -> int:
    """How many streams have every sample that they have alone, and no other."""
    expected = {voice: material.expected(voice, chunks) for voice in {stream.number % VOICES for stream in heard}}
    return sum((stream.samples, stream.digest) == expected[stream.number % VOICES] for stream in heard)


def figures(heard: list[Heard], period: float, first: float = 0.0, last: float = float("inf")) -> dict[str, Any]:
    """Latency of the chunks that were due in a time: from the last frame to the audio. Late: the next chunk is due."""
    found = np.array([wait for stream in heard for due, wait in stream.chunks if first <= due < last]) * 1000
    if not len(found):
        return {"chunks": 0}
    p50, p99 = np.percentile(found, [50, 99])
    late = int((found > 1000 * period).sum())
    return {
        "chunks": len(found),
        "late": late,
        **{k: round(float(v), 2) for k, v in (("p50_ms", p50), ("p99_ms", p99))},
    } | {"max_ms": round(float(found.max()), 2)}


async def survive(
    material: Material, balancer: Balancer, servers: list[Server], count: int, seconds: float
) -> dict[str, Any]:
    """All streams, while one server is killed and comes back, and then the other is drained and stopped."""
    chunks = round(seconds / material.seconds)
    async with Fleet(balancer.address, NAME) as fleet:
        await fleet.model()
        begin = time.monotonic() + 1.0
        times: dict[str, float] = {}

        def note(what: str) -> None:
            times[what] = time.monotonic()
            print(f"  {times[what] - begin:6.1f} s  {what:<40} calls now: {balancer.calls()}", flush=True)

        async def events() -> None:
            await asyncio.sleep(begin + seconds / 3 - time.monotonic())
            note("one is killed (SIGKILL)")
            await asyncio.to_thread(servers[0].kill)
            await asyncio.sleep(seconds / 12)
            note("one starts again")
            await asyncio.to_thread(servers[0].start)
            await asyncio.sleep(begin + 2 * seconds / 3 - time.monotonic())
            note("two is drained: no new streams")
            balancer.order("set server servers/two state drain")
            await asyncio.sleep(seconds / 24)
            note("two is asked to stop (SIGTERM)")
            await asyncio.to_thread(servers[1].stop)
            note("two has stopped")

        happening = asyncio.create_task(events())
        heard = await play(fleet, material, count, chunks, begin)
        await happening
    kill, drain = times["one is killed (SIGKILL)"], times["two is asked to stop (SIGTERM)"]
    return {
        "streams": count,
        "seconds": seconds,
        "whole": whole(material, heard, chunks),
        "samples": sum(stream.samples for stream in heard),
        "moves": sum(stream.moves for stream in heard),
        "all": figures(heard, material.seconds),
        "undisturbed": figures(heard, material.seconds, last=kill),
        "5 s from the kill": figures(heard, material.seconds, kill, kill + 5),
        "5 s from the stop": figures(heard, material.seconds, drain, drain + 5),
    }


async def load(
    material: Material, balancer: Balancer, servers: list[Server], count: int, seconds: float
) -> dict[str, Any]:
    """So many streams, undisturbed; and who used the cores."""
    chunks = max(3, round(seconds / material.seconds))
    async with Fleet(balancer.address, NAME, patience=30.0) as fleet:
        await fleet.model()
        begin, cpu = time.monotonic() + 0.5, _cpu(servers, balancer)
        before = [server.metrics("vocosc_", NAME) for server in servers]
        heard = await play(fleet, material, count, chunks, begin)
        after = [server.metrics("vocosc_", NAME) for server in servers]
    passed, cpu_after = time.monotonic() - begin, _cpu(servers, balancer)
    used = {who: round((cpu_after[who] - cpu[who]) / passed, 2) for who in cpu}
    frames, calls = (
        sum(a[f"vocosc_{what}_total"] - b[f"vocosc_{what}_total"] for a, b in zip(after, before, strict=True))
        for what in ("frames", "calls")
    )
    # The first chunk opens the stream, and the others queue behind that.
    found = figures(heard, material.seconds, begin + 2 * material.seconds + 0.5)
    return {
        "streams": count,
        "whole": whole(material, heard, chunks),
        **found,
        "streams_a_call": round(frames / calls / material.chunk, 2),
        "cores": used,
    }


def _cpu(servers: list[Server], balancer: Balancer) -> dict[str, float]:
    own = os.times()
    found = {server.name: server.cpu_seconds() for server in servers}
    return {"servers": sum(found.values()), "haproxy": balancer.cpu_seconds(), "clients": own.user + own.system}


def chart(result: dict[str, Any], path: Path) -> None:
    """Latency against load."""
    steps = result["load"]
    streams = [step["streams"] for step in steps]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for key, label, colour in (("p99_ms", "99th percentile", "#b3312c"), ("p50_ms", "median", "#0b5d8a")):
        axes.plot(streams, [step[key] for step in steps], "o-", color=colour, label=label)
    limit = 1000 * result["chunk_seconds"]
    axes.axhline(limit, color="#8a8f98", linestyle=":")
    axes.text(streams[0], limit, " later than this, a chunk is late", va="bottom", color="#5c6068", fontsize=9)
    axes.set(
        yscale="log", xlabel="real-time streams", ylabel="ms from a chunk's last frame to its audio", xlim=(0, None)
    )
    axes.set_title(f"{result['model']}, chunks of {limit:.0f} ms, two servers, on {result['machine']}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.processor()}"


def main() -> int:
    """Runs it all; 1 if any stream's audio is not what it is alone."""
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "examples" / "model" / "tiny.ckpt")
    parser.add_argument("--precision", default="w8")
    parser.add_argument("--chunk", type=int, default=20, help="frames (default: 20, 200 ms of tiny.ckpt)")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120.0, help="of these streams; 0: only the load")
    parser.add_argument("--load", default="10,25,50,100,150,200,300,400", help="numbers of streams, or nothing")
    parser.add_argument("--load-seconds", type=float, default=8.0, help="of each")
    parser.add_argument("--built", action="store_true", help="take what an earlier run has compiled")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fleet")
    arguments = parser.parse_args()

    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not arguments.built:
        print(f"compiling {arguments.checkpoint.name} in {arguments.precision}", flush=True)
        build(arguments.checkpoint.resolve(), arguments.precision, arguments.chunk, out)
    material = load_material(arguments.chunk, out)
    result: dict[str, Any] = {
        "model": f"{arguments.checkpoint.name} in {arguments.precision}",
        "chunk_frames": arguments.chunk,
        "chunk_seconds": material.seconds,
        "machine": _machine(),
        "date": time.strftime("%Y-%m-%d"),
    }
    good = True
    with balanced(out / "models", out / "logs") as (balancer, servers):
        if arguments.seconds > 0:
            print(f"{arguments.streams} streams for {arguments.seconds:g} s", flush=True)
            found = asyncio.run(survive(material, balancer, servers, arguments.streams, arguments.seconds))
            result["survival"] = found
            good = found["whole"] == found["streams"]
            print(json.dumps(found, indent=1), flush=True)
            balancer.order("set server servers/two state ready")
            servers[1].start()
            time.sleep(2)
        steps = []
        for count in map(int, filter(None, arguments.load.split(","))):
            try:
                steps.append(asyncio.run(load(material, balancer, servers, count, arguments.load_seconds)))
            except (FleetError, OSError) as error:
                result["ended"] = f"with {count} streams: {error}"
                print(f"{result['ended']} (see {out / 'logs'})", flush=True)
                break
            print(json.dumps(steps[-1]), flush=True)
            good = good and steps[-1]["whole"] == count
            if steps[-1]["p99_ms"] > 1000 * material.seconds:
                break
        if steps:
            result["load"] = steps
            chart(result, out / "fleet.png")
    (out / "fleet.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"every stream's audio is what it is alone: {'yes' if good else 'NO'}; written to {out}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
