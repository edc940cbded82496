"""The folded network in float64: what accuracy is measured against, and what its layers are fed with."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from compiler.fold import Float64, Folded, Product

NORM_EPSILON = 1e-6
MAX_MAGNITUDE = 100.0

Watch = Callable[[str, Float64], None]


def decode(folded: Folded, mel: NDArray[np.float32], watch: Watch | None = None) -> Float64:
    """Turns log-mel [frames, mels] into audio [frames * hop]; an utterance that begins with silence.

    `watch` is told the inputs [frames, inputs] of each block's products, by the products' names.
    """
    config = folded.config
    taps = config.kernel_size
    windows = _causal_windows(mel.astype(np.float64), taps).transpose(0, 2, 1)  # [frames, taps, mels]
    x = _norm(_product(folded.embed, windows.reshape(len(mel), -1)))
    x = x * folded.embed_norm[0] + folded.embed_norm[1]
    for i, block in enumerate(folded.blocks):
        convolved = np.einsum("tck,kc->tc", _causal_windows(x, taps), block.conv[1:]) + block.conv[0]
        normalised = _norm(convolved)
        hidden = _gelu(_product(block.expand, normalised))
        if watch is not None:
            watch(f"block{i}_expand", normalised)
            watch(f"block{i}_contract", hidden)
        x = x + _product(block.contract, hidden)
    normalised = _norm(x)
    magnitude = np.exp(np.minimum(_product(folded.magnitude, normalised), math.log(MAX_MAGNITUDE)))
    spectrum = magnitude * np.exp(1j * _product(folded.phase, normalised))
    return _overlap_add(np.fft.irfft(spectrum, config.n_fft), config.hop_length)


def _product(product: Product, x: Float64) -> Float64:
    return np.asarray(x @ product.weight.astype(np.float64) + product.bias)


def _norm(x: Float64) -> Float64:
    """LayerNorm without its affine part."""
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + NORM_EPSILON))


def _gelu(x: Float64) -> Float64:
    erf = np.fromiter(map(math.erf, (x * math.sqrt(0.5)).ravel().tolist()), np.float64, x.size)
    return np.asarray(0.5 * x * (1 + erf.reshape(x.shape)))


def _causal_windows(x: Float64, taps: int) -> Float64:
    """Each frame with the taps - 1 before it, [frames, channels, taps]; silence before the first."""
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    return np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)


def _overlap_add(frames: Float64, hop: int) -> Float64:
    n_fft = frames.shape[1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    audio = np.zeros((len(frames) - 1) * hop + max(n_fft, hop))
    for start, frame in zip(range(0, len(frames) * hop, hop), frames * window, strict=True):
        audio[start : start + n_fft] += frame
    return audio[: len(frames) * hop]
