"""The sizes of a checkpoint's model, from its shapes and hyper-parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoint import CODEBOOKS, MEL_FILTERS, PREFIX, STREAMING, VOCOS, Checkpoint
from .errors import CompileError, one_line
from .mel import NORMS, PADDINGS, SCALES, Mel, filters_of, parse_mel
from .tensors import shape_text

Overrides = Mapping[str, int | float | str]


@dataclass(frozen=True)
class _Family:
    """What a family calls its tensors and hyper-parameters.

    `places` has the names of Config, and where the checkpoint keeps them. The embedding may have any of the names: its
    v is the weight as it was before the weight norm, of the same shape.
    """

    embeds: tuple[str, ...]
    block: str
    head: str
    places: Mapping[str, tuple[str, ...]]


_STREAMING = _Family(
    embeds=tuple(
        PREFIX + "0.embed.conv.conv" + suffix
        for suffix in (".weight_v", ".parametrizations.weight.original1", ".weight")
    ),
    block=PREFIX + "0.convnext.",
    head=PREFIX + "1.out",
    places={
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
        "lookahead": ("vocoder_args.lookahead_frames",),
    },
)
_VOCOS = _Family(
    embeds=("backbone.embed.weight",),
    block="backbone.convnext.",
    head="head.out",
    places={
        "sample_rate": ("feature_extractor.init_args.sample_rate", "sample_rate"),
        "n_fft": ("head.init_args.n_fft", "feature_extractor.init_args.n_fft"),
        "hop_length": ("head.init_args.hop_length", "feature_extractor.init_args.hop_length"),
        "f_min": ("feature_extractor.init_args.f_min",),
        "f_max": ("feature_extractor.init_args.f_max",),
        "n_mels": ("backbone.init_args.input_channels", "feature_extractor.init_args.n_mels"),
        "dim": ("backbone.init_args.dim", "head.init_args.dim"),
        "hidden": ("backbone.init_args.intermediate_dim",),
        "num_layers": ("backbone.init_args.num_layers",),
        "bandwidths": ("backbone.init_args.adanorm_num_embeddings",),
        "lookahead": ("backbone.init_args.lookahead_frames",),
    },
)
_FAMILIES = {STREAMING: _STREAMING, VOCOS: _VOCOS}
_DECONV = PREFIX + "1.istft.overlap_add.deconv.weight"
_OVERRIDES = ("sample_rate", "hop_length", "n_fft", "f_min", "f_max", "padding", "mel", "bandwidth_id")
_REAL = ("f_min", "f_max", "mlp_ratio")

# The classes of gemelo-ai/vocos's configurations, by their last names: nothing is imported.
_CLASSES = {
    "feature_extractor": ("MelSpectrogramFeatures", "EncodecFeatures"),
    "backbone": ("VocosBackbone",),
    "head": ("ISTFTHead",),
}


@dataclass(frozen=True)
class Config:
    """The sizes of a model. Frequencies in Hz; `hidden` is the width inside a block; `n_fft` is the window's length.

    Attributes:
        padding: what of the overlap-added frames is the audio. causal: the samples from frame 0's first on, unchanged.
            same and center: divided by the overlap-added squared window, without (n_fft - hop) / 2 or n_fft / 2 samples
            at both ends.
        lookahead: frames that each convolution sees ahead, the embedding's first, then the blocks'.
        mel: what the log-mel is; None where the model takes other features, `n_mels` of them a frame.
        bandwidths: how many rows the tables of adaptive layer norms (AdaLayerNorm) have; 0 without them.
        bandwidth_id: the row that was asked for; None without such tables.
        codebooks: how many of the checkpoint's codebooks a frame's codes choose from; 0 without them.
    """

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
    lookahead: tuple[int, ...]
    padding: str = "causal"
    mel: Mel | None = field(default_factory=Mel)
    bandwidths: int = 0
    bandwidth_id: int | None = None
    codebooks: int = 0


def read_config(checkpoint: Checkpoint, overrides: Overrides) -> Config:
    """The sizes, from the shapes and the hyper-parameters, checked against each other.

    The hyper-parameters say what the shapes cannot (n_fft where odd, hop, sample rate, mel, look-ahead) and must agree
    with what they can. `overrides` win: sample_rate, hop_length, n_fft, f_min, f_max, padding, and mel, a text such as
    `scale=htk,floor=1e-5`; bandwidth_id chooses a row. Raises CompileError.
    """
    reader = _VocosReader if checkpoint.family == VOCOS else _Reader
    return reader(checkpoint, overrides).config()


class _Reader:
    """Looks up shapes and hyper-parameters, of Streaming Vocos unless a subclass says otherwise."""

    def __init__(self, checkpoint: Checkpoint, overrides: Overrides) -> None:
        self.tensors = checkpoint.tensors
        self.features = checkpoint.features
        self.family = _FAMILIES[checkpoint.family]
        self.hyper = checkpoint.hyper_parameters or {}
        self.overrides = overrides
        for name in overrides:
            if name not in _OVERRIDES:
                raise CompileError(f"{name} cannot be overridden; {', '.join(_OVERRIDES)} can")

    def config(self) -> Config:
        self.check_kind()
        embed = next((name for name in self.family.embeds if name in self.tensors), self.family.embeds[0])
        dim, n_mels, kernel = self.shape(embed, 3)
        num_layers = self.count_blocks()
        where = f"{self.family.block}0.pwconv1.weight"
        hidden, _ = self.shape(where, 2)
        self.agree("n_mels", n_mels, embed)
        self.agree("dim", dim, embed)
        self.agree("kernel_size", kernel, embed)
        self.agree("hidden", hidden, where)
        self.agree("num_layers", num_layers, f"the blocks {self.family.block}*")
        ratio = self.given("mlp_ratio")
        # Of a ratio such as 8/3, either rounding may have been meant
        if ratio is not None and abs(ratio * dim - hidden) >= 1:
            raise CompileError(f"hyper-parameter mlp_ratio {ratio:g} contradicts {where}: {hidden} of dim {dim}")
        n_fft = self.n_fft()
        hop = self.integer("hop_length")
        if hop > n_fft:
            raise CompileError(f"hop_length {hop} is longer than n_fft {n_fft}")
        rate = self.integer("sample_rate", self.usual_rate())
        f_min, f_max = self.given("f_min"), self.given("f_max")
        f_min, f_max = 0.0 if f_min is None else f_min, rate / 2 if f_max is None else f_max
        if not 0 <= f_min < f_max <= rate / 2:
            raise CompileError(f"mel range {f_min:g}..{f_max:g} Hz: expected 0 <= f_min < f_max <= {rate / 2:g}")
        bandwidths = self.count_bandwidths()
        config = Config(
            sample_rate=rate,
            n_fft=n_fft,
            hop_length=hop,
            n_mels=n_mels,
            dim=dim,
            hidden=hidden,
            kernel_size=kernel,
            num_layers=num_layers,
            f_min=f_min,
            f_max=f_max,
            lookahead=self.lookahead(kernel, num_layers + 1),
            padding=self.padding(),
            bandwidths=bandwidths,
            bandwidth_id=self.bandwidth_id(bandwidths),
        )
        return replace(config, mel=self.mel(config), codebooks=self.count_codebooks(config))

    # ---- what families differ in ----

    def check_kind(self) -> None:
        """Refuse models that share the tensors' names with ours, and do something else."""
        for group in ("vocoder_args", "vocoder_feature_args"):
            if self.look_up(group + ".causal") is False:
                raise CompileError(f"hyper-parameter {group}.causal is false: only a causal model can stream")

    def usual_rate(self) -> int | None:
        """The sample rate, where neither hyper-parameters nor options say it."""
        return None

    def padding(self) -> str:
        """Config's padding."""
        return self.choice("padding", self.overrides.get("padding", "causal"), PADDINGS)

    def is_symmetric(self) -> bool:
        """Whether convolutions see as far ahead as back, unless there is a list of look-aheads."""
        return False

    def mel(self, config: Config) -> Mel | None:
        """What the model's log-mel is."""
        known = isinstance(self.look_up("vocoder_feature_args"), Mapping)
        return self.with_options(Mel(), () if known else ("scale", "norm", "power", "power_floor", "floor", "padding"))

    # ---- shapes ----

    def count_bandwidths(self) -> int:
        """The rows of the adaptive layer norms' tables; 0 without them."""
        table = "backbone.norm.scale.weight"
        rows: int = self.shape(table, 2)[0] if table in self.tensors else 0
        if rows:
            self.agree("bandwidths", rows, table)
        return rows

    def bandwidth_id(self, bandwidths: int) -> int | None:
        """The row of those tables that is asked for."""
        chosen = self.overrides.get("bandwidth_id")
        if bandwidths == 0:
            if chosen is not None:
                raise CompileError("--bandwidth-id: this model has no AdaLayerNorm, so there is nothing to choose")
            return None
        if chosen is None:
            rates = self.look_up("feature_extractor.init_args.bandwidths")
            told = f" ({', '.join(map(one_line, rates))} kbit/s)" if isinstance(rates, list) and len(rates) < 9 else ""
            raise CompileError(
                f"this model has AdaLayerNorm for {bandwidths} bandwidths{told}: choose with --bandwidth-id 0 to "
                f"{bandwidths - 1}"
            )
        if not isinstance(chosen, int) or not 0 <= chosen < bandwidths:
            raise CompileError(f"--bandwidth-id {one_line(chosen)}: give 0 to {bandwidths - 1}")
        return chosen

    def count_codebooks(self, config: Config) -> int:
        """How many codebooks there are codes of: those of the bandwidth, or all."""
        if CODEBOOKS not in self.features:
            return 0
        shape: tuple[int, ...] = self.features[CODEBOOKS].shape
        books, rows, channels = shape
        if channels != config.n_mels:
            raise CompileError(f"{CODEBOOKS}: rows of {channels}; expected the {config.n_mels} features of a frame")
        rates = self.look_up("feature_extractor.init_args.bandwidths")
        if config.bandwidth_id is not None and isinstance(rates, list) and len(rates) == config.bandwidths:
            bits = float(np.log2(rows)) * config.sample_rate / config.hop_length  # a second, of a codebook
            rate = _number("bandwidths", rates[config.bandwidth_id], real=True)
            books = min(books, max(1, int(1000 * rate / bits)))
        return books

    def lookahead(self, kernel: int, convolutions: int) -> tuple[int, ...]:
        """The right context of each convolution."""
        (place,) = self.family.places["lookahead"]
        given = self.look_up(place)
        most = (kernel - 1) // 2
        if isinstance(given, list):
            if len(given) != convolutions or not all(type(r) is int and 0 <= r < kernel for r in given):
                raise CompileError(f"{place}: expected {convolutions} numbers of frames, 0 to {kernel - 1}")
            return tuple(given)
        if self.is_symmetric():
            return (most,) * convolutions
        left = 0 if given is None else _number(place, given, real=False)
        if not 0 <= left <= most * convolutions:
            raise CompileError(f"{place} is {left:g}; expected 0 to {most * convolutions} frames")
        found = []
        for _ in range(convolutions):  # the earliest get as much as they can see
            found.append(int(min(most, left)))
            left -= found[-1]
        return tuple(found)

    def count_blocks(self) -> int:
        """The number of blocks. A gap in their numbers is an error."""
        block = self.family.block
        labels = {name.removeprefix(block).split(".")[0] for name in self.tensors if name.startswith(block)}
        count = 0
        while str(count) in labels:
            count += 1
        later = [int(label) for label in labels if label.isdecimal() and len(label) < 10 and int(label) > count]
        if later:
            raise CompileError(f"{block}{count}.*: tensors missing, but block {min(later)} is there")
        if count == 0:
            raise CompileError(f"{block}0.*: tensors missing")
        return count

    def n_fft(self) -> int:
        """The length of the transform: two of them fit a number of bins, so the shapes of the head do not tell."""
        out, _ = self.shape(self.family.head + ".weight", 2)
        bins = out // 2
        if out % 2 or bins < 2:
            raise CompileError(
                f"{self.family.head}.weight: has {out} rows; expected magnitudes and phases, an even number >= 4"
            )
        default = 2 * (bins - 1)
        if _DECONV in self.tensors:
            default = self.shape(_DECONV, 3)[0]
        n_fft = self.integer("n_fft", default)
        if n_fft // 2 + 1 != bins:
            raise CompileError(
                f"n_fft {n_fft} contradicts {self.family.head}.weight, whose {out} rows make {bins} bins"
            )
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
        found = {place: self.look_up(place) for place in self.family.places.get(name, ())}
        values = {place: _number(place, value, name in _REAL) for place, value in found.items() if value is not None}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{place} {value:g}" for place, value in values.items())
            option = f"; choose with --{name.replace('_', '-')}" if name in _OVERRIDES else ""
            raise CompileError(f"the hyper-parameters contradict each other: {told}{option}")
        return next(iter(values.values()), None)

    def choice(self, name: str, value: Any, choices: tuple[str, ...]) -> str:
        """A word that is one of a few."""
        if value not in choices:
            raise CompileError(f"{name} is {one_line(value)}; expected {' or '.join(choices)}")
        return str(value)

    def with_options(self, mel: Mel, assumed: tuple[str, ...]) -> Mel:
        """The mel with what the options say of it. `assumed` are the fields that nothing else told."""
        text = self.overrides.get("mel")
        changed = parse_mel(str(text)) if text is not None else {}
        mel = replace(mel, **changed)
        return replace(mel, assumed=tuple(name for name in assumed if name not in changed))

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
            places = " and ".join(
                place for place in self.family.places.get(name, ()) if self.look_up(place) is not None
            )
            raise CompileError(f"hyper-parameter {places} {value:g} contradicts {where}, which has {size}")


