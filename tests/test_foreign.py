"""The object for other systems, and the host tool between other programs: what takes packages that `make test` does
without. `make test-doors` brings them and runs all of it; otherwise these tests are skipped.
"""

import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.objects import ALL, ROOT, SENTENCE, TINY, compile_sources, golden, rename, run_ok

WANTED = ALL or os.environ.get("VOCOSC_TEST_DOORS") == "1"
doors = pytest.mark.skipif(not WANTED, reason="takes packages of its own: make test-doors")


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: make test-doors")


# ---- Windows, under Wine ----

PROGRAM = """
#include <stdio.h>
#include "vocosc.h"
static vocosc_stream stream;
static vocosc_scratch scratch;
int main(int count, char **files) {
  static float mel[VOCOSC_MAX_FRAMES * VOCOSC_MELS], audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP], tail[VOCOSC_TAIL + 1];
  if (count != 3 || vocosc_init(&stream) != VOCOSC_OK || vocosc_selftest(&stream, &scratch) != VOCOSC_OK) return 1;
  FILE *in = fopen(files[1], "rb"), *out = fopen(files[2], "wb");
  int frames;
  while ((frames = (int)fread(mel, sizeof(float) * VOCOSC_MELS, VOCOSC_MAX_FRAMES, in)) > 0) {
    const int samples = vocosc_decode(&stream, &scratch, mel, frames, audio);
    if (samples < 0) return 2;
    fwrite(audio, sizeof *audio, (size_t)samples, out);
  }
  fwrite(tail, sizeof *tail, (size_t)vocosc_flush(&stream, tail), out);
  return fclose(out);
}
"""


@doors
@pytest.mark.parametrize("weights", ["incbin", "c"])
def test_windows(weights: str, tmp_path: Path) -> None:
    """Built by mingw-w64 with the makefile that is there, it gives this system's bits under Wine."""
    needs("x86_64-w64-mingw32-gcc", "wine")
    options = ("--chunk", "5", "--target", "portable", "--weights", weights)
    here = builds.library(
        builds.checkpoint("odd"), "odd", "--chunk", "5", "--target", "portable", make=["EXTRA_CFLAGS=-O0"]
    )
    there = compile_sources(builds.checkpoint("odd"), tmp_path / "windows", "odd", *options)
    cross = "x86_64-w64-mingw32-"
    tools = [f"CC={cross}gcc", f"AR={cross}ar", f"OBJCOPY={cross}objcopy"]
    run_ok(["make", "-s", "-j2", "-f", "odd.mk", "libodd.a", *tools, "EXTRA_CFLAGS=-O1"], cwd=there)
    (tmp_path / "main.c").write_text(rename(PROGRAM, "odd"))
    golden("odd", "mel").tofile(tmp_path / "mel")
    for compiler, folder, program in ((f"{cross}gcc", there, "main.exe"), ("cc", here, "main")):
        run_ok([compiler, "-I", folder, tmp_path / "main.c", folder / "libodd.a", "-o", tmp_path / program])
    run_ok([tmp_path / "main", "mel", "here"], cwd=tmp_path)
    environment = {**os.environ, "WINEDEBUG": "-all", "WINEPREFIX": str(tmp_path / "wine")}
    run_ok(["wine", "main.exe", "mel", "there"], cwd=tmp_path, env=environment)
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    assert (tmp_path / "here").stat().st_size > 10000


# ---- macOS: compiled, not linked and not run ----


@pytest.mark.parametrize(
    ("machine", "target"), [("arm64", "portable"), ("arm64", "aarch64"), ("x86_64", "portable")], ids="-".join
)
def test_the_sources_compile_for_macos(machine: str, target: str, tmp_path: Path) -> None:
    """By clang, all of them, without a warning; nobody has run the objects."""
    if shutil.which("clang") is None:
        pytest.skip("no clang here: .ci/setup test")
    folder = builds.sources(builds.checkpoint(TINY), "tiny", "--target", target)
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    flags = ["-std=c11", "-O0", *warnings, "-ffp-contract=off", "-ffreestanding", "-I.", "-Inetwork"]
    sources = sorted((folder / "network").glob("*.[cS]"))
    assert len(sources) >= 5
    for source in sources:
        command = ["clang", f"--target={machine}-apple-macos11", *flags, "-isystem", ROOT / "examples" / "bare_metal"]
        run_ok([*command, "-c", source.relative_to(folder), "-o", tmp_path / "object.o"], cwd=folder)
        assert (tmp_path / "object.o").read_bytes()[:4] == b"\xcf\xfa\xed\xfe", "no Mach-O of 64 bits"


# ---- pipes of other programs ----


@pytest.fixture(scope="module")
def tool() -> Path:
    """`odd`, of 8 kHz."""
    return builds.model(builds.checkpoint("odd"), "odd", "--chunk", "3,16", "--target", "portable", "--wheel") / "odd"


def shell(line: str, folder: Path) -> bytes:
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@doors
def test_between_two_of_sox(tool: Path, tmp_path: Path) -> None:
    needs("sox")
    shell(f"sox -D {SENTENCE} -r 8k -c 1 -b 16 -t wav - | {tool} copy - - | sox -t wav - piped.wav", tmp_path)
    shell(f"sox -D {SENTENCE} -r 8k -c 1 -b 16 in.wav && {tool} copy in.wav whole.wav", tmp_path)
    samples = []
    for name in ("piped.wav", "whole.wav"):
        with wave.open(str(tmp_path / name)) as file:
            samples.append(file.readframes(file.getnframes()))
    assert samples[0] == samples[1] and np.frombuffer(samples[0], np.int16).any()


@doors
def test_between_two_of_ffmpeg(tool: Path, tmp_path: Path) -> None:
    needs("ffmpeg")
    before = f"ffmpeg -v error -nostdin -i {SENTENCE} -ar 8000 -ac 1 -f s16le - | tee in.s16"
    shell(f"{before} | {tool} copy - - | ffmpeg -v error -f s16le -ar 8000 -i - out.wav", tmp_path)
    with wave.open(str(tmp_path / "out.wav")) as file:
        samples = file.readframes(file.getnframes())
    assert samples == shell(f"{tool} copy - - <in.s16", tmp_path)


@doors
def test_from_a_recorder_to_a_player(tool: Path, tmp_path: Path) -> None:
    """ALSA's, at devices that hear silence and say nothing."""
    needs("arecord", "aplay")
    (tmp_path / ".asoundrc").write_text("pcm.!default { type null }\n")
    recorded = f"HOME={tmp_path} arecord -q -d 1 -f S16_LE -r 8000"
    shell(f"{recorded} | {tool} copy - - | tee out.wav | HOME={tmp_path} aplay -q", tmp_path)
    assert len((tmp_path / "out.wav").read_bytes()) > 44 + 2 * 7000
