"""The programs in examples/, built as their comments say, give the library's bits; bare_metal: test_bare_metal.py."""

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.objects import ROOT, Vocoder, config, golden, run_ok

EXAMPLES = ROOT / "examples"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]


def test_every_example_is_in_the_readme() -> None:
    """And how to build it is said there, in a README of its own, or in the comment that its program begins with."""
    readme = (ROOT / "README.md").read_text()
    data = {EXAMPLES / "speech", EXAMPLES / "model", EXAMPLES / "audio"}
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and path not in data):
        assert f"(examples/{folder.name}/" in readme, folder.name
        texts = [
            path.read_text()
            for path in (*folder.glob("README.md"), *folder.glob("main.c*"), *folder.glob("CMakeLists.txt"))
        ]
        texts += [line for line in readme.splitlines() if f" examples/{folder.name}/main.c" in line]
        assert any(re.search(r"^(?: \* |//|#|    ).*\b(?:cc|c\+\+|make) -", text, re.MULTILINE) for text in texts), (
            folder
        )


@pytest.fixture(scope="module")
def vocos(small_checkpoint: Path) -> Vocoder:
    """`small`, named as the examples have it, in plain C."""
    options = ("--chunk", 5, "--target", "portable")
    return Vocoder(builds.library(small_checkpoint, "vocos", *options, make=[]), "vocos")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cpp(vocos: Vocoder, tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    flags = ["-std=c++17", "-O2", "-fno-exceptions", "-fno-rtti", *WARNINGS, "-I", vocos.directory]
    program = tmp_path / "decode"
    run_ok([compiler, *flags, EXAMPLES / "cpp" / "main.cpp", vocos.directory / "libvocos.a", "-o", program])
    mel = golden("small", "mel")[:33]
    done = subprocess.run([program], input=mel.tobytes(), capture_output=True, check=True, timeout=60)
    stream = vocos.stream()
    assert done.stdout == vocos.continue_decode(stream, mel).tobytes() + vocos.flush(stream).tobytes()
    # An error ends it with the library's text, and with no sound but silence.
    mel = np.full((5, vocos.mels), np.nan, np.float32)
    broken = subprocess.run([program], input=mel.tobytes(), capture_output=True, check=False, timeout=60)
    assert broken.returncode == 1 and b"NaN" in broken.stderr
    assert broken.stdout == bytes(4 * vocos.tail)


def test_two_models(small_checkpoint: Path, tmp_path: Path) -> None:
    """Voices of other weights, precision and chunk."""
    bass_checkpoint = builds.checkpoint({**config("small"), "num_layers": 1}, seed=5)
    voices = []
    for name, checkpoint, options in (
        ("alto", small_checkpoint, ["--chunk", 5]),
        ("bass", bass_checkpoint, ["--chunk", 2, "--precision", "w8"]),
    ):
        directory = builds.library(checkpoint, name, *options, "--target", "portable")
        voices.append(Vocoder(directory, name))
    mels = [golden("small", "mel")[:20], golden("small", "mel")[100:120]]
    for voice, mel in zip(voices, mels, strict=True):
        mel.tofile(tmp_path / f"{voice.name}.f32")
    includes = [f"-I{voice.directory}" for voice in voices]
    libraries = [voice.directory / f"lib{voice.name}.a" for voice in voices]
    program = tmp_path / "two_models"
    source = EXAMPLES / "two_models" / "main.c"
    run_ok(["cc", "-std=c11", "-O2", *WARNINGS, *includes, source, *libraries, "-o", program])
    arguments = [tmp_path / f"{voice.name}.f32" for voice in voices]
    done = subprocess.run([program, *arguments], capture_output=True, check=True, timeout=60)
    alto, bass = (voice.decode(mel) for voice, mel in zip(voices, mels, strict=True))
    assert done.stdout == (np.float32(0.5) * alto + np.float32(0.5) * bass).tobytes()


@pytest.mark.parametrize("board", ["desk", "cortex_a53"])
def test_two_cores(vocos: Vocoder, small_checkpoint: Path, tmp_path: Path, board: str) -> None:
    """Two threads here, and two bare cores in qemu-system."""
    model = vocos.directory
    if board == "cortex_a53":
        for program in ("aarch64-linux-gnu-gcc", "qemu-system-aarch64"):
            if shutil.which(program) is None:
                pytest.skip(f"no {program} here: .ci/setup test")
        model = builds.sources(small_checkpoint, "vocos", "--chunk", 5, "--target", "aarch64")
    golden("small", "mel").tofile(tmp_path / "mel.f32")
    variables = [f"BOARD={board}", f"MODEL={model}", f"UTTERANCE={tmp_path / 'mel.f32'}", f"OUT={tmp_path / 'out'}"]
    make = ["make", "-s", "-C", EXAMPLES / "two_cores", *variables]
    run_ok(make)
    audio = vocos.decode(golden("small", "mel")).tobytes()
    line = f"{len(audio) // 4} samples, crc32 {zlib.crc32(audio):08x}"
    assert run_ok(["timeout", "120", *make, "run"]).splitlines() == [f"1 core: {line}", f"2 cores: {line}"]
