"""Reads a checkpoint file: the decoder's tensors and the hyper-parameters, executing nothing.

A PyTorch file is a zip of one pickle, `NAME/data.pkl`, and one entry per storage, `NAME/data/KEY`. The pickle says what
there is (see unpickle.py); then the entries that hold the decoder are read, and no others.
"""

import errno
import hashlib
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from .errors import CompileError, one_line
from .unpickle import Object, Storage, Tensor, load

Array = NDArray[Any]

PREFIX = "decoder."
"""What the names of the decoder's tensors begin with, after reading."""

_ANCHOR = "0.embed.conv.conv.bias"  # the tensor that shows where the decoder is
_MAX_PICKLE = 16 << 20  # bytes; real ones have a few megabytes at most
_MAX_DEPTH = 64  # of nested hyper-parameters
_MAX_VALUES = 1 << 18  # of them
_CHUNK = 1 << 20  # bytes read at a time
_DTYPES = {"float32": "f4", "float16": "f2", "bfloat16": "u2", "float64": "f8"}  # torch's names and numpy's


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint file.

    Attributes:
        path: the file.
        sha256: of the file's bytes, in hexadecimal.
        tensors: the decoder's tensors and no others, named `decoder.…` whatever their prefix in the file. C-contiguous
            float32 or float64; float16 and bfloat16 are widened to float32, exactly.
        hyper_parameters: plain dicts, lists and scalars, with objects flattened to dicts of their attributes; or None.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Array]
    hyper_parameters: dict[str, Any] | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a PyTorch zip container (.ckpt, .pt, .pth, .bin) or a safetensors file; the contents decide which.

    Takes memory for the decoder's tensors and little more, however large the file. Raises CompileError, naming the
    file, for one that cannot be read, is malformed, holds no decoder, or tries to call something.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            head = file.read(16)
            if head.startswith(b"PK"):
                tensors, hyper_parameters = _read_container(file, size)
            elif _is_safetensors(path, head, size):
                tensors, hyper_parameters = _read_safetensors(path)
            elif size == 0:
                raise CompileError("the file is empty")
            else:
                raise CompileError("is not a zip container or safetensors file: save it again with torch >= 1.6")
    except CompileError as error:
        raise CompileError(f"{path}: {error}") from error
    except OSError as error:
        raise CompileError(f"{path}: cannot read: {error.strerror or error}") from error
    except Exception as error:  # whatever the parsers raise at a malformed file
        raise CompileError(f"{path}: malformed file: {one_line(error)}") from error
    return Checkpoint(path, sha256, tensors, hyper_parameters)


# ---- hyper-parameters --------------------------------------------------------------------------


def _plain(value: Any, above: tuple[int, ...], left: Iterator[int]) -> Any:
    """Dicts, lists and scalars alone, of what a pickle held.

    `above` has the ids of the containers that hold the value, to cut cycles; `left` counts down the values to come.
    """
    if len(above) > _MAX_DEPTH or next(left, None) is None:
        raise CompileError("the hyper-parameters are nested without end")
    inside = (*above, id(value))
    if id(value) not in above:
        if isinstance(value, Object):
            return _plain(_contents(value), inside, left)
        if isinstance(value, dict):
            return {key: _plain(item, inside, left) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(item, inside, left) for item in value]
    return value if value is None or isinstance(value, str | int | float) else one_line(value)


def _contents(value: Object) -> Any:
    """What an instance of an unknown class stands for: its attributes and items, its elements, or its one value."""
    # The attributes are a dict, or a pair of them, the second for slots
    parts = value.state[:2] if isinstance(value.state, tuple) else (value.state,)
    found = {key: item for part in (*parts, value) if isinstance(part, dict) for key, item in part.items()}
    for wrapped in ("_content", "_val"):  # omegaconf's nodes
        if wrapped in found:
            return found[wrapped]
    if found or value.elements:
        return found or value.elements
    # An instance of a subclass of int, float or str has one argument, a named tuple several, an empty object none
    return value.args[0] if len(value.args) == 1 else value.args or {}


def _hyper_parameters(root: Mapping[Any, Any]) -> dict[str, Any] | None:
    value = _plain(root.get("hyper_parameters", root.get("hparams")), (), iter(range(_MAX_VALUES)))
    return value if isinstance(value, dict) else None


# ---- the zip container -------------------------------------------------------------------------


