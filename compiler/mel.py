"""The tables of the log-mel front end: the analysis window and the filterbank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .config import Config


POWER_FLOOR = 1e-6  # added to the power of a bin, before its root: keeps the gradient finite in training
MEL_FLOOR = 1e-5  # a log-mel is the logarithm of this at least


@dataclass(frozen=True)
class Filterbank:
    """Triangular filters without their zeros: filter f is weights[starts[f]:starts[f + 1]], from bin first_bins[f]."""

    first_bins: NDArray[np.int32]
    starts: NDArray[np.int32]
    weights: NDArray[np.float32]


def hann(length: int) -> NDArray[np.float64]:
    """The periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def slaney_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox, 1998): 3 mel per 200 Hz up to 1 kHz, then 27 mel per factor 6.4."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))


def slaney_mels(hertz: float) -> float:
    """The inverse of slaney_hertz."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def mel_filters(sample_rate: float, n_fft: int, n_mels: int, f_min: float, f_max: float) -> NDArray[np.float64]:
    """Triangles between neighbouring points of the mel scale, each of area 1 in Hz (Slaney's norm).

    Of shape (n_mels, n_fft / 2 + 1); frequencies in Hz.
    """
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    edges = slaney_hertz(np.linspace(slaney_mels(f_min), slaney_mels(f_max), n_mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low))


def filterbank(config: Config) -> Filterbank:
    """The mel filters of a model, without their zeros."""
    filters = mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.f_min, config.f_max)
    first_bins, starts, weights = [], [0], []
    for row in filters:
        (used,) = np.nonzero(row)
        first = int(used[0]) if used.size else 0
        last = int(used[-1]) + 1 if used.size else 0
        first_bins.append(first)
        weights.append(row[first:last])
        starts.append(starts[-1] + last - first)
    return Filterbank(
        np.array(first_bins, np.int32), np.array(starts, np.int32), np.concatenate(weights).astype(np.float32)
    )
