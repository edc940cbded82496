"""The README's example program is the one in examples/, and works."""

import re
import subprocess
from pathlib import Path

import numpy as np

from tests.objects import ROOT, SENTENCE, Vocoder, run_ok
from tests.reference import read_wav

PROGRAM = ROOT / "examples" / "desk" / "main.c"


def test_readme_shows_the_example() -> None:
    blocks = re.findall(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert PROGRAM.read_text() in blocks


def test_example_streams_audio(small: Vocoder, tmp_path: Path) -> None:
    """What it writes is what the library gives for the whole utterance, tail included."""
    source = tmp_path / "main.c"
    source.write_text(PROGRAM.read_text().replace("vocos", "small").replace("VOCOS", "SMALL"))
    program = tmp_path / "desk"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run_ok(["cc", *flags, "-I", small.directory, "-o", program, source, small.directory / "libsmall.a"])
    audio = read_wav(SENTENCE)
    hops = len(audio) // small.hop
    spoken = np.round(audio[: hops * small.hop] * 32768).astype("<i2")
    done = subprocess.run([program], input=spoken.tobytes(), capture_output=True, check=True, timeout=60)
    stream = small.stream()
    decoded = small.continue_decode(stream, small.log_mel(spoken))
    expected = np.concatenate([decoded, small.flush(stream)])
    assert done.stdout == np.clip(np.rint(expected * np.float32(32768)), -32768, 32767).astype("<i2").tobytes()
