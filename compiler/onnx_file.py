"""Reads an ONNX export of gemelo-ai/vocos: outputs mag, x and y, of a mel. Nothing is run.

An exporter renames and transposes weights, writes layer norms and GELU out, and drops the names of modules. So the
graph is followed from its outputs back to its input, and each step must be one that a Vocos takes: what a weight is,
its place tells. The `onnx` package reads the file; what it would cost to read is looked at first. External data may
only lie in the folder of the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .errors import CompileError, one_line

Array = NDArray[Any]

_MAX_BYTES = 2 << 30  # protobuf's own limit
_MAX_GRAPH = 2 << 20  # bytes of the file that are no weights; real ones have some hundred kilobytes
_MAX_NODES = 1 << 15
_MAX_BLOCKS = 256
_EPSILON = 1e-6
_LIMIT = 100.0  # of magnitudes


@dataclass(frozen=True)
class OnnxModel:
    """What was read: tensors under the vocos package's names, hyper-parameters as in config.yaml, other files read."""

    tensors: dict[str, Array]
    hyper_parameters: dict[str, Any]
    files: tuple[Path, ...]


def read_onnx(path: Path) -> OnnxModel:
    """Read a file. Raises CompileError for one that is malformed, too large, or no Vocos."""
    if path.stat().st_size > _MAX_BYTES:
        raise CompileError("has more than 2 GiB, which no ONNX file has")
    data = path.read_bytes()
    _check_size(data)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # the library's own types of error
        raise CompileError(f"is no ONNX file: {one_line(error)}") from error
    graph = _Graph(model.graph, path)
    tensors, look_aheads = _vocos(graph)
    return OnnxModel(tensors, _hyper_parameters(model, look_aheads), tuple(graph.files))


# ---- the cost of reading -----------------------------------------------------------------------

# Messages of the format, as far as they lead to weights: number of the field -> the message in it, or None for bytes
# that are a weight's and cost no more than they take.
_WEIGHTS: dict[int, Any] = {4: None, 9: None}  # float_data, raw_data of TensorProto
_FORMAT: dict[int, Any] = {7: {1: {5: {5: _WEIGHTS}}, 5: _WEIGHTS}}  # graph: node: attribute: t; initializer


