"""What the tool and the programs of a GPU build say and give, without a GPU (tests/gpu_chain.py)."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu import no_gpu
from bench.metrics import METRICS, snr_db
from tests.ahead import CASES, mel_of
from tests.gpu import SHAPES
from tests.gpu_chain import BATCH, CHUNKS, STAND_IN, Chain, build_chain
from tests.objects import ALL, ROOT, TINY, build_c, declared_functions, every, lint, run_ok, some_mel, symbols

FRAMES = 11
FEW: Any = {
    "chunks": (2,),
    "parameter_jobs": 2,
}  # of models that look ahead; a call of three streams takes two launches
LEAST_DB = 100.0  # of the GPU's audio from the CPU's, which has the same halves for weights


@pytest.fixture(scope="module")
def chain() -> Chain:
    """The least model, with halves for weights."""
    return build_chain("tiny", "f16")


@pytest.fixture
def mel(tmp_path: Path) -> Path:
    path = tmp_path / "mel.npy"
    np.save(path, some_mel(FRAMES, int(TINY["n_mels"])))
    return path


def test_the_tool_decodes_on_the_gpu_as_on_the_cpu(chain: Chain, mel: Path) -> None:
    expected = chain.decode(mel)
    by_graph = [chain.decode(mel, "--target", "cuda", "--chunk", size) for size in (1, max(CHUNKS))]
    for audio in by_graph:
        assert audio.shape == expected.shape
        assert snr_db(expected, audio) >= LEAST_DB
    by_one_kernel = chain.decode(mel, "--target", "cuda-single-kernel")
    assert all(by_one_kernel.tobytes() == audio.tobytes() for audio in by_graph)


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_the_tool_decodes_models_that_look_ahead(tmp_path: Path) -> None:
    """As many samples as on the CPU, and near those."""
    chain, path = build_chain("least", "f16", tuning=every("", "tensor,data"), **FEW), tmp_path / "mel.npy"
    for frames in (1, FRAMES):
        np.save(path, mel_of("least", frames))
        expected = chain.decode(path)
        for target in ("cuda", "cuda-single-kernel"):
            audio = chain.decode(path, "--target", target, "--chunk", 1)
            assert audio.shape == expected.shape and (not frames > 1 or snr_db(expected, audio) >= LEAST_DB)


def test_the_tool_measures_and_reports_the_gpu(chain: Chain) -> None:
    tool = chain.directory / chain.name
    few = ["--runs", 1, "--warmup", 0, "--frames", 5]
    bench = json.loads(chain.run(tool, "bench", "--target", "cuda", *few, "--json").stdout)
    assert bench["target"] == "cuda" and bench["max_per_chunk_ms"] > 0
    info = json.loads(chain.run(tool, "info", "--json").stdout)
    assert info["gpu"] == "sm_90, 132 multiprocessors, driver of CUDA 13.0"
    assert info["cuda_batch"] == BATCH and info["cuda_architectures"] == [90]
    assert "--threads" in chain.run(tool, "bench", "--target", "cuda", "--threads", "2", expect=1).stderr
    said = chain.run(tool, "bench", "--target", "cuda-libraries", expect=1).stderr
    assert said.endswith("cannot take cuBLAS and cuFFT (compile with --target cuda --link libs)\n")


def test_the_global_symbols_are_the_functions_of_the_headers(chain: Chain) -> None:
    declared = declared_functions(chain.directory / f"{chain.name}_cuda.h", chain.name)
    assert f"{chain.name}_cuda_decode" in declared
    assert set(symbols(chain.directory / f"{chain.name}.o")["global"]) == declared


def test_without_a_driver_the_cpu_goes_on(chain: Chain, mel: Path) -> None:
    tool, out = chain.directory / chain.name, mel.with_name("out.npy")
    if no_gpu() is None:
        pytest.skip("there is a GPU here")
    done = chain.run(tool, "decode", "--target", "cuda", mel, out, expect=1, without_driver=True)
    assert done.stderr == f"{chain.name}: GPU: no CUDA driver: libcuda.so.1 is missing, or does not start\n"
    assert not out.exists()
    chain.run(tool, "decode", mel, out, without_driver=True)
    chain.run(tool, "info", without_driver=True)


def test_the_example_takes_the_gpu_or_the_cpu(chain: Chain, mel: Path, tmp_path: Path) -> None:
    text = (ROOT / "examples" / "gpu" / "main.c").read_text()
    source, program, name = tmp_path / "main.c", tmp_path / "gpu", chain.name
    source.write_text(text.replace("vocos", name).replace("VOCOS", name.upper()))
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run_ok(["cc", *strict, "-I", chain.directory, source, chain.directory / f"lib{name}.a", "-ldl", "-o", program])
    raw = np.load(mel).tobytes()
    expected = chain.decode(mel)
    for environment, said in (({**os.environ, **chain.environment}, "ok"), (dict(os.environ), "no CUDA driver")):
        if said != "ok" and no_gpu() is None:
            continue
        done = subprocess.run([program], input=raw, capture_output=True, check=True, timeout=60, env=environment)
        assert done.stderr.decode().startswith(f"GPU: {said}")
        audio = np.frombuffer(done.stdout, np.float32)
        assert snr_db(expected, audio) >= LEAST_DB
        assert (audio.tobytes() == expected.tobytes()) == (said != "ok"), "the GPU's sums are in another order"


PROGRAMS = every(
    [(name, tuning) for name in ("tiny", "least") for tuning in ("", "tensor", "data", "early")],
    [("least", "tensor,data")],
)


@pytest.mark.parametrize(("name", "tuning"), PROGRAMS)
def test_the_program_of_make_test_gpu(name: str, tuning: str, tmp_path: Path) -> None:
    """What `make test-gpu` runs on a GPU: every chunk size, batch and mode, streams, snapshots, NaN, capture."""
    few: Any = (
        {} if name in SHAPES else {"chunks": (2,), "parameter_jobs": 2}
    )  # a call of three streams takes two launches
    chain = build_chain(name, "f16", tuning=tuning, **few)
    program = build_c("on_gpu.c", tmp_path, chain.directory, chain.name, flags=["-I", ROOT / "bench"])
    done = chain.run(program, LEAST_DB, 1)
    assert chain.run(program, LEAST_DB, "faults").stdout.count("ok  ") == 6
    assert "0 failures" in done.stdout and "FAIL" not in done.stdout
    assert len(done.stdout.splitlines()) > 20 and done.stdout.count("one graph") == 2
    assert ("tensor cores" in done.stdout) == ("tensor" in tuning)


RESIDENT = every([("tiny", "resident"), ("least", "data,resident"), ("tiny", "data,resident")], [("least", "resident")])


@pytest.mark.parametrize(("name", "tuning"), RESIDENT)
def test_the_resident_kernel_over_the_drivers_stand_in(name: str, tuning: str, tmp_path: Path) -> None:
    """It runs in a thread of its own, and talks with the host: for one stream a call, with the single kernel's bits."""
    chain = build_chain(name, "f16", tuning=tuning, batch=1, chunks=every(CHUNKS, (2,)))
    program = build_c("on_gpu.c", tmp_path, chain.directory, chain.name, flags=["-I", ROOT / "bench"])
    done = chain.run(program, LEAST_DB, "resident")
    assert "0 failures" in done.stdout and "FAIL" not in done.stdout
    assert done.stdout.count("the resident kernel") > 5
    # The kernel is lost while the host waits for its answer.
    assert chain.run(program, LEAST_DB, "faults").stdout.count("ok  ") == 6


