"""The compiler and the host tool in hostile hands: ended anywhere, given any options, any files."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compiler import names as naming
from compiler.errors import CompileError
from tests import make_checkpoint
from tests.fuzz.harness import CORPUS, FUZZERS, build_fuzzer, compile_tiny
from tests.objects import ROOT, TINY
from tests.torture.runs import command, compile_here, in_process, verified

ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
SOURCES = ("--name", "v", "--target", "portable", "--sources-only")


def _random(campaign: str, seed: int, case: int) -> random.Random:
    return random.Random(f"{campaign} {seed} {case}")


# ---- ended at any moment ----


def endings(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Compilations over an older one, each ended by a signal at a random moment: the folder holds one or the other."""
    rng = _random("endings", seed, case)
    checkpoint, output = folder / "model.ckpt", folder / "out"
    make_checkpoint.write_checkpoint(checkpoint, TINY)
    start = time.monotonic()
    compile_here(checkpoint, output, *SOURCES, "--chunk", "1")
    usual = time.monotonic() - start
    states = {"1": _contents(output)}
    compile_here(checkpoint, output, *SOURCES, "--chunk", "2", "--weights", "c")
    states["2"] = _contents(output)
    counts: dict[str, int] = {"ended": 0, "replaced": 0, "kept": 0, "recovered_after_sigkill": 0}
    for _ in range(8):
        ending, now = rng.choice(ENDINGS), "1" if _contents(output) == states["2"] else "2"
        build = rng.random() < 0.25
        options = [*SOURCES[: -1 if build else None], "--chunk", now, *(["--weights", "c"] if now == "2" else [])]
        with in_process(checkpoint, "-o", output, *options) as process:
            time.sleep(rng.uniform(0, usual * (4 if build else 2)))
            os.kill(process, ending)
        if ending == signal.SIGKILL:
            shutil.copytree(output, folder / "left", symlinks=True)
            # Whatever was left: the next compilation sets out from one of the two, and ends with all of its own
            code, _, errors = command("/dev/null", "-o", output, *SOURCES)
            assert code == 1 and errors.count("\n") == 1, errors
            compile_here(checkpoint, output, *SOURCES, "--chunk", now, *(["--weights", "c"] if now == "2" else []))
            assert _contents(output) == states[now]
            shutil.rmtree(folder / "left")
            counts["recovered_after_sigkill"] += 1
        else:
            found = _contents(output)
            hidden = list(folder.rglob(".*"))
            assert not hidden, hidden
            if build and "v.o" in found:
                verified(output, "v")
                counts["replaced"] += 1
                compile_here(checkpoint, output, *SOURCES, "--chunk", "1")
                assert _contents(output) == states["1"], "built files stay behind"
            else:
                assert found in (states["1"], states["2"]), f"{ending.name}: neither the old files nor the new ones"
                counts["replaced" if found == states[now] else "kept"] += 1
        counts["ended"] += 1
    return counts


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


# ---- options ----

_WORDS = (
    *("", "0", "-1", "5", "1,5", "1e9", "nan", "inf", "\u0663", "\uff15", "1_000", " 5", "5 ", "0x10", "9" * 30, "1.5"),
    *(
        "flash=1K,flash=2K",
        "flash=4M",
        "ram=1",
        "stack=1.5K",
        "=",
        "flash=-1",
        "a\nb",
        "\x1b[31m",
        "../x",
        "$(id)",
        "é",
    ),
    *(
        "cuda",
        "portable",
        "x86-64",
        "f32",
        "w8",
        "w8a8",
        "f16",
        "incbin",
        "c",
        "blob",
        "none",
        "libs",
        "same",
        "center",
    ),
    *("--", "-", "4", "7", "160", "0.5", "8000"),
)
_OPTIONS = (
    "chunk name precision calibrate target gpu batch link weights budget sample-rate hop-length n-fft f-min f-max "
    "padding mel bandwidth-id output no-libc sources-only report json wheel colour check sha256"
)


_GOOD = (
    *(
        "--chunk=5",
        "--chunk=1,5",
        "--precision=w8",
        "--precision=f16",
        "--target=portable",
        "--weights=blob",
        "--weights=c",
    ),
    *(
        "--budget=flash=4M",
        "--budget=ram=1M,stack=64K",
        "--f-min=0.5",
        "--f-max=4e3",
        "--no-libc",
        "--json",
        "--name=a_b",
    ),
    *("--sample-rate=16000", "--target=x86-64", "--link=none", "--n-fft=20", "--hop-length=2"),
)


