"""The sizes of a checkpoint's model, from its shapes and hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checkpoint import PREFIX, Checkpoint
from .errors import CompileError, one_line
from .tensors import shape_text

_EMBED = PREFIX + "0.embed.conv.conv"
_BLOCK = PREFIX + "0.convnext."
_HEAD = PREFIX + "1.out"
_DECONV = PREFIX + "1.istft.overlap_add.deconv.weight"

# Hyper-parameters: the names of Config, and where the reference keeps them
_PLACES: dict[str, tuple[str, ...]] = {
    "sample_rate": ("vocoder_feature_args.sample_rate", "sample_rate"),
    "n_fft": ("istft_head_args.n_fft", "vocoder_feature_args.n_fft", "vocoder_feature_args.win_length"),
    "hop_length": ("istft_head_args.hop_length", "vocoder_feature_args.hop_length"),
    "f_min": ("vocoder_feature_args.f_min",),
    "f_max": ("vocoder_feature_args.f_max",),
    "n_mels": ("vocoder_args.input_channels", "vocoder_feature_args.n_mels"),
    "dim": ("vocoder_args.dim", "istft_head_args.dim"),
    "mlp_ratio": ("vocoder_args.mlp_ratio",),
    "kernel_size": ("vocoder_args.kernel_size",),
    "num_layers": ("vocoder_args.num_layers",),
}
_OVERRIDES = ("sample_rate", "hop_length", "n_fft", "f_min", "f_max")
_REAL = ("f_min", "f_max", "mlp_ratio")


@dataclass(frozen=True)
class Config:
    """The sizes of a model. Frequencies in Hz; `hidden` is the width inside a block; `n_fft` is the window's length."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    dim: int
    hidden: int
    kernel_size: int
    num_layers: int
    f_min: float
    f_max: float


def read_config(checkpoint: Checkpoint, overrides: Mapping[str, int | float]) -> Config:
    """The sizes, from the shapes and the hyper-parameters, checked against each other.

    The hyper-parameters say what the shapes cannot (n_fft where odd, hop, sample rate, mel range) and must agree with
    what they can. `overrides` win: sample_rate, hop_length, n_fft, f_min, f_max. Raises CompileError.
    """
    return _Reader(checkpoint, overrides).config()


