"""--report tells before a build what it will take; --budget refuses what takes more, before or after it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import builds
from tests.objects import TINY, every, run_compiler

PORTABLE = ("--target", "portable", "--chunk", "1,3", "--name", "tiny")


@pytest.fixture
def checkpoint() -> Path:
    return builds.checkpoint(TINY)


@pytest.fixture
def built(checkpoint: Path) -> dict[str, Any]:
    """The report of the built object."""
    directory = builds.model(checkpoint, "tiny", *PORTABLE[:4], light=True)
    figures: dict[str, Any] = json.loads((directory / "tiny.json").read_text())
    return figures


def test_the_report_needs_no_build_and_writes_nothing(checkpoint: Path, built: dict[str, Any], tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}  # no compiler there
    done = run_compiler(checkpoint, "--report", "--json", *PORTABLE, env=environment)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["flash_bytes"] is None and figures["stack_bytes"] is None
    assert figures == {**built, "flash_bytes": None, "stack_bytes": None}
    for chunk in ("1", "3"):
        work = figures["chunks"][chunk]
        rate = TINY["sample_rate"] / TINY["hop_length"]
        assert work["macs_per_second"] == pytest.approx(figures["macs_per_frame"] * rate, abs=1)
        assert work["weight_bytes_per_second"] == pytest.approx(figures["weight_bytes"] * rate / int(chunk), abs=1)

    table = run_compiler(checkpoint, "--report", *PORTABLE, env=environment)
    assert table.returncode == 0
    assert all(line.startswith("vocosc: warning: plain C:") for line in table.stderr.splitlines())
    for word in ("flash", "weights", "state", "scratch", "stack", "MACs/s", "weights read"):
        assert word in table.stdout
    for figure in ("flash_bytes_estimate", "state_bytes", "stack_bytes_bound"):
        assert f" {figures[figure]} " in table.stdout
    assert f" {work['weight_bytes_per_second']} " in table.stdout
    assert not list(tmp_path.iterdir())


def test_a_budget_that_suffices(
    checkpoint: Path, built: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte."""
    monkeypatch.setenv("CFLAGS", "-O0")  # as `built` is, and sooner
    ram = sum(built[f"{part}_bytes"] for part in ("state", "mel_state", "scratch", "stack"))
    limits = {"flash": built["flash_bytes"], "ram": ram}
    limits |= {part: built[f"{part}_bytes"] for part in ("state", "scratch", "stack")}

    def compile_within(limits: dict[str, int]) -> Any:
        budget = ",".join(f"{name}={limit}" for name, limit in limits.items())
        return run_compiler(checkpoint, "-o", tmp_path / "out", *PORTABLE, "--budget", budget)

    done = compile_within(limits)
    assert done.returncode == 0, done.stderr
    before = (tmp_path / "out" / "tiny.json").read_bytes()
    for name in every(list(limits), ["flash", "stack"]):
        value = limits[name]
        done = compile_within({**limits, name: value - 1})
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("vocosc: error: --budget: it does not fit: "), done.stderr
        assert f"{name} takes" in lines[0] and lines[0].endswith(f"of {value - 1}")
        assert (f"{value} bytes" in lines[0]) or "at least" in lines[0]
        assert list(tmp_path.iterdir()) == [tmp_path / "out"]
        assert (tmp_path / "out" / "tiny.json").read_bytes() == before, "the older output was replaced"


@pytest.mark.parametrize("budget", ["ram=1K", "flash=0.5K", "state=10", "scratch=1K,stack=1M"])
def test_what_the_plan_can_tell_needs_no_build(checkpoint: Path, tmp_path: Path, budget: str) -> None:
    options = ("-o", tmp_path / "out", *PORTABLE, "--budget", budget)
    done = run_compiler(checkpoint, *options, env={"PATH": ""})
    assert done.returncode == 1
    assert done.stderr.startswith("vocosc: error: --budget: it does not fit: ")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
    assert run_compiler(checkpoint, "--report", *PORTABLE, "--budget", budget).returncode == 1


def test_of_the_stack_a_bound_counts_where_nothing_is_built(
    checkpoint: Path, built: dict[str, Any], tmp_path: Path
) -> None:
    bound = built["stack_bytes_bound"]
    assert bound > built["stack_bytes"]
    rest = sum(built[f"{part}_bytes"] for part in ("state", "mel_state", "scratch"))
    for limits in (f"stack={bound - 1}", f"ram={rest + bound - 1}"):
        for option in (["--report"], ["--sources-only", "-o", tmp_path / "out"]):
            done = run_compiler(checkpoint, *option, *PORTABLE, "--budget", limits)
            assert done.returncode == 1
            assert re.search(r"(stack|ram) takes at most \d+ bytes of \d+$", done.stderr), done.stderr
    assert (
        run_compiler(checkpoint, "--report", *PORTABLE, "--budget", f"stack={bound},ram={rest + bound}").returncode == 0
    )


def test_weights_of_their_own_are_not_the_objects_flash(checkpoint: Path, built: dict[str, Any]) -> None:
    budget = f"flash={built['weight_bytes'] // 2}"
    assert run_compiler(checkpoint, "--report", *PORTABLE, "--budget", budget).returncode == 1
    done = run_compiler(checkpoint, "--report", *PORTABLE, "--budget", budget, "--weights", "blob")
    assert done.returncode == 0 and "beside it" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget", "flash"], ["--budget flash:"]),
        (["--budget", "disk=4M"], ["disk=4M", "flash, ram"]),
        (["--budget", "ram=4T"], ["ram=4T"]),
        (["--budget", "ram=-1"], ["ram=-1"]),
        (["--budget", ""], ["--budget"]),
        (["--json"], ["--json", "--report"]),
        ([], ["-o DIR"]),
    ],
    ids=str,
)
def test_mistakes(checkpoint: Path, options: list[str], words: list[str]) -> None:
    done = run_compiler(checkpoint, *options)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("vocosc: error: ") and all(word in done.stderr for word in words), done.stderr
