"""Audio files: any WAV (or FLAC) to mono float at the model's rate, and back to 16-bit WAV."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16000
PEAK = 0.9

Floats = NDArray[np.float32]


def read_audio(path: Path, sample_rate: int = SAMPLE_RATE) -> Floats:
    """Samples of a file, full scale 1, channels averaged, resampled. Raises RuntimeError if it cannot be read."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    return np.asarray(mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate), np.float32)


def normalised(audio: NDArray[Any], peak: float = PEAK) -> Floats:
    """The audio at such a peak; silence as it is."""
    highest = float(np.abs(audio).max(initial=0.0))
    return np.asarray(audio if highest == 0 else audio * (peak / highest), np.float32)


def write_wav(path: Path, audio: NDArray[Any], sample_rate: int = SAMPLE_RATE) -> None:
    """Write mono 16-bit; what exceeds full scale is clipped."""
    soundfile.write(path, np.clip(audio, -1, 1), sample_rate, subtype="PCM_16")
