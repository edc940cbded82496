"""Reads a pickle, executing nothing, in time and memory in proportion to it.

A pickle is a program for a small stack machine, and the standard library's may call anything that it names. Here that
machine is given nothing to call: a global is only its name, an instance of an unknown class only a record, and the few
calls that tensors and plain containers need are this module's own functions (`_CALLS`). Every other call is refused.

It is the library's machine in Python, as that in C copies arguments and hashes keys of any kind by itself: a pickle of
a few kilobytes can name one tuple thousands of times. Here arguments, containers and states are shared, and keys text.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import CompileError, one_line

_MAX_OPCODES = 1 << 20  # real pickles have some 40 for each tensor
_MAX_BITS = 1024  # of an integer
_MAX_NAME = 400  # characters of a global
_MAX_AXES = 64  # of a tensor: torch's own limit
_NOT_NEEDED = ("DICT", "EXT1", "EXT2", "EXT4", "INST", "NEXT_BUFFER", "OBJ", "READONLY_BUFFER")


def load(data: bytes) -> Any:
    """The value that a pickle describes, made of scalars, lists, tuples and the classes below (sets are lists).

    Raises CompileError for a call that is not known and for a malformed pickle.
    """
    try:
        _check(data)
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except CompileError:
        raise
    except Exception as error:  # the library may raise any
        raise CompileError(f"malformed pickle: {one_line(error)}") from error


def _check(data: bytes) -> None:
    """Refuse what the machine would take on trust: lengths beyond the end, huge numbers, what others registered."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count == _MAX_OPCODES:
            raise CompileError(f"the pickle has more than {_MAX_OPCODES} opcodes")
        if opcode.name in _NOT_NEEDED:
            raise CompileError(f"refused: the pickle uses opcode {opcode.name}, which no checkpoint needs")
        if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
            raise CompileError(f"malformed pickle: an integer of {argument.bit_length()} bits")
        # The memo is a dict: numbers chosen at will could all collide
        if opcode.name.endswith("PUT") and (argument or 0) > count:
            raise CompileError(f"malformed pickle: {opcode.name} {argument} after {count} opcodes")


# ---- the inert values of a pickle --------------------------------------------------------------


class Global(str):
    """A class or function that a pickle names. Only the name: nothing is imported."""


class Dict(dict[str, Any]):
    """A mapping. Keys become text: the hash of nested tuples could take for ever, those of numbers all collide."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Add an item."""
        super().__setitem__(key if isinstance(key, str) else one_line(key), value)


class Object(Dict):
    """Stands for an instance of a class that is not known here; its items are the mapping's."""

    def __init__(self, cls: Any, args: Any = ()) -> None:
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise CompileError("malformed pickle: an instance of something that is no class")
        self.args = args
        self.elements: list[Any] = []
        self.state: Any = None

    def append(self, value: Any) -> None:
        """Add an element."""
        self.elements.append(value)


@dataclass(frozen=True)
class Storage:
    """The flat buffer behind tensors: an entry `data/KEY` of the zip.

    `dtype` is torch's name for that of its elements, such as float32 or long, or `uint8` where it has none; `length` is
    in elements.
    """

    key: str
    dtype: str
    length: int


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage, not read yet; offset and strides in elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# ---- the calls that are known ------------------------------------------------------------------


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) > _MAX_AXES:
        raise CompileError("malformed pickle: a size or stride that is no short tuple")
    if not all(type(item) is int and abs(item) < 1 << 63 for item in value):
        raise CompileError("malformed pickle: an offset, size or stride that is no 64-bit integer")
    return tuple(value)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    """A tensor; `more` may hold its dtype, where the storage has none, and a dict that says what else to do to it."""
    if not isinstance(storage, Storage):
        raise CompileError("malformed pickle: a tensor without a storage")
    dtype = next((item.removeprefix("torch.") for item in more if isinstance(item, Global)), storage.dtype)
    if any(isinstance(item, dict) and (item.get("neg") or item.get("conj")) for item in more):
        dtype += ", lazily negated or conjugated"
    (start,) = _integers((offset,))
    return Tensor(storage, dtype, start, _integers(size), _integers(stride))


def _typed(function: Any, _cls: Any, args: Any, _state: Any) -> Any:
    """A tensor of a subclass: what it would be without one."""
    if function == "torch._tensor._rebuild_from_type_v2":
        raise CompileError("malformed pickle: a tensor's subclass inside another")
    return _call(function, args)


