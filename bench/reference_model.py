"""The Streaming Vocos decoder in plain PyTorch: the yardstick of the bench.

It has the reference's structure and so its costs, those one would optimise away included: weight norm recomputed in
every call, left context kept by concatenation, a residual add that concatenates what is left over from the call
before, permutes between [batch, channels, frames] and [batch, frames, channels], and an overlap-add by a transposed
convolution with a dense n_fft x 1 x n_fft identity. Works with torch 1.13 and 2.x.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NORM_EPS = 1e-6
MAX_MAGNITUDE = 1e2
_IDENTITY = "1.istft.overlap_add.deconv.weight"


def weight_normed(conv: nn.Conv1d) -> nn.Conv1d:
    """Attach weight norm to `conv`, live: w = g * v / ||v|| is recomputed by every forward."""
    with warnings.catch_warnings():
        # Newer torch prefers another form, but the reference's is this one, and its cost is what we compare with.
        warnings.simplefilter("ignore")
        normed: nn.Conv1d = torch.nn.utils.weight_norm(conv)
    return normed


class StatefulModule(nn.Module):  # type: ignore[misc,unused-ignore]
    """A module that may keep something from one chunk for the next."""

    def reset(self) -> None:
        """Forget the utterance: the next chunk is a first one. Reaches every stateful module inside."""
        for module in self.modules():
            if isinstance(module, StatefulModule):
                module.forget()

    def forget(self) -> None:
        """Drop this module's own state."""


class CausalConv(StatefulModule):
    """Convolution over time with k - 1 frames of left context: zeros at first, then the last frames seen."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, groups: int = 1) -> None:
        super().__init__()
        self.context = kernel_size - 1
        self.conv = weight_normed(nn.Conv1d(inputs, outputs, kernel_size, groups=groups))
        self.history: torch.Tensor | None = None

    def forget(self) -> None:
        """Drop the left context."""
        self.history = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, inputs, frames] to [batch, outputs, frames]."""
        first = self.history is None
        x = functional.pad(x, (self.context, 0)) if first else torch.cat([self.history, x], dim=-1)
        self.history = x[..., x.shape[-1] - self.context :]
        y: torch.Tensor = self.conv(x)
        return y


class StatefulAdd(StatefulModule):
    """Sum of two signals of which either may run ahead: frames without a partner wait for the next chunk.

    Here both always keep step, so that what waits is empty; but it is concatenated all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: tuple[torch.Tensor, torch.Tensor] | None = None

    def forget(self) -> None:
        """Drop the frames that wait."""
        self.waiting = None

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """[batch, channels, frames] twice to the sum over the frames that both have."""
        if self.waiting is not None:
            a = torch.cat([self.waiting[0], a], dim=-1)
            b = torch.cat([self.waiting[1], b], dim=-1)
        frames = min(a.shape[-1], b.shape[-1])
        self.waiting = (a[..., frames:], b[..., frames:])
        return a[..., :frames] + b[..., :frames]


class Block(StatefulModule):
    """ConvNeXt block: depthwise convolution, norm, two linears around a GELU, layer scale, residual."""

    def __init__(self, dim: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(dim, dim, kernel_size, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.ones(dim))
        self.add = StatefulAdd()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, dim, frames] to the same shape."""
        y = self.dwconv(x).permute(0, 2, 1)
        y = self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        y = (self.gamma * y).permute(0, 2, 1)
        total: torch.Tensor = self.add(x, y)
        return total


class Backbone(StatefulModule):
    """Embedding, norm, the blocks, final norm."""

    def __init__(self, mels: int, dim: int, hidden: int, kernel_size: int, layers: int) -> None:
        super().__init__()
        self.embed = CausalConv(mels, dim, kernel_size)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList([Block(dim, hidden, kernel_size) for _ in range(layers)])
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """[batch, mels, frames] to [batch, dim, frames]."""
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        y: torch.Tensor = self.final_layer_norm(x.transpose(1, 2)).transpose(1, 2)
        return y