def options(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Random options, most of them wrong: a report or one line, and nothing is written."""
    rng = _random("options", seed, case)
    checkpoint = folder / "model.ckpt"
    make_checkpoint.write_checkpoint(checkpoint, TINY)
    counts = {"command_lines": 0, "accepted": 0}
    os.chdir(folder)
    for _ in range(60):
        words: list[str] = [str(checkpoint), "--report"]
        words += rng.sample(_GOOD, rng.randrange(4))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
            option = rng.choice(_OPTIONS.split())
            words.append(f"--{option}={rng.choice(_WORDS)}" if rng.random() < 0.8 else f"--{option}")
        if rng.random() < 0.1:
            words[0] = rng.choice([*_WORDS, str(folder), "/dev/null", "/proc/self/mem"])
        code, _, errors = command(*words)
        lines = [line for line in errors.splitlines() if not line.startswith(("usage:", " "))]
        assert code in (0, 1, 2), f"{words}: exit code {code}"
        assert (code == 0) == (not errors) and len(lines) == (code != 0), f"{words}: {errors}"
        assert "Traceback" not in errors and not re.search("[\x00-\x09\x0b-\x1f]", errors), f"{words}: {errors!r}"
        assert [path.name for path in folder.iterdir()] == ["model.ckpt"], words
        counts["command_lines"] += 1
        counts["accepted"] += code == 0
    return counts


# ---- names ----


def _names(rng: random.Random) -> Iterator[str]:
    """Words of the sources, of C and of the system's headers, and what begins and ends like them."""
    words: set[str] = set()
    for pattern in ("runtime/**/*.[ch]", "templates/**/*.[ch]"):
        for path in ROOT.glob(pattern):
            words.update(re.findall(r"[A-Za-z_]\w*", path.read_text()))
    words.update(path.stem for path in Path("/usr/include").glob("*.h"))
    chosen = sorted(words)
    while True:
        word = rng.choice(chosen)
        cut = word.rfind("_")
        yield rng.choice([word, word[:cut] if cut > 0 else word, word.lower(), word.upper()])


def names(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Names that mean something elsewhere: what is legal builds, what is not is refused."""
    rng = _random("names", seed, case)
    checkpoint = folder / "model.ckpt"
    make_checkpoint.write_checkpoint(checkpoint, TINY)
    os.environ["CFLAGS"] = "-O0"
    counts = {"names": 0, "built": 0}
    for name in _names(rng):
        counts["names"] += 1
        try:
            naming.check_name(name)
        except CompileError as error:
            assert "\n" not in str(error)
            continue
        if counts["built"] == 2:
            break
        compile_here(checkpoint, folder / "out", "--name", name, "--target", "portable", "--chunk", "1")
        verified(folder / "out", name)
        shutil.rmtree(folder / "out")
        counts["built"] += 1
    return counts


# ---- files ----


def checkpoints(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Mutated checkpoints: a model or one line, in seconds and in bounded memory."""
    runs = 400
    words = ["--runs", str(runs), "--seed", str(seed * 1_000_003 + case), str(CORPUS / "checkpoint")]
    printed = _checked([sys.executable, "-m", "tests.fuzz.checkpoint", *words], folder)
    kept, models = map(int, re.findall(r"(\d+) (?:kept|models)", printed))
    return {"files": runs + kept, "models_among_them": models}


def programs(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """The fuzzers of the API, of mels, WAVs and weights files, with the sanitizers."""
    fuzzer = list(FUZZERS)[case % len(FUZZERS)]
    runs = {"api": 4000, "weights": 8000}.get(fuzzer, 30000)
    program = build_fuzzer(fuzzer, compile_tiny(fuzzer, "--target", "portable"), folder / "build")
    shutil.copytree(CORPUS / fuzzer, folder / "corpus")
    limits = ["-max_len=4096", "-timeout=300", "-rss_limit_mb=1500", "-close_fd_mask=3"]
    options = [f"-runs={runs}", f"-seed={seed * 100_003 + case + 1}", *limits]
    printed = _checked([str(program), *options, str(folder / "corpus")], folder)
    (done,) = re.findall(r"^Done (\d+) runs", printed, re.MULTILINE)
    return {f"inputs_of_{fuzzer}": int(done)}


def _checked(words: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr
