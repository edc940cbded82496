"""The programs in examples/, built as their comments say, give the library's bits; bare_metal: test_bare_metal.py."""

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.ahead import CASES
from tests.objects import ROOT, Vocoder, config, copy_programs, every, golden, run_ok, some_audio
from tests.wheels import MODEL, site_of

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
        assert any(
            re.search(r"^(?: \* |//|#|    ).*\b(?:(?:cc|c\+\+|make) -|make \w|python \w+\.py)", text, re.MULTILINE)
            for text in texts
        ), folder


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


@pytest.mark.parametrize(
    ("compiler", "ahead"), [("g++", False), ("clang++", False), ("g++", True), *every([("clang++", True)], [])]
)
def test_objects_of_cpp(vocos: Vocoder, tmp_path: Path, compiler: str, ahead: bool) -> None:
    """NAME.hpp, with and without exceptions, every warning an error."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    directory = vocos.directory
    if ahead:
        options = ("--chunk", 5, "--target", "portable")
        directory = builds.library(CASES["vocos_same"].checkpoint, "vocos", *options)
    program = copy_programs(tmp_path / "c", "vocos") / "test_cpp.cpp"
    flags = ["-std=c++17", "-O1", *WARNINGS, "-I", directory, f"-DFLUSH_SCRATCH={'&scratch,' if ahead else ''}"]
    for more in (["-fno-exceptions", "-fno-rtti"], ["-DVOCOS_EXCEPTIONS"]):
        run_ok([compiler, *flags, *more, program, directory / "libvocos.a", "-o", tmp_path / "test"])
        run_ok([tmp_path / "test"])


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


# ---- Python ----


@pytest.fixture(scope="module")
def site() -> Path:
    """A folder with the module of a wheel, `odd`."""
    return site_of(builds.model(builds.checkpoint("odd"), "odd", *MODEL, light=True))


@pytest.fixture(scope="module")
def odd_wheel() -> Vocoder:
    return Vocoder(builds.model(builds.checkpoint("odd"), "odd", *MODEL, light=True), "odd")


def run_python(site: Path, *arguments: object, **environment: str) -> bytes:
    command = [sys.executable, *map(str, arguments)]
    paths = {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [environment.pop("path", "")])])}
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environment, **paths})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_streaming_text_to_speech(site: Path, odd_wheel: Vocoder, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", golden("odd", "mel"))
    spoken = run_python(site, EXAMPLES / "python" / "tts_streaming.py", "odd", tmp_path / "mel.npy")
    stream = odd_wheel.stream()
    audio = np.concatenate([odd_wheel.continue_decode(stream, golden("odd", "mel")), odd_wheel.flush(stream)])
    assert spoken == np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16).tobytes()


# In place of PortAudio: a device that hears a file, and keeps what is said.
DEVICE = """
import os
import numpy as np

class Stream:
    def __init__(self, samplerate, blocksize, channels, dtype, callback):
        assert (samplerate, channels, dtype) == (8000, 1, "int16")
        self.blocksize, self.callback = blocksize, callback

    def __enter__(self):
        heard, said = np.fromfile(os.environ["HEARD"], np.int16), []
        for start in range(0, len(heard) - self.blocksize + 1, self.blocksize):
            spoken = np.full((self.blocksize, 1), 77, np.int16)
            self.callback(heard[start : start + self.blocksize, None], spoken, self.blocksize, None, None)
            said.append(spoken)
        np.concatenate(said).tofile(os.environ["SAID"])

    def __exit__(self, *_):
        pass

def sleep(milliseconds):
    assert milliseconds == 2500
"""


def test_from_microphone_to_speaker(site: Path, odd_wheel: Vocoder, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(DEVICE)
    heard = np.asarray(some_audio(20 * 16 * odd_wheel.hop) * 32768, np.int16)
    heard.tofile(tmp_path / "heard")
    files = {"HEARD": str(tmp_path / "heard"), "SAID": str(tmp_path / "said"), "path": str(tmp_path)}
    run_python(site, EXAMPLES / "python" / "microphone.py", "odd", 2.5, **files)
    audio = odd_wheel.decode(odd_wheel.log_mel(heard))
    expected = np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)
    assert (tmp_path / "said").read_bytes() == expected.tobytes()


def test_the_notebook_runs(site: Path, tmp_path: Path) -> None:
    """Its cells, one after the other, in a Python of their own; players are counted, not drawn."""
    cells = json.loads((EXAMPLES / "python" / "listen.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5 and not any(cell.get("outputs") for cell in cells), "committed with its output"
    (tmp_path / "IPython").mkdir()
    (tmp_path / "IPython" / "__init__.py").touch()
    player = """
class Audio:
    def __init__(self, samples, rate):
        assert rate == 8000 and len(samples) > 8000

def display(audio):
    print(type(audio).__name__)
"""
    (tmp_path / "IPython" / "display.py").write_text(player)
    (tmp_path / "cells.py").write_text("\n".join(code))
    found = {"VOCODER": "odd", "RECORDING": str(EXAMPLES / "speech" / "bdl_arctic_a0001.wav"), "path": str(tmp_path)}
    printed = run_python(site, tmp_path / "cells.py", **found).decode()
    assert printed.count("Audio\n") == 2 and "frames of 21 mels" in printed
