"""The model in float64, straight from its description: the truth that every accuracy figure is measured against.

Nothing here is fast or streaming, and nothing is shared with the compiler: the two meet only in the tests.
"""

import math
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAYER_NORM_EPS = 1e-6
MAGNITUDE_LIMIT = 1e2  # the head clips exp(log-magnitude) to it
POWER_FLOOR = 1e-6  # added to re^2 + im^2 before the square root
MEL_FLOOR = 1e-5  # the smallest mel that the logarithm sees


class Reference:
    """A decoder with the tensors of a checkpoint's ``state_dict``, all widened to float64.

    ``config`` has n_fft, hop_length and num_layers, and perhaps ``lookahead``, the right context of each convolution;
    every other size comes from the tensors' shapes.
    """

    backbone, head, conv = "decoder.0", "decoder.1", ".conv.conv"  # what the tensors are called

    def __init__(self, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> None:
        self._tensors = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
        self._n_fft = int(config["n_fft"])
        self._hop = int(config["hop_length"])
        self._layers = int(config["num_layers"])
        self._right: list[int] = config.get("lookahead", [0] * (self._layers + 1))

    def decode(self, mel: NDArray[Any]) -> Array:
        """Turn log-mel [frames, mels] into audio [frames * hop]."""
        return self.overlap_add(mel)[: len(mel) * self._hop]

    def tail(self, mel: NDArray[Any]) -> Array:
        """Return the n_fft - hop samples that follow those of ``decode``: what a flush gives."""
        return self.overlap_add(mel)[len(mel) * self._hop :]

    def overlap_add(self, mel: NDArray[Any]) -> Array:
        """Turn log-mel [frames, mels] into the whole sum [(frames - 1) * hop + n_fft]."""
        frames = self.frames(mel) * hann(self._n_fft)
        audio = np.zeros((len(frames) - 1) * self._hop + self._n_fft)
        for t, frame in enumerate(frames):
            audio[t * self._hop : t * self._hop + self._n_fft] += frame
        return audio

    def frames(self, mel: NDArray[Any]) -> Array:
        """Turn log-mel [frames, mels] into the inverse FFTs [frames, n_fft], not yet windowed."""
        return np.fft.irfft(self._spectrum(np.asarray(mel, np.float64)), self._n_fft)

    def _spectrum(self, mel: Array) -> NDArray[np.complex128]:
        x = self._norm(f"{self.backbone}.norm", self._conv(f"{self.backbone}.embed{self.conv}", mel, self._right[0]))
        for layer in range(self._layers):
            block = f"{self.backbone}.convnext.{layer}"
            y = self._depthwise_conv(f"{block}.dwconv{self.conv}", x, self._right[1 + layer])
            y = self._norm(f"{block}.norm", y)
            y = self._linear(f"{block}.pwconv2", gelu(self._linear(f"{block}.pwconv1", y)))
            x = x + self._tensors[f"{block}.gamma"] * y
        head = self._linear(f"{self.head}.out", self._norm(f"{self.backbone}.final_layer_norm", x))
        log_magnitude, phase = np.split(head, 2, axis=1)
        # clipped before exp, which is the same and cannot overflow
        magnitude = np.exp(np.minimum(log_magnitude, math.log(MAGNITUDE_LIMIT)))
        return np.asarray(magnitude * (np.cos(phase) + 1j * np.sin(phase)))

    def _conv(self, name: str, x: Array, right: int) -> Array:
        weight, bias = self._conv_tensors(name)  # [out, in, k]
        return np.asarray(np.einsum("tik,oik->to", windows(x, weight.shape[2], right), weight, optimize=True) + bias)

    def _depthwise_conv(self, name: str, x: Array, right: int) -> Array:
        weight, bias = self._conv_tensors(name)  # [channels, 1, k]
        return np.asarray(np.einsum("tik,ik->ti", windows(x, weight.shape[2], right), weight[:, 0]) + bias)

    def _conv_tensors(self, name: str) -> tuple[Array, Array]:
        v, g = self._tensors[f"{name}.weight_v"], self._tensors[f"{name}.weight_g"]
        length = np.sqrt(np.sum(v * v, axis=(1, 2), keepdims=True))
        return g * v / length, self._tensors[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.mean(centred * centred, axis=1, keepdims=True)
        normal = centred / np.sqrt(variance + LAYER_NORM_EPS)
        scale, shift = self._affine(name)
        return np.asarray(normal * scale + shift)

    def _affine(self, name: str) -> tuple[Array, Array]:
        return self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]

    def _linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"])


class VocosReference(Reference):
    """A decoder of the vocos package's kind: no weight norm, perhaps AdaLayerNorm, and an overlap-add that is divided.

    ``config`` also has padding (same or center) and, for AdaLayerNorm, bandwidth_id; convolutions see as far ahead as
    back unless it has ``lookahead``.
    """

    backbone, head, conv = "backbone", "head", ""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> None:
        super().__init__(tensors, {"lookahead": [3] * (config["num_layers"] + 1), **config})
        self._row = config.get("bandwidth_id", 0)
        n_fft, hop = self._n_fft, self._hop
        self._cut = n_fft // 2 if config["padding"] == "center" else (n_fft - hop) // 2

    def decode(self, mel: NDArray[Any]) -> Array:
        """Turn features [frames, features] into all of the audio."""
        total = self.overlap_add(mel)
        envelope = np.zeros_like(total)
        for t in range(len(mel)):
            envelope[t * self._hop : t * self._hop + self._n_fft] += hann(self._n_fft) ** 2
        inside = slice(self._cut, len(total) - self._cut)
        return total[inside] / envelope[inside]

    def _conv_tensors(self, name: str) -> tuple[Array, Array]:
        return self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]

    def _affine(self, name: str) -> tuple[Array, Array]:
        if f"{name}.scale.weight" not in self._tensors:
            return super()._affine(name)
        return self._tensors[f"{name}.scale.weight"][self._row], self._tensors[f"{name}.shift.weight"][self._row]


