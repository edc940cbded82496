"""How fast the compiled object has to be, and whether it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.metrics import ratio
from bench.peers import Row
from bench.report import RowResult, aligned

ONE_THREAD = "itself on 1 thread"


@dataclass(frozen=True)
class Bar:
    """A peer's speed on a row has to be `factor` times that of another.

    Other peers are taken at the better of their thread counts, up to the row's.
    """

    peer: str
    row: Row
    against: str
    factor: float


def _bars(peer: str, row: Row, **factors: float) -> list[Bar]:
    return [Bar(peer, row, ONE_THREAD if name == "itself" else name, factor) for name, factor in factors.items()]


BARS: Sequence[Bar] = (
    *_bars("vocosc f32", Row(1, 1), pytorch=4),
    *_bars("vocosc f32", Row(5, 1), pytorch=5),
    *_bars("vocosc f32", Row(5, 1), pytorch=7, onnxruntime=2),
    *_bars("vocosc f32", Row(5, 2), pytorch=9.5, onnxruntime=1.7),
    *_bars("vocosc f32", Row(None, 1), pytorch=0.9),
    *_bars("vocosc f32", Row(None, 1), pytorch=1.1),
    *_bars("vocosc f32", Row(None, 2), itself=1.85),
    *_bars("vocosc f16", Row(5, 1), pytorch=8),
    *_bars("vocosc f16", Row(5, 2), pytorch=14),
    *_bars("vocosc w8", Row(1, 1), pytorch=20, onnxruntime=7),
    *_bars("vocosc w8", Row(1, 2), pytorch=36),
    *_bars("vocosc w8", Row(5, 1), pytorch=12, onnxruntime=3.4),
    *_bars("vocosc w8", Row(5, 2), pytorch=21, onnxruntime=4),
    *_bars("vocosc w8", Row(None, 1), pytorch=1.6),
    *_bars("vocosc w8", Row(None, 2), itself=1.85),
)


@dataclass(frozen=True)
class Verdict:
    """A bar and what was measured; none where one of the two failed."""

    bar: Bar
    measured: float | None

    @property
    def passed(self) -> bool:
        """Whether the bar was reached."""
        return self.measured is not None and self.measured >= self.bar.factor


def _median_ms(result: RowResult, peer: str) -> float:
    return float(np.median([summary["p50_total_ms"] for summary in result.rounds[peer]]))


def judge(results: Sequence[RowResult], bars: Iterable[Bar] = BARS) -> list[Verdict]:
    """The verdicts on all bars whose row and peers were in the bench."""
    verdicts = []
    for bar in bars:
        own = next((r for r in results if r.row == bar.row and bar.peer in r.rounds), None)
        against = bar.peer if bar.against == ONE_THREAD else bar.against
        most_threads = 1 if bar.against == ONE_THREAD else bar.row.threads
        others = [
            r for r in results if r.row.chunk == bar.row.chunk and r.row.threads <= most_threads and against in r.rounds
        ]
        if own is None or not others:
            continue
        others = [r for r in others if r.rounds[against]]
        if not own.rounds[bar.peer] or not others:
            verdicts.append(Verdict(bar, None))
            continue
        best = min(others, key=lambda r: _median_ms(r, against))
        if best is own:
            # Round by round, where the rounds are the same.
            measured = ratio(best.rounds[against], own.rounds[bar.peer]).median
        else:
            measured = _median_ms(best, against) / _median_ms(own, bar.peer)
        verdicts.append(Verdict(bar, measured))
    return verdicts


def bars_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as aligned text."""
    lines = [["peer", "chunk", "threads", "times the speed of", "bar", "measured", ""]]
    for verdict in verdicts:
        bar = verdict.bar
        measured = "failed" if verdict.measured is None else f"{verdict.measured:.2f}"
        row = [bar.peer, bar.row.label, str(bar.row.threads), bar.against, f"{bar.factor:g}", measured]
        lines.append([*row, "pass" if verdict.passed else "miss"])
    return aligned(lines)
