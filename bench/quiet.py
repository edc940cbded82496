"""Inputs with little or nothing in them, denormal numbers among them: they may take no longer than speech."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import CompiledPeer

SPEECH = "speech"

FLOOR = np.float32(np.log(1e-5))
"""Log-mel of digital silence: the analysis goes no lower."""

DECAY = np.log(1000) / 50
"""What a tail loses a frame: 60 dB a second at 50 frames a second."""


def quiet_mels(speech: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
    """By name, the quiet inputs, as long as `speech` (frames x mels), and that itself."""
    lost = np.float32(DECAY) * np.arange(len(speech), dtype=np.float32)[:, None]
    return {
        SPEECH: speech,
        "silence": np.full_like(speech, FLOOR),
        "decaying tail": np.maximum(speech - lost, FLOOR),
        "mel of 1e-38": np.full_like(speech, 1e-38),  # a denormal number
    }


QUIET = tuple(name for name in quiet_mels(np.zeros((1, 1), np.float32)) if name != SPEECH)


def quiet_name(peer: str, mel: str) -> str:
    """The name of a peer that decodes that input."""
    return f"{peer}: {mel}"


def on_speech(name: str) -> str:
    """The name of the peer that decodes speech, for that of one that decodes a quiet input."""
    return quiet_name(name.rpartition(": ")[0], SPEECH)


def quiet_peers(own: Sequence[CompiledPeer], speech: NDArray[np.float32], work: Path) -> list[CompiledPeer]:
    """Each of our own peers once an input; the inputs are written to `work`."""
    paths = {}
    for name, mel in quiet_mels(speech).items():
        paths[name] = work / f"mel-{name.replace(' ', '-')}.npy"
        np.save(paths[name], np.ascontiguousarray(mel))
    return [replace(peer, name=quiet_name(peer.name, name), mel=path) for peer in own for name, path in paths.items()]