# ---- --link libs ----


@pytest.fixture(scope="module", params=every(["no_multiples", "one_tap", "least"], ["no_multiples"]))
def libs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Path]:
    """Two layers, context and an even transform, or none and an odd one; and the program of `make test-gpu`."""
    chain = build_chain(request.param, "f32", "libs")
    build = tmp_path_factory.mktemp("program")
    libraries, flags = ["-lopenblas", "-lfftw3f", "-ldl"], ["-I", ROOT / "bench"]
    return chain, build_c("on_gpu.c", build, chain.directory, chain.name, flags=flags, libraries=libraries)


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_cublas_and_cufft_agree_with_the_cpu_and_with_our_kernels(libs: tuple[Chain, Path]) -> None:
    """Over stand-ins for the libraries. The CPU's audio is that of OpenBLAS and FFTW3, in the same object."""
    chain, program = libs
    done = chain.run(program, LEAST_DB, "libraries")
    lines = [line for line in done.stdout.splitlines() if "cuBLAS" in line]
    assert len(lines) == max(CHUNKS) and all(line.startswith("ok") for line in lines), done.stdout


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_the_code_that_calls_the_libraries_is_clean(libs: tuple[Chain, Path]) -> None:
    """`make lint` compiles no such build."""
    chain, _ = libs
    lint(chain.directory, f"network/{chain.name}_cuda_libs.c", "c11")


def test_the_tool_decodes_by_the_libraries(libs: tuple[Chain, Path], tmp_path: Path) -> None:
    chain, _ = libs
    path = tmp_path / "mel.npy"
    np.save(path, some_mel(FRAMES, int((SHAPES.get(chain.name) or CASES[chain.name].sizes)["n_mels"])))
    assert snr_db(chain.decode(path), chain.decode(path, "--target", "cuda-libraries")) >= LEAST_DB


