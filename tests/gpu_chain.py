"""A GPU build that runs without a GPU: host tool, host code, driver, launches, kernels, audio.

The object is the real one, but for machine code that nobody runs. Its driver is the fake one, whose launches run the
model's kernels, compiled for the host against the shim.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.checkpoint import read_checkpoint
from compiler.cuda import parse_tuning, plan_device
from compiler.cuda_libs import add_libraries
from compiler.emit import Options, emit
from compiler.nvrtc import Image
from compiler.pack import pack, pack_matrices
from compiler.plan import plan
from compiler.report import report, to_json
from compiler.weights import build_weights
from tests import builds
from tests.ahead import CASES
from tests.gpu import CALL_BYTES, DRIVER_HEADER, JOB_BYTES, SHAPES, Gpu
from tests.objects import CFLAGS, ROOT, Floats, folded, run_ok

CHUNKS = (3, 4)
BATCH = 3

# What answers in the place of a PyTorch that has CUDA
STAND_IN = """#!{python}
import json, subprocess, sys
if sys.argv[1:] == ["-c", "import torch"]:
    sys.exit()
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "decode":
        subprocess.run(["{tool}", "decode", sys.argv[4], request["out"]], check=True)
    if request["do"] == "time":
        print(json.dumps(dict.fromkeys({metrics}, 2.0)), flush=True)
    else:
        print(json.dumps({{"version": "none"}}), flush=True)
"""


@dataclass(frozen=True)
class Chain:
    """A GPU build, and the environment in which its programs find the fake driver and the kernels."""

    checkpoint: Path
    directory: Path
    name: str
    environment: dict[str, str]

    def run(self, *command: object, expect: int = 0, without_driver: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({} if without_driver else self.environment)}
        words = [str(word) for word in command]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=ROOT
        )
        assert done.returncode == expect, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def decode(self, mel: Path, *options: object) -> Floats:
        out = mel.with_suffix(".audio.npy")
        self.run(self.directory / self.name, "decode", "--flush", *options, mel, out)
        audio: Floats = np.load(out)
        return audio


def build_chain(
    name: str,
    precision: str,
    link: str = "none",
    *,
    chunks: tuple[int, ...] = CHUNKS,
    tuning: str = "",
    batch: int = BATCH,
    parameter_jobs: int = BATCH,
) -> Chain:
    """Of one of the shapes of tests/gpu.py, or of the cases of tests/ahead.py."""
    checkpoint = builds.checkpoint(SHAPES[name]) if name in SHAPES else CASES[name].checkpoint
    sha256 = read_checkpoint(checkpoint).sha256
    network = folded(checkpoint) if name in SHAPES else CASES[name].network
    layout = plan(network, chunks, precision, libraries=link == "libs")
    device = plan_device(layout, batch, parse_tuning(tuning), parameter_jobs=parameter_jobs)
    if link == "libs" or device.tuning.tensor:
        device = add_libraries(device, layout)
    options = Options(
        name=name, precision=precision, target="portable", gpus=(90,), batch=batch, link=link, tuning=tuning
    )

    def make(directory: Path) -> None:
        images = [Image(90, False, b"no machine code".ljust(64, b"\0"), least_driver=12000)]
        tables = pack_matrices(network) if link == "libs" else pack(network, precision)
        weights = build_weights(layout, tables, golden_hash=0)
        for file, data in emit(layout, tables, weights, sha256, options, device=device, images=images).items():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_bytes(data)
        figures = report(layout, tables, sha256, options, device=device, images=images)
        (directory / f"{name}.json").write_text(to_json(figures))
        run_ok(["make", "-s", f"-j{os.cpu_count()}", "-f", f"{name}.mk", "EXTRA_CFLAGS=-O0", name], cwd=directory)

    directory = builds.once(("chain", name, precision, link, chunks, tuning, batch, parameter_jobs), make)
    more: Any = {
        "precision": precision,
        "batch": batch,
        "link": link,
        "tuning": tuning,
        "parameter_jobs": parameter_jobs,
    }
    gpu = Gpu(network, name, chunks, **more)
    environment = {
        "LD_LIBRARY_PATH": str(builds.once("fake driver", build_fakes)),
        "FAKE_CUDA_SHIM": str(gpu.shim),
        "FAKE_CUDA_CALL_KERNELS": " ".join(f"{name}_{steps[0].step}" for steps in device.ways.values()),
        "FAKE_CUDA_CALL_BYTES": str(CALL_BYTES + JOB_BYTES * min(batch, parameter_jobs)),
    }
    return Chain(checkpoint, directory, name, environment)


def build_fakes(folder: Path) -> None:
    """The driver, and cuBLAS and cuFFT over it."""
    fakes, library = ROOT / "tests" / "cuda" / "fake", ["cc", *CFLAGS, "-shared", "-fPIC", "-I", DRIVER_HEADER.parent]
    driver, blas = folder / "libcuda.so.1", folder / "libcublas.so.13"
    run_ok([*library, "-Wl,-soname,libcuda.so.1", fakes / "fake_driver.c", "-o", driver])
    run_ok([*library, fakes / "fake_libs.c", driver, "-lm", "-o", blas])
    (folder / "libcufft.so.12").symlink_to(blas.name)