class _VocosReader(_Reader):
    """Looks up shapes and hyper-parameters of gemelo-ai/vocos and its kin."""

    def check_kind(self) -> None:
        # A training run's configuration has the model a level deeper
        inner = self.look_up("model.init_args")
        if isinstance(inner, Mapping):
            self.hyper = {**self.hyper, **inner}
        for part, known in _CLASSES.items():
            path = self.look_up(part + ".class_path")
            if path is not None and str(path).rpartition(".")[2] not in known:
                raise CompileError(f"{part}: {one_line(path)} is no class that we compile: {' or '.join(known)}")

    def class_of(self, part: str) -> str:
        """The last name of a class; empty where there is no configuration."""
        return str(self.look_up(part + ".class_path") or "").rpartition(".")[2]

    def takes_codes(self) -> bool:
        """Whether the features are EnCodec's."""
        if self.class_of("feature_extractor"):
            return self.class_of("feature_extractor") == "EncodecFeatures"
        return CODEBOOKS in self.features or self.count_bandwidths() > 0

    def usual_rate(self) -> int | None:
        model = self.look_up("feature_extractor.init_args.encodec_model")
        rates = {"encodec_24khz": 24000, "encodec_48khz": 48000}
        return rates.get(str(model or "encodec_24khz")) if self.takes_codes() else None

    def padding(self) -> str:
        usual = "same" if self.class_of("head") else "center"  # its default; as in the model at 24 kHz
        value = self.look_up("head.init_args.padding") or usual
        return self.choice("padding", self.overrides.get("padding", value), ("same", "center"))

    def is_symmetric(self) -> bool:
        return self.look_up("backbone.init_args.causal") is not True

    def mel(self, config: Config) -> Mel | None:
        if self.takes_codes():
            if "mel" in self.overrides:
                raise CompileError("--mel: this model takes EnCodec's features, no mel")
            return None
        given = self.look_up("feature_extractor.init_args")
        given = given if isinstance(given, Mapping) else {}
        norm = given.get("norm")
        mel = Mel(
            scale=self.choice("mel_scale", given.get("mel_scale", "htk"), SCALES),
            norm=self.choice("norm", "none" if norm is None else norm, NORMS),
            power=1,
            power_floor=0.0,
            floor=1e-7,
            padding=self.choice("feature_extractor padding", given.get("padding", "center"), ("same", "center")),
        )
        is_known = self.class_of("feature_extractor") != ""
        filters = self.features.get(MEL_FILTERS)
        if filters is not None and not {"mel", "f_min", "f_max"} & set(self.overrides):
            mel = _as_in(filters, mel, config, is_told=is_known and bool({"mel_scale", "norm"} & set(given)))
        told = filters is not None
        assumed = () if is_known else (*(() if told else ("scale", "norm")), "power", "power_floor", "floor", "padding")
        mel = self.with_options(mel, assumed)
        if not self.class_of("head") and "padding" not in self.overrides:
            mel = replace(mel, assumed=(*mel.assumed, "padding of the audio"))
        return mel


def _as_in(filters: NDArray[Any], mel: Mel, config: Config, *, is_told: bool) -> Mel:
    """The mel with the scale and norm of the checkpoint's own filters."""
    kinds = [(mel.scale, mel.norm), *itertools.product(SCALES, NORMS)]
    for scale, norm in kinds[: 1 if is_told else None]:
        wanted = filters_of(config, scale, norm).T
        if (
            filters.shape == wanted.shape and np.abs(filters - wanted).max() <= 1e-2 * wanted.max()
        ):  # bfloat16 has two digits
            return replace(mel, scale=scale, norm=norm)
    kind = f"{config.n_mels} mels from {config.f_min:g} to {config.f_max:g} Hz"
    raise CompileError(
        f"{MEL_FILTERS}: is no filterbank that we know for {kind}; say what it is with --mel, --f-min and --f-max"
    )


def _number(name: str, value: Any, real: bool) -> float:
    """A hyper-parameter or override as a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise CompileError(f"{name} is {one_line(value)}; expected a number")
    if not real and value != int(value):
        raise CompileError(f"{name} is {value:g}; expected an integer")
    return value if real else int(value)
