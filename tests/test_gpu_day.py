"""`make gpu-day` rehearsed without a GPU: real programs and objects over the fake driver, whose launches run kernels.

What is measured here means nothing; that it is all there, and goes on where it was cut off, does.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import no_gpu
from bench.gpu_day import MACHINE, MICRO, STEPS, TOOLS, VARIANTS, WAYS, Variant
from bench.metrics import METRICS
from compiler.errors import CompileError
from compiler.nvrtc import Nvrtc
from tests import builds
from tests.gpu import CALL_BYTES, JOB_BYTES, SHAPES, build_shim, build_translated, kernel_sources
from tests.gpu_chain import BATCH, STAND_IN, Chain, build_chain, build_fakes
from tests.objects import ALL, ROOT

CHUNKS = (1, 5, 10)
IN_BRIEF = [step for step in STEPS if step != "parity"]
FEW = ["--streams", "1,4", "--warmup", 1, "--runs", 2, "--rounds", 2, "--repeats", 1, "--date", "2001-02-03"]
NAME_LETTERS = 15  # of a program, in /proc/self/comm
SANITIZER = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift 2; done
"$@" && echo "========= ERROR SUMMARY: 0 errors"
"""
SMI = """#!/bin/sh
case "$*" in *driver_version*) echo 580.1; exit;; esac
while :; do echo "101.5, 1980"; sleep 0.05; done
"""


@pytest.fixture(scope="module", autouse=True)
def nvrtc() -> None:
    try:
        Nvrtc()
    except CompileError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def chain() -> Chain:
    return build_chain("tiny", "f16", chunks=CHUNKS)