class Synthesis(StatefulModule):
    """Inverse FFT, periodic Hann window, and overlap-add that carries its tail from chunk to chunk."""

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.overlap_add = nn.ConvTranspose1d(n_fft, 1, n_fft, stride=hop_length, bias=False)
        self.overlap_add.weight.data.copy_(torch.eye(n_fft)[:, None, :])
        self.overlap_add.weight.requires_grad_(False)
        self.tail: torch.Tensor | None = None

    def forget(self) -> None:
        """Drop the overlap."""
        self.tail = None

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Complex [batch, n_fft / 2 + 1, frames] to audio [batch, frames * hop_length]."""
        ready = spectrum.shape[-1] * self.hop_length
        frames = torch.fft.irfft(spectrum.transpose(1, 2), n=self.n_fft) * self.window
        audio: torch.Tensor = self.overlap_add(frames.transpose(1, 2)).squeeze(1)
        if self.tail is not None:
            audio[:, : self.n_fft - self.hop_length] += self.tail
        self.tail = audio[:, ready:]
        return audio[:, :ready]


class Head(StatefulModule):
    """Linear layer to log-magnitude and phase, and the synthesis from them."""

    def __init__(self, dim: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.synthesis = Synthesis(n_fft, hop_length)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, dim, frames] to audio [batch, 1, frames * hop_length]."""
        log_magnitude, phase = self.out(x.transpose(1, 2)).transpose(1, 2).chunk(2, dim=1)
        magnitude = torch.clip(torch.exp(log_magnitude), max=MAX_MAGNITUDE)
        spectrum = magnitude * (torch.cos(phase) + 1j * torch.sin(phase))
        audio: torch.Tensor = self.synthesis(spectrum).unsqueeze(1)
        return audio


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder. All in elements, but hop_length and n_fft in samples."""

    mels: int
    dim: int
    hidden: int
    kernel_size: int
    layers: int
    n_fft: int
    hop_length: int


class Decoder(StatefulModule):
    """Log-mel to audio. One call is one chunk of the utterance begun by the last `reset`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.backbone = Backbone(shape.mels, shape.dim, shape.hidden, shape.kernel_size, shape.layers)
        self.head = Head(shape.dim, shape.n_fft, shape.hop_length)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """[batch, mels, frames] to audio [batch, 1, frames * hop_length]; frames >= 1."""
        audio: torch.Tensor = self.head(self.backbone(mel))
        return audio


def _parameter_name(key: str) -> str:
    """Our parameter's name for a decoder tensor's name in a checkpoint, without its `decoder.`."""
    key = key.replace(".parametrizations.weight.original0", ".weight_g")
    key = key.replace(".parametrizations.weight.original1", ".weight_v")
    key = key.replace(".conv.conv.", ".conv.")
    return key.replace("0.", "backbone.", 1) if key.startswith("0.") else key.replace("1.", "head.", 1)


def build_decoder(tensors: Mapping[str, np.ndarray[Any, Any]], hop_length: int) -> Decoder:
    """A decoder in float32, in evaluation mode, with a checkpoint's weights.

    `tensors` holds the decoder's tensors under their names in the file (`decoder.0...`, `decoder.1...`).
    Raises KeyError if one is missing, RuntimeError if one is left over or of the wrong shape.
    """
    state = {
        _parameter_name(key.removeprefix("decoder.")): torch.from_numpy(np.array(value, dtype=np.float32))
        for key, value in tensors.items()
        if key.removeprefix("decoder.") != _IDENTITY
    }
    embed, expand = state["backbone.embed.conv.weight_v"], state["backbone.convnext.0.pwconv1.weight"]
    shape = Shape(
        mels=embed.shape[1],
        dim=embed.shape[0],
        hidden=expand.shape[0],
        kernel_size=embed.shape[2],
        layers=sum(key.endswith(".pwconv1.weight") for key in state),
        n_fft=state["head.out.weight"].shape[0] - 2,
        hop_length=hop_length,
    )
    decoder = Decoder(shape)
    missing, unexpected = decoder.load_state_dict(state, strict=False)
    # A block may lack its layer scale, which then is 1; the overlap-add's identity we made ourselves.
    missing = [key for key in missing if not key.endswith((".gamma", ".overlap_add.weight"))]
    if missing or unexpected:
        raise RuntimeError(f"decoder tensors missing: {missing}; not known: {unexpected}")
    decoder.eval()
    return decoder
