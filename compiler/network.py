"""The network, stated once: a flat list of operations in order. Everything after this module walks the list.

An operation reads the rows of one buffer and writes those of another, one row of channels per frame:

    conv            a convolution over frames, all channels with all; its input is the mel
    depthwise_conv  a convolution over frames, each channel by itself
    layer_norm      (x - mean) / sqrt(variance + NORM_EPSILON), then * scale + shift if it has these tensors
    linear          a matrix product with bias
    inverse_rfft    spectrum to windowed frames of n_fft samples
    overlap_add     frames to audio, hop samples each; see compiler/synthesis.py

Frames before an utterance and behind it are zero at the input of every convolution.

The epilogue of a conv or linear is what happens to a finished dot product on its way to the output y:

    store           y = sum
    gelu            y = GELU(sum), in its erf form
    add             y = y + sum
    exp             y = min(exp(sum), MAX_MAGNITUDE)
    polar           y, which holds magnitudes, becomes the real part y * cos(sum) and the imaginary part y * sin(sum)

To add a model family, write a function like `streaming_vocos` or `vocos`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoint import CODEBOOKS, PREFIX, STREAMING, Checkpoint
from .config import Config, Overrides, read_config
from .errors import CompileError
from .synthesis import check_synthesis
from .tensors import Tensors

NORM_EPSILON = 1e-6
SMALLEST_NORMALISED = 2.0**-64  # of a LayerNorm without scale and shift, where floats are multiplied: less counts as 0
MAX_MAGNITUDE = 100.0  # of a bin of the spectrum

PRODUCTS = ("conv", "linear")


@dataclass(frozen=True)
class Operation:
    """One operation of the schedule; see the module's text.

    `tensors`, as trained (float64): conv and depthwise_conv `weight` (outputs, inputs or 1, taps) and `bias`; linear
    `weight` (outputs, inputs) and `bias`, perhaps `layer_scale` (outputs,); layer_norm `scale` and `shift`. After
    folding (float32): conv `weight` (taps * inputs, outputs), oldest tap first; depthwise_conv (taps, channels); linear
    (inputs, outputs). `source` names the checkpoint's tensors.
    """

    kind: str
    name: str
    x: str
    y: str
    inputs: int  # channels of a frame
    outputs: int
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    source: str = ""
    epilogue: str = "store"
    left: int = 0  # frames of context that a convolution sees before the current one, and behind it
    right: int = 0
    is_precise: bool = False  # errors of its sums are heard more than others: integers will not do
    weights: str = ""  # their number format, where it is not the one that the precision says

    @property
    def kernel(self) -> str:
        """Its name without the block's: operations of one kernel differ in nothing but their tensors and state."""
        return re.sub(r"^block\d+_", "", self.name)

    @property
    def taps(self) -> int:
        """Frames that a convolution sees."""
        return self.left + 1 + self.right

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product, whose weights have a number format."""
        return self.kind in PRODUCTS

    @property
    def macs(self) -> int:
        """Multiply-adds per frame."""
        if self.kind == "depthwise_conv":
            return self.taps * self.outputs
        return self.taps * self.inputs * self.outputs if self.is_product else 0

    @property
    def weight(self) -> NDArray[Any]:
        """The weight of a convolution or a linear layer."""
        return self.tensors["weight"]

    @property
    def bias(self) -> NDArray[Any]:
        """Its bias (outputs,)."""
        return self.tensors["bias"]


@dataclass(frozen=True)
class Network:
    """A model: the sizes of its front end and of its transform, and the schedule."""

    config: Config
    operations: tuple[Operation, ...]
    codebooks: NDArray[np.float32] | None = None  # (codebooks, rows, features): a frame is the sum of one row of each

    @property
    def lookahead(self) -> int:
        """The frames that must have come before the first one is complete: the right contexts, added up."""
        return sum(operation.right for operation in self.operations)


def with_edges(network: Network, number_format: str) -> Network:
    """The network with the weights of what needs precision, embedding and head, in a number format of their own."""
    edges = (op.is_product and op.is_precise for op in network.operations)
    operations = zip(network.operations, edges, strict=True)
    return replace(
        network, operations=tuple(replace(op, weights=number_format) if edge else op for op, edge in operations)
    )


def readers(operations: Sequence[Operation], writer: int) -> list[int]:
    """The operations that read what one writes, before another overwrites it."""
    found = []
    for i, operation in enumerate(operations[writer + 1 :], writer + 1):
        if operation.x == operations[writer].y:
            found.append(i)
        if operation.y == operations[writer].y:
            break
    return found


def read_network(checkpoint: Checkpoint, overrides: Overrides) -> Network:
    """The network of a checkpoint, as trained.

    `overrides` of hyper-parameters win; see compiler/config.py. Raises CompileError, naming the file, for missing,
    unknown, wrongly shaped or non-finite tensors, and for hyper-parameters that contradict the shapes.
    """
    try:
        config = read_config(checkpoint, overrides)
        tensors = Tensors(checkpoint.tensors)
        operations = (streaming_vocos if checkpoint.family == STREAMING else vocos)(config, tensors)
        tensors.check_all_taken()
        check_synthesis(config)
        codebooks = read_codebooks(checkpoint, config.codebooks)
    except CompileError as error:
        raise CompileError(f"{checkpoint.path}: {error}") from error
    return Network(config, operations, codebooks)


def read_codebooks(checkpoint: Checkpoint, count: int) -> NDArray[np.float32] | None:
    """The first codebooks of a checkpoint; None of one without. Raises CompileError if they are not finite."""
    if count == 0:
        return None
    shape = checkpoint.features[CODEBOOKS].shape
    found = Tensors(checkpoint.features).take(CODEBOOKS, shape)[:count]
    return np.ascontiguousarray(found, np.float32)


def streaming_vocos(config: Config, take: Tensors) -> tuple[Operation, ...]:
    """Streaming Vocos, whose convolutions are causal, or see some frames ahead."""
    return _schedule(config, take, _Names(PREFIX, "0", "1", ".conv.conv"))


def vocos(config: Config, take: Tensors) -> tuple[Operation, ...]:
    """Vocos as its authors publish it: convolutions see as far ahead as back, and the overlap-add is divided."""
    return _schedule(config, take, _Names("", "backbone", "head", ""))


@dataclass(frozen=True)
class _Names:
    """Where a family keeps its tensors."""

    prefix: str  # of all of them, and of no interest
    backbone: str
    head: str
    conv: str  # behind a convolution's own name


def _schedule(config: Config, take: Tensors, names: _Names) -> tuple[Operation, ...]:
    """ConvNeXt blocks and an inverse-STFT head (H. Siuzdak, "Vocos", 2023, section 3).

    The head's linear layer gives log-magnitudes and phases; it is two operations here.
    """
    dim, hidden, bins = config.dim, config.hidden, config.n_fft // 2 + 1
    ahead = iter(config.lookahead)

    def conv(kind: str, name: str, x: str, source: str, inputs: int = dim) -> Operation:
        source += names.conv
        is_embedding = kind == "conv"
        shape = (dim, inputs if is_embedding else 1, config.kernel_size)
        tensors = take.conv(names.prefix + source, shape)
        source += ", weight norm folded" if names.conv else ""
        right = next(ahead)
        left = config.kernel_size - 1 - right
        return Operation(
            kind, name, x, "normalised", inputs, dim, tensors, source, left=left, right=right, is_precise=is_embedding
        )

    def norm(name: str) -> dict[str, NDArray[np.float64]]:
        if config.bandwidth_id is None or name == f"{names.backbone}.final_layer_norm":
            return take.norm(name, dim)
        return take.adaptive_norm(name, dim, config.bandwidths, config.bandwidth_id)

    def layer_norm(name: str, x: str, y: str, source: str) -> Operation:
        return Operation("layer_norm", name, x, y, dim, dim, norm(names.prefix + source), source)

    def linear(name: str, x: str, y: str, source: str, *, epilogue: str, gamma: str = "") -> Operation:
        inputs, outputs = (dim, hidden) if y == "hidden" else (hidden, dim)
        tensors = take.linear(names.prefix + source, outputs, inputs)
        if gamma:
            tensors["layer_scale"] = take.layer_scale(names.prefix + gamma, outputs)
            source += f", {gamma} folded"
        return Operation("linear", name, x, y, inputs, outputs, tensors, source, epilogue)

    def head(name: str, half: int, *, epilogue: str) -> Operation:
        tensors = {key: np.split(value, 2)[half] for key, value in out.items()}
        source = f"{names.head}.out, {('first', 'second')[half]} half"
        return Operation(
            "linear", name, "normalised", "spectrum", dim, bins, tensors, source, epilogue, is_precise=True
        )

    backbone = names.backbone
    operations = [
        conv("conv", "embed", "mel", f"{backbone}.embed", config.n_mels),
        layer_norm("embed_norm", "normalised", "residual", f"{backbone}.norm"),
    ]
    for i in range(config.num_layers):
        block, at = f"block{i}", f"{backbone}.convnext.{i}"
        operations += [
            conv("depthwise_conv", f"{block}_conv", "residual", f"{at}.dwconv"),
            layer_norm(f"{block}_norm", "normalised", "normalised", f"{at}.norm"),
            linear(f"{block}_expand", "normalised", "hidden", f"{at}.pwconv1", epilogue="gelu"),
            linear(f"{block}_contract", "hidden", "residual", f"{at}.pwconv2", epilogue="add", gamma=f"{at}.gamma"),
        ]
    operations.append(layer_norm("final_norm", "residual", "normalised", f"{backbone}.final_layer_norm"))
    out = take.linear(f"{names.prefix}{names.head}.out", 2 * bins, dim)
    operations += [head("magnitude", 0, epilogue="exp"), head("phase", 1, epilogue="polar")]
    take.check_istft(f"{names.prefix}{names.head}.istft.", config.n_fft)
    return (
        *operations,
        Operation("inverse_rfft", "inverse_rfft", "spectrum", "samples", bins, config.n_fft),
        Operation("overlap_add", "overlap_add", "samples", "audio", config.n_fft, config.hop_length),
    )
