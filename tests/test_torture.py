"""The short cousin of `make torture`: a case or two of each campaign that is quick, and the driver itself."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.objects import every
from tests.torture import __main__ as driver
from tests.torture.compiles import DIMENSIONS
from tests.torture.cover import cover, pairs

QUICK = every([*driver.CAMPAIGNS], ["options", "power"])


@pytest.mark.parametrize("name", QUICK)
def test_a_case_finds_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "work").mkdir()
    tried, trouble = driver._apart(driver.CAMPAIGNS[name], 0, 20261128, tmp_path)
    assert not trouble, trouble
    assert tried


def test_a_cover_has_every_pair() -> None:
    rows = cover(DIMENSIONS, seed=5)
    met = set().union(*map(pairs, rows))
    for a, b in itertools.combinations(sorted(DIMENSIONS), 2):
        for x, y in itertools.product(DIMENSIONS[a], DIMENSIONS[b]):
            assert ((a, x), (b, y)) in met
    assert len(rows) < 4 * 14 * 5


def test_runs_add_up_and_end_at_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fine(case: int, seed: int, folder: Path) -> dict[str, Any]:
        (folder / "file").write_text("leftover")
        return {"tried": 2, "least_db": {"f32": 100 - case}, "bits": {"a": "same"}}

    def broken(case: int, seed: int, folder: Path) -> dict[str, Any]:
        if case == 3:
            raise RuntimeError("the third case")
        return {}

    def other_bits(case: int, seed: int, folder: Path) -> dict[str, Any]:
        return {"bits": {"a": str(case)}}

    def run(campaign: Callable[..., dict[str, Any]], seconds: float) -> int:
        monkeypatch.setattr(driver, "CAMPAIGNS", {"one": campaign})
        return driver._torture(tmp_path, driver._read(tmp_path, 7), ["one"], seconds)

    assert run(fine, 0.3) == 0
    first = json.loads((tmp_path / "state.json").read_text())["campaigns"]["one"]
    assert run(fine, 0.3) == 0
    second = json.loads((tmp_path / "state.json").read_text())["campaigns"]["one"]
    assert second["cases"] > first["cases"] > 0
    assert second["tried"]["tried"] == 2 * second["cases"]
    assert second["tried"]["least_db"]["f32"] == 101 - second["cases"]
    assert not list(tmp_path.glob("work/*"))
    (tmp_path / "state.json").unlink()
    assert run(broken, 60) == 1
    state = driver._read(tmp_path, 0)
    assert state["findings"] == [{"campaign": "one", "case": 3, "what": "RuntimeError: the third case"}]
    assert state["campaigns"]["one"]["cases"] == 4, "the next run goes on behind it"
    (tmp_path / "state.json").unlink()
    assert run(other_bits, 60) == 1, "the same model has other bits"
