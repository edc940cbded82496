"""On a real GPU, where there is one (`make test-gpu`): its audio against the CPU's, faults, and compute-sanitizer."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.gpu import no_gpu
from tests.objects import CFLAGS, ROOT, compile_model, rename, run_ok

# A model, its weights, streams of a call, and the least distance of the GPU's audio from the CPU's, in dB. The CPU's
# code in the same object has the same halves for weights. On `odd` float32 itself is 95 dB from the truth.
CASES = {
    "small, f32": ("small", "f32", 3, 100),
    "small, f16": ("small", "f16", 3, 100),
    "odd, f32": ("odd", "f32", 3, 89),
    "full, f32": ("full", "f32", 1, 100),
    "full, f16": ("full", "f16", 1, 95),
    "full, f16, many streams": ("full", "f16", 32, 95),
}
SANITIZER = "compute-sanitizer"
# The same, of a build with --link libs: our kernels, cuBLAS and cuFFT, and OpenBLAS and FFTW3 on the CPU.
LIBRARIES = "full, f32, with libraries"

Builder = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    reason = no_gpu()
    if reason:
        pytest.skip(f"no GPU: {reason}")


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds tests/c/on_gpu.c with a case's model, compiled for this GPU; each case once."""
    built: dict[str, Path] = {}

    def build(case: str) -> Path:
        if case not in built:
            model, precision, batch = ("full", "f32", 3) if case == LIBRARIES else CASES[case][:3]
            directory = tmp_path_factory.mktemp("gpu")
            checkpoint = request.getfixturevalue(f"{model}_checkpoint")
            options = ["--chunk", "1,5,8", "--precision", precision, "--target", "cuda", "--batch", batch]
            libraries = ["-lopenblas", "-lfftw3f"] if case == LIBRARIES else []
            options += ["--link", "libs"] if libraries else []
            compile_model(checkpoint, directory / "out", model, *options)
            source, executable = directory / "on_gpu.c", directory / "on_gpu"
            source.write_text(rename((ROOT / "tests" / "c" / "on_gpu.c").read_text(), model))
            include = ["-I", directory / "out", "-I", ROOT / "bench"]
            library = directory / "out" / f"lib{model}.a"
            run_ok(["cc", *CFLAGS, *include, "-o", executable, source, library, *libraries, "-ldl", "-lm"])
            built[case] = executable
        return built[case]

    return build


@pytest.mark.parametrize("case", CASES)
def test_the_audio_is_the_cpus(program: Builder, case: str) -> None:
    print(run_ok([program(case), CASES[case][3], 20]))


def test_cublas_and_cufft_agree(program: Builder) -> None:
    print(run_ok([program(LIBRARIES), 100, "libraries"]))


def test_faults_are_told(program: Builder) -> None:
    print(run_ok([program("small, f16"), CASES["small, f16"][3], "faults"]))


@pytest.mark.parametrize("check", ["memcheck", "initcheck", "racecheck", "synccheck"])
def test_the_sanitizer_finds_nothing(program: Builder, check: str) -> None:
    if shutil.which(SANITIZER) is None:
        pytest.skip(f"no {SANITIZER} here")
    case = "odd, f32"
    command = [SANITIZER, "--tool", check, "--error-exitcode", "9", str(program(case)), str(CASES[case][3]), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if "not supported" in done.stdout + done.stderr:
        pytest.skip(f"{SANITIZER} does not work on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
