"""What the README shows is so: its example program, its tables, its definition of the mel, its sounds."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import families
from tests.objects import ROOT, SENTENCE, Vocoder, every, run_compiler, run_ok
from tests.reference import read_wav

README = (ROOT / "README.md").read_text()
PROGRAM = ROOT / "examples" / "desk" / "main.c"
MODEL = ROOT / "examples" / "model" / "demo.ckpt"
SPEECH = sorted((ROOT / "examples" / "speech").glob("*.wav"))
PRECISIONS = ("f32", "f16", "w8", "w8 --calibrate", "w8a8", "w4")


def code(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first heading begins so, without its headings."""
    rows = README.partition(f"\n| {heading}")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows, heading
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


# ---- other families ----


@pytest.mark.parametrize("name", every(tuple(families.FAMILIES), ("vocos-encodec-24khz",)))
def test_table_of_families_is_the_report(name: str) -> None:
    """Look-ahead, latency and flash, of random weights of the same sizes."""
    (row,) = [row for row in table("model | options") if name in row[0]]
    reports = [families.report(name, precision) for precision in ("f32", "w8")]
    assert row[2:4] == [str(reports[0]["latency_lookahead_frames"]), f"{reports[0]['latency_ms']:.0f} ms"]
    assert row[4] == f"{' / '.join(map(families.megabytes, reports))} MiB"


# ---- doors ----


@pytest.mark.parametrize(
    "door",
    [
        "As a pipe",
        "In GStreamer",
        "From Python",
        "In a browser",
        "Where one machine is outgrown",
        "From CMake or pkg-config",
        "As a step of a CMake build",
    ],
)
def test_a_door_opens_in_five_lines(door: str) -> None:
    """Its commands stand right below the paragraph that names it."""
    paragraphs = README.split("\n\n")
    (found,) = [place for place, paragraph in enumerate(paragraphs) if paragraph.startswith(f"**{door}")]
    commands = paragraphs[found + 1].splitlines()
    assert all(line.startswith("    ") for line in commands)
    assert len(commands) <= 5


# ---- the example ----


def test_readme_shows_the_example() -> None:
    assert PROGRAM.read_text() in code("c")


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


# ---- the tables ----


@cache
def planned(precision: str, chunk: int) -> Mapping[str, Any]:
    """What --report says of the demo model on a microcontroller."""
    options = ("--report", "--json", "--target", "portable", "--chunk", chunk, "--precision", *precision.split())
    done = run_compiler(MODEL, *options)
    assert done.returncode == 0, done.stderr
    figures: Mapping[str, Any] = json.loads(done.stdout)
    return figures


def ram(precision: str, chunk: int) -> str:
    parts = ("state_bytes", "mel_state_bytes", "scratch_bytes", "stack_bytes_bound")
    return f"{sum(planned(precision, chunk)[part] for part in parts) / 2**10:.1f} KiB"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_table_of_microcontrollers_is_the_report(precision: str) -> None:
    quality = json.loads((ROOT / "bench" / "results" / "quality.json").read_text())
    flash = f"{planned(precision, 5)['flash_bytes_estimate'] / 2**20:.2f} MiB"
    heard = quality["mean"][precision]
    sound = [f"{heard['pesq_wb']:.2f}", f"{heard['snr_db']:.0f}"]
    assert [f"`{precision}`", flash, ram(precision, 1), ram(precision, 5), *sound] in table("precision | flash")
    assert f"{planned(precision, 5)['macs_per_frame'] / 1e6:.2f} M multiply-adds" in README


def test_the_command_for_a_report_fits_its_budget() -> None:
    (arguments,) = re.findall(r"^    \.venv/bin/python -m compiler (.* --budget .*)$", README, re.MULTILINE)
    done = run_compiler(*arguments.split())
    assert done.returncode == 0, done.stderr
    assert "flash" in done.stdout


def desktop_rows(bench: Mapping[str, Any]) -> list[list[str]]:
    """The table of desktops as the bench's JSON gives it."""
    names = {"pytorch": "PyTorch {}", "onnxruntime": "ONNX Runtime {}", "onnxruntime int8": "ONNX Runtime {}, int8"}
    rows = {(row["chunk"], row["threads"]): row["peers"] for row in bench["rows"]}
    lines = []
    for peer in rows["5", 1]:
        version = re.match(r"\d+\.\d+", bench["peers"][peer].get("version", ""))
        name = names.get(peer, "OpenVINO {}" if peer == "openvino" else f"**{peer}**")
        line = [name.format(version[0] if version else "")]
        for chunk, threads in [("1", 1), ("5", 1), ("5", 2), ("whole", 1)]:
            found = rows[chunk, threads][peer]
            ms = found["median"]["avg_proc_per_chunk_ms" if chunk.isdigit() else "p50_total_ms"]
            digits = 1 if ms >= 2 else 2
            speedup = f" ({found['speedup']:.1f}x)" if found["speedup"] else ""
            line.append(f"{ms:.{digits}f}{speedup}")
        snr = rows["5", 1][peer]["snr_db"]
        lines.append([*line, f"{snr:.0f}" if snr else ""])
    return lines