def _check_size(data: bytes) -> None:
    """Refuse a file whose graph is huge: the library makes objects of every two bytes, one inside the other."""
    left: list[tuple[memoryview, Any]] = [(memoryview(data), _FORMAT)]
    graph = 0
    while left:
        message, known = left.pop()
        at = 0
        while at < len(message):
            start = at
            key, at = _varint(message, at)
            number, kind = key >> 3, key & 7
            inside = known.get(number, False) if kind == 2 else False
            if kind == 0:
                _, at = _varint(message, at)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            elif kind == 2:
                length, at = _varint(message, at)
                if inside and length:
                    left.append((message[at : at + length], inside))
                if inside is not False:
                    start += length
                at += length
            else:
                raise CompileError("is no ONNX file: malformed protobuf")
            graph += at - start
            if at > len(message):
                raise CompileError("is no ONNX file, or cut off: a field reaches behind its end")
            if graph > _MAX_GRAPH:
                raise CompileError(f"has a graph of more than {_MAX_GRAPH >> 20} MB, weights apart: no Vocos has")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise CompileError("is no ONNX file, or cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CompileError("is no ONNX file: malformed protobuf")


# ---- the graph ---------------------------------------------------------------------------------


@dataclass
class _Graph:
    """A graph's nodes by what they make, and its constants."""

    graph: Any
    path: Path
    files: list[Path] = field(default_factory=list)  # of external data
    makers: dict[str, Any] = field(default_factory=dict)
    initializers: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Array | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.graph.node) > _MAX_NODES:
            raise CompileError(f"has {len(self.graph.node)} nodes: too many for a Vocos")
        for node in self.graph.node:
            for name in node.output:
                if name and self.makers.setdefault(name, node) is not node:
                    raise CompileError(f"malformed ONNX: two nodes make {one_line(name)}")
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self._check_acyclic()

    def _check_acyclic(self) -> None:
        """Refuse a graph in which a node waits for itself: to follow it would never end."""
        waiting = {id(node): sum(name in self.makers for name in node.input) for node in self.graph.node}
        users: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in node.input:
                users.setdefault(name, []).append(node)
        ready = [node for node in self.graph.node if waiting[id(node)] == 0]
        done = 0
        while ready:
            done += 1
            for name in ready.pop().output:
                for node in users.get(name, ()):
                    waiting[id(node)] -= 1
                    if waiting[id(node)] == 0:
                        ready.append(node)
        if done < len(self.graph.node):
            raise CompileError("malformed ONNX: its graph has a cycle")

    def maker(self, value: str) -> Any:
        """The node that makes a value, behind those that only change its layout or type."""
        for _ in range(_MAX_NODES):
            node = self.makers.get(value)
            if node is None or not _is_layout(node, self):
                return node
            value = node.input[0]
        raise CompileError("malformed ONNX: a chain of nodes without end")

    def source(self, value: str) -> str:
        """The value behind nodes that only change its layout or type."""
        while value in self.makers and _is_layout(self.makers[value], self):
            value = self.makers[value].input[0]
        return value

    def constant(self, value: str) -> Array | None:
        """A constant's elements; None for what is computed of the input."""
        if value not in self.constants:
            self.constants[value] = self._constant(value, 0)
        return self.constants[value]

    def _constant(self, value: str, depth: int) -> Array | None:
        if value in self.initializers:
            return self._tensor(self.initializers[value])
        node = self.makers.get(value)
        if node is None or depth > 16:
            return None
        if node.op_type == "Constant":
            found = _attributes(node)
            if "value" in found:
                return self._tensor(found["value"])
            for name in ("value_float", "value_int", "value_floats", "value_ints"):
                if name in found:
                    return np.asarray(found[name])
            return None
        if node.op_type not in ("Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Cast") or not node.input:
            return None
        array = self._constant(node.input[0], depth + 1)
        if array is None or node.op_type == "Identity":
            return array
        if node.op_type == "Transpose":
            perm = _attributes(node).get("perm")
            if perm is not None and sorted(perm) != list(range(array.ndim)):
                raise CompileError(f"malformed ONNX: {_name(node)} permutes axes that are not there")
            return array.transpose(perm)
        if node.op_type == "Cast":
            return array if array.dtype.kind == "f" else array.astype(np.float32)
        return array.reshape(-1) if array.size == max(array.shape, default=1) else array

    def _tensor(self, tensor: Any) -> Array:
        """A tensor's elements, from the file or the one beside it."""
        name = one_line(tensor.name)
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
        if tensor.data_type not in (*kinds, onnx.TensorProto.INT64, onnx.TensorProto.INT32):
            kind = one_line(onnx.TensorProto.DataType.Name(tensor.data_type)) if tensor.data_type < 32 else "unknown"
            raise CompileError(f"{name}: is of type {kind}; expected floating point: export it without quantisation")
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > 1 << 30:
            raise CompileError(f"{name}: malformed ONNX: has an impossible shape")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            local = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            local.raw_data = self._external(tensor, name)
            tensor = local
        try:
            array = np.asarray(numpy_helper.to_array(tensor))
        except Exception as error:  # too few bytes, for one
            raise CompileError(f"{name}: malformed ONNX: {one_line(error)}") from error
        if array.shape != tuple(tensor.dims):
            raise CompileError(f"{name}: malformed ONNX: its shape is not that of its elements")
        return array.astype(np.float32) if array.dtype.kind not in "fi" or array.dtype.itemsize == 2 else array

    def _external(self, tensor: Any, name: str) -> bytes:
        """The bytes of a tensor that are in a file beside: only in the same folder or below it."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = self.path.parent / location
        parts = location.replace("\\", "/").split("/")
        leaves = not location or ".." in parts or location.startswith(("/", "\\", "~")) or ":" in location
        homes = (self.path.parent.resolve(), self.path.resolve().parent)
        if leaves or "\0" in location or not any(file.resolve().is_relative_to(home) for home in homes):
            raise CompileError(f"{name}: its data, {one_line(location)}, is refused: it is not in the model's folder")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
            size = file.stat().st_size
            if not file.is_file() or not 0 <= offset <= size or length > size - offset:
                raise CompileError(f"{name}: its data reach behind the end of {one_line(location)}, or it is no file")
            with file.open("rb") as stream:
                stream.seek(offset)
                wanted = math.prod(tensor.dims) * 8  # at most
                data: bytes = stream.read(length if 0 <= length <= wanted else min(wanted, size - offset))
        except (ValueError, OverflowError) as error:
            raise CompileError(f"{name}: malformed ONNX: offset or length of its external data") from error
        except OSError as error:
            raise CompileError(f"{name}: cannot read {one_line(location)}: {error.strerror or error}") from error
        if file not in self.files:
            self.files.append(file)
        return data


def _attributes(node: Any) -> dict[str, Any]:
    """A node's attributes, as Python values."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _name(node: Any) -> str:
    return f"node {one_line(node.name or node.output[0])} ({one_line(node.op_type)})"


