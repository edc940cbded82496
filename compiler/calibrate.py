"""Reads real log-mels and learns from them what the network's products are fed with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError, one_line
from .formats import format_of
from .forward import decode
from .interpret import windows_of
from .network import Network, Operation
from .quantise import Moments
from .tensors import Array

LONGEST_HEADER = 10_000  # bytes of a .npy file
LARGEST_LOG_MEL = 20.0  # full scale stays below log(1024)


def read_mels(paths: Iterable[Path], mels: int) -> list[NDArray[np.float32]]:
    """The log-mels in .npy files, [frames, mels] each."""
    return [_read_mel(path, mels) for path in paths]


def calibrate(network: Network, log_mels: Sequence[NDArray[np.float32]], precision: str) -> dict[str, Moments]:
    """The moments over all frames of what each product with integer weights is fed with, by its name."""
    sums: dict[str, tuple[Array, Array]] = {}

    def add(operation: Operation, inputs: Array) -> None:
        if operation.is_product and format_of(operation, precision).is_integer:
            if operation.kind == "conv":
                windows = windows_of(operation, inputs)
                inputs = windows.reshape(len(windows), -1)
            first, second = sums.get(operation.name, (0.0, 0.0))
            sums[operation.name] = (first + inputs.sum(axis=0), second + inputs.T @ inputs)

    for log_mel in log_mels:
        decode(network, log_mel, watch=add)
    frames = sum(map(len, log_mels))
    means = {name: first / frames for name, (first, _) in sums.items()}
    return {name: Moments(means[name], sums[name][1] / frames - np.outer(means[name], means[name])) for name in sums}


def _read_mel(path: Path, mels: int) -> NDArray[np.float32]:
    """Reads no more than the header before it is known that the rest is there, and is what it should be."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(LONGEST_HEADER))  # whatever length it claims
        try:
            version = np.lib.format.read_magic(head)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(head, max_header_size=LONGEST_HEADER)
        except (ValueError, EOFError, TypeError, MemoryError, RecursionError, SyntaxError) as error:
            raise CompileError(f"--calibrate {path}: not a .npy file of numbers ({one_line(error)})") from None
        text = one_line("x".join(map(str, shape)))
        if len(shape) != 2 or shape[1] != mels or shape[0] <= 0:
            raise CompileError(f"--calibrate {path}: is {text}; a log-mel of this model is frames x {mels}")
        if dtype.kind != "f":
            raise CompileError(f"--calibrate {path}: holds {one_line(str(dtype))}; a log-mel is of floats")
        there = path.stat().st_size - head.tell()
        if there < shape[0] * shape[1] * dtype.itemsize:
            raise CompileError(f"--calibrate {path}: is cut off: {text} values do not fit into {there} bytes")
        file.seek(0)
        log_mel = np.load(file, allow_pickle=False)
    with np.errstate(invalid="ignore"):
        if not np.isfinite(log_mel).all() or np.abs(log_mel).max() > LARGEST_LOG_MEL:
            raise CompileError(f"--calibrate {path}: no log-mel's: NaN, or beyond +-{LARGEST_LOG_MEL:g}")
    return np.asarray(log_mel, np.float32)
