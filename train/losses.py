"""The front end and the losses, differentiable: log-mel, multi-scale log-mel and STFT distances, adversarial terms."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from compiler.mel import mel_filters

Maps = Sequence[Sequence[torch.Tensor]]
"""Of each discriminator the outputs of its layers; the last is its verdict."""

POWER_FLOOR = 1e-6
MEL_FLOOR = 1e-5
SCALES = tuple(zip((32, 64, 128, 256, 512, 1024, 2048), (5, 10, 20, 40, 80, 160, 320), strict=True))
"""Window lengths in samples, and mel bands, of the multi-scale distance."""
GROUPS = ((0, 1, 2), (3, 4), (5, 6))
"""Scales that are alike, by index."""


class Magnitudes(nn.Module):  # type: ignore[misc,unused-ignore]
    """Magnitudes of the short-time Fourier transform under a periodic Hann window."""

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_length: int, floor: float, center: bool) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.floor, self.center = n_fft, hop_length, floor, center
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """[batch, samples] to sqrt(re^2 + im^2 + floor), [batch, n_fft / 2 + 1, frames]."""
        spectrum = torch.stft(
            audio,
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=self.center,
            pad_mode="reflect",
            return_complex=True,
        )
        real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        return torch.sqrt(real * real + imaginary * imaginary + self.floor)


def _filters(sample_rate: int, n_fft: int, n_mels: int) -> torch.Tensor:
    return torch.from_numpy(mel_filters(sample_rate, n_fft, n_mels, 0.0, sample_rate / 2)).float()


class LogMel(nn.Module):  # type: ignore[misc,unused-ignore]
    """The model's front end: frame t is of the n_fft samples that end with sample (t + 1) * hop_length."""

    filters: torch.Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop_length: int, n_mels: int) -> None:
        super().__init__()
        self.padding, self.hop_length = n_fft - hop_length, hop_length
        self.magnitudes = Magnitudes(n_fft, hop_length, POWER_FLOOR, center=False)
        self.register_buffer("filters", _filters(sample_rate, n_fft, n_mels), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """[batch, samples] to [batch, n_mels, ceil(samples / hop_length)]; silence before and after."""
        audio = functional.pad(audio, (self.padding, -audio.shape[-1] % self.hop_length))
        return torch.log(torch.clamp(self.filters @ self.magnitudes(audio), min=MEL_FLOOR))


class LogMelScale(nn.Module):  # type: ignore[misc,unused-ignore]
    """One scale of the multi-scale distance: log10 mel magnitudes."""

    filters: torch.Tensor

    def __init__(self, sample_rate: int, window: int, mels: int) -> None:
        super().__init__()
        self.magnitudes = Magnitudes(window, window // 4, 1e-12, center=True)
        self.register_buffer("filters", _filters(sample_rate, window, mels), persistent=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """[batch, samples] to [batch, mels, frames]."""
        return torch.log10(torch.clamp(self.filters @ self.magnitudes(audio), min=MEL_FLOOR))


class MultiScaleMel(nn.Module):  # type: ignore[misc,unused-ignore]
    """Sum over SCALES of the mean difference of log10 mel magnitudes; hops are quarters of the windows.

    This distance is the loss, and, of whole files, the measure that the bench and the model card state.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([LogMelScale(sample_rate, window, mels) for window, mels in SCALES])

    def forward(self, audio: torch.Tensor, target: torch.Tensor, draw: int | None = None) -> torch.Tensor:
        """[batch, samples] twice to one number.

        With `draw`, a number, an estimate from three scales in place of seven: one of each of GROUPS, weighed by the
        group's size. Over any six draws in a row every scale of a group takes part equally often.
        """
        terms = []
        for group in GROUPS:
            chosen, weight = (group, 1) if draw is None else ((group[draw % len(group)],), len(group))
            for index in chosen:
                scale = self.scales[index]
                with torch.no_grad():
                    wanted = scale(target)
                terms.append(weight * functional.l1_loss(scale(audio), wanted))
        return torch.stack(terms).sum()


class MultiScaleStft(nn.Module):  # type: ignore[misc,unused-ignore]
    """Mean over windows of 512, 1024 and 2048 of L1 distances of magnitudes and of their log10."""

    def __init__(self) -> None:
        super().__init__()
        self.transforms = nn.ModuleList([Magnitudes(size, size // 4, 1e-12, center=True) for size in (512, 1024, 2048)])

    def forward(self, audio: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """[batch, samples] twice to one number."""
        terms = []
        for transform in self.transforms:
            ours, wanted = transform(audio), transform(target)
            logs = [torch.log10(torch.clamp(x, min=MEL_FLOOR)) for x in (ours, wanted)]
            terms.append(functional.l1_loss(ours, wanted) + functional.l1_loss(*logs))
        return torch.stack(terms).mean()


class PhaseSlopes(nn.Module):  # type: ignore[misc,unused-ignore]
    """How differently phases go on from bin to bin of the spectra: mean of 1 - cos, strong bins first.

    Along `FRAMES` that is 2 pi times frequency times hop, wherever in time the periods lie, so that a model which sees
    magnitudes alone can get it right: with it, overlapping frames add up to steady harmonics. Along `BINS` it is the
    group delay: where in the window the energy lies. Windows of 512 and 1024, hops of 160 and 320; bins weigh the
    square root of their magnitude.
    """

    BINS, FRAMES = 1, 2

    def __init__(self, along: int = FRAMES) -> None:
        super().__init__()
        self.along = along
        self.sizes = ((512, 160), (1024, 320))
        for size, _ in self.sizes:
            self.register_buffer(f"window{size}", torch.hann_window(size), persistent=False)

    def forward(self, audio: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """[batch, samples] twice to one number, from 0 to 2; about 1 for phases at random."""
        terms = []
        for size, hop in self.sizes:
            window = self.get_buffer(f"window{size}")
            ours, theirs = (self._slopes(audio, size, hop, window), self._slopes(target, size, hop, window))
            ours_re, ours_im = torch.view_as_real(ours).unbind(-1)
            theirs_re, theirs_im = torch.view_as_real(theirs).unbind(-1)
            energy = theirs.abs()
            length = torch.sqrt(ours_re * ours_re + ours_im * ours_im + 1e-12) * (energy + 1e-6)
            cosine = (ours_re * theirs_re + ours_im * theirs_im) / length
            weight = energy.pow(0.25)
            terms.append((weight * (1 - cosine)).sum() / (weight.sum() + 1e-6))
        return torch.stack(terms).mean()

    def _slopes(self, audio: torch.Tensor, size: int, hop: int, window: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(audio, size, hop, window=window, center=False, return_complex=True)
        count = spectrum.shape[self.along] - 1
        return spectrum.narrow(self.along, 1, count) * spectrum.narrow(self.along, 0, count).conj()


def discriminator_loss(real: Maps, fake: Maps) -> torch.Tensor:
    """Least squares (Mao et al., 2017): verdicts on the recording towards 1, on the model's audio towards 0."""
    terms = [(1 - r[-1]).square().mean() + f[-1].square().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def generator_loss(fake: Maps) -> torch.Tensor:
    """Least squares: verdicts on the model's audio towards 1."""
    return torch.stack([(1 - maps[-1]).square().mean() for maps in fake]).mean()


def feature_loss(real: Maps, fake: Maps) -> torch.Tensor:
    """Feature matching (Kumar et al., 2019): mean L1 between the discriminators' inner layers."""
    terms = []
    for ours, theirs in zip(fake, real, strict=True):
        terms += [functional.l1_loss(f, r.detach()) for f, r in zip(ours[:-1], theirs[:-1], strict=True)]
    return torch.stack(terms).mean()
