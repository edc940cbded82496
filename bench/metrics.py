"""What a run is, what is measured of it, and how runs and rounds become one number. Needs numpy, not torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Summary = dict[str, float]
"""Metrics of some runs: the keys of METRICS, in milliseconds (avg_rtf: none). JSON-ready."""

METRICS = (
    "avg_proc_per_chunk_ms",
    "avg_first_chunk_proc_ms",
    "avg_latency_ms",
    "first_chunk_latency_ms",
    "avg_total_processing_time_ms",
    "avg_rtf",
    "p50_total_ms",
    "p90_total_ms",
    "p99_total_ms",
    "p50_per_chunk_ms",
    "p99_per_chunk_ms",
    "max_per_chunk_ms",
)
"""The reference's metrics under its names, and three more on single chunks."""

WORST = "max_per_chunk_ms"


@dataclass(frozen=True)
class RunTimes:
    """One run: an utterance decoded chunk by chunk from reset. Seconds."""

    total: float
    chunks: tuple[float, ...]


def summarise(runs: Sequence[RunTimes], buffer_ms: float, audio_s: float) -> Summary:
    """Metrics of at least one run.

    `buffer_ms` is how long one waits for a chunk's frames to arrive, `audio_s` the length of what a run decodes.
    """
    totals = 1e3 * np.array([run.total for run in runs])
    every_chunk = 1e3 * np.concatenate([run.chunks for run in runs])
    per_chunk = 1e3 * float(np.mean([np.mean(run.chunks) for run in runs]))
    first_chunk = 1e3 * float(np.mean([run.chunks[0] for run in runs]))
    return {
        "avg_proc_per_chunk_ms": per_chunk,
        "avg_first_chunk_proc_ms": first_chunk,
        "avg_latency_ms": buffer_ms + per_chunk,
        "first_chunk_latency_ms": buffer_ms + first_chunk,
        "avg_total_processing_time_ms": float(totals.mean()),
        "avg_rtf": float(totals.mean()) / 1e3 / audio_s,
        "p50_total_ms": float(np.percentile(totals, 50)),
        "p90_total_ms": float(np.percentile(totals, 90)),
        "p99_total_ms": float(np.percentile(totals, 99)),
        "p50_per_chunk_ms": float(np.percentile(every_chunk, 50)),
        "p99_per_chunk_ms": float(np.percentile(every_chunk, 99)),
        "max_per_chunk_ms": float(every_chunk.max()),
    }


def summary_from(data: Mapping[str, Any]) -> Summary:
    """The metrics in a peer's JSON object. Raises KeyError naming what is missing, ValueError on what is no time."""
    summary: Summary = {}
    for key in METRICS:
        value = float(data[key])
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{key} is {data[key]}")
        summary[key] = value
    return summary


def combine(rounds: Sequence[Summary]) -> Summary:
    """One summary of at least one round: each metric's median over the rounds, and the worst chunk of all."""
    combined = {key: float(np.median([summary[key] for summary in rounds])) for key in METRICS}
    combined[WORST] = max(summary[WORST] for summary in rounds)
    return combined


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the reference: the median over the rounds, and the extremes."""

    median: float
    low: float
    high: float


def ratio(reference: Sequence[Summary], peer: Sequence[Summary]) -> Ratio:
    """The reference's median run over the peer's, round by round, so that drift of the machine cancels."""
    each = [a["p50_total_ms"] / b["p50_total_ms"] for a, b in zip(reference, peer, strict=True)]
    return Ratio(float(np.median(each)), min(each), max(each))


def share(total: int, rounds: int) -> list[int]:
    """`total` runs split over `rounds` as evenly as it goes; the sum is `total`."""
    return [total // rounds + (i < total % rounds) for i in range(rounds)]


def snr_db(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Signal to noise of `other` in dB, noise being its difference from `reference` (same length); inf if none."""
    signal = reference.astype(np.float64)
    noise = float(np.sum((signal - other.astype(np.float64)) ** 2))
    power = float(np.sum(signal**2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power > 0 and math.isfinite(noise) else -math.inf
