"""The folded network in float64: what accuracy is measured against, and what its layers are fed with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .config import Config
from .interpret import Rows, Watch
from .interpret import decode as interpret
from .mel import hann
from .network import MAX_MAGNITUDE, NORM_EPSILON, Network, Operation
from .synthesis import envelope, is_divided, trim
from .tensors import Array


def decode(network: Network, mel: NDArray[np.float32], watch: Watch | None = None) -> Array:
    """Turns log-mel [frames, mels] into audio; `watch` is shown each operation and its input.

    The audio is that of the whole utterance, or, where the overlap-add's end is cut off in training, [frames * hop].
    """
    audio = interpret(network, np.asarray(mel, np.float64), _Float64(network.config), watch)
    return audio if is_divided(network.config) else audio[: len(mel) * network.config.hop_length]


class _Float64:
    """See compiler/interpret.py."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def product(self, operation: Operation, x: Rows) -> Rows:
        return np.asarray(x @ operation.weight.astype(np.float64) + operation.bias)

    def depthwise_conv(self, operation: Operation, windows: Rows) -> Rows:
        return np.asarray(np.einsum("tkc,kc->tc", windows, operation.weight) + operation.bias)

    def layer_norm(self, operation: Operation, x: Rows) -> Rows:
        centred = x - x.mean(axis=1, keepdims=True)
        normalised = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + NORM_EPSILON)
        return np.asarray(normalised * operation.tensors.get("scale", 1) + operation.tensors.get("shift", 0))

    def epilogue(self, name: str, sums: Rows, y: Rows | None) -> Rows:
        match name:
            case "gelu":
                erf = np.fromiter(map(math.erf, (sums * math.sqrt(0.5)).ravel().tolist()), np.float64, sums.size)
                return np.asarray(0.5 * sums * (1 + erf.reshape(sums.shape)))
            case "exp":
                return np.exp(np.minimum(sums, math.log(MAX_MAGNITUDE)))
            case "add" | "polar":
                assert y is not None, "the schedule writes y before"
                return y + sums if name == "add" else y * np.exp(1j * sums)
            case _:
                return sums

    def inverse_rfft(self, spectrum: Rows) -> Rows:
        n_fft = self.config.n_fft
        return np.fft.irfft(spectrum, n_fft) * hann(n_fft)

    def overlap_add(self, frames: Rows) -> Rows:
        hop, n_fft = self.config.hop_length, self.config.n_fft
        audio = np.zeros((len(frames) - 1) * hop + max(n_fft, hop))
        for start, frame in zip(range(0, len(frames) * hop, hop), frames, strict=True):
            audio[start : start + n_fft] += frame
        if is_divided(self.config):
            cut = slice(trim(self.config), len(audio) - trim(self.config))
            audio = audio[cut] / envelope(hann(n_fft), hop, len(frames))[cut]
        return audio
