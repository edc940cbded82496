"""The Streaming Vocos decoder in plain PyTorch: what is trained, and the yardstick of the bench.

Chunk by chunk it has the reference's structure and so its costs, those one would optimise away included: weight norm
recomputed in every call, left context kept by concatenation, a residual add that concatenates what is left over from
the call before, permutes between [batch, channels, frames] and [batch, frames, channels], and an overlap-add by a
transposed convolution with a dense n_fft x 1 x n_fft identity. Its parameters bear the names that they have in a
checkpoint, less the `decoder.` in front. Works with torch 1.13 and 2.x, and needs nothing else.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from train.rounding import Rounding

NORM_EPS = 1e-6
MAX_MAGNITUDE = 1e2
INITIAL_STD = 0.02
_IDENTITY = "1.istft.overlap_add.deconv.weight"


class NormedConv(nn.Module):  # type: ignore[misc,unused-ignore]
    """Convolution over time with live weight norm: w = g * v / ||v|| is recomputed by every forward."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(inputs, outputs, kernel_size, groups=groups)
        nn.init.trunc_normal_(conv.weight, std=INITIAL_STD)
        nn.init.zeros_(conv.bias)
        with warnings.catch_warnings():
            # Newer torch prefers another form, but the reference's is this one, and its cost is what we compare with.
            warnings.simplefilter("ignore")
            self.conv: nn.Conv1d = torch.nn.utils.weight_norm(conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, inputs, frames] to [batch, outputs, frames - kernel_size + 1]."""
        y: torch.Tensor = self.conv(x)
        return y


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer as it is before training."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
    nn.init.zeros_(layer.bias)
    return layer


class StatefulModule(nn.Module):  # type: ignore[misc,unused-ignore]
    """A module that may keep something from one chunk for the next."""

    def reset(self) -> None:
        """Forget the utterance: the next chunk is a first one. Reaches every stateful module inside."""
        for module in self.modules():
            if isinstance(module, StatefulModule):
                module.forget()

    def forget(self) -> None:
        """Drop this module's own state."""


