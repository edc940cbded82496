"""How the page of `make page` does in Chromium: milliseconds a chunk, and the underruns of a long time in real time.

    make page page-hour

Underruns are those that the browser counts (AudioContext.playbackStats): each is a time that the audio thread, or
whatever kept it from running, was late. The decoder runs in that thread. In a container Chromium cannot give it the
priority that it has on a desktop: where others compute, too, run this as root under `chrt -r 5`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chromium import Chromium

STATE = "({ ...vocoder.state(), audio: undefined })"
UNDERRUNS = """(() => {
  const { underrunEvents, underrunDuration, totalDuration } = vocoder.state().audio.context.playbackStats;
  return { underrunEvents, underrunDuration, totalDuration };
})()"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measures the page in Chromium.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--seconds", type=int, default=3600, help="of real time; 0: the times of a chunk alone")
    parser.add_argument("--precision", default="w8")
    parser.add_argument("--chunk", type=int, default=5)
    parser.add_argument("--checkpoint", type=Path, help="the page's: times it natively, too, on one thread")
    parser.add_argument("--onnx-web", type=Path, metavar="WHEEL", help="of bench/web-requirements.txt: times that, too")
    parser.add_argument("--python", default=".venv-bench/bin/python", help="that has onnx (%(default)s)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder) / "profile") as chromium:
        chromium.open(arguments.page.resolve().as_uri())
        found: dict[str, Any] = {"machine": machine(), "browser": chromium.version(), **chunks(chromium)}
        if arguments.checkpoint:
            found["native_chunk_ms"] = natives(arguments.checkpoint, found["chunk_ms"], Path(folder))
        if arguments.checkpoint and arguments.onnx_web:
            found["onnxruntime_web"] = onnx_web(arguments, found["chunk_ms"]["f32"], Path(folder))
        if arguments.seconds:
            found["real_time"] = endure(chromium, arguments)
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def chunks(chromium: Chromium) -> dict[str, Any]:
    """Milliseconds of a chunk, by precision and size: the least of several typical ones."""
    page = chromium.run("vocoder.page")
    target = chromium.run("vocoder.voice(vocoder.page.precisions[0]).then(({ model }) => model.target)")
    times = {
        precision: {
            str(chunk): round(min(chromium.run(f"vocoder.time('{precision}', {chunk})")[0] for _ in range(5)), 3)
            for chunk in page["chunks"]
        }
        for precision in page["precisions"]
    }
    return {"model": page["about"], "target": target, "chunk_ms": times}


def natives(checkpoint: Path, wanted: dict[str, dict[str, float]], folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of the same chunks by the host tool, on the best instruction set of this CPU: medians."""
    times: dict[str, dict[str, float]] = {}
    for precision, sizes in wanted.items():
        options = ("-o", folder / precision, "--name", "voice", "--precision", precision, "--chunk", ",".join(sizes))
        subprocess.run((sys.executable, "-m", "compiler", checkpoint, *options), check=True, stdout=subprocess.DEVNULL)
        bench = (folder / precision / "voice", "bench", "--warmup", "50", "--runs", "300", "--seconds", "10", "--json")
        times[precision] = {}
        for size in sizes:
            done = subprocess.run((*bench, "--chunk", size), check=True, capture_output=True)
            times[precision][size] = json.loads(done.stdout)["p50_per_chunk_ms"]
    return times


def onnx_web(arguments: argparse.Namespace, sizes: dict[str, float], folder: Path) -> dict[str, Any]:
    """Milliseconds of the same chunks by ONNX Runtime Web, in float32, without the iSTFT."""
    tensors = folder / "tensors.npz"
    subprocess.run((sys.executable, "-m", "bench.export", arguments.checkpoint, tensors), check=True)
    command = (arguments.python, "-m", "bench.onnx_web", tensors, arguments.onnx_web, ",".join(sizes))
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def endure(chromium: Chromium, arguments: argparse.Namespace) -> dict[str, Any]:
    """Plays for so long; nothing is drawn meanwhile."""
    chromium.run("void (globalThis.requestAnimationFrame = () => 0)")
    for name in ("precision", "chunk"):
        chromium.run(f"document.querySelector('input[name={name}][value=\"{getattr(arguments, name)}\"]').click()")
    chromium.run("document.querySelector('#sources button').click()")
    chromium.wait("vocoder.state().total > 0")
    before, first = chromium.run(UNDERRUNS), chromium.run(STATE)["total"]
    start = time.monotonic()
    while (left := arguments.seconds - (time.monotonic() - start)) > 0:
        time.sleep(min(left, 30))
        chromium.run("1")  # it is still there
    time.sleep(1.5)
    after, last = chromium.run(UNDERRUNS), chromium.run(STATE)
    assert not chromium.errors, chromium.errors
    return {
        "seconds": arguments.seconds,
        "precision": last["running"]["precision"],
        "frames_of_a_chunk": last["running"]["chunk"],
        "chunks": last["total"] - first,
        "underruns": after["underrunEvents"] - before["underrunEvents"],
        "underrun_seconds": round(after["underrunDuration"] - before["underrunDuration"], 4),
        "played_seconds": round(after["totalDuration"] - before["totalDuration"], 2),
    }


if __name__ == "__main__":
    main()