def _is_layout(node: Any, graph: _Graph) -> bool:
    """Whether a node only swaps time and channels, or changes the type."""
    if not node.input or len(node.output) != 1 or graph.initializers.get(node.output[0]) is not None:
        return False
    if node.op_type == "Transpose":
        return list(_attributes(node).get("perm", ())) in ([0, 2, 1], [1, 0])
    return node.op_type in ("Identity", "Cast", "Dropout")


# ---- what a Vocos is made of, from the outputs back to the input -------------------------------


def _fail(node: Any, wanted: str) -> CompileError:
    found = "the graph's input or a constant" if node is None else _name(node)
    domain = getattr(node, "domain", "")
    more = f" of {one_line(domain)}: export it without fused operations" if domain not in ("", "ai.onnx") else ""
    return CompileError(f"{found}{more} stands where {wanted} was expected: this is no Vocos that we know")


def _vocos(graph: _Graph) -> tuple[dict[str, Array], list[int]]:
    """The tensors by their names, and the look-ahead of each convolution."""
    tensors: dict[str, Array] = {}

    def put(name: str, weight: Array, bias: Array) -> None:
        tensors[name + ".weight"], tensors[name + ".bias"] = weight, bias

    halves = _halves(graph)
    weight, bias, value = _linear(graph, halves[0].input[0])
    put("head.out", weight, bias)
    _check_halves(graph, halves, len(weight))
    scale, shift, value = _layer_norm(graph, value)
    put("backbone.final_layer_norm", scale, shift)
    blocks: list[dict[str, Any]] = []
    while (block := _block(graph, value)) is not None:
        blocks.append(block)
        value = block["input"]
        if len(blocks) > _MAX_BLOCKS:
            raise CompileError(f"has more than {_MAX_BLOCKS} blocks")
    for i, block in enumerate(reversed(blocks)):
        for part in ("dwconv", "norm", "pwconv1", "pwconv2"):
            put(f"backbone.convnext.{i}.{part}", *block[part])
        if block["gamma"] is not None:
            tensors[f"backbone.convnext.{i}.gamma"] = block["gamma"]
    scale, shift, value = _layer_norm(graph, value)
    put("backbone.norm", scale, shift)
    embed = _conv(graph, value)
    if embed.groups != 1:
        raise CompileError(f"the first convolution has {embed.groups} groups; expected 1")
    put("backbone.embed", embed.weight, embed.bias)
    inputs = [one_line(value.name) for value in graph.graph.input if value.name not in graph.initializers]
    if graph.source(embed.value) not in inputs:
        raise _fail(graph.maker(embed.value), f"the mel, which is one of the inputs {', '.join(inputs[:4])}")
    found = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    return found, [embed.right, *(block["right"] for block in reversed(blocks))]


