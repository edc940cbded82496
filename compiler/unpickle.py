"""Reads a pickle, executing nothing.

A pickle is a program for a small stack machine, and the standard one may call anything that it names. The machine here
runs the same opcodes but holds no reference to any importable thing: a global is only a pair of names to it, an
instance of an unknown class only a record, and the few calls that tensors and plain containers need are its own
functions (`_CALLS`). Every other call is refused.
"""

import io
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import CompileError


def load(data: bytes) -> Any:
    """The value that a pickle describes, made of plain containers, scalars and the classes below (sets are lists).

    Raises CompileError for a call that is not known and for a malformed pickle.
    """
    try:
        return _Machine().run(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise CompileError(f"malformed pickle: {one_line(error)}") from error


def one_line(value: object) -> str:
    """A printable line of moderate length about something that came out of a file."""
    if not isinstance(value, str | int | float | Exception | Global):
        value = type(value).__name__  # the text of a nested container could be endless
    text = " ".join((str(value) or type(value).__name__).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 200 else text[:200] + "..."


# ---- the inert values of a pickle --------------------------------------------------------------


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names. Only the names: nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Object:
    """Stands for an instance of a class that is not known here."""

    cls: Global
    args: Sequence[Any] = ()
    attributes: dict[Any, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Storage:
    """The flat buffer behind tensors: an entry `data/KEY` of the zip.

    `dtype` is torch's name for that of its elements, or `uint8` where the storage has none; `length` is in elements.
    """

    key: str
    dtype: str
    length: int


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage, not read yet; offset and strides in elements of `dtype`.

    `note` says why it cannot be read, where that is so.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    note: str = ""


_STORAGE_DTYPES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}


# ---- the calls that are known ------------------------------------------------------------------


def _integers(value: Any) -> tuple[int, ...]:
    """A tuple of integers of 64 bits, checked."""
    if not isinstance(value, tuple | list) or not all(type(item) is int and abs(item) < 1 << 63 for item in value):
        raise CompileError("malformed pickle: an offset, size or stride that is no 64-bit integer")
    return tuple(value)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor | Object:
    """A tensor; `rest` is requires_grad, hooks, and, in newer files, a dict that says what else to do to it."""
    if isinstance(storage, Object):  # a storage of a kind that we do not know: no tensor of the decoder
        return storage
    if not isinstance(storage, Storage):
        raise CompileError("malformed pickle: a tensor without a storage")
    note = ""
    if len(rest) > 2 and isinstance(rest[2], dict) and any(rest[2].values()):
        note = "is lazily negated or conjugated: save a plain copy of it"
    (offset,) = _integers((offset,))
    return Tensor(storage, storage.dtype, offset, _integers(size), _integers(stride), note)


def _tensor_v3(*args: Any) -> Tensor | Object:
    """A tensor whose storage has no type: its own comes behind the hooks."""
    *first, dtype = args[:7]
    tensor = _tensor(*first, *args[7:])
    name = dtype.name if isinstance(dtype, Global) else "of no type"
    return replace(tensor, dtype=name) if isinstance(tensor, Tensor) else tensor


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _typed(function: Any, _cls: Any, args: Any, _state: Any) -> Any:
    return _call(function, args)


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        made[_key(key)] = value
    return made


def _defaultdict(_factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:
    return _dict(pairs)


def _list(values: Any = ()) -> list[Any]:
    if not isinstance(values, list | tuple | dict):
        raise CompileError("malformed pickle: a sequence is made of something else")
    return list(values)


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(_list(values))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "utf-8", "ascii"):
        raise CompileError("malformed pickle: bytes are made of something else")
    return text.encode(encoding)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A numpy scalar, where it is a plain number; otherwise an inert object."""
    code = dtype.args[0] if isinstance(dtype, Object) and dtype.args else None
    order = dtype.attributes.get("order", "<") if isinstance(dtype, Object) else "<"
    if not isinstance(code, str) or not isinstance(data, bytes) or code not in _SCALARS:
        return Object(Global("numpy", "generic"))
    return np.frombuffer(data, np.dtype((">" if order == ">" else "<") + code), 1)[0].item()


_SCALARS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


def _path(*parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts) or sum(map(len, parts)) > 1 << 16:
        raise CompileError("malformed pickle: a path of something else")
    return "/".join(parts).replace("//", "/")


def _reconstructor(cls: Any, _base: Any = None, state: Any = None) -> Object:
    return _new(cls, () if state is None else (state,))


def _newobj(cls: Any, *args: Any) -> Object:
    return _new(cls, args)


def _none_type(value: Any) -> Global:
    if value is not None:
        raise CompileError("refused: the pickle tries to call builtins.type")
    return Global("builtins", "NoneType")


_CALLS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,
    "builtins.dict": _dict,
    "builtins.frozenset": _list,
    "builtins.list": _list,
    "builtins.set": _list,
    "builtins.tuple": _size,
    "builtins.type": _none_type,
    "collections.Counter": _dict,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _defaultdict,
    "collections.deque": lambda values=(), _maxlen=None: _list(values),
    "copyreg.__newobj__": _newobj,
    "copyreg._reconstructor": _reconstructor,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.multiarray.scalar": _scalar,
    "torch.Size": _size,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    **{
        f"pathlib{part}.{name}": _path
        for part in ("", "._local")
        for name in ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
    },
}

# Calls whose result a training run may leave in a file and that nothing here needs: they make an inert object
_INERT_CALLS = frozenset(
    {
        "builtins.bytearray",
        "builtins.complex",
        "builtins.range",
        "builtins.slice",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "functools.partial",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_meta_tensor_no_storage",
        "torch._utils._rebuild_nested_tensor",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch.device",
        "torch.serialization._get_layout",
        "types.SimpleNamespace",
    }
)


def _canonical(function: Global) -> str:
    """The name of a global in today's Python: protocol 2 writes the names of Python 2."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(function.module, function.module)
    return f"{module}.{function.name}"


def _call(function: Any, args: Any) -> Any:
    """What the pickle's call stands for, if it is one of the few that are known."""
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise CompileError("refused: the pickle tries to call something that is no global")
    name = _canonical(function)
    if name in _CALLS:
        return _CALLS[name](*args)
    if name in _INERT_CALLS:
        return Object(function, args)
    raise CompileError(
        f"refused: the pickle tries to call {one_line(function)}; nothing was run. Save the state_dict alone instead"
    )


def _new(cls: Any, args: Any) -> Object:
    """An instance of a class that is not known; nothing of it exists here but the names."""
    if not isinstance(cls, Global) or not isinstance(args, tuple):
        raise CompileError("malformed pickle: an instance of something that is no class")
    return Object(cls, args)


def _key(key: Any) -> Any:
    """A key of a dict, checked: the hash of deeply nested tuples could take for ever."""
    scalars = (str, int, float, bytes, Global, Object, Storage, type(None))
    if isinstance(key, scalars) or (isinstance(key, tuple) and all(isinstance(item, scalars) for item in key)):
        return key
    raise CompileError(f"malformed pickle: a {type(key).__name__} as a key")


def _storage(identity: Any) -> Storage | Object:
    """The storage that a persistent id stands for: ('storage', class, key, location, elements)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise CompileError("malformed pickle: a persistent id that is no storage")
    kind, key, length = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or not isinstance(key, str) or type(length) is not int or length < 0:
        raise CompileError("malformed pickle: a storage without class, key or length")
    if kind.module not in ("torch", "torch.storage", "torch.cuda") or kind.name not in _STORAGE_DTYPES:
        return Object(kind)
    return Storage(key, _STORAGE_DTYPES[kind.name], length)


# ---- the machine -------------------------------------------------------------------------------


class _Machine:
    """Runs the opcodes of a pickle on inert values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """The value that the pickle describes."""
        for opcode, arg, position in pickletools.genops(io.BytesIO(data)):
            name = opcode.name
            try:
                if name == "STOP":
                    return self.stack.pop()
                if name in _PUSH:
                    self.stack.append(arg)
                elif name in _CONSTANTS:
                    self.stack.append(_CONSTANTS[name])
                else:
                    handler = getattr(self, "op_" + name.lower(), None)
                    if handler is None:
                        raise CompileError(f"refused: the pickle uses opcode {name}, which no checkpoint needs")
                    handler(arg)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                raise CompileError(f"malformed pickle: {name} at byte {position}: {one_line(error)}") from error
        raise CompileError("malformed pickle: it has no end")

    def pop_mark(self) -> list[Any]:
        """The values above the last mark, taken off the stack."""
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Object) else target
        if not isinstance(items, dict):
            raise TypeError("items for something that is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            items[_key(key)] = value

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        elements = target.elements if isinstance(target, Object) else target
        if not isinstance(elements, list):
            raise TypeError("elements for something that is no list")
        elements.extend(values)

    # Structure
    def op_proto(self, version: int) -> None:
        if version > 5:
            raise CompileError(f"the pickle's protocol {version} is unknown")

    def op_frame(self, _: Any) -> None:
        pass

    def op_mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def op_pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def op_pop_mark(self, _: Any) -> None:
        self.pop_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def op_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def op_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    op_binget = op_long_binget = op_get
    op_binput = op_long_binput = op_put

    # Containers
    def op_empty_list(self, _: Any) -> None:
        self.stack.append([])

    def op_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    op_empty_set = op_empty_list

    def op_list(self, _: Any) -> None:
        values = self.pop_mark()
        self.stack.append(values)

    op_frozenset = op_list

    def op_tuple(self, _: Any) -> None:
        values = self.pop_mark()
        self.stack.append(tuple(values))

    def op_dict(self, _: Any) -> None:
        values = self.pop_mark()
        self.stack.append({})
        self.set_items(values)

    def op_tuple1(self, _: Any) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def op_tuple2(self, _: Any) -> None:
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def op_tuple3(self, _: Any) -> None:
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def op_append(self, _: Any) -> None:
        value = self.stack.pop()
        self.extend([value])

    def op_appends(self, _: Any) -> None:
        self.extend(self.pop_mark())

    op_additems = op_appends

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def op_setitems(self, _: Any) -> None:
        self.set_items(self.pop_mark())

    # Names, instances, calls
    def op_global(self, arg: str) -> None:
        module, name = arg.split(" ", 1)
        self.stack.append(Global(module, name))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no string")
        self.stack.append(Global(module, name))

    def op_reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_call(function, args))

    def op_newobj(self, _: Any) -> None:
        args, cls = self.stack.pop(), self.stack.pop()
        self.stack.append(_new(cls, args))

    def op_newobj_ex(self, _: Any) -> None:
        _keywords, args, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(_new(cls, args))

    def op_inst(self, arg: str) -> None:
        args = tuple(self.pop_mark())
        module, name = arg.split(" ", 1)
        self.stack.append(_call(Global(module, name), args))

    def op_obj(self, _: Any) -> None:
        function, *args = self.pop_mark()
        self.stack.append(_call(function, tuple(args)))

    def op_build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Tensor | dict | list):
            return  # hooks of a parameter, `_metadata` of a state_dict: not needed
        if not isinstance(target, Object):
            raise TypeError("a state for something that is no object")
        if _canonical(target.cls) == "numpy.dtype" and isinstance(state, tuple):
            target.attributes["order"] = state[1]
            return
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                target.attributes.update(part)

    def op_persid(self, _: Any) -> None:
        raise CompileError("malformed pickle: a persistent id that is no storage")

    def op_binpersid(self, _: Any) -> None:
        self.stack.append(_storage(self.stack.pop()))


# Opcodes whose argument is the value
_PUSH = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
