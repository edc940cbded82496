"""Runs the folded schedule on whole utterances, in whatever arithmetic it is given.

In float64 that is compiler/forward.py, in the kernels' own, bit for bit, compiler/golden.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .network import Network, Operation

Rows = NDArray[Any]
Watch = Callable[[Operation, Rows], None]


class Arithmetic(Protocol):
    """What it takes to run each kind of operation. Rows are [frames, channels]."""

    def product(self, operation: Operation, x: Rows) -> Rows:
        """A finished dot product per output."""

    def depthwise_conv(self, operation: Operation, windows: Rows) -> Rows:
        """A channel's taps times its window, and the bias."""

    def layer_norm(self, operation: Operation, x: Rows) -> Rows:
        """With scale and shift, if it has them."""

    def epilogue(self, name: str, sums: Rows, y: Rows | None) -> Rows:
        """What becomes of dot products; see compiler/network.py."""

    def inverse_rfft(self, spectrum: Rows) -> Rows:
        """[frames, n_fft], windowed."""

    def overlap_add(self, frames: Rows) -> Rows:
        """All samples of audio, those included that later frames would add to; see compiler/synthesis.py."""


def decode(network: Network, mel: NDArray[np.float32], arithmetic: Arithmetic, watch: Watch | None = None) -> Rows:
    """Turns log-mel [frames, mels] into all of an utterance's audio.

    `watch` is shown each operation and its input.
    """
    buffers: dict[str, Rows] = {"mel": mel}
    for operation in network.operations:
        x = buffers[operation.x]
        if watch is not None:
            watch(operation, x)
        if operation.kind == "conv":
            windows = windows_of(operation, x)
            x = windows.reshape(len(windows), -1)
        if operation.is_product:
            sums = arithmetic.product(operation, x)
            found = arithmetic.epilogue(operation.epilogue, sums, buffers.get(operation.y))
        elif operation.kind == "depthwise_conv":
            found = arithmetic.depthwise_conv(operation, windows_of(operation, x))
        elif operation.kind == "layer_norm":
            found = arithmetic.layer_norm(operation, x)
        elif operation.kind == "inverse_rfft":
            found = arithmetic.inverse_rfft(x)
        else:
            found = arithmetic.overlap_add(x)
        buffers[operation.y] = found
    return buffers["audio"]


def windows_of(operation: Operation, x: Rows) -> Rows:
    """Each frame with those before and behind it that a convolution sees: [frames, taps, channels]."""
    padded = np.pad(x, ((operation.left, operation.right), (0, 0)))
    return np.stack([padded[tap : tap + len(x)] for tap in range(operation.taps)], axis=1)