def _halves(graph: _Graph) -> list[Any]:
    """The nodes that cut the log-magnitudes, and twice the phases, out of the head's outputs."""
    outputs = [value.name for value in graph.graph.output]
    makers = {node.op_type: node for node in map(graph.maker, outputs) if node is not None}
    magnitude = makers.get("Clip") or makers.get("Min")
    if len(outputs) != 3 or magnitude is None or not {"Cos", "Sin"} <= set(makers):
        names = one_line(", ".join(outputs[:6]) or "none")
        raise CompileError(f"has the outputs {names}; expected mag (of Clip), x (of Cos) and y (of Sin)")
    exp = next((node for node in map(graph.maker, magnitude.input) if node is not None and node.op_type == "Exp"), None)
    limits = [graph.constant(value) for value in magnitude.input if value]
    limits += [np.asarray(value) for name, value in _attributes(magnitude).items() if name == "max"]
    top = [float(limit.max()) for limit in limits if limit is not None and limit.size == 1]
    if exp is None or not top or not math.isclose(max(top), _LIMIT, rel_tol=1e-3):
        raise _fail(magnitude, f"the exponential function, limited to {_LIMIT:g}")
    found = [graph.makers.get(graph.source(node.input[0])) for node in (exp, makers["Cos"], makers["Sin"])]
    for node in found:
        if node is None or node.op_type not in ("Split", "Slice") or not node.input:
            raise _fail(node, "a split into log-magnitudes and phases")
    return found


