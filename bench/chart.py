"""Draws time per chunk against chunk size from the bench's JSON: our precisions beside other peers, and beside limits.

`python -m bench.chart BENCH.json OTHERS.png LIMITS.png`
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from bench.peers import INTEGER_ROWS
from bench.report import peer_label

mpl.use("Agg")

STYLES = {
    "pytorch": ("#8a8f98", "o"),
    "pytorch pypi": ("#5c6068", "^"),
    "onnxruntime": ("#c9822b", "s"),
    "onnxruntime int8": ("#dfb36f", "s"),
    "openvino": ("#7c6bb0", "D"),
    "vocosc f32": ("#0b5d8a", "o"),
    "vocosc f16": ("#1d8a7a", "o"),
    "vocosc w8": ("#b3312c", "o"),
    "vocosc w8a8": ("#d9658b", "o"),
    "vocosc w4": ("#7a1f5c", "o"),
}
OWN = "vocosc "
NAMES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
CROWDED = ("vocosc f16",)
"""Not drawn beside other peers: it would hide float32 from chunks of 5 on."""
INK = "#333333"
DOTS: Mapping[str, Any] = {"linestyle": (0, (1.5, 1.5)), "linewidth": 1.4}


@dataclass(frozen=True)
class Curve:
    """A line of the chart: frames per chunk, ascending, and the milliseconds that a chunk takes."""

    frames: Sequence[float]
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


def limit_curve(rows: Sequence[Mapping[str, Any]], peer: str, frames: Sequence[float]) -> Curve:
    """A peer's limit over these chunk sizes; no points if none is known."""
    limit = next((row["peers"][peer]["limit"] for row in rows if row["peers"].get(peer, {}).get("limit")), None)
    if limit is None:
        return Curve([], [])
    return Curve(frames, [max(limit["bytes_ms"], limit["frame_ms"] * count) for count in frames])


def legend_name(peer: str, facts: Mapping[str, Any]) -> str:
    """`PyTorch 1.13 (Debian)`, `ONNX Runtime int8`, `vocosc w8`."""
    first, space, rest = peer_label(peer, facts).partition(" ")
    return NAMES.get(first, first) + space + rest


def weights_text(data: Mapping[str, Any]) -> str:
    """`model of 13.5 M weights`, by float32's bytes, the largest buffer of the limits; nothing without float32."""
    sizes = [int(size) for limit in data.get("limits", []) for size in limit["read_gbytes"]]
    has_f32 = any("vocosc f32" in row["peers"] for row in data["rows"])
    return f"model of {max(sizes) / 4e6:.1f} M weights" if sizes and has_f32 else ""


def knows_limit(data: Mapping[str, Any], peer: str) -> bool:
    """Whether a peer's limit is worth drawing: older files have that of integers by the peak of floats."""
    integers = peer.removeprefix(OWN) in INTEGER_ROWS
    return peer.startswith(OWN) and (not integers or any(limit.get("int16_gops") for limit in data.get("limits", [])))


def draw_others(data: Mapping[str, Any], path: Path) -> None:
    """Our precisions beside the other peers."""
    peers = [peer for peer in _peers(data) if peer not in CROWDED]
    _draw(data, peers, [], "Time per chunk", path)


def draw_limits(data: Mapping[str, Any], path: Path) -> None:
    """Our precisions beside what the machine allows."""
    peers = [peer for peer in _peers(data) if peer.startswith(OWN)]
    _draw(data, peers, [peer for peer in peers if knows_limit(data, peer)], "Time per chunk and its limit", path)


def _peers(data: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(peer for row in data["rows"] for peer in row["peers"]))


def _draw(data: Mapping[str, Any], peers: Sequence[str], limited: Sequence[str], title: str, path: Path) -> None:
    """One panel per thread count: the peers' lines, and dotted the limits of some; to `path`."""
    rows = data["rows"]
    threads = sorted({row["threads"] for row in rows})
    whole = data["settings"]["frames"]
    plt.rcParams.update({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": "#999999"})
    figure, panels = plt.subplots(
        1, len(threads), figsize=(max(6.5, 4.5 * len(threads)), 4.6), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, count in zip(panels[0], threads, strict=True):
        count_rows = [row for row in rows if row["threads"] == count]
        sizes = [whole if row["chunk"] == "whole" else int(row["chunk"]) for row in count_rows]
        for peer in peers:
            color, marker = STYLES.get(peer, ("#000000", "o"))
            own = peer.startswith(OWN)
            line = curve(count_rows, peer, whole)
            style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.5, "markeredgecolor": "white"}
            name = legend_name(peer, data.get("peers", {}).get(peer, {}))
            panel.plot(line.frames, line.ms, label=name, linewidth=2.2 if own else 1.3, zorder=3 + own, **style)
            if peer in limited:
                limit = limit_curve(count_rows, peer, np.geomspace(min(sizes), max(sizes), 200).tolist())
                panel.plot(limit.frames, limit.ms, color=color, zorder=2, **DOTS)
        _decorate(panel, sizes, whole)
        panel.set_title(f"{count} thread{'s' * (count > 1)}", fontsize=10.5, color=INK)
    panels[0][0].set_ylabel("milliseconds per chunk")
    handles, labels = panels[0][0].get_legend_handles_labels()
    if limited:
        handles, labels = [*handles, Line2D([], [], color=INK, **DOTS)], [*labels, "limit of the machine"]
    figure.legend(handles, labels, loc="outside lower center", ncols=5 if len(threads) > 1 else 3, frameon=False)
    about = [weights_text(data), data["machine"]["cpu"], data.get("date")]
    figure.suptitle(f"{title}\n{', '.join(filter(None, about))}", fontsize=11, color=INK)
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
    source, others, limits = sys.argv[1:]
    data = json.loads(Path(source).read_text())
    draw_others(data, Path(others))
    draw_limits(data, Path(limits))


if __name__ == "__main__":
    main()
