"""Draws time per chunk against chunk size from the bench's JSON: `python -m bench.chart BENCH.json CHART.png`."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

mpl.use("Agg")

OTHER_STYLES = {
    "pytorch": ("#8a8f98", "o"),
    "onnxruntime": ("#c9822b", "s"),
    "onnxruntime int8": ("#dfb36f", "s"),
    "openvino": ("#7c6bb0", "D"),
}
OWN_STYLES = {"f32": ("#0b5d8a", "o"), "f16": ("#1d8a7a", "o"), "w8": ("#b3312c", "o"), "w8a8": ("#d9658b", "o")}
OTHER_NAMES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "onnxruntime int8": "ONNX Runtime int8"}
INK = "#333333"


@dataclass(frozen=True)
class Curve:
    """A line of the chart: frames per chunk, ascending, and the milliseconds that a chunk takes."""

    frames: Sequence[int]
    ms: Sequence[float]


def curve(rows: Sequence[Mapping[str, Any]], peer: str, whole: int) -> Curve:
    """A peer's median time per chunk.

    The whole utterance is one chunk of `whole` frames, however many calls the peer makes of it.
    """
    points = []
    for row in rows:
        median = row["peers"].get(peer, {}).get("median")
        if median and row["chunk"] == "whole":
            points.append((whole, median["p50_total_ms"]))
        elif median:
            points.append((int(row["chunk"]), median["p50_per_chunk_ms"]))
    points.sort()
    return Curve([frames for frames, _ in points], [ms for _, ms in points])


def limit_curve(rows: Sequence[Mapping[str, Any]], peer: str, frames: Sequence[int]) -> Curve:
    """A peer's limit over these chunk sizes; no points if none is known."""
    limit = next((row["peers"][peer]["limit"] for row in rows if row["peers"].get(peer, {}).get("limit")), None)
    if limit is None:
        return Curve([], [])
    return Curve(frames, [max(limit["bytes_ms"], limit["frame_ms"] * count) for count in frames])


def draw(data: Mapping[str, Any], path: Path) -> None:
    """One panel per thread count; the chart goes to `path`."""
    rows = data["rows"]
    threads = sorted({row["threads"] for row in rows})
    whole = data["settings"]["frames"]
    peers = list(dict.fromkeys(peer for row in rows for peer in row["peers"]))
    plt.rcParams.update({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": "#999999"})
    figure, panels = plt.subplots(1, len(threads), figsize=(9, 4.6), sharey=True, squeeze=False, layout="constrained")
    for panel, count in zip(panels[0], threads, strict=True):
        count_rows = [row for row in rows if row["threads"] == count]
        sizes = [whole if row["chunk"] == "whole" else int(row["chunk"]) for row in count_rows]
        for peer in peers:
            own = peer.rpartition(" ")[2] if peer not in OTHER_STYLES else None
            color, marker = OTHER_STYLES[peer] if own is None else OWN_STYLES.get(own, ("#000000", "o"))
            name = peer if own else OTHER_NAMES.get(peer, "OpenVINO")
            line = curve(count_rows, peer, whole)
            style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.5, "markeredgecolor": "white"}
            panel.plot(line.frames, line.ms, label=name, linewidth=2.2 if own else 1.3, zorder=3 + bool(own), **style)
            limit = limit_curve(count_rows, peer, range(min(sizes), max(sizes) + 1))
            if own and limit.frames:
                dots: dict[str, Any] = {"linestyle": (0, (1.5, 1.5)), "linewidth": 1.2, "zorder": 2}
                panel.plot(limit.frames, limit.ms, color=color, label=f"limit, {own}", **dots)
        _decorate(panel, sizes, whole)
        panel.set_title(f"{count} thread{'s' * (count > 1)}", fontsize=10.5, color=INK)
    panels[0][0].set_ylabel("milliseconds per chunk")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    date = f", {data['date']}" if data.get("date") else ""
    figure.suptitle(f"Time per chunk, {data['machine']['cpu']}{date}", fontsize=11, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of the library in the file, the same data gives the same bytes.
    figure.savefig(path, dpi=200, metadata={"Software": None})
    plt.close(figure)


def _decorate(panel: Any, sizes: Sequence[int], whole: int) -> None:
    panel.set(xscale="log", yscale="log", xlabel="frames per chunk")
    panel.set_xticks(sizes, [f"whole ({size})" if size == whole else str(size) for size in sizes])
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.grid(color="#e4e4e4", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Read, draw."""
    source, out = sys.argv[1:]
    draw(json.loads(Path(source).read_text()), Path(out))


if __name__ == "__main__":
    main()
