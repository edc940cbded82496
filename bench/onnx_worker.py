"""Times ONNX Runtime or OpenVINO: `python -m bench.onnx_worker TENSORS.npz MEL.npy THREADS KIND`.

KIND is onnxruntime, onnxruntime-int8 or openvino. Its requests and answers are those of `bench.worker`.
"""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.onnx_model import CONV_FROM_FRAMES, Weights, build_step
from bench.worker import load_model, serve

Array = NDArray[np.float32]
Buffers = Mapping[str, Array]
"""Arrays by the names of the graph's inputs or outputs."""


class Step(Protocol):
    """A graph ready to run on fixed buffers, copying nothing."""

    def run(self) -> None:
        """From the input buffers to the output buffers."""


class Runtime(Protocol):
    """An inference engine."""

    def describe(self) -> dict[str, Any]:
        """Versions and settings."""

    def load(self, model: Any) -> Any:
        """Compile a graph (`onnx.ModelProto`)."""

    def bind(self, loaded: Any, inputs: Buffers, outputs: Buffers) -> Step:
        """A step of a loaded graph on these buffers."""


def cpu_has_vnni() -> bool:
    """Whether products of 8-bit integers have an instruction that cannot saturate."""
    path = Path("/proc/cpuinfo")
    return path.exists() and bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(path.read_text().split()))


class OnnxRuntime:
    """ONNX Runtime with everything on: all graph optimisations, fixed shapes, bound buffers, spinning threads."""

    def __init__(self, threads: int, int8: bool) -> None:
        import onnxruntime  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

        self._ort: Any = onnxruntime
        self._int8 = int8
        self._options = onnxruntime.SessionOptions()
        # One team for all sessions: spinning threads of two are in each other's way at an incomplete last chunk.
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        self._options.use_per_session_threads = False
        self._options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        self._options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self._options.log_severity_level = 3

    def describe(self) -> dict[str, Any]:
        """As `Runtime.describe`."""
        facts = {"version": self._ort.__version__, "optimisation": "all", "shapes": "fixed", "buffers": "bound"}
        if self._int8:
            facts["int8"] = "dynamic, per channel" + ("" if cpu_has_vnni() else ", 7 bits (no VNNI)")
        return facts

    def load(self, model: Any) -> Any:
        """As `Runtime.load`; with int8, its own dynamic quantisation of every product by weights comes first."""
        data = self._quantised(model) if self._int8 else model.SerializeToString()
        return self._ort.InferenceSession(data, self._options, providers=["CPUExecutionProvider"])

    def _quantised(self, model: Any) -> bytes:
        from onnxruntime.quantization import (  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415
            QuantType,
            quantize_dynamic,
        )

        logging.disable(logging.WARNING)  # advice on how to prepare the model
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "int8.onnx"
            quantize_dynamic(
                model,
                str(out),
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=not cpu_has_vnni(),
                weight_type=QuantType.QInt8,
            )
            return out.read_bytes()

    def bind(self, loaded: Any, inputs: Buffers, outputs: Buffers) -> Step:
        """As `Runtime.bind`."""
        binding = loaded.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return _OnnxRuntimeStep(loaded, binding)


class _OnnxRuntimeStep:
    def __init__(self, session: Any, binding: Any) -> None:
        self._session, self._binding = session, binding

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)


