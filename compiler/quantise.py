"""Rounds a product's weights to int8, with a scale per output.

Without calibration each weight goes to the nearest step. With it, the errors that have been made are made good by the
weights still to be rounded, as far as the layer's real inputs allow (E. Frantar et al., "GPTQ", 2022, equations 2 and
3, in the order of the inputs). What is left of the error's mean goes into the bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Operation
from .tensors import Array

LARGEST = 127
DAMPING = 0.1  # of the mean variance, added to each input's: few frames of calibration must not be taken too literally
BLOCK = 64  # inputs whose errors are handed on one by one; to those after them, together


@dataclass(frozen=True)
class Int8Product:
    """weights [inputs, outputs], whole numbers from -127 to 127; y = bias + scale * (x @ weights)."""

    weights: NDArray[np.float32]
    scale: NDArray[np.float32]  # [outputs]
    bias: NDArray[np.float32]  # [outputs]


@dataclass(frozen=True)
class Moments:
    """What a product was fed with during calibration."""

    mean: Array  # (inputs,)
    covariance: Array  # (inputs, inputs)


def quantise(product: Operation, fed: Moments | None = None) -> Int8Product:
    """Rounds a product; see the module's text."""
    scale = int8_scales(product)
    if fed is None:
        return Int8Product(_nearest(product.weight / scale), scale, product.bias)
    weights = _hand_on_errors(np.asarray(product.weight / scale, np.float32), fed.covariance)
    lost = fed.mean @ (product.weight.astype(np.float64) - weights * scale)
    return Int8Product(weights, scale, (product.bias + lost).astype(np.float32))


def int8_scales(product: Operation) -> NDArray[np.float32]:
    """For each output the scale, among some that clip the largest weights, that leaves the least squared error."""
    largest = np.maximum(np.abs(product.weight).max(axis=0), np.float32(1e-30))
    best: NDArray[np.float32] = largest / np.float32(LARGEST)
    least = np.full(largest.shape, np.inf, np.float32)
    # At 8 bits real clipping seldom pays; a scale a hair smaller, with which weights round better, often does.
    for fraction in np.concatenate([np.linspace(1, 0.98, 9), np.linspace(0.95, 0.7, 6)]).astype(np.float32):
        scale = largest * fraction / np.float32(LARGEST)
        rounded = _nearest(product.weight / scale) * scale
        error = ((rounded - product.weight) ** 2).sum(axis=0)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def _nearest(steps: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.clip(np.rint(steps), -LARGEST, LARGEST), np.float32)


def _hand_on_errors(steps: NDArray[np.float32], covariance: Array) -> NDArray[np.float32]:
    """Rounds steps [inputs, outputs], input by input; what each loses moves the inputs after it."""
    inputs = len(steps)
    damping = DAMPING * covariance.diagonal().mean() + 1e-12
    inverse = np.linalg.inv(covariance + damping * np.eye(inputs))
    # Row i tells how the inputs after i best make good an error at i. All in float64: in float32, another machine's
    # order of sums would now and then round a weight the other way.
    factor = np.linalg.cholesky(inverse).T
    left = steps.astype(np.float64)
    rounded = np.empty_like(steps)
    for first in range(0, inputs, BLOCK):
        last = min(first + BLOCK, inputs)
        errors = np.empty_like(left[first:last])
        for i in range(first, last):
            rounded[i] = _nearest(left[i])
            errors[i - first] = (left[i] - rounded[i]) / factor[i, i]
            left[i + 1 : last] -= np.outer(factor[i, i + 1 : last], errors[i - first])
        left[last:] -= factor[first:last, last:].T @ errors
    return rounded
