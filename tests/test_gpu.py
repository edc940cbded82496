"""On a real GPU, where there is one (`make test-gpu`): its audio against the CPU's, faults, and compute-sanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.gpu import no_gpu
from tests.objects import CFLAGS, ROOT, compile_model, rename, run_ok

# What issue or reader may expect of the audio, in dB from the CPU's: with f16 weights, in float32. `odd` is a model on
# which float32 itself is 95 dB from the truth.
BARS_DB = {("small", "f32"): 100, ("small", "f16"): 55, ("odd", "f32"): 89, ("full", "f32"): 100, ("full", "f16"): 55}
SANITIZER = "compute-sanitizer"


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    reason = no_gpu()
    if reason:
        pytest.skip(f"no GPU: {reason}")


def build_program(request: pytest.FixtureRequest, directory: Path, model: str, precision: str, batch: int) -> Path:
    """tests/c/on_gpu.c, linked with the model compiled for this many streams a call."""
    checkpoint = request.getfixturevalue(f"{model}_checkpoint")
    options = ["--chunk", "1,5,8", "--precision", precision, "--target", "cuda", "--batch", batch]
    compile_model(checkpoint, directory / "out", model, *options)
    source = directory / "on_gpu.c"
    source.write_text(rename((ROOT / "tests" / "c" / "on_gpu.c").read_text(), model))
    program = directory / "on_gpu"
    include = ["-I", directory / "out", "-I", ROOT / "bench"]
    run_ok(["cc", *CFLAGS, *include, "-o", program, source, directory / "out" / f"lib{model}.a", "-ldl", "-lm"])
    return program


@pytest.mark.parametrize("batch", [1, 3, 32])
@pytest.mark.parametrize(("model", "precision"), list(BARS_DB))
def test_the_audio_is_the_cpus(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, precision: str, batch: int
) -> None:
    program = build_program(request, tmp_path, model, precision, batch)
    print(run_ok([program, BARS_DB[model, precision], 20]))


def test_faults_are_told(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = build_program(request, tmp_path, "small", "f16", 3)
    print(run_ok([program, BARS_DB["small", "f16"], "faults"]))


@pytest.mark.parametrize("check", ["memcheck", "initcheck", "racecheck", "synccheck"])
def test_the_sanitizer_finds_nothing(request: pytest.FixtureRequest, tmp_path: Path, check: str) -> None:
    if shutil.which(SANITIZER) is None:
        pytest.skip(f"no {SANITIZER} here")
    program = build_program(request, tmp_path, "odd", "f32", 3)
    command = [SANITIZER, "--tool", check, "--error-exitcode", "9", str(program), str(BARS_DB["odd", "f32"]), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if "not supported" in done.stdout + done.stderr:
        pytest.skip(f"{SANITIZER} does not work on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