class OpenVino:
    """OpenVINO on the CPU, set for latency, in float32 throughout."""

    def __init__(self, threads: int) -> None:
        import openvino  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

        self._openvino: Any = openvino
        self._core = openvino.Core()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def describe(self) -> dict[str, Any]:
        """As `Runtime.describe`."""
        version = str(self._openvino.get_version()).split("-", maxsplit=1)[0]
        return {"version": version, "hint": "latency", "precision": "f32", "shapes": "fixed", "buffers": "bound"}

    def load(self, model: Any) -> Any:
        """As `Runtime.load`."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "step.onnx"
            path.write_bytes(model.SerializeToString())
            return self._core.compile_model(self._core.read_model(path), "CPU", self._settings)

    def bind(self, loaded: Any, inputs: Buffers, outputs: Buffers) -> Step:
        """As `Runtime.bind`."""
        request = loaded.create_infer_request()
        for name, array in {**inputs, **outputs}.items():
            request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))
        return _OpenVinoStep(request)


class _OpenVinoStep:
    def __init__(self, request: Any) -> None:
        self._request = request

    def run(self) -> None:
        self._request.infer()


class Synthesis:
    """Inverse FFT, periodic Hann window and overlap-add, with numpy."""

    def __init__(self, n_fft: int, hop_length: int) -> None:
        self._n_fft, self._hop = n_fft, hop_length
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
        self._pieces = -(-n_fft // hop_length)
        self._tail = np.zeros((self._pieces - 1, hop_length), np.float32)
        self._spectrum = np.empty((0, 0), np.complex64)

    def reset(self) -> None:
        """Forget the overlap."""
        self._tail[:] = 0

    def audio(self, real: Array, imag: Array) -> Array:
        """Spectra [frames, n_fft / 2 + 1] to frames * hop_length samples."""
        if self._spectrum.shape != real.shape:
            self._spectrum = np.empty(real.shape, np.complex64)
        self._spectrum.real, self._spectrum.imag = real, imag
        signal = np.fft.irfft(self._spectrum, n=self._n_fft, axis=1)
        signal *= self._window
        # Row i holds the samples of hop i; a frame's piece j falls into row frame + j.
        frames = len(real)
        rows = np.zeros((frames + self._pieces - 1, self._hop), np.float32)
        rows[: len(self._tail)] = self._tail
        for piece in range(self._pieces):
            part = signal[:, piece * self._hop : (piece + 1) * self._hop]
            rows[piece : piece + frames, : part.shape[1]] += part
        self._tail[:] = rows[frames:]
        return rows[:frames].reshape(-1)


class OnnxEngine:
    """A runtime behind the worker's interface; chunks are arrays [frames, mels].

    Every chunk size has a graph of its own. The contexts live in two sets of buffers, read from one and written to
    the other in turn, so that no state is ever copied.
    """

    def __init__(self, tensors: Path, mel: Path, runtime: Runtime) -> None:
        arrays, hop_length, sample_rate, lookahead_frames = load_model(tensors)
        if lookahead_frames:
            raise ValueError("the ONNX graph of the bench is of causal models")
        self._weights = Weights.of(arrays)
        self._mel: Array = np.load(mel, allow_pickle=False)
        self._runtime = runtime
        self._synthesis = Synthesis(self._weights.n_fft, hop_length)
        self._ready_for = 0
        self._states: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
        self._inputs: dict[int, Array] = {}
        self._spectra: dict[int, tuple[Array, Array]] = {}
        self._steps: dict[int, tuple[Step, Step]] = {}
        self._turn = 0
        self.frames = len(self._mel)
        self.frame_s = hop_length / sample_rate

    def describe(self) -> dict[str, Any]:
        """As `Engine.describe`."""
        return {**self._runtime.describe(), "numpy": np.__version__}

    def chunks(self, frames: int) -> Sequence[Array]:
        """As `Engine.chunks`; graphs of another chunk size are given back."""
        parts = [self._mel[i : i + frames] for i in range(0, self.frames, frames)]
        if frames != self._ready_for:
            self._prepare(sorted({len(part) for part in parts}), frames >= CONV_FROM_FRAMES)
            self._ready_for = frames
        return parts

    def _prepare(self, sizes: Sequence[int], depthwise_as_conv: bool) -> None:
        weights = self._weights
        self._steps = {}
        state_shape = (1, weights.dim, 1, weights.context) if depthwise_as_conv else (weights.context, weights.dim)
        shapes: dict[str, tuple[int, ...]] = {"embed_context": (weights.context, weights.mels)}
        shapes |= {f"context{block}": state_shape for block in range(weights.layers)}
        first, second = ({name: np.zeros(shape, np.float32) for name, shape in shapes.items()} for _ in range(2))
        self._states = (first, second)
        for frames in sizes:
            loaded = self._runtime.load(build_step(weights, frames, depthwise_as_conv))
            mel = np.zeros((frames, weights.mels), np.float32)
            real, imag = (np.zeros((frames, weights.n_fft // 2 + 1), np.float32) for _ in range(2))
            self._inputs[frames], self._spectra[frames] = mel, (real, imag)

            def bound(before: Buffers, after: Buffers, loaded: Any = loaded, spectra: Any = (mel, real, imag)) -> Step:
                outputs = {f"{name}_next": array for name, array in after.items()}
                outputs |= {"real": spectra[1], "imag": spectra[2]}
                return self._runtime.bind(loaded, {"mel": spectra[0], **before}, outputs)

            self._steps[frames] = (bound(first, second), bound(second, first))

    def reset(self) -> None:
        """As `Engine.reset`."""
        self._turn = 0
        for array in self._states[0].values():
            array[:] = 0
        self._synthesis.reset()

    def step(self, chunk: Array) -> Array:
        """As `Engine.step`."""
        frames = len(chunk)
        self._inputs[frames][:] = chunk
        self._steps[frames][self._turn].run()
        self._turn = 1 - self._turn
        return self._synthesis.audio(*self._spectra[frames])

    def audio(self, outputs: Sequence[Array]) -> Array:
        """As `Engine.audio`."""
        return np.concatenate(outputs)


def main() -> None:
    """Answer requests until stdin ends."""
    tensors, mel, threads, kind = sys.argv[1:]
    runtime: Runtime
    if kind == "openvino":
        runtime = OpenVino(int(threads))
    elif kind in ("onnxruntime", "onnxruntime-int8"):
        runtime = OnnxRuntime(int(threads), int8=kind.endswith("int8"))
    else:
        sys.exit(f"unknown kind {kind}")
    serve(OnnxEngine(Path(tensors), Path(mel), runtime))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the terminal's Ctrl-C reaches us too; the bench says so
        main()
