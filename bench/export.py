"""Unpacks a checkpoint for peers: `python -m bench.export CHECKPOINT OUT.npz`, run by the compiler's Python.

So the bench has no reader of its own, and the Python that has torch needs none of the compiler's packages. OUT holds
the decoder's tensors under their names, and `hop_length` (samples), `sample_rate` (Hz) and `lookahead_frames`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.checkpoint import read_checkpoint
from compiler.errors import CompileError

DEFAULT_HOP_LENGTH = 320
DEFAULT_SAMPLE_RATE = 16000


def hop_length_of(hyper_parameters: Mapping[str, Any]) -> int:
    """The hop in samples that a checkpoint's hyper-parameters give, or the published model's where they are silent."""
    for group in ("istft_head_args", "vocoder_feature_args"):
        values = hyper_parameters.get(group)
        if isinstance(values, Mapping) and "hop_length" in values:
            return int(values["hop_length"])
    return DEFAULT_HOP_LENGTH


def main() -> None:
    """Read, write."""
    path, out = sys.argv[1:]
    try:
        checkpoint = read_checkpoint(Path(path))
    except CompileError as error:
        sys.exit(str(error))
    hyper_parameters = checkpoint.hyper_parameters or {}
    sizes = {
        "hop_length": np.array(hop_length_of(hyper_parameters)),
        "lookahead_frames": np.array(int((hyper_parameters.get("vocoder_args") or {}).get("lookahead_frames") or 0)),
        "sample_rate": np.array(int(hyper_parameters.get("sample_rate") or DEFAULT_SAMPLE_RATE)),
    }
    np.savez(out, allow_pickle=False, **checkpoint.tensors, **sizes)


if __name__ == "__main__":
    main()
