"""Draws what look-ahead buys: sound against latency, of models that were trained alike but for it.

`python -m bench.lookahead OUT.json CHART.png QUALITY.json...`, the last what `make quality` writes of each model.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

mpl.use("Agg")

MEASURES = {"pesq_wb": "PESQ, wide band", "stoi": "STOI", "mel_distance": "mel distance (less is better)"}
RANGES = {"pesq_wb": 0.5, "stoi": 0.05, "mel_distance": 0.25}
"""How far an axis goes to either side of its middle: so far that what is noise between checkpoints looks like it."""
PRECISION = "f32"


def points(judged: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Latency in ms and the mean measures of each model, in float32, by latency."""
    rows = [
        {"latency_ms": one["latency_ms"], **{key: one["mean"][PRECISION][key] for key in MEASURES}} for one in judged
    ]
    return sorted(rows, key=lambda row: row["latency_ms"])


def draw(rows: Sequence[dict[str, float]], path: Path) -> None:
    """A panel for each measure."""
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(10, 3), layout="constrained")
    for panel, (key, label) in zip(axes, MEASURES.items(), strict=True):
        panel.plot([row["latency_ms"] for row in rows], [row[key] for row in rows], "o-", color="#0b5d8a")
        middle = (min(row[key] for row in rows) + max(row[key] for row in rows)) / 2
        panel.set_ylim(middle - RANGES[key], middle + RANGES[key])
        panel.set_title(label, loc="left", fontsize=10)
        panel.set_xlabel("look-ahead and overlap, ms")
        panel.grid(alpha=0.3)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    table, picture, *files = map(Path, arguments)
    rows = points([json.loads(file.read_text()) for file in files])
    table.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    draw(rows, picture)


if __name__ == "__main__":
    main(sys.argv[1:])
