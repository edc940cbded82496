"""Weights as the compiler's integer formats round them, so that training learns to live with it."""

from typing import NamedTuple

import torch
from torch.nn import functional


class Rounding(NamedTuple):
    """A number format of weights: integers from -largest to largest, a scale for so many inputs of each output."""

    largest: int
    group: int | None  # None: all inputs

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """[outputs, inputs], rounded; the gradient passes as if it were not (Y. Bengio et al., arXiv 1308.3432)."""
        outputs, inputs = weight.shape
        group = self.group or inputs
        groups = functional.pad(weight.detach(), (0, -inputs % group)).view(outputs, -1, group)
        scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-30) / self.largest
        rounded = ((groups / scale).round() * scale).view(outputs, -1)[:, :inputs]
        return weight + (rounded - weight).detach()


ROUNDINGS = {"w8": Rounding(127, None), "w8a8": Rounding(127, None), "w4": Rounding(7, 32)}
"""By the compiler's name of the format; w8a8's rows are not rounded here."""
