"""Plans the real FFTs as a straight line of Stockham passes, without permutation, branch or run-time plan.

A complex transform of length n = r1 r2 ... is done in one pass per radix, from one buffer to the other. Pass i, with
stride s = r1 ... r(i-1) and m = n / (s ri), does for p < m, q < s (Van Loan, "Computational Frameworks for the Fast
Fourier Transform", 1992, section 1.7):

    y[q + s (ri p + k)] = w^(p k) sum_j x[q + s (p + m j)] e^(+-2 pi i j k / ri),   w = e^(+-2 pi i / (ri m))

A real transform of even length N is a complex one of N / 2 with one more pass (the split radix-2 step between the
halves' spectra); one of odd length is a complex one of N whose other half is Hermitian or zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError

RADICES = (4, 5, 3, 2)


@dataclass(frozen=True)
class Pass:
    """One Stockham pass: `groups` (p < m) of `columns` (q < s) butterflies of `radix` inputs."""

    radix: int
    groups: int
    columns: int
    twiddles: int  # where this pass's twiddles begin: [groups][radix - 1] complex; none if groups == 1


@dataclass(frozen=True)
class RealFft:
    """A real transform of `length` samples over a complex one of `complex_length`."""

    length: int
    complex_length: int
    passes: tuple[Pass, ...]
    cosines: NDArray[np.float32]  # the passes' twiddles e^(+2 pi i ...), real parts, each as [radix - 1][groups]
    sines: NDArray[np.float32]
    half_cosines: NDArray[np.float32]  # e^(+2 pi i k / length) for k < complex_length; empty if length is odd
    half_sines: NDArray[np.float32]

    @property
    def is_even(self) -> bool:
        """Whether two real samples share a complex one."""
        return self.length % 2 == 0


def factorise(length: int) -> list[int]:
    """The radices of a transform, in the order of the passes. Raises CompileError if a factor is not 2, 3 or 5."""
    radices = []
    rest = length
    for radix in RADICES:
        while rest % radix == 0:
            radices.append(radix)
            rest //= radix
    if rest != 1:
        raise CompileError(f"n_fft: cannot factor an FFT of length {length}: {rest} is left over 2, 3 and 5")
    return radices or [1]


def plan_real_fft(length: int) -> RealFft:
    """Plans the passes and tables of a real transform, forward or inverse (the forward one negates the sines)."""
    complex_length = length // 2 if length % 2 == 0 else length
    passes = []
    angles: list[NDArray[np.float64]] = []
    stride, offset = 1, 0
    for radix in factorise(complex_length):
        groups = complex_length // (stride * radix)
        passes.append(Pass(radix, groups, stride, offset))
        if groups > 1:
            k = np.arange(1, radix)[:, None]
            p = np.arange(groups)[None, :]
            turn = (p * k % (radix * groups)) / (radix * groups)
            angles.append(turn.ravel())
            offset += turn.size
        stride *= radix
    turns = np.concatenate(angles) if angles else np.zeros(0)
    half = np.arange(complex_length) / length if length % 2 == 0 else np.zeros(0)
    return RealFft(
        length=length,
        complex_length=complex_length,
        passes=tuple(passes),
        cosines=_cosines(turns),
        sines=_cosines(turns - 0.25),
        half_cosines=_cosines(half),
        half_sines=_cosines(half - 0.25),
    )


def _cosines(turns: NDArray[np.float64]) -> NDArray[np.float32]:
    """cos(2 pi t), exact at quarter turns."""
    quarters = np.round(turns * 4)
    exact = np.isclose(turns * 4, quarters, rtol=0, atol=1e-12)
    values = np.cos(2 * np.pi * turns)
    values[exact] = np.array([1.0, 0.0, -1.0, 0.0])[quarters[exact].astype(int) % 4]
    return values.astype(np.float32)
