"""Times the PyTorch reference: `python -m bench.torch_worker TENSORS.npz MEL.npy THREADS [cuda]`.

Its requests and answers are those of `bench.worker`.
"""

import contextlib
import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.worker import answer, decode, load_model, serve
from train.model import build_decoder

MATHS_LIBRARY = re.compile(r"/[^/\s]*(?:blas|mkl|dnnl|blis)[^/\s]*\.so[^\s]*")


def maths_libraries() -> list[str]:
    """Paths of the BLAS and DNN libraries loaded into this process: what the speed of PyTorch hangs on."""
    maps = Path("/proc/self/maps")
    paths = {line.split()[-1] for line in maps.read_text().splitlines() if "/" in line} if maps.exists() else set()
    return sorted(path for path in paths if MATHS_LIBRARY.search(path))


def openblas_core(libraries: Sequence[str]) -> str:
    """The CPU that OpenBLAS, if it is among `libraries`, takes this one for; `none` if it is not."""
    for path in libraries:
        get_name = getattr(ctypes.CDLL(path), "openblas_get_corename", None) if "libopenblas" in path else None
        if get_name is not None:
            get_name.restype = ctypes.c_char_p
            return str(get_name().decode())
    return "none"


def describe() -> dict[str, Any]:
    """What PyTorch this is; `{"error": ...}` if its matrix products are no measure of anything."""
    config = torch.__config__.show()
    capability = re.search(r"CPU capability usage: (\S+)", config)
    dnn = re.search(r"MKL-DNN (v\S+)", config)
    blas = re.search(r"BLAS_INFO=(\w+)", config)
    libraries = maths_libraries()
    if "BLAS_INFO=generic" in config and not any(re.search("openblas|mkl|blis|atlas", path) for path in libraries):
        return {"error": "PyTorch runs on the unoptimised reference BLAS here: apt-get install libopenblas0-openmp"}
    return {
        "version": torch.__version__,
        "origin": "Debian" if "dist-packages" in torch.__file__ else "PyPI",
        "threads": torch.get_num_threads(),
        "aten_cpu_capability": capability.group(1) if capability else "unknown",
        "onednn": dnn.group(1) if dnn and torch.backends.mkldnn.is_available() else "none",
        "blas": blas.group(1) if blas else "unknown",
        "openblas_core": openblas_core(libraries),
        "maths_libraries": libraries,
    }


class TorchEngine:
    """The reference model behind the worker's interface; chunks are tensors [1, mels, frames] on its device."""

    def __init__(self, tensors: Path, mel: Path, device: str = "cpu") -> None:
        model = load_model(tensors)
        self._device = device
        self._decoder = build_decoder(model.tensors, model.hop_length, model.lookahead_frames).to(device)
        self._mel = torch.from_numpy(np.load(mel, allow_pickle=False)).t()[None].contiguous().to(device)
        self.frames = int(self._mel.shape[2])
        self.frame_s = model.hop_length / model.sample_rate
        self._last: torch.Tensor | None = None

    def describe(self) -> dict[str, Any]:
        """As `Engine.describe`."""
        # One small decode first: libraries load on first use.
        self._last = self._mel[:, :, :1]
        decode(self, [self._last])
        if self._device == "cuda":
            return {"version": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name()}
        return describe()

    def chunks(self, frames: int) -> Sequence[torch.Tensor]:
        """As `Engine.chunks`."""
        parts: Sequence[torch.Tensor] = self._mel.split(frames, dim=2)
        self._last = parts[-1]
        return parts

    def reset(self) -> None:
        """As `Engine.reset`."""
        self._decoder.reset()

    def step(self, chunk: torch.Tensor) -> torch.Tensor:
        """As `Engine.step`; audio [1, 1, samples], complete."""
        audio: torch.Tensor = self._decoder(chunk, last=chunk is self._last)
        if self._device == "cuda":
            torch.cuda.synchronize()
        return audio

    def audio(self, outputs: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """As `Engine.audio`."""
        samples: NDArray[np.float32] = torch.cat(list(outputs), dim=-1)[0, 0].cpu().numpy()
        return samples


def main() -> None:
    """Answer requests until stdin ends."""
    tensors, mel, threads, *device = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.backends.cudnn.allow_tf32 = False  # which would round the convolutions' inputs to 10 bits
    if device == ["cuda"] and not torch.cuda.is_available():
        answer({"error": f"PyTorch {torch.__version__} has no CUDA here"})
        return
    engine = TorchEngine(Path(tensors), Path(mel), *device)
    with torch.inference_mode():
        serve(engine)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the terminal's Ctrl-C reaches us too; the bench says so
        main()