def _check_halves(graph: _Graph, halves: Sequence[Any], rows: int) -> None:
    """Check that they are the first and the second half of one linear layer's outputs."""
    starts = []
    for node, user in zip(halves, ("Exp", "Cos", "Sin"), strict=True):
        if node.op_type == "Split":
            value = next(graph.source(n.input[0]) for n in graph.graph.node if n.op_type == user)
            sizes = graph.constant(node.input[1]) if len(node.input) > 1 else _attributes(node).get("split")
            is_even = len(node.output) == 2 and (sizes is None or set(np.reshape(sizes, -1)) == {rows // 2})
            starts.append(list(node.output).index(value) * rows // 2 if is_even else -1)
        else:
            start, end = (_number_of(graph, value, rows) for value in node.input[1:3])
            starts.append(
                start if start is not None and end is not None and min(end, rows) - start == rows // 2 else -1
            )
    sources = {graph.source(node.input[0]) for node in halves}
    if rows % 2 or starts != [0, rows // 2, rows // 2] or len(sources) > 1:
        raise CompileError("mag, x and y are not made of the first and the second half of one linear layer's outputs")


def _number_of(graph: _Graph, value: str, rows: int, depth: int = 0) -> int | None:
    """A whole number that an exporter computes of constants and of the head's number of outputs; None for others."""
    constant = graph.constant(value)
    if constant is not None:
        return int(constant.reshape(-1)[0]) if constant.size == 1 and constant.dtype.kind == "i" else None
    node = graph.makers.get(value)
    if node is None or depth > 16:
        return None
    if node.op_type == "Gather":
        axis, shape = graph.constant(node.input[1]), graph.makers.get(node.input[0])
        is_rows = axis is not None and axis.size == 1 and int(axis.reshape(-1)[0]) in (1, -2)
        return rows if is_rows and shape is not None and shape.op_type == "Shape" else None
    numbers = [_number_of(graph, operand, rows, depth + 1) for operand in node.input]
    if node.op_type in ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape") and numbers:
        return numbers[0]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    a, b = numbers[0], numbers[1]
    match node.op_type:
        case "Add":
            return a + b
        case "Sub":
            return a - b
        case "Mul":
            return a * b
        case "Div":
            return a // b if a >= 0 and b > 0 else None
    return None


def _operands(graph: _Graph, node: Any, wanted: str) -> tuple[str, Array]:
    """A node's computed input and its constant one, in whichever order they stand."""
    if len(node.input) >= 2:
        for value, other in (node.input[:2], node.input[1::-1]):
            constant = graph.constant(other)
            if constant is not None and graph.constant(value) is None:
                return value, constant
    raise _fail(node, wanted)


def _vector(node: Any, array: Array) -> Array:
    if array.size != max(array.shape, default=1):
        raise _fail(node, "a vector of one number for each channel")
    return array.reshape(-1)


def _linear(graph: _Graph, value: str) -> tuple[Array, Array, str]:
    """A linear layer's weight (outputs, inputs), bias and input."""
    node, bias = graph.maker(value), None
    if node is not None and node.op_type == "Add":
        value, array = _operands(graph, node, "a linear layer")
        bias, node = _vector(node, array), graph.maker(value)
    if node is not None and node.op_type == "MatMul":
        value, weight = _operands(graph, node, "a linear layer")
        if weight.ndim != 2 or graph.constant(node.input[1]) is None:
            raise _fail(node, "a linear layer")
        weight = weight.T
    elif node is not None and node.op_type == "Gemm" and bias is None:
        found = _attributes(node)
        value, weight = _operands(graph, node, "a linear layer")
        scales = (found.get("alpha", 1.0), found.get("beta", 1.0), found.get("transA", 0))
        if weight.ndim != 2 or scales != (1.0, 1.0, 0):
            raise _fail(node, "a linear layer")
        weight = weight if found.get("transB", 0) else weight.T
        bias = graph.constant(node.input[2]) if len(node.input) > 2 else None
    elif node is not None and node.op_type == "Conv" and bias is None:
        conv = _conv(graph, value)
        if conv.weight.shape[2] != 1 or conv.groups != 1:
            raise _fail(node, "a linear layer")
        return conv.weight[:, :, 0], conv.bias, conv.value
    else:
        raise _fail(node, "a linear layer")
    return weight, np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1), value


def _layer_norm(graph: _Graph, value: str) -> tuple[Array, Array, str]:
    """A layer norm's scale, shift and input: one operation, or written out."""
    node = graph.maker(value)
    wanted = "a layer norm"
    if node is not None and node.op_type == "LayerNormalization":
        found = _attributes(node)
        scale = graph.constant(node.input[1])
        shift = graph.constant(node.input[2]) if len(node.input) > 2 else None
        if scale is None or found.get("axis", -1) not in (-1, 2):
            raise _fail(node, wanted)
        _check_epsilon(node, found.get("epsilon", 1e-5))
        return (
            scale.reshape(-1),
            np.zeros(scale.size, np.float32) if shift is None else shift.reshape(-1),
            node.input[0],
        )
    if node is None or node.op_type != "Add":
        if node is not None and node.op_type in ("Mul", "Gather"):
            raise _fail(node, "a layer norm without bandwidths (AdaLayerNorm compiles from pytorch_model.bin)")
        raise _fail(node, wanted)
    value, shift = _operands(graph, node, wanted)
    times = graph.maker(value)
    if times is None or times.op_type != "Mul":
        raise _fail(times, wanted)
    value, scale = _operands(graph, times, wanted)
    centred, root = _two(graph, graph.maker(value), "Div", wanted)
    total = _one(graph, graph.maker(root), "Sqrt", wanted)
    variance, epsilon = _operands(graph, _expect(graph.maker(total), "Add", wanted), wanted)
    _check_epsilon(node, float(epsilon.reshape(-1)[0]))
    square = graph.maker(_one(graph, graph.maker(variance), "ReduceMean", wanted))
    if square is None or square.op_type not in ("Pow", "Mul") or graph.source(square.input[0]) != graph.source(centred):
        raise _fail(square, "the square of what a layer norm divides")
    value, mean = _two(graph, graph.maker(centred), "Sub", wanted)
    if graph.source(_one(graph, graph.maker(mean), "ReduceMean", wanted)) != graph.source(value):
        raise _fail(graph.maker(mean), wanted)
    return _vector(times, scale), _vector(node, shift), value


def _check_epsilon(node: Any, epsilon: float) -> None:
    if not math.isclose(epsilon, _EPSILON, rel_tol=1e-3):
        raise CompileError(f"{_name(node)}: has epsilon {epsilon:g}; expected {_EPSILON:g}")


def _expect(node: Any, kind: str, wanted: str) -> Any:
    if node is None or node.op_type != kind:
        raise _fail(node, wanted)
    return node


def _one(graph: _Graph, node: Any, kind: str, wanted: str) -> str:
    """The source of a node of this kind."""
    return graph.source(_expect(node, kind, wanted).input[0])


def _two(graph: _Graph, node: Any, kind: str, wanted: str) -> tuple[str, str]:
    if len(_expect(node, kind, wanted).input) != 2:
        raise _fail(node, wanted)
    return graph.source(node.input[0]), graph.source(node.input[1])


def _gelu(graph: _Graph, value: str) -> str:
    """The input of a GELU, which may be written out as x * (1 + erf(x / sqrt 2)) * 0.5, in any order."""
    node = graph.maker(value)
    if node is not None and node.op_type == "Gelu":
        if _attributes(node).get("approximate", b"none") != b"none":
            raise _fail(node, "the GELU with erf")
        return str(node.input[0])
    factors, constant = _factors(graph, value)
    sums = [node for node in map(graph.makers.get, factors) if node is not None and node.op_type == "Add"]
    for total in sums:
        inner = [graph.maker(value) for value in total.input]
        erf = next((node for node in inner if node is not None and node.op_type == "Erf"), None)
        if erf is None or len(factors) != 2:
            continue
        _, one = _operands(graph, total, "1 + erf")
        (x,) = [factor for factor in factors if graph.makers.get(factor) is not total] or [""]
        scaled, scale = _factors(graph, erf.input[0])
        is_gelu = math.isclose(constant, 0.5, rel_tol=1e-3) and math.isclose(scale, 0.5**0.5, rel_tol=1e-3)
        if is_gelu and one.size == 1 and float(one.reshape(-1)[0]) == 1 and scaled == [x]:
            return x
    raise _fail(node, "the GELU with erf")


def _factors(graph: _Graph, value: str) -> tuple[list[str], float]:
    """What a value is the product of: computed values, and the product of the constants."""
    found: list[str] = []
    constant, left = 1.0, [value]
    for _ in range(16):
        if not left:
            return sorted(found), constant
        value = graph.source(left.pop())
        node, number = graph.makers.get(value), graph.constant(value)
        if number is not None:
            constant *= float(number.reshape(-1)[0]) if number.size == 1 else math.nan
        elif node is not None and node.op_type == "Mul":
            left += node.input
        elif node is not None and node.op_type == "Div" and graph.constant(node.input[1]) is not None:
            divisor = graph.constant(node.input[1])
            scalar = divisor is not None and divisor.size == 1 and float(divisor.reshape(-1)[0])
            constant *= 1 / scalar if scalar else math.nan
            left.append(node.input[0])
        else:
            found.append(value)
    raise _fail(graph.maker(value), "the GELU with erf")


@dataclass(frozen=True)
class _Conv:
    """A convolution: weight (outputs, inputs of a group, taps), bias, frames of context, and what it reads."""

    weight: Array
    bias: Array
    right: int
    groups: int
    value: str


def _conv(graph: _Graph, value: str) -> _Conv:
    node = _expect(graph.maker(value), "Conv", "a convolution")
    found = _attributes(node)
    weight = graph.constant(node.input[1])
    bias = graph.constant(node.input[2]) if len(node.input) > 2 else None
    if weight is None or weight.ndim != 3 or any(found.get(name, [1]) != [1] for name in ("strides", "dilations")):
        raise _fail(node, "a convolution over time of stride and dilation 1")
    left, right = found.get("pads", [0, 0])
    if found.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise _fail(node, "a convolution whose padding is spelled out")
    value = node.input[0]
    pad = graph.maker(value)
    if pad is not None and pad.op_type == "Pad":
        before, after = _pads(graph, pad)
        left, right, value = left + before, right + after, pad.input[0]
    if left < 0 or right < 0 or left + right != weight.shape[2] - 1:
        raise CompileError(f"{_name(node)}: pads {left} and {right} frames; expected {weight.shape[2] - 1} in all")
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1)
    return _Conv(weight, bias, right, int(found.get("group", 1)), value)


def _pads(graph: _Graph, node: Any) -> tuple[int, int]:
    """The zeros before and after the frames. Exporters may compute them, from constants alone."""
    found = _attributes(node)
    array = graph.constant(node.input[1]) if len(node.input) > 1 else np.asarray(found.get("pads", ()))
    filling = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if array is None or array.size != 6 or found.get("mode", b"constant") != b"constant":
        raise _fail(node, "zeros before and after the frames, their number a constant")
    pads = [int(pad) for pad in array.reshape(-1)]
    if any(pads[i] for i in (0, 1, 3, 4)) or (filling is not None and np.any(filling)):
        raise _fail(node, "zeros before and after the frames")
    return pads[2], pads[5]


def _block(graph: _Graph, value: str) -> dict[str, Any] | None:
    """A ConvNeXt block: x + gamma * pwconv2(gelu(pwconv1(norm(dwconv(x))))); None for what is none."""
    node = graph.maker(value)
    if node is None or node.op_type != "Add" or any(graph.constant(operand) is not None for operand in node.input):
        return None
    errors: list[CompileError] = []
    for residual, branch in (tuple(node.input), tuple(node.input)[::-1]):
        try:
            return _branch(graph, residual, branch)
        except CompileError as error:
            errors.append(error)
    # The operand that goes further is the branch; its error tells more
    raise max(errors, key=lambda error: "residual" in str(error) or "layer norm" in str(error))


def _branch(graph: _Graph, residual: str, value: str) -> dict[str, Any]:
    gamma = None
    times = graph.maker(value)
    if times is not None and times.op_type == "Mul":
        value, array = _operands(graph, times, "a block's layer scale")
        gamma = _vector(times, array)
    weight, bias, value = _linear(graph, value)
    pwconv2 = (weight, bias)
    weight, bias, value = _linear(graph, _gelu(graph, value))
    scale, shift, value = _layer_norm(graph, value)
    conv = _conv(graph, value)
    if conv.weight.shape[1] != 1 or conv.groups != len(conv.weight):
        raise CompileError(f"a block's convolution has {conv.groups} groups; expected one for each channel")
    if graph.source(conv.value) != graph.source(residual):
        raise CompileError("a block's convolution does not read its residual: this is no Vocos that we know")
    return {
        "dwconv": (conv.weight, conv.bias),
        "norm": (scale, shift),
        "pwconv1": (weight, bias),
        "pwconv2": pwconv2,
        "gamma": gamma,
        "right": conv.right,
        "input": residual,
    }


# ---- hyper-parameters --------------------------------------------------------------------------


def _hyper_parameters(model: Any, look_aheads: Sequence[int]) -> dict[str, Any]:
    """What the export's metadata say, where a config.yaml would say it; the look-ahead is the graph's."""
    metadata: Mapping[str, str] = {entry.key: entry.value for entry in model.metadata_props[:100]}

    def number(name: str) -> dict[str, int]:
        text = metadata.get(name, "")
        return {name: int(text)} if text.isdecimal() and len(text) < 10 else {}

    head: dict[str, Any] = {**number("n_fft"), **number("hop_length")}
    if metadata.get("center") == "1":
        head["padding"] = "center"
    return {
        **number("sample_rate"),
        "head": {"init_args": head},
        "backbone": {"init_args": {"lookahead_frames": list(look_aheads)}},
    }
