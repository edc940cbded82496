"""Times the PyTorch reference: `python -m bench.torch_worker TENSORS.npz MEL.npy THREADS`.

Reads one JSON request a line from stdin, writes one JSON answer a line to stdout: see `bench.peers.Worker`.
"""

import contextlib
import ctypes
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.metrics import RunTimes, Summary, summarise
from bench.reference_model import Decoder, build_decoder

PROGRESS_EVERY_S = 1.0
MATHS_LIBRARY = re.compile(r"/[^/\s]*(?:blas|mkl|dnnl|blis)[^/\s]*\.so[^\s]*")


def answer(message: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


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
        "threads": torch.get_num_threads(),
        "aten_cpu_capability": capability.group(1) if capability else "unknown",
        "onednn": dnn.group(1) if dnn and torch.backends.mkldnn.is_available() else "none",
        "blas": blas.group(1) if blas else "unknown",
        "openblas_core": openblas_core(libraries),
        "maths_libraries": libraries,
    }


def decode(decoder: Decoder, mel: torch.Tensor, chunk: int) -> tuple[RunTimes, list[torch.Tensor]]:
    """Decode mel [1, mels, frames] from reset, `chunk` frames a call; times as the reference's bench takes them."""
    times, audio = [], []
    start = time.perf_counter()
    decoder.reset()
    for part in mel.split(chunk, dim=2):
        before = time.perf_counter()
        audio.append(decoder(part))
        times.append(time.perf_counter() - before)
    return RunTimes(time.perf_counter() - start, tuple(times)), audio


def timed(decoder: Decoder, mel: torch.Tensor, chunk: int, *, warmup: int, runs: int, frame_s: float) -> Summary:
    """Metrics of `runs` runs after `warmup` untimed ones; says now and then how far it is."""
    shown = time.perf_counter()
    kept = []
    for i in range(warmup + runs):
        run, _ = decode(decoder, mel, chunk)
        if i >= warmup:
            kept.append(run)
        if time.perf_counter() - shown > PROGRESS_EVERY_S:
            shown = time.perf_counter()
            answer({"done": max(0, i + 1 - warmup)})
    return summarise(kept, 1e3 * frame_s * chunk, frame_s * mel.shape[2])


def main() -> None:
    """Answer requests until stdin ends."""
    tensors_path, mel_path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with np.load(tensors_path, allow_pickle=False) as data:
        tensors = {key: data[key] for key in data.files}
    hop_length, sample_rate = int(tensors.pop("hop_length")), int(tensors.pop("sample_rate"))
    decoder = build_decoder(tensors, hop_length)
    frame_s = hop_length / sample_rate
    mel = torch.from_numpy(np.load(mel_path, allow_pickle=False)).t()[None].contiguous()
    with torch.inference_mode():
        for line in sys.stdin:
            request = json.loads(line)
            chunk = request.get("chunk") or mel.shape[2]
            if request["do"] == "describe":
                # One small decode first: libraries load on first use.
                decode(decoder, mel[:, :, :1], 1)
                answer(describe())
            elif request["do"] == "time":
                warmup, runs = request["warmup"], request["runs"]
                answer(dict(timed(decoder, mel, chunk, warmup=warmup, runs=runs, frame_s=frame_s)))
            elif request["do"] == "decode":
                np.save(request["out"], torch.cat(decode(decoder, mel, chunk)[1], dim=-1)[0, 0].numpy())
                answer({"out": request["out"]})
            else:
                answer({"error": f"unknown request {request['do']}"})


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the terminal's Ctrl-C reaches us too; the bench says so
        main()
