"""The natural speech that comes along: a sentence to judge by, and others to calibrate by."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import Config
from .mel import log_mel

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "speech" if (HERE / "templates").is_dir() else HERE.parent / "examples/speech"  # installed, or here
JUDGED = FOLDER / "bdl_arctic_a0001.wav"
CALIBRATING = FOLDER / "calibration"  # of other speakers than those that judge


def calibration_mels(config: Config) -> list[NDArray[np.float32]]:
    """The log-mels of the sentences to calibrate by, to 8 bits behind the point, which no machine's FFT changes.

    A model of another sample rate hears them faster or slower: what counts is that all of its mels are busy. One that
    takes other features has none.
    """
    mel = config.mel
    if mel is None:
        return []
    speech = map(_read, sorted(CALIBRATING.glob("*.wav")))
    return [np.asarray(np.rint(log_mel(config, mel, audio) * 256) / 256, np.float32) for audio in speech]


def _read(path: Path) -> NDArray[np.float64]:
    """Samples of a mono 16-bit file at full scale 1."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
