"""Times ONNX Runtime on a symmetric Vocos, the whole utterance.

    python -m bench.families_onnx TENSORS.npz MEL.npy THREADS RUNS WORK

The graph ends with the spectrum; numpy does the inverse FFT and the overlap-add, on the clock, as in
bench/onnx_model.py. Prints one JSON object; the audio goes to WORK.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-not-found,unused-ignore]
from numpy.typing import NDArray
from onnx import TensorProto, helper  # type: ignore[import-not-found,unused-ignore]

from bench.onnx_model import IR_VERSION, MAX_MAGNITUDE, NORM_EPS, OPSET, GraphWriter

Array = NDArray[np.float32]


def build(tensors: Mapping[str, Array], frames: int) -> Any:
    """mel [frames, mels] to real and imag [frames, bins], as an `onnx.ModelProto`."""
    graph = GraphWriter()
    dim, mels, taps = tensors["backbone.embed.weight"].shape
    bins = len(tensors["head.out.bias"]) // 2

    def norm(x: str, name: str) -> str:
        scale, shift = graph.constant(tensors[f"{name}.weight"]), graph.constant(tensors[f"{name}.bias"])
        return graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=NORM_EPS)

    def conv(x: str, name: str, channels: int, group: int) -> str:
        x = graph.op("Reshape", graph.op("Transpose", x, perm=[1, 0]), graph.constant([1, channels, frames]))
        weight, bias = graph.constant(tensors[f"{name}.weight"]), graph.constant(tensors[f"{name}.bias"])
        y = graph.op("Conv", x, weight, bias, group=group, pads=[taps // 2, taps // 2])
        return graph.op("Transpose", graph.op("Reshape", y, graph.constant([dim, frames])), perm=[1, 0])

    def linear(x: str, name: str, scale: Array | None = None) -> str:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return graph.linear(x, *((weight, bias) if scale is None else (scale[:, None] * weight, scale * bias)))

    x = norm(conv("mel", "backbone.embed", mels, 1), "backbone.norm")
    for i in range(sum(name.endswith(".gamma") for name in tensors)):
        block = f"backbone.convnext.{i}."
        y = norm(conv(x, block + "dwconv", dim, dim), block + "norm")
        y = graph.op("Gelu", linear(y, block + "pwconv1"))
        x = graph.op("Add", x, linear(y, block + "pwconv2", tensors[block + "gamma"]))
    x = linear(norm(x, "backbone.final_layer_norm"), "head.out")
    magnitude = graph.op("Min", graph.op("Exp", graph.cut(x, 0, bins, 1)), graph.constant(MAX_MAGNITUDE))
    phase = graph.cut(x, bins, 2 * bins, 1)
    graph.op("Mul", magnitude, graph.op("Cos", phase), output="real")
    graph.op("Mul", magnitude, graph.op("Sin", phase), output="imag")

    def info(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [frames, width])

    body = helper.make_graph(
        graph.nodes, "vocos", [info("mel", mels)], [info("real", bins), info("imag", bins)], graph.constants
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def synthesise(real: Array, imag: Array, hop: int) -> Array:
    """The audio, with padding `center`."""
    n_fft = 2 * (real.shape[1] - 1)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    frames = np.fft.irfft(real + 1j * imag, n_fft).astype(np.float32) * window
    total = np.zeros((len(frames) - 1) * hop + n_fft, np.float32)
    envelope = np.zeros_like(total)
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + n_fft] += frame
        envelope[t * hop : t * hop + n_fft] += window * window
    inside = slice(n_fft // 2, len(total) - n_fft // 2)
    return np.asarray(total[inside] / envelope[inside], np.float32)


def main() -> None:
    """Prints the row."""
    tensor_path, mel_path, threads, runs, work = sys.argv[1:]
    with np.load(tensor_path) as data:
        hop, tensors = int(data["hop"]), {name: data[name] for name in data.files if name != "hop"}
    mel = np.load(mel_path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
    model = build(tensors, len(mel)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(int(runs) + 1):
        start = time.perf_counter()
        real, imag = session.run(["real", "imag"], {"mel": mel})
        audio = synthesise(real, imag, hop)
        times.append(1e3 * (time.perf_counter() - start))
    path = Path(work, "onnxruntime-whole.npy")
    np.save(path, audio)
    row = {"chunk": len(mel), "context": 0, "total_ms": statistics.median(times[1:]), "audio": str(path)}
    print(json.dumps({"version": onnxruntime.__version__, "rows": [row]}))


if __name__ == "__main__":
    main()