def _read_container(file: BinaryIO, size: int) -> tuple[dict[str, Array], dict[str, Any] | None]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, size)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise CompileError(f"truncated or corrupt zip container: {one_line(error)}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise CompileError("truncated or corrupt zip container: an offset before the file's start") from error


def _read_archive(archive: zipfile.ZipFile, size: int) -> tuple[dict[str, Array], dict[str, Any] | None]:
    entries = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CompileError(f"not a PyTorch file: the zip has {len(pickles)} entries named data.pkl, not one")
    folder = pickles[0].removesuffix("data.pkl")
    info = entries[pickles[0]]
    if info.file_size > min(size, _MAX_PICKLE):
        raise CompileError(f"{pickles[0]} has {info.file_size} bytes: too many for a pickle of names and shapes")
    root = load(b"".join(_stream(archive, info, size)))
    order = "<"
    if folder + "byteorder" in entries:
        marker = entries[folder + "byteorder"]
        text = b"".join(_stream(archive, marker, size))[:16] if marker.file_size <= 64 else b""
        if text not in (b"little", b"big"):
            raise CompileError(f"{folder}byteorder is neither little nor big")
        order = ">" if text == b"big" else "<"
    if not isinstance(root, dict):
        raise CompileError("not a checkpoint: the pickle is no dict (a whole model? save its state_dict)")
    views = _decoder_views(root)
    by_entry: dict[str, dict[str, Tensor]] = {}
    total = 0
    for name, view in views.items():
        total += _check_view(name, view)
        key = f"{folder}data/{view.storage.key}"
        if key not in entries:
            raise CompileError(f"{name}: its storage, entry {one_line(key)}, is missing")
        length = entries[key].file_size
        if length < _storage_bytes(view.storage):
            raise CompileError(f"{name}: its storage has {length} bytes, fewer than the pickle says")
        if key not in by_entry:
            total += length
        by_entry.setdefault(key, {})[name] = view
    # Views and deflated entries may overlap and repeat, so a short file could ask for any amount of memory and time
    if total > 8 * size + (64 << 20):
        raise CompileError(f"the decoder's tensors ask for {total} bytes of a file of {size}")
    tensors: dict[str, Array] = {}
    for key, part in by_entry.items():
        tensors.update(_read_views(archive, entries[key], size, part, order))
    return {name: tensors[name] for name in views}, _hyper_parameters(root)


def _stream(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> Iterator[bytes]:
    """The contents of an entry, a chunk at a time; its CRC is checked at the end."""
    name = one_line(info.filename)
    if info.flag_bits & 1:
        raise CompileError(f"entry {name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CompileError(f"entry {name} is compressed by method {info.compress_type}: use stored or deflated")
    # Deflate gains at most a factor of 1032, so a longer entry is a lie
    limit = info.compress_size * (1 if info.compress_type == zipfile.ZIP_STORED else 1032)
    if info.header_offset + info.compress_size > size or info.file_size > limit:
        raise CompileError(f"truncated or corrupt zip container: entry {name} is longer than the file")
    done = 0
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            done += len(chunk)
            yield chunk
    if done != info.file_size:
        raise CompileError(f"truncated or corrupt zip container: entry {name} ends early")


def _decoder_views(root: dict[Any, Any]) -> dict[str, Tensor]:
    """The decoder's tensors, by their names after reading, found by the one that every decoder has."""
    # A Lightning checkpoint keeps the tensors under state_dict; a bare file is the state_dict itself
    candidates = [root["state_dict"]] if isinstance(root.get("state_dict"), dict) else [root]
    candidates += [value for value in root.values() if isinstance(value, dict)]
    for state in {id(state): state for state in candidates}.values():
        prefix = _prefix(state)
        if prefix is not None:
            break
    else:
        raise CompileError(f"no decoder in it: no tensor's name ends with {_ANCHOR}")
    views: dict[str, Tensor] = {}
    for key, value in state.items():
        if not _is_decoder(key, prefix):
            continue
        name = _name(key, prefix)
        if not isinstance(value, Tensor):
            raise CompileError(f"{one_line(key)}: is no dense tensor")
        views[name] = value
    return views


def _is_decoder(key: Any, prefix: str) -> bool:
    # Without a prefix, the decoder's tensors are those of modules 0 and 1
    return isinstance(key, str) and key.startswith(prefix) and (prefix != "" or key.startswith(("0.", "1.")))


def _name(key: str, prefix: str) -> str:
    """The name of a decoder's tensor after reading."""
    if not key.isprintable() or len(key) > 200:
        raise CompileError(f"{one_line(key)}: such a name no tensor has")
    return PREFIX + key[len(prefix) :]


def _prefix(names: Mapping[Any, Any]) -> str | None:
    """What stands before the decoder's names: usually `decoder.`; None if there is no decoder."""
    found = [name.removesuffix(_ANCHOR) for name in names if isinstance(name, str) and name.endswith(_ANCHOR)]
    found = [prefix for prefix in found if prefix == "" or prefix.endswith(".")]
    if PREFIX in found:
        return PREFIX
    if len(found) > 1:
        raise CompileError(f"several decoders in it: {one_line(', '.join(found))}; keep one, named {PREFIX}")
    return found[0] if found else None


def _check_view(name: str, view: Tensor) -> int:
    """Check that a tensor is of a type we take and inside its storage. Returns the bytes that reading it takes."""
    if view.dtype not in _DTYPES:
        raise CompileError(f"{name}: is {one_line(view.dtype)}; expected float32, float16, bfloat16 or float64")
    if view.storage.dtype not in (view.dtype, "uint8"):
        raise CompileError(f"{name}: is {view.dtype} in a storage of {view.storage.dtype}")
    if len(view.shape) != len(view.strides) or len(view.shape) > 8:
        raise CompileError(f"{name}: has {len(view.shape)} sizes and {len(view.strides)} strides")
    if min((view.offset, *view.shape, *view.strides)) < 0:
        raise CompileError(f"{name}: has a negative size, stride or offset")
    length = _storage_bytes(view.storage) // _item_size(view)
    if view.offset + _span(view) > length:
        shape = "x".join(map(str, view.shape))
        raise CompileError(f"{name}: its {shape} elements reach outside their storage of {length}")
    return max(_span(view), math.prod(view.shape)) * _item_size(view)


def _span(view: Tensor) -> int:
    """Elements of the storage from the first to the last that the tensor holds."""
    if 0 in view.shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))


def _item_size(view: Tensor) -> int:
    return np.dtype(_DTYPES[view.dtype]).itemsize


def _storage_bytes(storage: Storage) -> int:
    return storage.length * (np.dtype(_DTYPES[storage.dtype]).itemsize if storage.dtype in _DTYPES else 1)


def _read_views(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int, views: Mapping[str, Tensor], order: str
) -> dict[str, Array]:
    """Read the tensors of one storage, holding of it no more than they need."""
    spans: dict[str, tuple[int, bytearray]] = {}  # first byte, and the bytes from there
    for name, view in views.items():
        spans[name] = (view.offset * _item_size(view), bytearray(_span(view) * _item_size(view)))
    position = 0
    for chunk in _stream(archive, entry, size):
        for first, data in spans.values():
            start, stop = max(first, position), min(first + len(data), position + len(chunk))
            if start < stop:
                data[start - first : stop - first] = memoryview(chunk)[start - position : stop - position]
        position += len(chunk)
    tensors = {}
    for name, view in views.items():
        flat = np.frombuffer(spans.pop(name)[1], np.dtype(order + _DTYPES[view.dtype]))
        strides = [stride * flat.itemsize for stride in view.strides]
        tensors[name] = _widened(np.lib.stride_tricks.as_strided(flat, view.shape, strides), view.dtype)
    return tensors


def _widened(array: Array, dtype: str) -> Array:
    """C-contiguous float32, or float64, of elements as they were stored."""
    if dtype == "bfloat16":
        return (array.astype(np.uint32, order="C") << 16).view(np.float32)
    # Native order already and contiguous: no copy
    return np.asarray(array, np.float64 if dtype == "float64" else np.float32, order="C")


# ---- safetensors -------------------------------------------------------------------------------


def _is_safetensors(path: Path, head: bytes, size: int) -> bool:
    if path.suffix == ".safetensors":
        return True
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size


_SAFETENSORS_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


def _read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, Any] | None]:
    tensors: dict[str, Array] = {}
    # pread rather than mmap: a mapped file counts as memory. The library checks the header, which is then read again
    with safe_open(path, framework="np", backend="pread") as library, path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        text = header.pop("__metadata__", {}).get("hyper_parameters")
        prefix = _prefix(header)
        if prefix is None:
            raise CompileError(f"no decoder in it: no tensor's name ends with {_ANCHOR}")
        for key, entry in header.items():
            if not _is_decoder(key, prefix):
                continue
            name = _name(key, prefix)
            if entry["dtype"] not in _SAFETENSORS_DTYPES:
                raise CompileError(f"{one_line(key)}: is {entry['dtype']}; expected F32, F16, BF16 or F64")
            dtype = _SAFETENSORS_DTYPES[entry["dtype"]]
            if dtype == "bfloat16":  # numpy has none, so the library cannot hand it over
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                array = np.frombuffer(file.read(end - begin), "<u2").reshape(entry["shape"])
            else:
                array = library.get_tensor(key)
            tensors[name] = _widened(array, dtype)
    return tensors, _hyper_parameters({"hyper_parameters": text and json.loads(text)})
