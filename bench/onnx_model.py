"""The same stateful step as an ONNX graph, written for speed: what an engine is given to run at its best.

    mel, embed_context, context0, ... -> real, imag, embed_context_next, context0_next, ...

All shapes are fixed; weight norm and layer scale are folded into the weights. The inverse FFT and the overlap-add are
not in the graph: ONNX Runtime has no fast inverse real FFT, and a product with the dense basis takes several times
as long as numpy's FFT, so the worker does that part with numpy, on the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx  # type: ignore[import-not-found,unused-ignore]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper  # type: ignore[import-not-found,unused-ignore]

NORM_EPS = 1e-6
MAX_MAGNITUDE = 1e2
OPSET = 20
"""The first with Gelu."""
IR_VERSION = 10

CONV_FROM_FRAMES = 8
"""From this many frames the depthwise convolution is fastest as Conv between transposes, below as gather and sum."""

Array = NDArray[np.float32]


def short_name(key: str) -> str:
    """A decoder tensor's name in a checkpoint, without its `decoder.` and in the older form of weight norm."""
    key = key.removeprefix("decoder.").replace(".conv.conv.", ".conv.")
    key = key.replace(".parametrizations.weight.original0", ".weight_g")
    return key.replace(".parametrizations.weight.original1", ".weight_v")


@dataclass(frozen=True)
class Weights:
    """A decoder's tensors under their short names, and the sizes that their shapes tell."""

    tensors: Mapping[str, Array]

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> "Weights":
        """From the names in a checkpoint file."""
        return cls({short_name(key): np.asarray(value, np.float32) for key, value in tensors.items()})

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return sum(key.endswith(".pwconv1.weight") for key in self.tensors)

    @property
    def context(self) -> int:
        """Frames of left context of every convolution."""
        return int(self.tensors["0.embed.conv.weight_v"].shape[2]) - 1

    @property
    def mels(self) -> int:
        """Mel bins."""
        return int(self.tensors["0.embed.conv.weight_v"].shape[1])

    @property
    def dim(self) -> int:
        """Channels of the residual stream."""
        return int(self.tensors["0.embed.conv.weight_v"].shape[0])

    @property
    def n_fft(self) -> int:
        """Samples of a frame's spectrum."""
        return int(self.tensors["1.out.weight"].shape[0]) - 2

    def convolution(self, prefix: str) -> tuple[Array, Array]:
        """A convolution's weight (out, in, taps), weight norm folded, and its bias."""
        gain = self.tensors[prefix + "weight_g"].astype(np.float64)
        direction = self.tensors[prefix + "weight_v"].astype(np.float64)
        norm = np.sqrt(np.sum(direction**2, axis=(1, 2), keepdims=True))
        return (gain * direction / norm).astype(np.float32), self.tensors[prefix + "bias"]


class GraphWriter:
    """Collects nodes and constants, naming what has no name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any] | Sequence[int] | float) -> str:
        """A constant: floats as float32, integers as int64."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        name = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cut(self, x: str, start: int, end: int, axis: int, output: str | None = None) -> str:
        """Elements start..end - 1 along an axis."""
        return self.op("Slice", x, self.constant([start]), self.constant([end]), self.constant([axis]), output=output)

    def linear(self, x: str, weight: Array, bias: Array) -> str:
        """[frames, in] by weight (out, in)."""
        return self.op("Add", self.op("MatMul", x, self.constant(weight.T)), self.constant(bias))


def build_step(weights: Weights, frames: int, depthwise_as_conv: bool) -> Any:
    """The step for exactly so many frames, as an `onnx.ModelProto`.

    Inputs and outputs, all float32: mel [frames, mels], embed_context [context, mels], and per block a context of
    [context, dim], or, with `depthwise_as_conv`, [1, dim, 1, context]; real and imag [frames, n_fft / 2 + 1].
    """
    graph = GraphWriter()
    tensors, context, dim = weights.tensors, weights.context, weights.dim
    taps = context + 1
    state_shape = [1, dim, 1, context] if depthwise_as_conv else [context, dim]
    inputs = {"mel": [frames, weights.mels], "embed_context": [context, weights.mels]}
    outputs = {"embed_context_next": [context, weights.mels]}

    def normalised(x: str, prefix: str) -> str:
        scale, shift = graph.constant(tensors[prefix + "weight"]), graph.constant(tensors[prefix + "bias"])
        return graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=NORM_EPS)

    def depthwise_conv(x: str, name: str, weight: Array, bias: Array) -> str:
        if depthwise_as_conv:
            x = graph.op("Reshape", graph.op("Transpose", x, perm=[1, 0]), graph.constant([1, dim, 1, frames]))
            x = graph.op("Concat", name, x, axis=3)
            graph.cut(x, frames, frames + context, 3, output=f"{name}_next")
            y = graph.op("Conv", x, graph.constant(weight.reshape(dim, 1, 1, taps)), graph.constant(bias), group=dim)
            return graph.op("Transpose", graph.op("Reshape", y, graph.constant([dim, frames])), perm=[1, 0])
        x = graph.op("Concat", name, x, axis=0)
        graph.cut(x, frames, frames + context, 0, output=f"{name}_next")
        windows = graph.op("Gather", x, graph.constant(np.arange(frames)[:, None] + np.arange(taps)), axis=0)
        products = graph.op("Mul", windows, graph.constant(weight.reshape(dim, taps).T))
        return graph.op("Add", graph.op("ReduceSum", products, graph.constant([1]), keepdims=0), graph.constant(bias))

    # The embedding as one product of [frames, taps * mels].
    x = graph.op("Concat", "embed_context", "mel", axis=0)
    graph.cut(x, frames, frames + context, 0, output="embed_context_next")
    x = graph.op("Concat", *[graph.cut(x, tap, tap + frames, 0) for tap in range(taps)], axis=1)
    weight, bias = weights.convolution("0.embed.conv.")
    x = normalised(graph.linear(x, weight.transpose(0, 2, 1).reshape(dim, taps * weights.mels), bias), "0.norm.")

    for block in range(weights.layers):
        prefix, name = f"0.convnext.{block}.", f"context{block}"
        inputs[name] = outputs[f"{name}_next"] = state_shape
        gamma = tensors.get(prefix + "gamma", np.ones(dim, np.float32))
        y = depthwise_conv(x, name, *weights.convolution(prefix + "dwconv.conv."))
        y = normalised(y, prefix + "norm.")
        y = graph.op("Gelu", graph.linear(y, tensors[prefix + "pwconv1.weight"], tensors[prefix + "pwconv1.bias"]))
        contract, bias = tensors[prefix + "pwconv2.weight"], tensors[prefix + "pwconv2.bias"]
        x = graph.op("Add", x, graph.linear(y, gamma[:, None] * contract, gamma * bias))

    bins = weights.n_fft // 2 + 1
    x = graph.linear(normalised(x, "0.final_layer_norm."), tensors["1.out.weight"], tensors["1.out.bias"])
    magnitude = graph.op("Min", graph.op("Exp", graph.cut(x, 0, bins, 1)), graph.constant(MAX_MAGNITUDE))
    phase = graph.cut(x, bins, 2 * bins, 1)
    graph.op("Mul", magnitude, graph.op("Cos", phase), output="real")
    graph.op("Mul", magnitude, graph.op("Sin", phase), output="imag")
    outputs["real"] = outputs["imag"] = [frames, bins]

    def infos(shapes: Mapping[str, Sequence[int]]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    body = helper.make_graph(graph.nodes, "step", infos(inputs), infos(outputs), graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
