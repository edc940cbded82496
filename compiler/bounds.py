"""Bounds on what a folded network can compute, whatever the log-mel: weights must not let float32 overflow inside.

A model that overflows gives audio that is wrong, and not the same on every target. Trained ones stay twelve orders of
magnitude below the limit.
"""

from __future__ import annotations

import math

import numpy as np

from .calibrate import LARGEST_LOG_MEL
from .errors import CompileError
from .network import Network, Operation
from .tensors import Array

LARGEST = 1e17  # of a value inside: sums of squares over some thousand channels stay within float32


def check_bounds(network: Network) -> None:
    """Raises CompileError, with the tensors' names, if log-mels within +-LARGEST_LOG_MEL could lead beyond LARGEST."""
    for operation, largest in zip(network.operations, largest_values(network, LARGEST_LOG_MEL), strict=True):
        if not largest <= LARGEST:
            raise CompileError(
                f"{operation.source}: so large that log-mels of speech lead to values of up to {largest:.1e}, "
                f"of which float32 cannot hold the squares; is the checkpoint damaged?"
            )


def largest_values(network: Network, mel: float) -> list[float]:
    """For each operation the largest |value| that it makes of a mel up to so much: inf or NaN where there is none."""
    bounds, found = {"mel": mel}, []
    with np.errstate(invalid="ignore"):
        for operation in network.operations:
            largest = _largest(operation, bounds[operation.x])
            if operation.epilogue == "add":
                largest += bounds[operation.y]
            bounds[operation.y] = largest
            found.append(largest)
    return found


def _largest(operation: Operation, x: float) -> float:
    """The largest |value| that an operation can make of inputs up to x, its epilogue aside."""
    if operation.kind == "layer_norm":
        tensors: dict[str, Array] = {name: np.asarray(value, np.float64) for name, value in operation.tensors.items()}
        most = math.sqrt(operation.inputs)
        return float(np.max(np.abs(tensors["scale"]) * most + np.abs(tensors["shift"]))) if tensors else most
    if "weight" not in operation.tensors:
        return 0.0  # the inverse FFT's input is bounded by MAX_MAGNITUDE
    weight, bias = (np.abs(operation.tensors[name].astype(np.float64)) for name in ("weight", "bias"))
    return float(np.max(weight.sum(axis=0) * x + bias))