class _Reader:
    """Looks up shapes and hyper-parameters."""

    def __init__(self, checkpoint: Checkpoint, overrides: Mapping[str, int | float]) -> None:
        self.tensors = checkpoint.tensors
        self.hyper = checkpoint.hyper_parameters or {}
        self.overrides = overrides
        for name in overrides:
            if name not in _OVERRIDES:
                raise CompileError(f"{name} cannot be overridden; {', '.join(_OVERRIDES)} can")

    def config(self) -> Config:
        # The embedding's v is the weight as it was before the norm: the same shape
        names = [_EMBED + suffix for suffix in (".weight_v", ".parametrizations.weight.original1", ".weight")]
        embed = next((name for name in names if name in self.tensors), names[0])
        dim, n_mels, kernel = self.shape(embed, 3)
        num_layers = self.count_blocks()
        hidden, _ = self.shape(f"{_BLOCK}0.pwconv1.weight", 2)
        self.agree("n_mels", n_mels, embed)
        self.agree("dim", dim, embed)
        self.agree("kernel_size", kernel, embed)
        self.agree("num_layers", num_layers, "the blocks " + _BLOCK + "*")
        ratio = self.given("mlp_ratio")
        # Of a ratio such as 8/3, either rounding may have been meant
        if ratio is not None and abs(ratio * dim - hidden) >= 1:
            where = f"{_BLOCK}0.pwconv1.weight"
            raise CompileError(f"hyper-parameter mlp_ratio {ratio:g} contradicts {where}: {hidden} of dim {dim}")
        for group in ("vocoder_args", "vocoder_feature_args"):
            if self.look_up(group + ".causal") is False:
                raise CompileError(f"hyper-parameter {group}.causal is false: only a causal model can stream")
        n_fft = self.n_fft()
        hop = self.integer("hop_length")
        if hop > n_fft:
            raise CompileError(f"hop_length {hop} is longer than n_fft {n_fft}")
        rate = self.integer("sample_rate")
        f_min, f_max = self.given("f_min"), self.given("f_max")
        f_min, f_max = 0.0 if f_min is None else f_min, rate / 2 if f_max is None else f_max
        if not 0 <= f_min < f_max <= rate / 2:
            raise CompileError(f"mel range {f_min:g}..{f_max:g} Hz: expected 0 <= f_min < f_max <= {rate / 2:g}")
        return Config(rate, n_fft, hop, n_mels, dim, hidden, kernel, num_layers, f_min, f_max)

    def count_blocks(self) -> int:
        """The number of blocks. A gap in their numbers is an error."""
        labels = {name.removeprefix(_BLOCK).split(".")[0] for name in self.tensors if name.startswith(_BLOCK)}
        count = 0
        while str(count) in labels:
            count += 1
        later = [int(label) for label in labels if label.isdecimal() and len(label) < 10 and int(label) > count]
        if later:
            raise CompileError(f"{_BLOCK}{count}.*: tensors missing, but block {min(later)} is there")
        if count == 0:
            raise CompileError(f"{_BLOCK}0.*: tensors missing")
        return count

    def n_fft(self) -> int:
        """The length of the transform: two of them fit a number of bins, so the shapes of the head do not tell."""
        out, _ = self.shape(_HEAD + ".weight", 2)
        bins = out // 2
        if out % 2 or bins < 2:
            raise CompileError(f"{_HEAD}.weight: has {out} rows; expected magnitudes and phases, an even number >= 4")
        default = 2 * (bins - 1)
        if _DECONV in self.tensors:
            default = self.shape(_DECONV, 3)[0]
        n_fft = self.integer("n_fft", default)
        if n_fft // 2 + 1 != bins:
            raise CompileError(f"n_fft {n_fft} contradicts {_HEAD}.weight, whose {out} rows make {bins} bins")
        left = n_fft
        for prime in (2, 3, 5):
            while left % prime == 0:
                left //= prime
        if left != 1:
            raise CompileError(f"n_fft {n_fft} has the factor {left}; only 2, 3 and 5 can be transformed")
        return n_fft

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor that must be there."""
        if name not in self.tensors:
            raise CompileError(f"{name}: tensor missing")
        shape = self.tensors[name].shape
        if len(shape) != axes or 0 in shape:
            raise CompileError(f"{name}: has shape {shape_text(shape)}; expected {axes} axes, none empty")
        return shape

    # ---- hyper-parameters ----

    def look_up(self, place: str) -> Any:
        """A hyper-parameter by its dotted name; None where there is none."""
        value: Any = self.hyper
        for part in place.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def given(self, name: str) -> float | None:
        """A number from the overrides, or else from the hyper-parameters, which must agree with each other."""
        if name in self.overrides:
            return _number(name, self.overrides[name], name in _REAL)
        found = {place: self.look_up(place) for place in _PLACES[name]}
        values = {place: _number(place, value, name in _REAL) for place, value in found.items() if value is not None}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{place} {value:g}" for place, value in values.items())
            option = f"; choose with --{name.replace('_', '-')}" if name in _OVERRIDES else ""
            raise CompileError(f"the hyper-parameters contradict each other: {told}{option}")
        return next(iter(values.values()), None)

    def integer(self, name: str, default: int | None = None) -> int:
        """A positive integer that is given, or the default."""
        value = self.given(name)
        if value is None:
            if default is None:
                raise CompileError(f"the checkpoint does not tell {name}: give --{name.replace('_', '-')}")
            return default
        if value < 1 or value > 1 << 30:
            raise CompileError(f"{name} is {value:g}; expected 1 or more, and no more than {1 << 30}")
        return int(value)

    def agree(self, name: str, size: int, where: str) -> None:
        """Check a size that the shapes tell against the hyper-parameters."""
        value = self.given(name)
        if value is not None and value != size:
            places = " and ".join(place for place in _PLACES[name] if self.look_up(place) is not None)
            raise CompileError(f"hyper-parameter {places} {value:g} contradicts {where}, which has {size}")


def _number(name: str, value: Any, real: bool) -> float:
    """A hyper-parameter or override as a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise CompileError(f"{name} is {one_line(value)}; expected a number")
    if not real and value != int(value):
        raise CompileError(f"{name} is {value:g}; expected an integer")
    return value if real else int(value)
