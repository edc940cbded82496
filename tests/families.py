"""The published families of Vocos that compile, by their sizes: what README.md's table of them is checked against.

.venv/bin/python -m tests.families        prints its rows, from the compiler's report on random weights
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from compiler.checkpoint import CODEBOOKS, VOCOS, Checkpoint
from compiler.compile import compile_network
from compiler.emit import Options
from compiler.fold import fold
from compiler.network import read_network
from tests import make_vocos
from tests.objects import compile_model, run_ok

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


def chunk_ms(name: str, precision: str, folder: Path) -> float:
    """The median time of a chunk of 5 frames, of an object for this machine that is built in a folder."""
    sizes = {**COMMON, **FAMILIES[name]}
    model = folder / "".join(filter(str.isalnum, name))
    if not model.exists():
        books = {CODEBOOKS: np.zeros((16 * 1024, sizes["n_mels"]), np.float32)} if sizes["bandwidths"] else {}
        make_vocos.write_folder(model, sizes, more=books)
    output = model.with_name(f"{model.name}-{precision}")
    bandwidth = ("--bandwidth-id", 2) if sizes["bandwidths"] else ()
    compile_model(model, output, "family", "--chunk", 5, "--precision", precision, *bandwidth)
    options = ("--chunk", "5", "--warmup", "2", "--runs", "12", "--frames", "160", "--json")
    return float(json.loads(run_ok([output / "family", "bench", *options]))["p50_per_chunk_ms"])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--build", type=Path, metavar="DIR", help="build all of them there (2 GB) and time a chunk of 5"
    )
    arguments = parser.parse_args()
    for name in FAMILIES:
        reports = [report(name, precision) for precision in ("f32", "w8")]
        row = [str(reports[0]["latency_lookahead_frames"]), f"{reports[0]['latency_ms']:.0f} ms"]
        row.append(f"{' / '.join(map(megabytes, reports))} MiB")
        if arguments.build:
            arguments.build.mkdir(parents=True, exist_ok=True)
            times = [chunk_ms(name, precision, arguments.build) for precision in ("f32", "w8")]
            row.append(f"{' / '.join(f'{ms:.3g}' for ms in times)} ms")
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
