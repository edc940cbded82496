"""Results as a table for people and as JSON for programs."""

import math
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.limits import Limits
from bench.metrics import Ratio, Summary, combine, ratio
from bench.peers import Row
from bench.quiet import on_speech

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
    "limit ms",
    "% of limit",
    "SNR dB",
    "SNR f32",
    "x chunk",
    "x total",
)


BATCH_HEADINGS = (
    *("streams", "chunk", "threads", "peer", "ms a call", "ms a stream", "limit ms", "% of limit"),
    *("GFLOP/s", "% of FMA peak"),
)

QUIET_HEADINGS = ("chunk", "threads", "peer", "proc/chunk", "p50 chunk", "max chunk", "time / speech")


@dataclass(frozen=True)
class RowLimit:
    """The least time that the machine allows, in milliseconds."""

    bytes_ms: float
    """For reading the weights once."""
    frame_ms: float
    """For the arithmetic of one frame."""
    call_ms: float
    """For one full call: the longer of its reading and its arithmetic."""
    run_ms: float
    run_fma_ms: float
    """For the arithmetic of a run alone, were it all in float."""
    peak_gflops: float


@dataclass
class RowResult:
    """What was measured for one row."""

    row: Row
    load_average: float
    rounds: dict[str, list[Summary]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    snr_db: dict[str, float] = field(default_factory=dict)
    """Distance of a peer's audio from the reference's."""
    snr_f32_db: dict[str, float] = field(default_factory=dict)
    """Distance of our further precisions from our float32."""
    limits: dict[str, RowLimit] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def reference(self, peer: str) -> list[Summary] | None:
        """The rounds that a peer's speed is told against, if they ran.

        Those of the first peer; for a quiet input those of the same peer on speech; for a batch none.
        """
        if self.row.quiet:
            return self.rounds.get(on_speech(peer))
        return next(iter(self.rounds.values()), None) if self.row.plain else None

    def speedup(self, peer: str) -> Ratio | None:
        """A peer's speed over the reference's; none for the reference itself, or where one of the two failed."""
        rounds, reference = self.rounds.get(peer), self.reference(peer)
        if not rounds or not reference or rounds is reference:
            return None
        return ratio(reference, rounds)

    def limit_share(self, peer: str) -> float | None:
        """The limit's time over the peer's median run: 1 is all that the machine allows; none where none is known."""
        rounds, limit = self.rounds.get(peer), self.limits.get(peer)
        return limit.run_ms / combine(rounds)["p50_total_ms"] if rounds and limit else None

    def fma_share(self, peer: str) -> float | None:
        """Multiply-adds a second over what the machine does at most in float, which products of integers may exceed."""
        rounds, limit = self.rounds.get(peer), self.limits.get(peer)
        return limit.run_fma_ms / combine(rounds)["p50_total_ms"] if rounds and limit else None

    def gflops(self, peer: str) -> float | None:
        """Multiply-adds a second, each two operations, in billions; none where no limit is known."""
        share = self.fma_share(peer)
        return None if share is None else share * self.limits[peer].peak_gflops

    def stream_ms(self, peer: str) -> float | None:
        """A peer's median time per chunk of one stream: of a call, over its streams."""
        rounds = self.rounds.get(peer)
        return combine(rounds)["p50_per_chunk_ms"] / self.row.streams if rounds else None


def peer_label(peer: str, facts: Mapping[str, Any]) -> str:
    """A peer's name, from what it says of itself: `pytorch 1.13 (Debian)`, for there may be two; others as they are."""
    if not peer.startswith("pytorch") or "version" not in facts:
        return peer
    number = ".".join(re.findall(r"\d+", str(facts["version"]))[:2])
    return f"pytorch {number}" + (f" ({facts['origin']})" if "origin" in facts else "")


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(share: float | None) -> str:
    return _optional(None if share is None else 100 * share, ".0f")


def _failed(start: Sequence[str], headings: Sequence[str]) -> list[str]:
    return [*start, "failed", *[""] * (len(headings) - len(start) - 1)]


def _lines(result: RowResult) -> list[list[str]]:
    lines = []
    for peer, rounds in result.rounds.items():
        start = [result.row.label, str(result.row.threads), peer_label(peer, result.facts.get(peer, {}))]
        if not rounds:
            lines.append(_failed(start, HEADINGS))
            continue
        median = combine(rounds)
        speedup, limit = result.speedup(peer), result.limits.get(peer)
        chunks, reference = "", result.reference(peer)
        if speedup is not None and result.row.chunk is not None and reference:
            # Chunks of the same size only: a whole utterance is one chunk for some peers and several for others.
            chunks = f"{combine(reference)['p50_per_chunk_ms'] / median['p50_per_chunk_ms']:.2f}"
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
                _optional(limit.call_ms if limit else None, ".3f"),
                _percent(result.limit_share(peer)),
                _optional(result.snr_db.get(peer), ".1f"),
                _optional(result.snr_f32_db.get(peer), ".1f"),
                chunks,
                _optional(speedup.median if speedup else None, ".2f"),
            ]
        )
    return lines


