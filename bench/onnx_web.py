"""Times ONNX Runtime Web in Chromium: `python -m bench.onnx_web TENSORS.npz WHEEL CHUNK[,CHUNK...]`.

The step of bench/onnx_model.py on one thread of WebAssembly with SIMD; the iSTFT is not in it. Neither Debian nor PyPI
has ONNX Runtime Web as such, but PyPI's wheel of Open WebUI (bench/web-requirements.txt) holds its WebAssembly. Prints
one JSON object: its version, milliseconds of a chunk, the least of several typical ones, and how far a first chunk's
spectrum is from onnx's own evaluation.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import reference  # type: ignore[import-not-found,unused-ignore]

from bench.onnx_model import CONV_FROM_FRAMES, Weights, build_step
from bench.worker import load_model
from tests.chromium import Chromium

FILE = "ort-wasm-simd-threaded.jsep"
SCRIPT = Path(__file__).with_suffix(".js")
PREPARE = """(async () => {
  const bytes = (id) => {
    const text = atob(document.getElementById(id).textContent);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < found.length; i++) found[i] = text.charCodeAt(i);
    return found;
  };
  const url = URL.createObjectURL(new Blob([bytes("mjs")], { type: "text/javascript" }));
  globalThis.step = await prepare((await import(url)).default, bytes("wasm"), bytes("onnx"), %s);
  step.view("mel").set(%s);
  step.run();
  return [...step.view("real")];
})()"""


def main() -> None:
    """The command."""
    tensors, wheel, sizes = sys.argv[1:]
    weights = Weights.of(load_model(Path(tensors))[0])
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if f"/wasm/{FILE}." in name]
        runtime = {Path(name).suffix[1:]: archive.read(name) for name in names}
        scripts = b"".join(
            archive.read(name) for name in archive.namelist() if name.endswith(".js") and "/chunks/" in name
        )
    (version,) = set(re.findall(rb'"(1\.\d+\.\d+-dev\.\d+)-[0-9a-f]+"', scripts))
    found: dict[str, Any] = {"version": version.decode(), "chunk_ms": {}, "largest_difference": 0.0}
    for frames in map(int, sizes.split(",")):
        taken, difference = measure(weights, frames, runtime)
        found["chunk_ms"][str(frames)] = round(taken, 3)
        found["largest_difference"] = max(found["largest_difference"], difference)
    print(json.dumps(found))


def measure(weights: Weights, frames: int, runtime: dict[str, bytes]) -> tuple[float, float]:
    """Milliseconds of a chunk, and the largest difference of a first chunk's spectrum."""
    model = build_step(weights, frames, frames >= CONV_FROM_FRAMES)
    inputs, outputs = (
        {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim] for info in infos}
        for infos in (model.graph.input, model.graph.output)
    )
    mel = np.random.default_rng(0).normal(-4.0, 2.0, inputs["mel"]).astype(np.float32)
    files = {**runtime, "onnx": model.SerializeToString()}
    text = "".join(
        f'<script type="text/plain" id="{name}">{base64.b64encode(data).decode()}</script>'
        for name, data in files.items()
    )
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder) / "profile") as chromium:
        page = Path(folder) / "page.html"
        page.write_text(f"<!doctype html><title>ONNX Runtime Web</title>{text}<script>{SCRIPT.read_text()}</script>")
        chromium.open(page.as_uri())
        real = np.array(chromium.run(PREPARE % (json.dumps([inputs, outputs]), json.dumps(mel.ravel().tolist()))))
        zeros = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
        evaluator: Any = reference.ReferenceEvaluator(model)
        right = np.ravel(evaluator.run(["real"], {**zeros, "mel": mel})[0])
        difference = float(np.abs(real - right).max())
        assert difference < 1e-3 * float(np.abs(right).max()), difference
        return min(chromium.run("time(step)") for _ in range(5)), difference


if __name__ == "__main__":
    main()
