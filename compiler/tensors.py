"""Takes the tensors of a checkpoint one by one, checked and in float64, until none is left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError

Array = NDArray[np.float64]

_FLOAT_MAX = float(np.finfo(np.float32).max)


class Tensors:
    """The tensors that the network has not taken yet. What is missing, misshapen or not finite raises CompileError."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.left = dict(tensors)

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        """Use up a tensor."""
        if name not in self.left:
            raise CompileError(f"{name}: tensor missing")
        tensor = self.left.pop(name)
        if tensor.shape != shape:
            raise CompileError(f"{name}: has shape {shape_text(tensor.shape)}; expected {shape_text(shape)}")
        with np.errstate(invalid="ignore"):  # of a signalling NaN: the check names it
            return _finite(name, tensor.astype(np.float64))

    def norm(self, name: str, dim: int) -> dict[str, Array]:
        """The affine part of a LayerNorm: `scale` and `shift`, both (dim,)."""
        return {"scale": self.take(name + ".weight", (dim,)), "shift": self.take(name + ".bias", (dim,))}

    def adaptive_norm(self, name: str, dim: int, rows: int, row: int) -> dict[str, Array]:
        """The same of an AdaLayerNorm, which has tables (rows, dim): one row of them."""
        return {part: self.take(f"{name}.{part}.weight", (rows, dim))[row] for part in ("scale", "shift")}

    def linear(self, name: str, outputs: int, inputs: int) -> dict[str, Array]:
        """A linear layer: `weight` (outputs, inputs), `bias` (outputs,)."""
        return {"weight": self.take(name + ".weight", (outputs, inputs)), "bias": self.take(name + ".bias", (outputs,))}

    def layer_scale(self, name: str, dim: int) -> Array:
        """A layer scale (dim,); ones where the checkpoint has none."""
        return self.take(name, (dim,)) if name in self.left else np.ones(dim)

    def conv(self, name: str, shape: tuple[int, int, int]) -> dict[str, Array]:
        """A convolution: `weight` (outputs, inputs, taps), `bias` (outputs,).

        Under the old or the new names of weight norm, which is folded, or without it.
        """
        for g_name, v_name in (
            (".weight_g", ".weight_v"),
            (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
        ):
            if name + g_name in self.left or name + v_name in self.left:
                g = self.take(name + g_name, (shape[0], 1, 1))
                weight = _weight_norm(name + v_name, g, self.take(name + v_name, shape))
                break
        else:
            if name + ".weight" not in self.left:
                raise CompileError(f"{name}: neither weight_g and weight_v nor weight is there")
            weight = self.take(name + ".weight", shape)
        return {"weight": weight, "bias": self.take(name + ".bias", shape[:1])}

    def check_istft(self, prefix: str, n_fft: int) -> None:
        """Check that the overlap-add and the window are the usual ones, then drop them."""
        deconv = f"{prefix}overlap_add.deconv.weight"
        if deconv in self.left:
            kernel = self.take(deconv, (n_fft, 1, n_fft))[:, 0]
            if np.count_nonzero(kernel) != n_fft or not np.all(np.diagonal(kernel) == 1):
                row, column = np.argwhere(kernel != np.eye(n_fft))[0]
                value = f"[{row}, 0, {column}] is {kernel[row, column]:g}"
                raise CompileError(f"{deconv}: is no identity, so this is no overlap-add: {value}")
        for name in [name for name in self.left if name.startswith(prefix) and name.endswith("window")]:
            window = self.take(name, (n_fft,))
            hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
            if np.abs(window - hann).max() > 2e-3:  # half a unit in the last place of bfloat16
                raise CompileError(f"{name}: is no periodic Hann window")

    def check_all_taken(self) -> None:
        """Refuse tensors that the network knows nothing of."""
        if self.left:
            raise CompileError(f"{_some(self.left)}: unknown to this model")


def _weight_norm(name: str, g: Array, v: Array) -> Array:
    """g * v / ||v||, the norm over all but the first axis."""
    # Scaled first, so that no square overflows or vanishes
    peak = np.abs(v).max(axis=(1, 2), keepdims=True)
    if not peak.all():
        raise CompileError(f"{name}: channel {np.flatnonzero(peak == 0)[0]} is all zero: its weight norm is undefined")
    v = v / peak
    return _finite(name, g * (v / np.sqrt(np.sum(v * v, axis=(1, 2), keepdims=True))))


def _finite(name: str, array: Array) -> Array:
    """The array, checked to be finite, also in float32."""
    good = np.abs(array) <= _FLOAT_MAX
    if not good.all():
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        what = array[index] if not math.isfinite(array[index]) else f"{array[index]:g}, too large for float32,"
        raise CompileError(f"{name}: holds {what} at {list(index)}")
    return array


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape for people: 512x80x7."""
    return "x".join(map(str, shape)) or "of a scalar"


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
