"""The end of the network: the window of the overlap-add, which of its samples are audio, what they are divided by.

Frame t of T adds n_fft windowed samples at t * hop. Of the (T - 1) * hop + n_fft samples of the sum,

    causal    all are audio, as they are
    same      (n_fft - hop) / 2 at both ends are not: T * hop are left
    center    n_fft / 2 at both ends are not: (T - 1) * hop are left

and with the latter two the sum is divided by the envelope: the windows' squares, added up in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .mel import hann

if TYPE_CHECKING:
    from .config import Config

LEAST_ENVELOPE = 1e-11  # that anything can be divided by


def is_divided(config: Config) -> bool:
    """Whether the sum is divided by the envelope."""
    return config.padding != "causal"


def trim(config: Config) -> int:
    """The samples of the sum, at each of its ends, that are no audio."""
    cut = {"causal": 0, "same": config.n_fft - config.hop_length, "center": config.n_fft}
    return cut[config.padding] // 2


def cover(config: Config) -> int:
    """The most frames that add to one sample."""
    return -(-config.n_fft // config.hop_length)


def samples_of(config: Config, frames: int) -> int:
    """The samples of audio of an utterance, all included."""
    return max(0, (frames - 1) * config.hop_length + config.n_fft - 2 * trim(config)) if frames else 0


def synthesis_window(config: Config) -> NDArray[np.float32]:
    """The window, with the inverse transform's factor 1 / n_fft, which dividing by its square turns round."""
    factor = config.n_fft if is_divided(config) else 1 / config.n_fft
    return np.asarray(hann(config.n_fft) * factor, np.float32)


def envelope(window: NDArray[Any], hop: int, frames: int) -> NDArray[Any]:
    """The squares of the windows of some frames, added up: of a sample's frames the last one first."""
    total = np.zeros((frames - 1) * hop + len(window), window.dtype)
    for frame in reversed(range(frames)):
        total[frame * hop : frame * hop + len(window)] += window * window
    return total


def steady_envelope(config: Config) -> NDArray[np.float32]:
    """A hop of the envelope where no frame is missing."""
    whole, hop = cover(config), config.hop_length
    return np.asarray(envelope(synthesis_window(config), hop, 2 * whole)[(whole - 1) * hop : whole * hop])


def check_synthesis(config: Config) -> None:
    """Refuse what would be divided by nothing, and samples that are complete before they are known to be audio."""
    if not is_divided(config):
        return
    n_fft, hop, frames = config.n_fft, config.hop_length, cover(config)
    if trim(config) > n_fft - hop:
        raise CompileError(f"padding {config.padding}: hop_length {hop} is more than half of n_fft {n_fft}")
    least = envelope(hann(n_fft), hop, frames)[trim(config) : n_fft].min()
    if not least > LEAST_ENVELOPE:
        raise CompileError(
            f"padding {config.padding}: with n_fft {n_fft} and hop_length {hop} the windows' squares add up to "
            f"{least:.1g} at some sample: nothing can be divided by that"
        )