class StreamingConv(StatefulModule):
    """Convolution over time with `lookahead` frames of right context, and k - 1 - lookahead of left context.

    To the left of the utterance are zeros. Its output lags `lookahead` frames behind its input: the first call gives
    as many frames fewer.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, groups: int = 1, lookahead: int = 0) -> None:
        super().__init__()
        self.context, self.lookahead = kernel_size - 1, lookahead
        self.conv = NormedConv(inputs, outputs, kernel_size, groups)
        self.history: torch.Tensor | None = None

    def forget(self) -> None:
        """Drop the left context."""
        self.history = None

    def forward(self, x: torch.Tensor, last: bool = False) -> torch.Tensor:
        """[batch, inputs, frames] to [batch, outputs, frames], less what lags; after the `last` frames come zeros."""
        first = self.history is None
        left = self.context - self.lookahead
        x = functional.pad(x, (left, 0)) if first else torch.cat([self.history, x], dim=-1)
        if last and self.lookahead:
            x = functional.pad(x, (0, self.lookahead))
        self.history = x[..., x.shape[-1] - self.context :]
        y: torch.Tensor = self.conv(x)
        return y


class StatefulAdd(StatefulModule):
    """Sum of two signals of which either may run ahead: frames without a partner wait for the next chunk.

    In causal blocks both always keep step, so that what waits is empty; but it is concatenated all the same.
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

    def __init__(self, dim: int, hidden: int, kernel_size: int, layer_scale: float, lookahead: int = 0) -> None:
        super().__init__()
        self.dwconv = StreamingConv(dim, dim, kernel_size, dim, lookahead)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pwconv1 = linear(dim, hidden)
        self.act = nn.GELU()
        self.pwconv2 = linear(hidden, dim)
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale))
        self.add = StatefulAdd()
        self.rounding: Rounding | None = None  # of the two linears' weights

    def forward(self, x: torch.Tensor, last: bool = False) -> torch.Tensor:
        """[batch, dim, frames] to the same shape, less what lags."""
        y = self.dwconv(x, last).permute(0, 2, 1)
        y = self._linears(y) if self.rounding is None else self._rounded_linears(y, self.rounding)
        y = (self.gamma * y).permute(0, 2, 1)
        total: torch.Tensor = self.add(x, y)
        return total

    def _linears(self, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return found

    def _rounded_linears(self, y: torch.Tensor, rounding: Rounding) -> torch.Tensor:
        """The norm's scale goes into the first weights before they are rounded, as in the compiler."""
        y = functional.layer_norm(y, self.norm.normalized_shape, eps=NORM_EPS)
        bias = self.pwconv1.bias + self.pwconv1.weight @ self.norm.bias
        y = functional.linear(y, rounding(self.pwconv1.weight * self.norm.weight), bias)
        found: torch.Tensor = functional.linear(self.act(y), rounding(self.pwconv2.weight), self.pwconv2.bias)
        return found


class Backbone(StatefulModule):
    """Embedding, norm, the blocks, final norm."""

    def __init__(self, shape: "Shape", layer_scale: float) -> None:
        super().__init__()
        dim = shape.dim
        first, *others = shape.lookaheads
        self.embed = StreamingConv(shape.mels, dim, shape.kernel_size, lookahead=first)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList(
            [Block(dim, shape.hidden, shape.kernel_size, layer_scale, frames) for frames in others]
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, mel: torch.Tensor, last: bool = False) -> torch.Tensor:
        """[batch, mels, frames] to [batch, dim, frames], less what lags; `last`: the utterance ends here."""
        x = self.norm(self.embed(mel, last).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x, last)
        y: torch.Tensor = self.final_layer_norm(x.transpose(1, 2)).transpose(1, 2)
        return y


class OverlapAdd(StatefulModule):
    """Overlap-add that carries its tail from chunk to chunk."""

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.deconv = nn.ConvTranspose1d(n_fft, 1, n_fft, stride=hop_length, bias=False)
        self.deconv.weight.data.copy_(torch.eye(n_fft)[:, None, :])
        self.deconv.weight.requires_grad_(False)
        self.tail: torch.Tensor | None = None

    def forget(self) -> None:
        """Drop the overlap."""
        self.tail = None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Windowed frames [batch, n_fft, frames] to audio [batch, frames * hop_length]."""
        ready = frames.shape[-1] * self.hop_length
        audio: torch.Tensor = self.deconv(frames).squeeze(1)
        if self.tail is not None:
            audio[:, : self.n_fft - self.hop_length] += self.tail
        self.tail = audio[:, ready:]
        return audio[:, :ready]

    def whole(self, frames: torch.Tensor) -> torch.Tensor:
        """As `forward` of a whole utterance, tail included: [batch, (frames - 1) * hop_length + n_fft].

        By shifted sums in place of the dense product, as training wants it.
        """
        batch, _, count = frames.shape
        pieces = -(-self.n_fft // self.hop_length)  # of a hop each, that a frame reaches over
        padded = functional.pad(frames.transpose(1, 2), (0, pieces * self.hop_length - self.n_fft))
        hops = padded.reshape(batch, count, pieces, self.hop_length)
        audio = sum(functional.pad(hops[:, :, i], (0, 0, i, pieces - 1 - i)) for i in range(pieces))
        assert isinstance(audio, torch.Tensor)
        return audio.reshape(batch, -1)[:, : (count - 1) * self.hop_length + self.n_fft]


class Synthesis(StatefulModule):
    """Inverse FFT, periodic Hann window, overlap-add."""

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.overlap_add = OverlapAdd(n_fft, hop_length)

    def frames(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Complex [batch, n_fft / 2 + 1, frames] to windowed frames [batch, n_fft, frames]."""
        frames: torch.Tensor = torch.fft.irfft(spectrum.transpose(1, 2), n=self.n_fft) * self.window
        return frames.transpose(1, 2)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Complex [batch, n_fft / 2 + 1, frames] to audio [batch, frames * hop_length]."""
        audio: torch.Tensor = self.overlap_add(self.frames(spectrum))
        return audio


class Head(StatefulModule):
    """Linear layer to log-magnitude and phase, and the synthesis from them."""

    def __init__(self, dim: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.out = linear(dim, n_fft + 2)
        self.istft = Synthesis(n_fft, hop_length)

    def spectrum(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, dim, frames] to complex [batch, n_fft / 2 + 1, frames]."""
        log_magnitude, phase = self.out(x.transpose(1, 2)).transpose(1, 2).chunk(2, dim=1)
        magnitude = torch.clip(torch.exp(log_magnitude), max=MAX_MAGNITUDE)
        return magnitude * (torch.cos(phase) + 1j * torch.sin(phase))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, dim, frames] to audio [batch, 1, frames * hop_length]."""
        audio: torch.Tensor = self.istft(self.spectrum(x)).unsqueeze(1)
        return audio

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """As `forward` of a whole utterance, tail included: audio [batch, (frames - 1) * hop_length + n_fft]."""
        return self.istft.overlap_add.whole(self.istft.frames(self.spectrum(x)))


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder. All in elements, but hop_length and n_fft in samples, and look-ahead in frames."""

    mels: int
    dim: int
    hidden: int
    kernel_size: int
    layers: int
    n_fft: int
    hop_length: int
    lookahead_frames: int = 0  # of the whole decoder

    @property
    def lookaheads(self) -> list[int]:
        """Of each convolution, the embedding first; the earliest take as much as they can.

        Raises ValueError for more than all convolutions can take, each up to half of what it sees beside its frame.
        """
        most, left, taken = (self.kernel_size - 1) // 2, self.lookahead_frames, []
        if not 0 <= left <= most * (1 + self.layers):
            raise ValueError(f"lookahead_frames {left}: these convolutions can take 0 to {most * (1 + self.layers)}")
        for _ in range(1 + self.layers):
            taken.append(min(most, left))
            left -= taken[-1]
        return taken