LIBRARY_FAILURES = {
    "cublasCreate_v2": "init: no library",
    "cufftPlanMany": "init: no library",
    "cufftSetStream": "init: failed",
    "cufftExecC2R": "init: failed",
    "cublasSetStream_v2": "decode: failed",
    "cublasSgemm_v2": "decode: failed",
}


def test_a_library_that_fails_is_a_code(libs: tuple[Chain, Path], tmp_path: Path) -> None:
    chain, program = libs
    for function, text in LIBRARY_FAILURES.items():
        failing = replace(chain, environment={**chain.environment, "FAKE_CUDA_LIBS_FAIL": function})
        assert f"FAIL {text}" in failing.run(program, LEAST_DB, "libraries", expect=1).stdout, function
    for name in ("libcublas.so.13", "libcublas.so.12"):
        (tmp_path / name).write_text("no library")
    path = f"{tmp_path}:{chain.environment['LD_LIBRARY_PATH']}"
    without = replace(chain, environment={**chain.environment, "LD_LIBRARY_PATH": path})
    assert "FAIL init: no library" in without.run(program, LEAST_DB, "libraries", expect=1).stdout


# ---- the bench ----


# A Python with PyTorch, as far as the bench can tell: its audio is that of the host tool, on the CPU.
def test_the_bench_of_make_bench_gpu(chain: Chain, tmp_path: Path) -> None:
    """Its numbers mean nothing here, but all are there, of the right audio."""
    torch = tmp_path / "torch"
    torch.write_text(STAND_IN.format(python=sys.executable, tool=chain.directory / chain.name, metrics=METRICS))
    torch.chmod(0o755)
    few = ["--chunks", "1,4", "--streams", "1,5", "--warmup", "1", "--runs", "3", "--date", "2001-02-03"]
    where = [
        "--objects",
        chain.directory,
        chain.directory,
        "--work",
        tmp_path / "work",
        "--results",
        tmp_path,
        "--torch-python",
        torch,
    ]
    done = chain.run(sys.executable, "-m", "bench.gpu", chain.checkpoint, *where, *few)
    assert re.match(r"a fake, driver [0-9.]* of CUDA 13\.0\n", done.stdout)
    assert "not here" not in done.stdout and " PyTorch " in done.stdout
    data = json.loads((tmp_path / "gpu-a-fake.json").read_text())
    assert (data["date"], data["chip"], data["driver_version"]) == ("2001-02-03", "a fake", 13000)
    cases = [result["case"] for result in data["results"]]
    assert [case["streams"] for case in cases] == [1] * 11 + [5] * 2
    for result in data["results"]:
        assert result["snr_db"] > LEAST_DB, result["case"]
        assert 0 < result["queue_us"]["median"] < result["wall_us"]["median"] <= result["wall_us"]["max"]
        assert 0 < result["event_us"]["median"] <= result["event_us"]["max"]
        flags = result["case"]["flags"]
        assert result["single_kernel"] == (flags == 8) and (result["launches"] == 1) == (flags == 8)
        assert result["graph"] == (2 if flags & 32 else flags & 10 == 0) and result["overlap"] == (flags & 12 == 0)
    bars = {bar["text"].split(",")[0]: bar for bar in data["bars"] if bar["text"].startswith("dB ")}
    assert bars["dB from the CPU"]["passed"] and bars["dB from PyTorch"]["passed"]
    assert bars["dB from PyTorch"]["measured"] == data["pytorch"]["facts"]["snr_db"] > LEAST_DB


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_the_bench_times_the_libraries(libs: tuple[Chain, Path], tmp_path: Path) -> None:
    chain, _ = libs
    few = ["--chunks", "3", "--streams", "1", "--batch", "5", "--warmup", "0", "--runs", "1"]
    where = ["--objects", *[chain.directory] * 3, "--work", tmp_path, "--results", tmp_path]
    chain.run(sys.executable, "-m", "bench.gpu", chain.checkpoint, *where, *few)
    results = json.loads((tmp_path / "gpu-a-fake.json").read_text())["results"]
    found = [(r["chunk"], r["streams"], r["libraries"]) for r in results if r["case"]["build"] == "libraries"]
    assert found == [(3, 5, 0), (3, 5, 1), (4, 1, 0), (4, 1, 1), (4, 5, 0), (4, 5, 1)]
    assert min(r["snr_db"] for r in results) > LEAST_DB


def test_the_bench_without_a_gpu_says_so() -> None:
    if no_gpu() is None:
        pytest.skip("there is a GPU here")
    done = subprocess.run([sys.executable, "-m", "bench.gpu", "no.ckpt"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout == "bench: no GPU: there is no CUDA driver (libcuda.so.1); nothing was measured\n"