class Rehearsal:
    """A folder with all that the day finds on a machine with a GPU, and the kernels of its programs."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.work, self.shims, self.tools, self.checkpoint = (
            folder / "work",
            folder / "shims",
            folder / "bin",
            checkpoint,
        )
        for path in (self.work, self.shims, self.tools):
            path.mkdir()
        for name, text in (("compute-sanitizer", SANITIZER), ("nvidia-smi", SMI)):
            self.tool(name, text)
        files = {MICRO.name: MICRO.read_text(), MACHINE.name: MACHINE.read_text()}
        code = Nvrtc().compile(MICRO.name, files, 90, is_ptx=True).code
        self.add(["gpu_micro"], build_translated(code)[0], 0, [])

    def tool(self, name: str, text: str) -> Path:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)
        return self.tools / name

    def add(self, programs: Iterable[str], shim: Path, batch: int, calls: Sequence[str]) -> None:
        """The kernels of some programs, and those that take a whole call."""
        for program in (name[:NAME_LETTERS] for name in programs):
            (self.shims / f"{program}.so").symlink_to(shim)
            (self.shims / f"{program}.call").write_text(" ".join([str(CALL_BYTES + JOB_BYTES * batch), *calls]))

    def run(self, *options: object) -> str:
        """What bench.gpu_day says; it must succeed."""
        where = ["--small", self.checkpoint, "--work", self.work, "--torch-python", self.tools / "torch"]
        return self.command([sys.executable, "-m", "bench.gpu_day", self.checkpoint, *where, *FEW, *options])

    def command(self, words: Sequence[object]) -> str:
        """What a command says that finds all that; it must succeed."""
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(builds.once("fake driver", build_fakes)),
            "FAKE_CUDA_SHIMS": str(self.shims),
            "PATH": f"{self.tools}:{os.environ['PATH']}",
        }
        line = list(map(str, words))
        done = subprocess.run(
            line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=3600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def result(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.work / "gpu-day-a-fake.json").read_text())
        return data


def check_result(data: dict[str, Any], variants: Sequence[str], chunks: Sequence[int] = CHUNKS) -> None:
    """All cases of all steps."""
    assert (data["date"], data["chip"], data["driver"]) == ("2001-02-03", "a fake", "580.1")
    steps = data["steps"]
    assert set(steps) == set(STEPS)
    ones = [name for name in variants if VARIANTS[name].streams == 1]
    assert {f"{name}, {way}" for name in ones for way in WAYS} <= set(steps["latency"])
    assert {case["chunk"] for case in steps["latency"].values()} == set(chunks)
    ways = {name: ["tensor cores"] if "tensor" in name else ["graph", "single kernel"] for name in variants}
    many = [name for name in variants if VARIANTS[name].streams > 1]
    expected = {f"{name}, {way}, {streams} streams" for name in many for way in ways[name] for streams in (1, 4)}
    assert set(steps["streams"]) == expected
    for case in [*steps["latency"].values(), *steps["streams"].values()]:
        assert 0 < case["queue_us"]["median"] < case["wall_us"]["median"] and case["snr_db"] > 50
    assert len(steps["parity"]) in (0, 2 * len(variants))
    assert all(case["checks"] > 20 for case in steps["parity"].values())
    hops = steps["micro"]["hops"]
    assert {"edge_us", "edge_overlapping_us", "flag_hop_us", "data_hop_us", "cluster_hop_us", "doorbell_us"} <= set(
        hops
    )
    assert all(hops[key] > 0 for key in hops)
    assert set(steps["sanitizer"]) == set(TOOLS)
    assert {case["says"] for case in steps["sanitizer"].values()} == {"========= ERROR SUMMARY: 0 errors"}
    assert {name: len(case["lines"]) for name, case in steps["faults"].items()} == dict.fromkeys(
        ["plain", "resident"] if "resident" in variants else ["plain"], 7
    )
    assert steps["power"]["at rest"]["watts"] == 101.5
    assert steps["pytorch"]["pytorch"]["facts"]["snr_db"] > 50
    bars = {bar["text"]: bar["measured"] for bar in data["bars"]}
    assert bars["cases that failed"] == 0.0 and bars["chunk 5, us"] > 0 and bars["chunk 1, us"] > 0


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    if no_gpu() is None:
        pytest.skip("there is a GPU here")
    words = [sys.executable, "-m", "bench.gpu_day", "no.ckpt", "--small", "no.ckpt", "--work", tmp_path / "work"]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr and not (tmp_path / "work").exists()
    reason = "there is no CUDA driver (libcuda.so.1)"
    assert done.stdout == f"gpu-day: no GPU: {reason}; nothing was measured (--steps build needs none)\n"


def test_the_day_on_stand_ins(chain: Chain, tmp_path: Path) -> None:
    """With objects that are there already; and cut off at first."""
    day = Rehearsal(tmp_path, chain.checkpoint)
    calls = chain.environment["FAKE_CUDA_CALL_KERNELS"].split()
    programs = ["gpu_plain", "gpu_many", "on_gpu_plain", "on_gpu_many", "on_gpu_sanitized", chain.name]
    day.add(programs, Path(chain.environment["FAKE_CUDA_SHIM"]), BATCH, calls)
    day.tool("torch", STAND_IN.format(python=sys.executable, tool=chain.directory / chain.name, metrics=METRICS))
    objects = [f"{name}={chain.directory}" for name in ("plain", "many", "sanitized")]
    day.tool("compute-sanitizer", SANITIZER.replace('"$@" &&', '[ -x "$1" ] &&'))
    # Without the parity: test_cuda_chain.py has the same program over the same driver.
    options = ["--variants", "plain,many", "--steps", ",".join(IN_BRIEF), "--objects", *objects]
    assert "the time was up before" in day.run(*options, "--minutes", 0)
    assert not any(day.result()["steps"].values())
    text = day.run(*options)
    assert "the time was up" not in text and "plain, single kernel" in text and "doorbell_us" in text
    check_result(day.result(), ["plain", "many"])
    assert (day.work / "gpu-day-a-fake.png").stat().st_size > 10000
    before = day.result()
    assert day.run(*options) and day.result() == before, "what is done is not done again"


def offline() -> list[str]:
    """What a command begins with that has no network, as far as this machine can do that."""
    words = ["unshare", "--map-root-user", "--net"]
    can = shutil.which("unshare") and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0
    return words if can else []


@pytest.mark.skipif(not ALL, reason="of make test-all, and of make rehearse-gpu-day")
def test_the_whole_day_on_stand_ins(tmp_path: Path) -> None:
    """`make gpu-day`, in one go, of every variant, which it compiles itself; without a network."""
    checkpoint = builds.checkpoint(SHAPES["tiny"])
    day = Rehearsal(tmp_path, checkpoint)
    chunks = (1, 5)
    for name, variant in {**VARIANTS, "sanitized": Variant((), precision="f32", chunks=(1, 4), streams=2)}.items():
        batch, tuning = min(variant.streams, BATCH), variant.tuning.format(processors=5)
        frames = chunks if name in VARIANTS else variant.chunks
        _, device, files = kernel_sources(checkpoint, "vocos", frames, variant.precision, batch, tuning=tuning)
        calls = [f"vocos_{step.step}" for step in (device.launches[0], device.single, device.flush)]
        calls += [f"vocos_{step.step}" for step in device.library_steps[:1]] + ["vocos_resident"]
        programs = [f"gpu_{name}", f"on_gpu_{name}", *(["vocos"] if name == "plain" else [])]
        day.add(programs, build_shim(files, "vocos"), batch, calls)
    tool = day.work / "objects" / "plain" / "vocos"
    day.tool("torch", STAND_IN.format(python=sys.executable, tool=tool, metrics=METRICS))
    more = [*FEW, "--chunks", "1,5", "--small", checkpoint, "--work", day.work, "--results", day.work]
    more += ["--processors", 5, "--batch", BATCH]
    given = {"CKPT": checkpoint, "TORCH_PYTHON": day.tools / "torch", "MINUTES": 600, "ARGS": " ".join(map(str, more))}
    command = [*offline(), "make", "gpu-day", *(f"{name}={value}" for name, value in given.items())]
    said = day.command(command)
    assert "the time was up" not in said
    check_result(day.result(), list(VARIANTS), chunks)
    before = day.result()
    assert day.command(command) and day.result() == before, "what is done is not done again"
