"""Doors that take an environment of their own: GStreamer, and wheels installed into fresh environments.

`make test-doors` brings what they need, and runs them all.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.objects import ALL, ROOT, SENTENCE, Vocoder, run_ok, some_mel

WANTED = ALL or os.environ.get("VOCOSC_TEST_DOORS") == "1"
pytestmark = pytest.mark.skipif(not WANTED, reason="takes packages of its own: make test-doors")
MODEL = ROOT / "examples" / "model" / "tiny.ckpt"


# ---- pip ----


def environment(folder: Path) -> Path:
    """The Python of a fresh environment, which has pip and nothing else."""
    run_ok([sys.executable, "-m", "venv", folder])
    return folder / "bin" / "python"


def clean() -> dict[str, str]:
    """Nothing of this environment's Python."""
    return {key: text for key, text in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


def test_pip_install_compile_pip_install_decode(tmp_path: Path) -> None:
    """`pip install .` in an environment, `vocosc compile --wheel` in another folder, the wheel beside numpy alone."""
    tree = tmp_path / "tree"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    names = [name for name in files.split("\0") if name] or ["."]
    for name in names:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    builder, elsewhere = environment(tmp_path / "builder"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_ok([builder, *pip, tree], cwd=elsewhere, env=clean())
    command = [builder.parent / "vocosc", "compile", MODEL, "--name", "speech", "--wheel", "--precision", "w8"]
    run_ok(command, cwd=elsewhere, env=clean())
    (wheel,) = (elsewhere / "speech").glob("speech-*.whl")

    user = environment(tmp_path / "user")
    run_ok([user, *pip, wheel], cwd=elsewhere, env=clean())
    listed = run_ok([user, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"], env=clean())
    found = {line.partition("==")[0] for line in listed.splitlines()}
    assert found <= {"pip", "setuptools", "speech", "numpy"} and {"speech", "numpy"} <= found
    same = Vocoder(elsewhere / "speech", "speech")
    mel = some_mel(60, same.mels)
    np.save(elsewhere / "mel.npy", mel)
    script = (
        "import hashlib, numpy, speech; mel = numpy.load('mel.npy'); audio = speech.decode(mel); "
        "stream = speech.Stream(); parts = [stream.decode(mel[i : i + 7]) for i in range(0, 60, 7)]; "
        "assert numpy.array_equal(numpy.concatenate(parts), audio[: 60 * speech.info['model']['hop_length']]); "
        "print(hashlib.sha256(audio[: 60 * speech.info['model']['hop_length']].tobytes()).hexdigest())"
    )
    said = run_ok([user, "-c", script], cwd=elsewhere, env=clean()).strip()
    assert said == hashlib.sha256(same.decode(mel).tobytes()).hexdigest()


# ---- GStreamer ----


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: make test-doors")


@pytest.fixture(scope="module")
def gstreamer() -> Path:
    """The folder of the plugin, built by the line in its README."""
    need("gst-launch-1.0", "pkg-config")
    directory = builds.library(MODEL, "vocos", "--chunk", "10", "--precision", "w8")

    def make(out: Path) -> None:
        source = ROOT / "examples" / "gstreamer"
        run_ok(["make", "-s", "-C", source, f"MODEL={directory}", f"OUT={out}"])

    return builds.once("gstreamer", make)


def launch(folder: Path, work: Path, *elements: str) -> str:
    paths = {"GST_PLUGIN_PATH": str(folder), "GST_REGISTRY": str(work / "registry.bin")}
    command = ["gst-launch-1.0", "-q", *" ! ".join(elements).split()]
    return run_ok(command, cwd=work, env={**os.environ, **paths})


@pytest.mark.parametrize("chunk", [1, 10])
def test_gstreamer(gstreamer: Path, chunk: int, tmp_path: Path) -> None:
    """From file to file, in buffers of a size of its own: the bits of the object, whatever the chunk."""
    launch(
        gstreamer,
        tmp_path,
        f"filesrc location={SENTENCE}",
        "wavparse",
        "audioconvert",
        "audio/x-raw,format=F32LE,rate=16000,channels=1",
        f"vocos chunk={chunk}",
        "filesink location=out.f32",
    )
    same = Vocoder(builds.library(MODEL, "vocos", "--chunk", "10", "--precision", "w8"), "vocos")
    with wave.open(str(SENTENCE)) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)
    mel = same.log_mel(heard)
    expected = same.utterance(mel)
    found = np.fromfile(tmp_path / "out.f32", np.float32)
    assert np.array_equal(found, expected)


def test_gstreamer_says_what_it_is(gstreamer: Path, tmp_path: Path) -> None:
    paths = {"GST_PLUGIN_PATH": str(gstreamer), "GST_REGISTRY": str(tmp_path / "registry.bin")}
    said = run_ok(["gst-inspect-1.0", "vocos"], env={**os.environ, **paths})
    assert "chunk" in said and "audio/x-raw" in said and "Range: 1 - 10" in said
    command = ["gst-launch-1.0", "-q", "audiotestsrc", "num-buffers=3", "!", "vocos", "chunk=11", "!", "fakesink"]
    environment = {**os.environ, **paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "out of range for property 'chunk'" in done.stderr
