"""How fast the compiled object has to be, and whether it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.metrics import ratio
from bench.peers import Row
from bench.quiet import QUIET, SPEECH, quiet_name
from bench.report import RowResult, aligned

PYTORCHS = ("pytorch", "pytorch pypi")
"""A bar against the first is one against the faster of these."""
ONE_THREAD = "itself on 1 thread"
FMA_PEAK = "the FMA peak"


@dataclass(frozen=True)
class Bar:
    """A peer's speed on a row has to be `factor` times that of another.

    Other peers are taken at the better of their thread counts, up to the row's, and PyTorch at the better of its
    builds. Instead of another peer it may be the peer itself on one thread, or all the multiply-adds that the machine
    does in float on the row's threads.
    """

    peer: str
    row: Row
    against: str
    factor: float


def _bars(peer: str, row: Row, **factors: float) -> list[Bar]:
    names = {"itself": ONE_THREAD, "fma_peak": FMA_PEAK}
    return [Bar(peer, row, names.get(name, name), factor) for name, factor in factors.items()]


def _quiet_bars(peer: str) -> list[Bar]:
    """At most 10 % more time than speech."""
    row = Row(5, 1, quiet=True)
    return [Bar(quiet_name(peer, mel), row, quiet_name(peer, SPEECH), 1 / 1.1) for mel in QUIET]


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
    *_bars("vocosc f32", Row(5, 1, streams=16), fma_peak=0.85),
    *_bars("vocosc f32", Row(5, 2, streams=16), itself=1.85),
    *_bars("vocosc w8", Row(5, 1, streams=16), fma_peak=1.4),
    *_bars("vocosc w8", Row(5, 2, streams=16), itself=1.85),
    *_quiet_bars("vocosc f32"),
    *_quiet_bars("vocosc f16"),
    *_quiet_bars("vocosc w8"),
    *(Bar("vocosc w8a8", row, "vocosc w8", 1.3) for row in (Row(5, 1), Row(None, 1), Row(5, 1, streams=16))),
    *_quiet_bars("vocosc w8a8"),
    Bar("vocosc w4", Row(1, 1), "vocosc w8", 1.5),
    *_quiet_bars("vocosc w4"),
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
        if own is not None and bar.against == FMA_PEAK:
            verdicts.append(Verdict(bar, own.fma_share(bar.peer)))
            continue
        against = bar.peer if bar.against == ONE_THREAD else bar.against
        most_threads = 1 if bar.against == ONE_THREAD else bar.row.threads
        others = [
            (r, name)
            for r in results
            if replace(r.row, threads=bar.row.threads) == bar.row and r.row.threads <= most_threads
            for name in (PYTORCHS if against == PYTORCHS[0] else (against,))
            if name in r.rounds
        ]
        if own is None or not others:
            continue
        others = [(r, name) for r, name in others if r.rounds[name]]
        if not own.rounds[bar.peer] or not others:
            verdicts.append(Verdict(bar, None))
            continue
        best, name = min(others, key=lambda other: _median_ms(*other))
        if best is own:
            # Round by round, where the rounds are the same.
            measured = ratio(best.rounds[name], own.rounds[bar.peer]).median
        else:
            measured = _median_ms(best, name) / _median_ms(own, bar.peer)
        verdicts.append(Verdict(bar, measured))
    return verdicts


def bars_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as aligned text."""
    lines = [["peer", "chunk", "threads", "times the speed of", "bar", "measured", ""]]
    for verdict in verdicts:
        bar = verdict.bar
        measured = "failed" if verdict.measured is None else f"{verdict.measured:.2f}"
        row = [bar.peer, bar.row.label, str(bar.row.threads), bar.against, f"{bar.factor:.3g}", measured]
        lines.append([*row, "pass" if verdict.passed else "miss"])
    return aligned(lines)
