"""The published families of Vocos that compile, by their sizes: what README.md's table of them is checked against.

.venv/bin/python -m tests.families        prints its rows, from the compiler's report on random weights
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compiler.checkpoint import CODEBOOKS, VOCOS, Checkpoint
from compiler.compile import compile_network
from compiler.emit import Options
from compiler.fold import fold
from compiler.network import read_network
from tests import make_vocos

COMMON = {"dim": 512, "hidden": 1536, "num_layers": 8, "mel": {}, "backbone": {}, "bandwidths": 0, "seed": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "vocos-mel-24khz": {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center"},
    "vocos-mel-22khz": {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "padding": "same"},
    "44.1 kHz": {"sample_rate": 44100, "n_fft": 2048, "hop_length": 512, "n_mels": 80, "padding": "same"},
    "32 kHz": {
        **{"sample_rate": 32000, "n_fft": 2048, "hop_length": 1024, "n_mels": 128, "padding": "center"},
        **{"dim": 768, "hidden": 2304, "num_layers": 12},
    },
    "vocos-encodec-24khz": {
        **{"sample_rate": 24000, "n_fft": 1280, "hop_length": 320, "n_mels": 128, "padding": "same"},
        **{"dim": 384, "hidden": 1152, "bandwidths": 4},
    },
    "thewh1teagle/vocos": {
        **{"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "same"},
        "backbone": {"causal": True, "lookahead_frames": 4},
    },
}


def report(name: str, precision: str = "f32") -> dict[str, Any]:
    """The compiler's report on a family: random weights, plain C, chunks of 5; of EnCodec's the middle bandwidth."""
    sizes = {**COMMON, **FAMILIES[name]}
    books = {CODEBOOKS: np.zeros((16, 1024, sizes["n_mels"]), np.float32)} if sizes["bandwidths"] else {}
    made = Checkpoint(Path(name), "0" * 64, make_vocos.tensors(sizes), make_vocos.config(sizes), VOCOS, books)
    network = fold(read_network(made, {"bandwidth_id": 2} if sizes["bandwidths"] else {}))
    return compile_network(network, "0" * 64, [5], Options(precision=precision, target="portable"), None)


def megabytes(figures: dict[str, Any]) -> str:
    """The flash that the report expects."""
    return f"{figures['flash_bytes_estimate'] / 2**20:.1f}"


def main() -> None:
    """Run the command."""
    for name in FAMILIES:
        reports = [report(name, precision) for precision in ("f32", "w8")]
        flash = ", ".join(map(megabytes, reports))
        print(f"{name}: {reports[0]['latency_ms']:.0f} ms, {flash} MiB, {reports[0]['latency_lookahead_frames']} ahead")


if __name__ == "__main__":
    main()
