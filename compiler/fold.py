"""Folds what can be computed at build time into the tensors that the kernels multiply with.

The LayerNorm's scale and shift go into the linear layer after it, the layer scale into the block's second linear layer
(weight norm went into the convolutions when the model was read). All sums are float64; the result is rounded once.
The embedding's norm feeds the residual stream, not a linear layer, so its scale and shift stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.model import Config, Linear, Model, Norm

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Product:
    """A matrix product with bias: y [outputs] = bias + weight [inputs, outputs] transposed times x [inputs]."""

    weight: Float32
    bias: Float32


@dataclass(frozen=True)
class FoldedBlock:
    """conv [1 + taps, dim]: bias, then the taps, oldest first; expand dim -> hidden; contract hidden -> dim."""

    conv: Float32
    expand: Product
    contract: Product


@dataclass(frozen=True)
class Folded:
    """The whole network as the kernels see it. embed's inputs are ordered [tap, mel], oldest tap first."""

    config: Config
    embed: Product
    embed_norm: Float32  # [2, dim]: scale, shift
    blocks: tuple[FoldedBlock, ...]
    magnitude: Product  # dim -> bins, log-magnitude
    phase: Product  # dim -> bins, radians


def fold(model: Model) -> Folded:
    """Folds a checked model; see the module's text."""
    taps_first = model.embed.weight.transpose(2, 1, 0).reshape(-1, model.config.dim)
    blocks = tuple(
        FoldedBlock(
            conv=_round(np.concatenate([block.conv.bias[None], block.conv.weight[:, 0, :].T])),
            expand=_after_norm(block.expand, block.norm),
            contract=_product(block.contract.weight * block.scale[:, None], block.contract.bias * block.scale),
        )
        for block in model.blocks
    )
    head = _after_norm(model.head, model.final_norm)
    bins = model.config.n_fft // 2 + 1
    return Folded(
        config=model.config,
        embed=Product(_round(taps_first), _round(model.embed.bias)),
        embed_norm=_round(np.stack([model.embed_norm.weight, model.embed_norm.bias])),
        blocks=blocks,
        magnitude=Product(head.weight[:, :bins], head.bias[:bins]),
        phase=Product(head.weight[:, bins:], head.bias[bins:]),
    )


def _after_norm(linear: Linear, norm: Norm) -> Product:
    """W (n * scale + shift) + b = (W * scale) n + (W shift + b)."""
    return _product(linear.weight * norm.weight, linear.weight @ norm.bias + linear.bias)


def _product(weight: Float64, bias: Float64) -> Product:
    return Product(_round(weight.T), _round(bias))


def _round(values: Float64) -> Float32:
    return np.ascontiguousarray(values, dtype=np.float32)