def windows(x: Array, size: int, right: int) -> Array:
    """View x [frames, channels] as [frames, channels, size]: each frame behind those before it, and `right` more."""
    padded = np.pad(x, ((size - 1 - right, right), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)


def gelu(x: Array) -> Array:
    """Return the exact GELU, x times the normal distribution function, of every element."""
    erf = np.fromiter(map(math.erf, (x / math.sqrt(2)).ravel().tolist()), np.float64, x.size).reshape(x.shape)
    return np.asarray(0.5 * x * (1 + erf))


def hann(size: int) -> Array:
    """Return the periodic Hann window [size]."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size))


def log_mel(audio: NDArray[Any], config: Mapping[str, Any]) -> Array:
    """Turn audio [samples] of full scale 1 into log-mel [ceil(samples / hop), mels].

    Frame t sees the n_fft samples that end with sample (t + 1) * hop; before the first sample and after the last
    there is silence. ``config`` has sample_rate, n_fft, hop_length, n_mels and perhaps f_min and f_max in Hz.
    """
    n_fft, hop = int(config["n_fft"]), int(config["hop_length"])
    padded = np.concatenate([np.zeros(n_fft - hop), audio, np.zeros(-len(audio) % hop)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] * hann(n_fft)
    spectrum = np.fft.rfft(windows)
    magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + POWER_FLOOR)
    return np.asarray(np.log(np.maximum(magnitude @ mel_filters(config).T, MEL_FLOOR)))


def mel_filters(config: Mapping[str, Any]) -> Array:
    """Return Slaney's filterbank [mels, n_fft / 2 + 1].

    The scale is that of M. Slaney's Auditory Toolbox (1998), librosa's default: 200/3 Hz a mel up to 1 kHz, then 27
    mels for each factor of 6.4. Triangles with corners at equal distances on it, each of unit area in Hz.
    """
    rate = float(config["sample_rate"])
    low, high = float(config.get("f_min") or 0.0), float(config.get("f_max") or rate / 2)
    corners = mel_to_hz(np.linspace(hz_to_mel(low), hz_to_mel(high), int(config["n_mels"]) + 2))[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(int(config["n_fft"]) // 2 + 1) * (rate / int(config["n_fft"]))
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.asarray(np.maximum(triangles, 0) * 2 / (right - left))


def hz_to_mel(hz: float) -> float:
    """Return where a frequency lies on Slaney's scale."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def mel_to_hz(mel: Array) -> Array:
    """Return the frequencies at points of Slaney's scale."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def snr_db(reference: NDArray[Any], output: NDArray[Any]) -> float:
    """Return the energy of ``reference`` over that of the difference, in dB; infinite where they are equal."""
    truth = np.asarray(reference, np.float64)
    noise = float(np.sum((truth - np.asarray(output, np.float64)) ** 2))
    return math.inf if noise == 0 else 10 * math.log10(float(np.sum(truth**2)) / noise)


def read_wav(path: Path) -> Array:
    """Return the samples of a mono 16-bit WAV file as [samples] of full scale 1."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), f"{path}: not mono 16-bit"
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
