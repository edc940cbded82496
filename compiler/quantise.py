"""Rounds a product's weights: to int8 with a scale per output, or to int4 with a scale per group of inputs as well.

Without calibration each weight goes to the nearest step. With it, the errors that have been made are made good by the
weights still to be rounded, as far as the layer's real inputs allow (E. Frantar et al., "GPTQ", 2022, equations 2 and
3, in the order of the inputs). What is left of the error's mean goes into the bias.

The scale of a group is a whole number of the output's steps, so that sums stay exact integers: bench/NOTES.md says what
that costs (nothing) beside a scale in half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Operation
from .tensors import Array

LARGEST = 127
DAMPING = 0.1  # of the mean variance, added to each input's: few frames of calibration must not be taken too literally
DAMPING_INT4 = 0.03  # the errors are larger, so that making them good is worth more
GROUP = 32  # inputs that share a scale, of int4 weights
LEAST_INT4, LARGEST_INT4 = -8, 7
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
    steps = np.asarray(product.weight / scale, np.float32)
    weights = _hand_on_errors(steps, fed.covariance, DAMPING, lambda _, row: _nearest(row))
    return Int8Product(weights, scale, _with_mean_error(product, fed, weights * scale))


@dataclass(frozen=True)
class Int4Product:
    """y = bias + scale * (x @ (weights * group_scales of the input's group)).

    weights [inputs, outputs] are whole numbers from -8 to 7, group_scales [groups, outputs] from -127 to 127, not 0.
    """

    weights: NDArray[np.float32]
    group_scales: NDArray[np.float32]
    scale: NDArray[np.float32]  # [outputs]
    bias: NDArray[np.float32]  # [outputs]


def quantise4(product: Operation, fed: Moments | None = None) -> Int4Product:
    """Rounds a product; see the module's text. An error counts as much as its input varies, where that is known."""
    variance = np.ones(len(product.weight)) if fed is None else _damped(fed.covariance, DAMPING_INT4).diagonal()
    scale, group_scales = _int4_scales(product.weight.astype(np.float64), variance)
    steps = np.asarray(product.weight / scale, np.float32)

    def nearest(i: int, row: NDArray[Any]) -> NDArray[np.float32]:
        scales = group_scales[i // GROUP]
        return np.asarray(_nearest_int4(row / scales) * scales, np.float32)

    if fed is None:
        rounded, bias = np.stack([nearest(i, row) for i, row in enumerate(steps)]), product.bias
    else:
        rounded = _hand_on_errors(steps, fed.covariance, DAMPING_INT4, nearest)
        bias = _with_mean_error(product, fed, rounded * scale)
    every = np.repeat(group_scales, GROUP, axis=0)[: len(rounded)]
    return Int4Product(rounded / every, group_scales, scale, bias)


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


def _int4_scales(weight: Array, variance: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scales [outputs] and group scales [groups, outputs], for the least squared error of rounding to nearest.

    Errors count as much as the inputs' variance. -8 has no counterpart, so the sign of a group's scale matters.
    """
    inputs, outputs = weight.shape
    groups = -(-inputs // GROUP)
    padded = np.zeros((groups * GROUP, outputs))
    padded[:inputs] = weight
    padded = padded.reshape(groups, GROUP, outputs)
    importance = np.zeros(groups * GROUP)
    importance[:inputs] = variance
    importance = importance.reshape(groups, GROUP, 1)
    extreme = np.take_along_axis(padded, np.abs(padded).argmax(axis=1)[:, None], axis=1)[:, 0]
    best, least = np.full((groups, outputs), 1e-30), np.full((groups, outputs), np.inf)
    for fraction in np.linspace(1, 0.6, 11):
        for most in (LEAST_INT4, LARGEST_INT4 + 0.5):
            steps = extreme * fraction / most
            scale = np.where(np.abs(steps) < 1e-30, 1e-30, steps)
            rounded = _nearest_int4(padded / scale[:, None]) * scale[:, None]
            error = (importance * (rounded - padded) ** 2).sum(axis=1)
            best = np.where(error < least, scale, best)
            least = np.minimum(error, least)
    scale = (np.abs(best).max(axis=0) / LARGEST).astype(np.float32)
    whole = np.clip(np.rint(best / scale), -LARGEST, LARGEST)
    return scale, np.where(whole == 0, np.sign(best), whole).astype(np.float32)


def _nearest_int4(steps: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.clip(np.rint(steps), LEAST_INT4, LARGEST_INT4), np.float32)


def _nearest(steps: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.clip(np.rint(steps), -LARGEST, LARGEST), np.float32)


def _with_mean_error(product: Operation, fed: Moments, weight: NDArray[Any]) -> NDArray[np.float32]:
    """The bias that makes good what rounding to `weight` loses on average."""
    return np.asarray(product.bias + fed.mean @ (product.weight.astype(np.float64) - weight), np.float32)


def _damped(covariance: Array, damping: float) -> Array:
    return np.asarray(covariance + (damping * covariance.diagonal().mean() + 1e-12) * np.eye(len(covariance)))


def _hand_on_errors(
    steps: NDArray[np.float32],
    covariance: Array,
    damping: float,
    nearest: Callable[[int, NDArray[Any]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Rounds steps [inputs, outputs], input by input; what each loses moves the inputs after it.

    `nearest` rounds the row of an input, by its number.
    """
    inputs = len(steps)
    inverse = np.linalg.inv(_damped(covariance, damping))
    # Row i tells how the inputs after i best make good an error at i. All in float64: in float32, another machine's
    # order of sums would now and then round a weight the other way.
    factor = np.linalg.cholesky(inverse).T
    left = steps.astype(np.float64)
    rounded = np.empty_like(steps)
    for first in range(0, inputs, BLOCK):
        last = min(first + BLOCK, inputs)
        errors = np.empty_like(left[first:last])
        for i in range(first, last):
            rounded[i] = nearest(i, left[i])
            errors[i - first] = (left[i] - rounded[i]) / factor[i, i]
            left[i + 1 : last] -= np.outer(factor[i, i + 1 : last], errors[i - first])
        left[last:] -= factor[first:last, last:].T @ errors
    return rounded