def _batch_lines(result: RowResult) -> list[list[str]]:
    lines, row = [], result.row
    for peer, rounds in result.rounds.items():
        start = [str(row.streams), row.chunk_text, str(row.threads), peer]
        if not rounds:
            lines.append(_failed(start, BATCH_HEADINGS))
            continue
        limit = result.limits.get(peer)
        lines.append(
            [
                *start,
                f"{combine(rounds)['p50_per_chunk_ms']:.3f}",
                _optional(result.stream_ms(peer), ".4f"),
                _optional(limit.call_ms / row.streams if limit else None, ".4f"),
                _percent(result.limit_share(peer)),
                _optional(result.gflops(peer), ".1f"),
                _percent(result.fma_share(peer)),
            ]
        )
    return lines


def _quiet_lines(result: RowResult) -> list[list[str]]:
    lines = []
    for peer, rounds in result.rounds.items():
        start = [result.row.chunk_text, str(result.row.threads), peer]
        if not rounds:
            lines.append(_failed(start, QUIET_HEADINGS))
            continue
        median, speedup = combine(rounds), result.speedup(peer)
        times = [f"{median[key]:.3f}" for key in ("avg_proc_per_chunk_ms", "p50_per_chunk_ms", "max_per_chunk_ms")]
        lines.append([*start, *times, _optional(1 / speedup.median if speedup else None, ".3f")])
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of equally many cells, the first the headings, as text in columns; an empty line stays empty."""
    widths = [max(map(len, column)) for column in zip(*filter(None, lines), strict=True)]
    rule = ["-" * width for width in widths]
    text = []
    for line in [lines[0], rule, *lines[1:]]:
        text.append("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=False)).rstrip())
    return "\n".join(text)


def _table(
    headings: Sequence[str], lines_of: Callable[[RowResult], list[list[str]]], results: Sequence[RowResult]
) -> str:
    """No text for no results."""
    if not results:
        return ""
    lines: list[list[str]] = [list(headings)]
    for result in results:
        lines += [*lines_of(result), []]
    errors = [f"{r.row.label} x {r.row.threads}, {peer}: {error}" for r in results for peer, error in r.errors.items()]
    return "\n".join([aligned(lines), *errors]).rstrip()


def tables(results: Sequence[RowResult]) -> str:
    """The results as aligned text; times in milliseconds. Batches and quiet inputs have tables of their own."""
    parts = [
        _table(HEADINGS, _lines, [result for result in results if result.row.plain]),
        _table(BATCH_HEADINGS, _batch_lines, [result for result in results if result.row.streams > 1]),
        _table(QUIET_HEADINGS, _quiet_lines, [result for result in results if result.row.quiet]),
    ]
    return "\n\n".join(filter(None, parts))


def _plain_number(value: float | None) -> float | None:
    """Six digits are more than any time has; JSON knows no infinity."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _summary_json(summary: Summary) -> dict[str, float | None]:
    return {key: _plain_number(value) for key, value in summary.items()}


