"""Counts of instructions, call by call, of tests/c/test_time.c: see tests/c/count.h."""

import subprocess
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tests.objects import PROGRAMS, run_ok

# By instruction set and call; for each count an input that took so many.
Counts = dict[str, dict[int, str]]


def build_counter(build: Path) -> Path:
    """The plugin that counts, for any of QEMU's programs."""
    plugin = build / "qemu_count.so"
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run_ok(["cc", "-std=c11", *warnings, "-O2", "-shared", "-fPIC", "-o", plugin, PROGRAMS / "qemu_count.c"])
    return plugin


def counted(command: Sequence[object]) -> Counts:
    """Runs a test_time that prints its calls on standard output, and their counts on standard error."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(words)}\nexit code {done.returncode}\n{done.stdout[-500:]}{done.stderr}"
    return collect(done.stdout.splitlines(), map(int, done.stderr.split()))


def collect(lines: Iterable[str], values: Iterable[int]) -> Counts:
    """The counts of the calls that test_time printed."""
    counts: Counts = {}
    for line, value in zip(lines, values, strict=True):
        call, given = line.rsplit(": ", 1)
        counts.setdefault(call, {})[value] = given
    return counts


def check_equal(counts: Counts, targets: Collection[str]) -> None:
    """Every call of every target took one number of instructions, whatever it was given."""
    assert {call.split(":")[0] for call in counts} == set(targets)
    assert len(counts) == 10 * len(targets)
    for call, found in counts.items():
        assert len(found) == 1, f"{call}: {found}"