class Decoder(StatefulModule):
    """Log-mel to audio. One call is one chunk of the utterance begun by the last `reset`."""

    def __init__(self, shape: Shape, layer_scale: float = 1.0) -> None:
        super().__init__()
        self.shape = shape
        # Numbers for names, as in the checkpoints
        self.add_module("0", Backbone(shape, layer_scale))
        self.add_module("1", Head(shape.dim, shape.n_fft, shape.hop_length))

    @property
    def backbone(self) -> Backbone:
        """From log-mel to what the head sees."""
        backbone: Backbone = self.get_submodule("0")
        return backbone

    @property
    def head(self) -> Head:
        """From there to audio."""
        head: Head = self.get_submodule("1")
        return head

    def forward(self, mel: torch.Tensor, last: bool = False) -> torch.Tensor:
        """[batch, mels, frames] to audio [batch, 1, frames * hop_length], less what lags unless they are the `last`."""
        audio: torch.Tensor = self.head(self.backbone(mel, last))
        return audio

    def utterance(self, mel: torch.Tensor) -> torch.Tensor:
        """Whole utterances: [batch, mels, frames] to audio [batch, (frames - 1) * hop_length + n_fft], tail included.

        The audio lags behind what the mel was taken from by n_fft - hop_length samples, so that the tail is the end
        of it.
        """
        self.reset()
        audio = self.head.whole(self.backbone(mel, last=True))
        self.reset()
        return audio


def build_decoder(tensors: Mapping[str, np.ndarray[Any, Any]], hop_length: int, lookahead_frames: int = 0) -> Decoder:
    """A decoder in float32, in evaluation mode, with a checkpoint's weights.

    `tensors` holds the decoder's tensors under their names in the file (`decoder.0...`, `decoder.1...`).
    Or it holds those of Vocos as its authors publish it (`backbone...`, `head.out`).
    Raises KeyError if one is missing, RuntimeError if one is left over or of the wrong shape.
    """
    state = {}
    for key, value in (_of_vocos(tensors, hop_length) if "backbone.embed.weight" in tensors else tensors).items():
        # Newer names of weight norm's pair
        name = key.removeprefix("decoder.").replace(".parametrizations.weight.original0", ".weight_g")
        name = name.replace(".parametrizations.weight.original1", ".weight_v")
        state[name] = torch.from_numpy(np.array(value, dtype=np.float32))
    state.pop(_IDENTITY, None)
    embed, expand = state["0.embed.conv.conv.weight_v"], state["0.convnext.0.pwconv1.weight"]
    shape = Shape(
        mels=embed.shape[1],
        dim=embed.shape[0],
        hidden=expand.shape[0],
        kernel_size=embed.shape[2],
        layers=sum(key.endswith(".pwconv1.weight") for key in state),
        n_fft=state["1.out.weight"].shape[0] - 2,
        hop_length=hop_length,
        lookahead_frames=lookahead_frames,
    )
    decoder = Decoder(shape)
    missing, unexpected = decoder.load_state_dict(state, strict=False)
    # A block may lack its layer scale, which then is 1; the overlap-add's identity we made ourselves.
    missing = [key for key in missing if not key.endswith((".gamma", ".overlap_add.deconv.weight"))]
    if missing or unexpected:
        raise RuntimeError(f"decoder tensors missing: {missing}; not known: {unexpected}")
    decoder.eval()
    return decoder


def _of_vocos(tensors: Mapping[str, np.ndarray[Any, Any]], hop_length: int) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of gemelo-ai/vocos under our names, with weight norm.

    Its overlap-add is divided by the sum of the squared windows, 3 / 8 * n_fft / hop but for the ends, ours is not: the
    log-magnitudes become smaller by as much.
    """
    state = {}
    for key, value in tensors.items():
        name = key.replace("backbone.", "decoder.0.", 1).replace("head.", "decoder.1.", 1)
        name = re.sub(r"\.(embed|dwconv)\.(weight|bias)$", r".\1.conv.conv.\2", name)
        if name.endswith(".conv.conv.weight"):
            state[f"{name}_v"] = value
            state[f"{name}_g"] = np.sqrt(np.square(value).sum(axis=(1, 2), keepdims=True))
        else:
            state[name] = value
    bias = np.array(state["decoder.1.out.bias"], np.float32)
    n_fft = len(bias) - 2
    bias[: n_fft // 2 + 1] -= np.log(3 / 8 * n_fft / hop_length)
    return {**state, "decoder.1.out.bias": bias}
