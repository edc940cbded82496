"""Results as a table for people and as JSON for programs."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.metrics import Ratio, Summary, combine, ratio
from bench.peers import Row

BARS: Mapping[Row, float] = {Row(5, 1): 5.0, Row(1, 1): 4.0, Row(None, 1): 0.9}
"""How many times the reference's speed the compiled object must reach."""

BARRED_PEER = "vocosc"

_CPU_FLAGS = (
    *("avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_fp16", "amx_tile"),
    *("asimd", "asimddp"),
)

HEADINGS = (
    "chunk",
    "threads",
    "peer",
    "proc/chunk",
    "first chunk",
    "latency",
    "total",
    "RTF",
    "p99 chunk",
    "max chunk",
    "SNR dB",
    "x chunk",
    "x total",
    "bar",
)


@dataclass
class RowResult:
    """What was measured for one row. The first peer of `rounds` is the reference."""

    row: Row
    load_average: float
    rounds: dict[str, list[Summary]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    snr_db: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> list[Summary] | None:
        """The reference's rounds, if it ran."""
        return next(iter(self.rounds.values()), None)

    def speedup(self, peer: str) -> Ratio | None:
        """A peer's speed over the reference's; none for the reference itself, or where one of the two failed."""
        rounds, reference = self.rounds.get(peer), self.reference
        if not rounds or not reference or rounds is reference:
            return None
        return ratio(reference, rounds)

    def passed(self, peer: str) -> bool | None:
        """Whether a peer reached its bar; none where there is none."""
        if peer != BARRED_PEER or self.row not in BARS:
            return None
        speedup = self.speedup(peer)
        return speedup is not None and speedup.median >= BARS[self.row]


def _lines(result: RowResult) -> list[list[str]]:
    lines = []
    for peer, rounds in result.rounds.items():
        start = [result.row.label, str(result.row.threads), peer]
        if peer in result.errors or not rounds:
            lines.append([*start, "failed", *[""] * (len(HEADINGS) - len(start) - 1)])
            continue
        median = combine(rounds)
        snr, speedup, passed = result.snr_db.get(peer), result.speedup(peer), result.passed(peer)
        chunks = ""
        if speedup is not None and result.row.chunk is not None and result.reference:
            # Chunks of the same size only: a whole utterance is one chunk for some peers and several for others.
            chunks = f"{combine(result.reference)['p50_per_chunk_ms'] / median['p50_per_chunk_ms']:.2f}"
        lines.append(
            [
                *start,
                f"{median['avg_proc_per_chunk_ms']:.3f}",
                f"{median['avg_first_chunk_proc_ms']:.3f}",
                f"{median['avg_latency_ms']:.2f}",
                f"{median['p50_total_ms']:.2f}",
                f"{median['avg_rtf']:.4f}",
                f"{median['p99_per_chunk_ms']:.3f}",
                f"{median['max_per_chunk_ms']:.3f}",
                "" if snr is None else f"{snr:.1f}",
                chunks,
                "" if speedup is None else f"{speedup.median:.2f}",
                "" if passed is None else f">= {BARS[result.row]:g} {'pass' if passed else 'FAIL'}",
            ]
        )
    return lines


def table(results: Sequence[RowResult]) -> str:
    """The results as aligned text; times in milliseconds."""
    groups = [_lines(result) for result in results]
    columns = zip(HEADINGS, *(line for group in groups for line in group), strict=True)
    widths = [max(map(len, column)) for column in columns]

    def aligned(line: Sequence[str]) -> str:
        return "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    rule = "  ".join("-" * width for width in widths)
    text = [aligned(HEADINGS), rule]
    for group in groups:
        text += [*map(aligned, group), ""]
    text += [f"{r.row.label} x {r.row.threads}, {peer}: {error}" for r in results for peer, error in r.errors.items()]
    return "\n".join(text).rstrip()


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(machine: Mapping[str, Any], settings: Mapping[str, Any], results: Sequence[RowResult]) -> dict[str, Any]:
    """Everything measured, every round included, as plain JSON types. An infinite SNR becomes null."""
    rows = []
    for result in results:
        peers: dict[str, Any] = {}
        for peer, rounds in result.rounds.items():
            speedup = result.speedup(peer)
            peers[peer] = {
                "facts": result.facts.get(peer, {}),
                "median": combine(rounds) if rounds else None,
                "best_total_ms": min((r["p50_total_ms"] for r in rounds), default=None),
                "rounds": rounds,
                "speedup": None
                if speedup is None
                else {"median": speedup.median, "range": [speedup.low, speedup.high]},
                "bar": BARS.get(result.row) if peer == BARRED_PEER else None,
                "pass": result.passed(peer),
                "snr_db": _json_number(result.snr_db[peer]) if peer in result.snr_db else None,
                "error": result.errors.get(peer),
            }
        rows.append(
            {
                "chunk": result.row.label,
                "threads": result.row.threads,
                "load_average": result.load_average,
                "peers": peers,
            }
        )
    return {"machine": dict(machine), "settings": dict(settings), "rows": rows}


def machine_facts(cpuinfo: str) -> dict[str, Any]:
    """The machine, from the text of /proc/cpuinfo (may be empty) and the system."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "cpu": fields.get("model name") or platform.machine(),
        "cpus": os.cpu_count(),
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in flags],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def this_machine() -> dict[str, Any]:
    """The machine that this runs on."""
    path = Path("/proc/cpuinfo")
    return machine_facts(path.read_text() if path.exists() else "")


def _plain(value: Any) -> str:
    return ", ".join(Path(str(item)).name for item in value) if isinstance(value, list) else str(value)


def heading(machine: Mapping[str, Any], results: Sequence[RowResult]) -> str:
    """The machine and, per peer, what it says of itself."""
    lines = [f"CPU      {machine['cpu']}, {machine['cpus']} CPUs ({' '.join(machine['cpu_flags'])})"]
    loads = [f"{result.load_average:.2f}" for result in results]
    lines.append(f"load     {' '.join(loads)} (one-minute average, at the start of each row)")
    facts: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for peer, values in result.facts.items():
            for key, value in values.items():
                seen = facts.setdefault(peer, {}).setdefault(key, [])
                if _plain(value) not in seen:
                    seen.append(_plain(value))
    for peer, seen_facts in facts.items():
        described = "; ".join(f"{key} {' / '.join(values)}" for key, values in seen_facts.items() if key != "threads")
        lines.append(f"{peer:8} {described}")
    return "\n".join(lines)
