"""How far audio is from the recording that it should sound like. Needs numpy; PESQ, STOI and pitch their packages."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.mel import hann, mel_filters

Audio = NDArray[np.floating[Any]]

SCALES = tuple(zip((32, 64, 128, 256, 512, 1024, 2048), (5, 10, 20, 40, 80, 160, 320), strict=True))
"""Window lengths in samples, and mel bands, of the mel distance."""
STFT_WINDOWS = (512, 1024, 2048)
MAGNITUDE_FLOOR = 1e-5


def magnitudes(audio: Audio, window: int) -> NDArray[np.float64]:
    """Magnitudes [frames, window / 2 + 1] under a periodic Hann window, hop a quarter of it, edges mirrored."""
    padded = np.pad(np.asarray(audio, np.float64), window // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    return np.asarray(np.abs(np.fft.rfft(windows * hann(window))))


def mel_distance(audio: Audio, recording: Audio, sample_rate: int) -> float:
    """Sum over seven scales of the mean absolute difference of log10 mel magnitudes: the loss of training.

    Both [samples], equally long, full scale 1. What is below MAGNITUDE_FLOOR counts as that.
    """
    total = 0.0
    for window, bands in SCALES:
        filters = mel_filters(sample_rate, window, bands, 0.0, sample_rate / 2).T
        logs = [np.log10(np.maximum(magnitudes(x, window) @ filters, MAGNITUDE_FLOOR)) for x in (audio, recording)]
        total += float(np.abs(logs[0] - logs[1]).mean())
    return total


def log_spectral_distance(audio: Audio, recording: Audio) -> float:
    """Root mean square over the bins, mean over the frames, of the difference of power spectra in dB; window 1024."""
    spectra = [20 * np.log10(np.maximum(magnitudes(x, 1024), MAGNITUDE_FLOOR)) for x in (audio, recording)]
    return float(np.sqrt(((spectra[0] - spectra[1]) ** 2).mean(axis=1)).mean())


def stft_distance(audio: Audio, recording: Audio) -> float:
    """Mean over windows of 512, 1024 and 2048 of the L1 distances of magnitudes and of their log10 (as in training)."""
    total = 0.0
    for window in STFT_WINDOWS:
        ours, wanted = magnitudes(audio, window), magnitudes(recording, window)
        logs = [np.log10(np.maximum(x, MAGNITUDE_FLOOR)) for x in (ours, wanted)]
        total += float(np.abs(ours - wanted).mean() + np.abs(logs[0] - logs[1]).mean())
    return total / len(STFT_WINDOWS)


def pitch_errors(audio: Audio, recording: Audio, sample_rate: int) -> tuple[float, float]:
    """Root mean square error of the pitch in cents, where both are voiced, and the share of frames voiced wrongly.

    Every 5 ms, by Harvest (M. Morise, 2017; package pyworld); 0 cents if no frame is voiced in both.
    """
    import pyworld  # noqa: PLC0415

    ours, wanted = (pyworld.harvest(np.asarray(x, np.float64), sample_rate)[0] for x in (audio, recording))
    voiced = (ours > 0) & (wanted > 0)
    cents = 1200 * np.log2(ours[voiced] / wanted[voiced])
    return float(np.sqrt((cents**2).mean())) if voiced.any() else 0.0, float(((ours > 0) != (wanted > 0)).mean())


def pesq_wide_band(audio: Audio, recording: Audio, sample_rate: int) -> float:
    """ITU-T P.862.2, from about 1 to 4.64; the rate must be 16 kHz."""
    from pesq import pesq  # noqa: PLC0415 (the other measures do without)

    return float(pesq(sample_rate, np.asarray(recording, np.float32), np.asarray(audio, np.float32), "wb"))


def stoi(audio: Audio, recording: Audio, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), up to 1."""
    from pystoi import stoi as measure  # noqa: PLC0415

    return float(measure(np.asarray(recording), np.asarray(audio), sample_rate))


def all_measures(audio: Audio, recording: Audio, sample_rate: int) -> dict[str, float]:
    """Every measure of `audio` against `recording`, under the keys of MEASURES."""
    pitch, voicing = pitch_errors(audio, recording, sample_rate)
    values = {
        "mel_distance": mel_distance(audio, recording, sample_rate),
        "log_spectral_distance_db": log_spectral_distance(audio, recording),
        "pesq_wb": pesq_wide_band(audio, recording, sample_rate),
        "stoi": stoi(audio, recording, sample_rate),
        "stft_distance": stft_distance(audio, recording),
        "pitch_rmse_cents": pitch,
        "voicing_error": voicing,
    }
    assert tuple(values) == MEASURES
    assert all(math.isfinite(value) for value in values.values())
    return values


MEASURES = (
    *("mel_distance", "log_spectral_distance_db", "pesq_wb", "stoi", "stft_distance"),
    *("pitch_rmse_cents", "voicing_error"),
)
