"""Measures the built object against the checkpoint in float64, on real speech."""

from __future__ import annotations

import math
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .forward import decode
from .network import Network
from .speech import JUDGED as SPEECH


@dataclass(frozen=True)
class Accuracy:
    """The energy of the audio over that of its difference from the truth, in dB."""

    snr_db: float
    against: str
    frames: int


def measure(tool: Path, network: Network) -> Accuracy | None:
    """Lets a host tool decode the log-mel of a sentence; none where it cannot run here or takes another rate."""
    with tempfile.TemporaryDirectory() as name:
        mel, audio = Path(name, "mel.npy"), Path(name, "audio.npy")
        for command in (("mel", SPEECH, mel), ("decode", mel, audio)):
            try:
                subprocess.run((tool, *command), capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                return None
        log_mel = np.load(mel)
        decoded = np.load(audio).ravel()
    truth = decode(network, log_mel)
    decoded = decoded[: len(truth)]
    noise = float(((truth - decoded) ** 2).sum())
    snr = 10 * math.log10(float((truth**2).sum()) / noise) if noise else math.inf
    return Accuracy(round(snr, 1), "the checkpoint in float64", len(log_mel))
