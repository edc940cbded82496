"""Short runs of the fuzzers: from a fixed seed, a fixed number of inputs, over the inputs kept from long runs."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.fuzz.harness import CORPUS, FUZZERS, build_fuzzer, compile_tiny
from tests.objects import ROOT, every, run_ok

RUNS = {"api": 1500, "ahead": 1500, "mel": 10000, "wav": 10000, "weights": 5000}
CHECKPOINT_RUNS = every(3000, 1500)

needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="no clang here: .ci/setup test")


@needs_clang
@pytest.mark.parametrize("fuzzer", every(list(FUZZERS), ["api", "ahead"]))
def test_a_short_run_finds_nothing(tmp_path: Path, fuzzer: str) -> None:
    # So few runs take less time than the optimiser would.
    model = compile_tiny(fuzzer, "--target", "portable", optimise="-O0")
    program = build_fuzzer(fuzzer, model, tmp_path / "build")
    corpus = tmp_path / "corpus"  # new inputs are added to it
    shutil.copytree(CORPUS / fuzzer, corpus)
    options = [f"-runs={RUNS[fuzzer]}", "-seed=1", "-max_len=4096", "-timeout=60", "-rss_limit_mb=1500"]
    printed = run_ok(["sh", "-c", '"$0" "$@" 2>&1', program, "-close_fd_mask=3", *options, corpus], cwd=tmp_path)
    (runs,) = re.findall(r"^Done (\d+) runs", printed, re.MULTILINE)
    assert int(runs) >= RUNS[fuzzer]


def test_a_short_run_over_checkpoints_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.checkpoint", "--runs", CHECKPOINT_RUNS, CORPUS / "checkpoint"]
    printed = run_ok(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    kept, models = map(int, re.findall(r"(\d+) (?:kept|models)", printed))
    assert kept == len(list((CORPUS / "checkpoint").iterdir()))
    assert models > CHECKPOINT_RUNS // 100, "hardly any input got through the reader"
