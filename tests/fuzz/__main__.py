"""Runs fuzzers for hours: python3 -m tests.fuzz [--seconds 3600] [--output build/fuzz] [FUZZER...]. Ends at a finding.

New inputs go to OUTPUT/corpus; those worth keeping are merged into tests/fuzz/corpus by hand: see README.md there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from tests import builds
from tests.fuzz.harness import CORPUS, FUZZERS, build_fuzzer, compile_tiny
from tests.objects import ROOT

RUNS_PER_SECOND = 200  # of the checkpoint reader, where atheris does not look at the clock


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=3600, help="for each fuzzer (default: 3600)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("fuzzers", nargs="*", help=f"some of {', '.join((*FUZZERS, 'checkpoint'))} (default: all)")
    arguments = parser.parse_args()
    output: Path = arguments.output.resolve()
    shutil.rmtree(output / "models", ignore_errors=True)
    builds.share(output / "models")
    commands: dict[str, list[str | Path]] = {}
    # Of an input's time, by the clock: a machine may rest, or be busy.
    limit = [f"-max_total_time={arguments.seconds}", "-timeout=300", "-print_final_stats=1"]
    for name in FUZZERS:
        program = build_fuzzer(name, compile_tiny(name), output / "build")
        commands[name] = [program, "-close_fd_mask=3", "-rss_limit_mb=1500", *limit, _corpus(name, output)]
    python: list[str | Path] = [sys.executable, "-m"]
    if importlib.util.find_spec("atheris"):
        options: list[str | Path] = ["-max_len=65536", *limit, _corpus("checkpoint", output)]
        commands["checkpoint"] = [*python, "tests.fuzz.checkpoint_atheris", *options]
    else:
        runs = str(RUNS_PER_SECOND * arguments.seconds)
        commands["checkpoint"] = [*python, "tests.fuzz.checkpoint", "--runs", runs, CORPUS / "checkpoint"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in arguments.fuzzers or commands:
        command = commands[name]
        print(f"fuzz: {name}", flush=True)
        before = _cpu_seconds()
        code = subprocess.run(command, cwd=output, env=environment, check=False).returncode
        print(f"fuzz: {name}: {_cpu_seconds() - before:.0f} s of CPU", flush=True)
        if code != 0:
            print(f"fuzz: {name} found something: see {output}", file=sys.stderr)
            return 1
    return 0


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _corpus(name: str, output: Path) -> Path:
    """A folder for new inputs, with those that are kept."""
    folder = output / "corpus" / name
    shutil.copytree(CORPUS / name, folder, dirs_exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
