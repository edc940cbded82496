"""Goes on with the adversarial review: make torture [SECONDS=3600]. Seeded, bounded, resumable; ends at a finding.

    python3 -m tests.torture [--seconds N] [--state DIR] [--seed N] [--results FILE] [CAMPAIGN...]
    python3 -m tests.torture --case N CAMPAIGN     that case alone, here, to look into a finding

Campaigns take turns, a case each; a case depends on the seed and its number alone. What has been done stays in the
state's folder, so that later runs go on from there and add to its figure.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import builds
from tests.objects import ROOT
from tests.torture import compiles, faults, hostile

Campaign = Callable[[int, int, Path], dict[str, Any]]  # case, seed, an empty folder -> what was tried, how often
CAMPAIGNS: dict[str, Campaign] = {
    "compiles": compiles.run,
    "endings": hostile.endings,
    "options": hostile.options,
    "names": hostile.names,
    "checkpoints": hostile.checkpoints,
    "programs": hostile.programs,
    "flips": faults.flips,
    "power": faults.power,
    "day": faults.day,
}
TURNS = {"compiles": 8}  # of a campaign, one after the other, where it is not one
LONGEST = 1800  # seconds of a case


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=3600, help="for all of it (default: 3600)")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "torture", help="where to go on from")
    parser.add_argument("--seed", type=int, default=1, help="of a new state (default: 1)")
    parser.add_argument("--case", type=int, help="one case of a campaign, in this process")
    parser.add_argument("--results", type=Path, help="write the figure of all states beside this one, as JSON")
    parser.add_argument("campaigns", nargs="*", choices=[*CAMPAIGNS, []], help="some of them (default: all)")
    arguments = parser.parse_args()
    folder: Path = arguments.state.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "builds", ignore_errors=True)  # of another day's sources
    builds.share(folder / "builds")
    state = _read(folder, arguments.seed)
    chosen = arguments.campaigns or list(CAMPAIGNS)
    if arguments.case is not None:
        with tempfile.TemporaryDirectory(dir=folder) as work:
            print(json.dumps(CAMPAIGNS[chosen[0]](arguments.case, state["seed"], Path(work)), indent=1))
        return 0
    found = _torture(folder, state, chosen, arguments.seconds)
    figure = combined([_read(path.parent, 0) for path in sorted(folder.parent.glob(f"{folder.name}*/state.json"))])
    if arguments.results:
        arguments.results.write_text(json.dumps(figure, indent=2) + "\n")
    print(to_text(figure))
    return found


def _torture(folder: Path, state: dict[str, Any], chosen: list[str], seconds: float) -> int:
    """Runs cases until the time is up; returns 1 if something was found."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the case under way ends, too
    end = time.monotonic() + seconds
    while True:
        for name in [each for each in chosen for _ in range(TURNS.get(each, 1))]:
            if time.monotonic() >= end:
                return 0
            campaign = state["campaigns"].setdefault(name, {"cases": 0, "seconds": 0.0, "tried": {}})
            case, start = campaign["cases"], time.monotonic()
            tried, trouble = _apart(CAMPAIGNS[name], case, state["seed"], folder)
            trouble = trouble or _add(campaign["tried"], tried)
            campaign["seconds"] = round(campaign["seconds"] + time.monotonic() - start, 1)
            campaign["cases"] += 1
            if trouble:
                state["findings"].append({"campaign": name, "case": case, "what": trouble.strip().splitlines()[-1]})
            _write(folder, state)
            if trouble:
                print(f"{trouble}\ntorture: {name}, case {case}: found something. Again, alone:", file=sys.stderr)
                print(f"  {sys.executable} -m tests.torture --state {folder} --case {case} {name}", file=sys.stderr)
                return 1


def _apart(campaign: Campaign, case: int, seed: int, folder: Path) -> tuple[dict[str, Any], str]:
    """A case in a process and a folder of its own: what it tried, and what it found."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    answer = work.with_name("answer.json")
    answer.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(LONGEST)
        try:
            text = json.dumps([campaign(case, seed, work), ""])
        except subprocess.TimeoutExpired as late:  # of a busy machine: neither a success nor a finding
            text = json.dumps([{"cut_off_by_the_clock": 1, "late": {str(late.cmd)[:60]: 1}}, ""])
        except BaseException:
            text = json.dumps([{}, traceback.format_exc()])
        answer.write_text(text)
        os._exit(0)
    try:
        _, status = os.waitpid(process, 0)
    except BaseException:
        os.killpg(process, signal.SIGKILL)
        raise
    shutil.rmtree(work, ignore_errors=True)
    if status != 0:
        return {}, f"the process ended with status {status:#x}"
    tried, trouble = json.loads(answer.read_text())
    return tried, trouble


def _add(total: dict[str, Any], more: dict[str, Any]) -> str:
    """Adds up counts; of `least_...` the least, of `most_...` the most remain; `bits` must agree."""
    for key, value in more.items():
        if key == "bits":
            for what, bits in value.items():
                if total.setdefault(key, {}).setdefault(what, bits) != bits:
                    return f"{what}: other bits, {bits}, than before, {total[key][what]}"
        elif isinstance(value, dict):
            choose = min if key.startswith("least") else max if key.startswith("most") else operator.add
            mine = total.setdefault(key, {})
            mine |= {name: choose(mine[name], number) if name in mine else number for name, number in value.items()}
        else:
            total[key] = total.get(key, 0) + value
    return ""


def _read(folder: Path, seed: int) -> dict[str, Any]:
    path = folder / "state.json"
    if path.exists():
        state: dict[str, Any] = json.loads(path.read_text())
        return state
    return {"seed": seed, "campaigns": {}, "findings": []}


def _write(folder: Path, state: dict[str, Any]) -> None:
    (folder / "state.new").write_text(json.dumps(state, indent=1))
    (folder / "state.new").replace(folder / "state.json")


def combined(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The figure of several runs, side by side or one after the other."""
    figure: dict[str, Any] = {"runs": len(states), "seconds": 0.0, "campaigns": {}, "findings": []}
    for state in states:
        figure["findings"] += state["findings"]
        for name, campaign in state["campaigns"].items():
            mine = figure["campaigns"].setdefault(name, {"cases": 0, "seconds": 0.0, "tried": {}})
            mine["cases"] += campaign["cases"]
            mine["seconds"] = round(mine["seconds"] + campaign["seconds"], 1)
            figure["seconds"] = round(figure["seconds"] + campaign["seconds"], 1)
            trouble = _add(mine["tried"], campaign["tried"])
            if trouble:
                figure["findings"].append({"campaign": name, "case": -1, "what": trouble})
    for campaign in figure["campaigns"].values():
        bits = campaign["tried"].pop("bits", None)
        if bits is not None:
            campaign["tried"]["models_and_formats_of_one_hash_each"] = len(bits)
    return figure


def to_text(figure: dict[str, Any]) -> str:
    """What was tried, and how often."""
    lines = [f"torture: {figure['seconds']:.0f} s in {figure['runs']} runs; {len(figure['findings'])} findings"]
    for name, campaign in figure["campaigns"].items():
        lines.append(f"  {name}: {campaign['cases']} cases, {campaign['seconds']:.0f} s")
        lines += [f"    {key}: {json.dumps(value)}" for key, value in campaign["tried"].items()]
    lines += [f"  found by {found['campaign']}, case {found['case']}: {found['what']}" for found in figure["findings"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