def _bytes(text: Any, _encoding: Any = None) -> Any:
    """Bytes, as protocol 2 writes them. Only those of a number are needed; others stay text."""
    return text.encode("latin1") if isinstance(text, str) and len(text) <= 8 else text


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A numpy scalar, where it is a plain number."""
    code = dtype.args[0] if isinstance(dtype, Object) and dtype.args else None
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        return None
    order = dtype.state[1] if isinstance(dtype.state, tuple) else "<"
    return np.frombuffer(data, (">" if order == ">" else "<") + code, 1)[0].item()


_CALLS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _bytes,
    **dict.fromkeys(
        ("builtins.dict", "collections.Counter", "collections.OrderedDict"), lambda items=None: items or Dict()
    ),
    **dict.fromkeys(
        ("builtins.frozenset", "builtins.list", "builtins.set", "builtins.tuple", "collections.deque", "torch.Size"),
        lambda values=None, _maxlen=None: values or [],
    ),
    "collections.defaultdict": lambda _factory=None, items=None: items or Dict(),
    "copyreg.__newobj__": lambda cls, *args: Object(cls, args),
    "copyreg._reconstructor": lambda cls, _base=None, state=None: Object(cls, () if state is None else (state,)),
    "numpy._core.multiarray.scalar": _scalar,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    **dict.fromkeys((f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")), _tensor),
}

# Calls whose result a training run may leave in a file and that nothing here needs: they make an inert object
_INERT_CALLS = re.compile(
    r"builtins\.(bytearray|complex|range|slice|type)|datetime\.(date|datetime|timedelta|timezone)|decimal\.Decimal"
    r"|fractions\.Fraction|functools\.partial|numpy\.dtype|numpy\._core\.multiarray\._reconstruct"
    r"|numpy\.random\._pickle\.__(bit_generator|generator|randomstate)_ctor|pathlib\.(Pure)?(Posix|Windows)?Path"
    r"|torch\.device|torch\.serialization\._get_layout|types\.SimpleNamespace"
    r"|torch\._utils\._rebuild_(device_tensor_from_numpy|meta_tensor_no_storage|nested_tensor|qtensor|sparse_tensor)"
)


def _call(function: Any, args: Any) -> Any:
    """What the pickle's call stands for, if it is one of the few that are known."""
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise CompileError("refused: the pickle tries to call something that is no global")
    if function in _CALLS and len(args) <= 16:
        return _CALLS[function](*args)
    if _INERT_CALLS.fullmatch(function):
        return Object(function, args)
    raise CompileError(
        f"refused: the pickle tries to call {one_line(function)}; nothing was run. Save the state_dict alone instead"
    )


# ---- the machine -------------------------------------------------------------------------------

_OTHER_MODULES = {  # of Python 2, as protocol 2 writes them, and of other versions
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "pathlib._local": "pathlib",
}
_STORAGES = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64", "Untyped": "uint8"}


class _Unpickler(pickle._Unpickler):
    """The library's machine, on inert values: what it would call, set or hash by itself, it does here."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> Global:
        """The name, and no more."""
        if len(module) + len(name) > _MAX_NAME:
            raise CompileError(f"malformed pickle: a global with a name of {len(module) + len(name)} characters")
        return Global(f"{_OTHER_MODULES.get(module, module)}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a persistent id stands for: ('storage', class, key, location, elements)."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise CompileError("malformed pickle: a persistent id that is no storage")
        kind, key, length = pid[1], pid[2], pid[4]
        if not isinstance(kind, Global) or not isinstance(key, str) or type(length) is not int or length < 0:
            raise CompileError("malformed pickle: a storage without class, key or length")
        name = kind.rpartition(".")[2].removesuffix("Storage").lstrip("_")
        return Storage(key, _STORAGES.get(name, name.lower()), length)

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _call(self.stack[-1], args)

    def _newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = Object(self.stack[-1], args)

    def _newobj_ex(self) -> None:
        del self.stack[-1]  # keywords
        self._newobj()

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Object):
            target.state = state
        elif not isinstance(target, Tensor | Dict | list):  # of those, hooks or `_metadata`: not needed
            raise CompileError("malformed pickle: a state for something that is no object")

    def _empty_dict(self) -> None:
        self.stack.append(Dict())

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _newobj,
        pickle.NEWOBJ_EX[0]: _newobj_ex,
        pickle.BUILD[0]: _build,
        pickle.EMPTY_DICT[0]: _empty_dict,
        # Sets are lists, so that nothing hashes their elements
        pickle.EMPTY_SET[0]: pickle._Unpickler.dispatch[pickle.EMPTY_LIST[0]],
        pickle.FROZENSET[0]: pickle._Unpickler.dispatch[pickle.LIST[0]],
        pickle.ADDITEMS[0]: pickle._Unpickler.dispatch[pickle.APPENDS[0]],
    }
