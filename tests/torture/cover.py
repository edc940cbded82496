"""Which options and models to compile together: every pair of values meets in each cover, of few compiles."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

Row = dict[str, str]


def cover(dimensions: Mapping[str, Sequence[str]], seed: int) -> list[Row]:
    """Rows, a value of each dimension in each, such that every pair of values of two dimensions is in some row.

    Each row is the best of some random ones that start with a pair that is still missing.
    """
    rng = random.Random(seed)
    missing = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(sorted(dimensions), 2)
        for x in dimensions[a]
        for y in dimensions[b]
    }
    rows: list[Row] = []
    while missing:
        first = rng.choice(sorted(missing))
        candidates = [_row(dimensions, dict(first), rng) for _ in range(50)]
        best = max(candidates, key=lambda row: len(missing & pairs(row)))
        missing -= pairs(best)
        rows.append(best)
    return rows


def _row(dimensions: Mapping[str, Sequence[str]], fixed: Row, rng: random.Random) -> Row:
    return {name: fixed.get(name, rng.choice(list(values))) for name, values in sorted(dimensions.items())}


def pairs(row: Row) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """The pairs of values that meet in a row."""
    return set(itertools.combinations(sorted(row.items()), 2))
