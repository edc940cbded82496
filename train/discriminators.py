"""Critics of audio: by periods of the waveform (Kong et al., HiFi-GAN, 2020) and by spectra at several resolutions
(Jang et al., UnivNet, 2021; over bands, as in Kumar et al., 2023).
"""

import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (512, 1024, 2048)
BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
SLOPE = 0.1


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conv: nn.Module = torch.nn.utils.weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))
    return conv


class PeriodDiscriminator(nn.Module):  # type: ignore[misc,unused-ignore]
    """Looks at every `period`-th sample."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        sizes = [1, channels, 4 * channels, 16 * channels, 32 * channels]
        convs = [_conv(a, b, (5, 1), (3, 1)) for a, b in pairwise(sizes)]
        self.convs = nn.ModuleList([*convs, _conv(sizes[-1], sizes[-1], (5, 1))])
        self.verdict = _conv(sizes[-1], 1, (3, 1))

    def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """[batch, samples] to the outputs of the layers, the verdict last."""
        audio = functional.pad(audio[:, None], (0, -audio.shape[-1] % self.period), mode="reflect")[:, 0]
        x = audio.reshape(len(audio), 1, -1, self.period)
        maps = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), SLOPE)
            maps.append(x)
        return [*maps, self.verdict(x)]


class ResolutionDiscriminator(nn.Module):  # type: ignore[misc,unused-ignore]
    """Looks at the complex spectrum under one window length, band by band."""

    window: torch.Tensor

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        bins = n_fft // 2 + 1
        self.edges = [int(band * bins) for band in BANDS]

        def stack() -> nn.ModuleList:
            first = _conv(2, channels, (3, 9))
            strided = [_conv(channels, channels, (3, 9), (1, 2)) for _ in range(3)]
            return nn.ModuleList([first, *strided, _conv(channels, channels, (3, 3))])

        self.bands = nn.ModuleList([stack() for _ in self.edges[1:]])
        self.verdict = _conv(channels, 1, (3, 3))

    def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """[batch, samples] to the outputs of the layers, the verdict last."""
        # In float32 always: PyTorch 2.15's gradients of narrow bfloat16 convolutions hold what memory held before
        with torch.autocast(audio.device.type, enabled=False):
            return self._forward(audio.float())

    def _forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        hop = self.n_fft // 4
        spectrum = torch.stft(audio, self.n_fft, hop, window=self.window, center=True, return_complex=True)
        image = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [batch, re and im, frames, bins]
        maps, ends = [], []
        for low, high, convs in zip(self.edges[:-1], self.edges[1:], self.bands, strict=True):
            x = image[..., low:high]
            for conv in convs:
                x = functional.leaky_relu(conv(x), SLOPE)
                maps.append(x)
            ends.append(x)
        return [*maps, self.verdict(torch.cat(ends, dim=-1))]


class Discriminators(nn.Module):  # type: ignore[misc,unused-ignore]
    """All of them. `period_channels` 32 and `resolution_channels` 32 are the published widths."""

    def __init__(
        self,
        period_channels: int = 32,
        resolution_channels: int = 32,
        periods: Sequence[int] = PERIODS,
        resolutions: Sequence[int] = RESOLUTIONS,
    ) -> None:
        super().__init__()
        self.by_period = nn.ModuleList([PeriodDiscriminator(period, period_channels) for period in periods])
        self.by_resolution = nn.ModuleList([ResolutionDiscriminator(size, resolution_channels) for size in resolutions])

    def forward(self, audio: torch.Tensor, draw: int | None = None) -> list[list[torch.Tensor]]:
        """[batch, samples] to the maps of each, or, with `draw`, a number, of one of each kind, in turn."""
        critics = [*self.by_period, *self.by_resolution]
        if draw is not None:
            critics = [kind[draw % len(kind)] for kind in (self.by_period, self.by_resolution) if len(kind)]
        return [[x.float() for x in critic(audio)] for critic in critics]