def all_facts(results: Sequence[RowResult]) -> dict[str, dict[str, str]]:
    """What each peer said of itself; what differs between rows is listed, but for the row's own thread count."""
    facts: dict[str, dict[str, list[str]]] = {}
    for result in results:
        if result.row.quiet:
            continue  # the same peers once more
        for peer, values in result.facts.items():
            for key, value in values.items():
                seen = facts.setdefault(peer, {}).setdefault(key, [])
                if _plain(value) not in seen:
                    seen.append(_plain(value))
    return {
        peer: {key: " / ".join(values) for key, values in seen_facts.items() if key != "threads"}
        for peer, seen_facts in facts.items()
    }


def _row_json(result: RowResult) -> dict[str, Any]:
    peers: dict[str, Any] = {}
    for peer, rounds in result.rounds.items():
        speedup, limit = result.speedup(peer), result.limits.get(peer)
        peers[peer] = {
            "median": _summary_json(combine(rounds)) if rounds else None,
            "stream_ms": _plain_number(result.stream_ms(peer)),
            "rounds_p50_total_ms": [_plain_number(summary["p50_total_ms"]) for summary in rounds],
            "speedup": _plain_number(speedup.median) if speedup else None,
            "speedup_range": [_plain_number(speedup.low), _plain_number(speedup.high)] if speedup else None,
            "limit": {key: _plain_number(value) for key, value in asdict(limit).items()} if limit else None,
            "limit_share": _plain_number(result.limit_share(peer)),
            "gflops": _plain_number(result.gflops(peer)),
            "fma_share": _plain_number(result.fma_share(peer)),
            "snr_db": _plain_number(result.snr_db.get(peer)),
            "snr_f32_db": _plain_number(result.snr_f32_db.get(peer)),
            "error": result.errors.get(peer),
        }
    row = {"streams": result.row.streams, "chunk": result.row.chunk_text, "threads": result.row.threads}
    return {**row, "load_average": result.load_average, "peers": peers}


def as_json(results: Sequence[RowResult]) -> dict[str, Any]:
    """What was measured, as plain JSON types: medians, the median run of every round. An infinite SNR becomes null."""
    return {
        "peers": all_facts(results),
        "rows": [_row_json(result) for result in results if result.row.plain],
        "batch": [_row_json(result) for result in results if result.row.streams > 1],
        "quiet": [_row_json(result) for result in results if result.row.quiet],
    }


def machine_facts(cpuinfo: str) -> dict[str, Any]:
    """The machine, from the text of /proc/cpuinfo (may be empty) and the system."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    cpu = fields.get("model name") or platform.machine()
    if "cpu family" in fields and "model" in fields:
        # Machines in a cloud often have a name that many generations share.
        cpu = f"{cpu}, family {fields['cpu family']} model {fields['model']}"
    return {
        "cpu": cpu,
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


def heading(
    machine: Mapping[str, Any],
    limits: Sequence[Limits],
    results: Sequence[RowResult],
    missing: Mapping[str, str],
) -> str:
    """The machine, its limits, what each peer says of itself, and why others are not there."""
    entries = [("CPU", f"{machine['cpu']}, {machine['cpus']} CPUs ({' '.join(machine['cpu_flags'])})")]
    loads = " ".join(f"{result.load_average:.2f}" for result in results)
    entries.append(("load", f"{loads} (one-minute average, at the start of each row)"))
    for limit in limits:
        kinds = {"float": limit.fma_gflops, "int16": limit.int16_gops, "int8": limit.int8_gops}
        peaks = "; ".join(
            f"{kind} {', '.join(f'{isa} {value:.0f}' for isa, value in values.items())}"
            for kind, values in kinds.items()
            if values
        )
        reads = ", ".join(f"{value:.0f} from {size / 1e6:.1f} MB" for size, value in limit.read_gbytes.items())
        name = f"limits, {limit.threads} thread{'s' * (limit.threads > 1)}"
        entries.append((name, f"GFLOP/s of multiply-adds: {peaks}; GB/s of reading: {reads}"))
    for peer, facts in all_facts(results).items():
        entries.append((peer, "; ".join(f"{key} {value}" for key, value in facts.items())))
    entries += [(peer, f"not here: {why}") for peer, why in missing.items()]
    width = max(len(name) for name, _ in entries)
    return "\n".join(f"{name:{width}}  {text}" for name, text in entries)