def test_table_of_desktops_is_the_bench() -> None:
    bench = json.loads((ROOT / "bench" / "results" / "bench.json").read_text())
    expected = desktop_rows(bench)
    assert table("| chunk 1, 1 thread") == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


# ---- the mel ----

# What is often done in its place: the first cell of its row, and how the six lines change.
VARIANTS = {
    "HTK's scale without a norm": (
        ("15 + 27 * np.log(8) / np.log(6.4)", "2595 * np.log10(1 + 8000 / 700)"),
        (r"np.where(points < 15, points * 200 / 3, 1000 * 6.4 ** ((points - 15) / 27))", "700*(10**(points/2595)-1)"),
        (" * 2 / (right - left)", ""),
    ),
    "HTK's scale, Slaney's norm": (
        ("15 + 27 * np.log(8) / np.log(6.4)", "2595 * np.log10(1 + 8000 / 700)"),
        (r"np.where(points < 15, points * 200 / 3, 1000 * 6.4 ** ((points - 15) / 27))", "700*(10**(points/2595)-1)"),
    ),
    "Slaney's scale without a norm": ((" * 2 / (right - left)", ""),),
    "log10": (("np.log(np.maximum", "np.log10(np.maximum"),),
    "the power": (("np.sqrt(", "("),),
    "frames centred": (("(704, -len(audio) % 320)", "512, 'reflect'"),),
    "without the 1e-6": ((" + 1e-6", ""),),
    "a symmetric Hann": (("np.hanning(1025)[:-1]", "np.hanning(1024)"),),
}


def evaluate(snippet: str, audio: NDArray[Any]) -> NDArray[Any]:
    names: dict[str, Any] = {"np": np, "audio": audio}
    exec(snippet, names)
    return np.asarray(names["mel"])


def test_six_lines_of_numpy_give_the_objects_mel(small: Vocoder) -> None:
    """The front end of `small` is the published one."""
    (snippet,) = [block for block in code("python") if "torch" not in block]
    assert len(snippet.splitlines()) == 6
    for path in SPEECH:
        audio = read_wav(path)
        found = evaluate(snippet, audio)
        expected = small.log_mel(audio.astype(np.float32))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 2e-4


def test_five_lines_of_torchaudio_give_the_objects_mel(small: Vocoder, tmp_path: Path) -> None:
    (snippet,) = [block for block in code("python") if "torchaudio" in block]
    assert len(snippet.splitlines()) == 5
    program = f"""
import sys, numpy, torch, torchaudio
audio = torch.tensor(numpy.load(sys.argv[1]))
{snippet}
numpy.save(sys.argv[2], mel.numpy())
"""
    audio = read_wav(SENTENCE).astype(np.float32)
    np.save(tmp_path / "audio.npy", audio)
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import torchaudio"], capture_output=True, check=False).returncode == 0:
            run_ok([python, "-c", program, tmp_path / "audio.npy", tmp_path / "mel.npy"])
            found, expected = np.load(tmp_path / "mel.npy"), small.log_mel(audio)
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= 2e-4
            return
    pytest.skip("no torchaudio here: apt-get install python3-torchaudio")


def test_what_the_usual_variants_miss_by() -> None:
    """Mean and largest difference over the five sentences, in the units of the log-mel."""
    (snippet,) = [block for block in code("python") if "torch" not in block]
    speech = [read_wav(path) for path in SPEECH]
    right = [evaluate(snippet, audio) for audio in speech]
    rows = {row[0]: row[1:] for row in table("in its place")}
    for name, changes in VARIANTS.items():
        changed = snippet
        for old, new in changes:
            assert old in changed, old
            changed = changed.replace(old, new)
        wrong = [evaluate(changed, audio)[: len(mel)] for audio, mel in zip(speech, right, strict=True)]
        missed = np.abs(np.concatenate(wrong) - np.concatenate(right))
        (found,) = [cells for cell, cells in rows.items() if cell.startswith(name)]
        assert found == [f"{missed.mean():.2g}", f"{missed.max():.2g}"], name
    assert len(rows) == len(VARIANTS)


def test_digital_silence_lies_where_the_readme_says(small: Vocoder) -> None:
    mel = small.log_mel(np.zeros(3200, np.float32))
    assert f"between {mel.min():.2f} and {mel.max():.2f}" in README
