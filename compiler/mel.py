"""The tables of the log-mel front end: the analysis window and the filterbank."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError, one_line

if TYPE_CHECKING:
    from .config import Config


SCALES, NORMS = ("slaney", "htk"), ("slaney", "none")
PADDINGS = ("causal", "same", "center")
LEAST_FLOOR = 1e-12
LEAST_POWER = 1e-30
"""Added to the power of a bin where nothing else is: far below any floor, it keeps roots of denormal numbers away."""


@dataclass(frozen=True)
class Mel:
    """What a model's log-mel is: ln(max(F * |S|^power, floor)), |S| being sqrt(re^2 + im^2 + power_floor).

    The defaults are Streaming Vocos's. S is the spectrum of n_fft samples under a periodic Hann window, F has triangles
    between neighbouring points of the mel scale, from f_min to f_max Hz.

    Attributes:
        scale: of SCALES.
        norm: of NORMS. slaney: each triangle has area 1 in Hz; none: height 1.
        power: 1, magnitudes, or 2.
        power_floor: added to the power of a bin, before its root; keeps the gradient finite in training.
        floor: a log-mel is the logarithm of this at least.
        padding: of PADDINGS. causal: n_fft - hop zeros before the audio, and zeros to complete the last frame; same and
            center: (n_fft - hop) / 2 and n_fft / 2 samples on both sides, mirrored.
        assumed: what the checkpoint did not tell, by name; two mels that differ in it alone are one.
    """

    scale: str = "slaney"
    norm: str = "slaney"
    power: int = 1
    power_floor: float = 1e-6
    floor: float = 1e-5
    padding: str = "causal"
    assumed: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Framing:
    """How audio that comes piece by piece becomes frames; all in samples but for `tail`.

    Attributes:
        pad: samples before the audio and behind it that mirror it; 0 where zeros stand before it.
        start: samples that the first frame waits for; 0 where the zeros before the audio are known.
        span: samples from a frame's first to the last that it waits for.
        history: samples before a frame that the mirror at the end may need.
        tail: frames, at most, that come when the audio has ended.
    """

    pad: int
    start: int
    span: int
    history: int
    tail: int


def framing(config: Config) -> Framing:
    """The framing of a model's front end."""
    n_fft, hop = config.n_fft, config.hop_length
    padding = config.mel.padding if config.mel else "causal"
    if padding == "causal":
        return Framing(pad=0, start=0, span=n_fft, history=0, tail=1)
    pad = n_fft // 2 if padding == "center" else (n_fft - hop) // 2
    # The mirror before the audio needs `pad` samples more than the first one. Waiting for them with every frame, not
    # only with the first, makes all frames a hop apart also in time.
    span = max(n_fft, 2 * pad + 1)
    history = max(0, pad + 1 - (span - hop))
    return Framing(pad, span - pad, span, history, tail=max(1, (span + pad - 1 - n_fft) // hop + 1))


def parse_mel(text: str) -> dict[str, Any]:
    """The fields of a Mel that `--mel scale=htk,norm=none,floor=1e-5` names. Raises CompileError."""
    words = {"scale": SCALES, "norm": NORMS, "padding": PADDINGS, "power": ("1", "2")}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name in words:
            if value not in words[name]:
                raise CompileError(f"--mel {name}={one_line(value)}: expected {' or '.join(words[name])}")
            found[name] = int(value) if name == "power" else value
        elif name in ("floor", "power_floor"):
            found[name] = _level(name, value)
        else:
            raise CompileError(
                f"--mel {one_line(part)}: give some of {', '.join(words)}, floor, power_floor as NAME=VALUE"
            )
    return found


def _level(name: str, value: str) -> float:
    """A floor: a small number, and for the logarithm's sake one that float32 has."""
    try:
        level = float(value)
    except ValueError:
        level = math.nan
    if not (LEAST_FLOOR <= level <= 1 or (name == "power_floor" and level == 0)):
        raise CompileError(f"--mel {name}={one_line(value)}: expected a number from {LEAST_FLOOR:g} to 1")
    return level


def describe(config: Config) -> str:
    """What the model takes, in a line for people."""
    mel = config.mel
    if mel is None:
        return f"{config.n_mels} features a frame (EnCodec's codebooks, summed), {config.sample_rate} Hz"
    padding = {
        "causal": "frames end with their last sample, zeros before the audio",
        "same": f"{(config.n_fft - config.hop_length) // 2} samples mirrored at both ends",
        "center": f"centred frames, {config.n_fft // 2} samples mirrored at both ends",
    }
    root = f" + {mel.power_floor:g} under the root" if mel.power_floor else ""
    return (
        f"{config.n_mels} log-mels of {config.sample_rate} Hz, {'HTK' if mel.scale == 'htk' else 'Slaney'} scale, "
        f"{'Slaney norm' if mel.norm == 'slaney' else 'no norm'}, {config.f_min:g} to {config.f_max:g} Hz, "
        f"{'magnitudes' if mel.power == 1 else 'powers'}{root}, floor {mel.floor:g}, n_fft {config.n_fft}, "
        f"hop {config.hop_length}, {padding[mel.padding]}"
    )


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


def htk_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """HTK's mel scale (The HTK Book, 2002): 2595 mel for each factor 10 of 1 + f / 700 Hz."""
    return 700 * (10 ** (mels / 2595) - 1)


def htk_mels(hertz: float) -> float:
    """The inverse of htk_hertz."""
    return 2595 * float(np.log10(1 + hertz / 700))


def mel_filters(
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    *,
    scale: str = "slaney",
    norm: str = "slaney",
) -> NDArray[np.float64]:
    """Triangles between neighbouring points of the mel scale, of area 1 in Hz (Slaney's norm) or of height 1 (none).

    Of shape (n_mels, n_fft / 2 + 1); frequencies in Hz.
    """
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    to_hertz, to_mels = (slaney_hertz, slaney_mels) if scale == "slaney" else (htk_hertz, htk_mels)
    edges = to_hertz(np.linspace(to_mels(f_min), to_mels(f_max), n_mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.asarray(np.maximum(0, np.minimum(rising, falling)))
    return filters * 2 / (high - low) if norm == "slaney" else filters


def filters_of(config: Config, scale: str, norm: str) -> NDArray[np.float64]:
    """The mel filters of a model's sizes (n_mels, n_fft / 2 + 1)."""
    sizes = (config.sample_rate, config.n_fft, config.n_mels, config.f_min, config.f_max)
    return mel_filters(*sizes, scale=scale, norm=norm)


def log_mel(config: Config, mel: Mel, audio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-mel [frames, mels] of audio (samples,) at full scale 1, in float64: what NAME_mel computes."""
    n_fft, hop = config.n_fft, config.hop_length
    pad = framing(config).pad
    if mel.padding == "causal":
        padded = np.pad(audio, (n_fft - hop, -len(audio) % hop))
    else:
        padded = np.pad(audio, (pad, pad), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * hann(n_fft))) ** 2 + mel.power_floor
    filters = filters_of(config, mel.scale, mel.norm)
    return np.asarray(np.log(np.maximum(power ** (mel.power / 2) @ filters.T, mel.floor)))


def filterbank(config: Config) -> Filterbank:
    """The mel filters of a model, without their zeros; no filters for a model of other features."""
    mel = config.mel or Mel()
    filters = filters_of(config, mel.scale, mel.norm)
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
