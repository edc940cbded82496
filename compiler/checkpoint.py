"""Reads a checkpoint: the decoder's tensors and the hyper-parameters, executing nothing.

A PyTorch file is a zip of one pickle, `NAME/data.pkl`, and one entry per storage, `NAME/data/KEY`. The pickle says what
there is (see unpickle.py); then the entries that hold the decoder are read, and no others. A model of gemelo-ai/vocos
has its hyper-parameters in a config.yaml beside the file (see yaml_config.py).
"""

import errno
import hashlib
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from .errors import CompileError, one_line
from .unpickle import Object, Storage, Tensor, load
from .yaml_config import find_config, read_yaml

Array = NDArray[Any]

PREFIX = "decoder."
"""What the names of a streaming decoder's tensors begin with, after reading."""

STREAMING, VOCOS = "streaming_vocos", "vocos"
"""The families: Streaming Vocos, and gemelo-ai/vocos with all that shares its tensors' names."""

MEL_FILTERS = "feature_extractor.mel_spec.mel_scale.fb"
CODEBOOKS = "feature_extractor.codebook_weights"
"""What is kept of a feature extractor: mel filters (bins, mels); codebooks (when read: codebooks, rows, channels)."""

_ANCHOR = "0.embed.conv.conv.bias"  # the tensor that shows where a streaming decoder is
_VOCOS_ANCHOR = "backbone.embed.bias"  # and one of the other family
_CODES = 1024  # rows of an EnCodec codebook
_WINDOW = "head.istft.window"
_CODEBOOK = re.compile(r"feature_extractor\.encodec\.quantizer\.vq\.layers\.(\d{1,3})\._codebook\.embed")
_UNSUPPORTED = {  # what shows that a model is of a kind that we know and do not compile
    r"backbone\.pos_net\.": "WavTokenizer's: its backbone has attention (pos_net), which does not stream",
    r"backbone\.(transformers|prior_net|post_net)\.": "X-Codec 2's: a transformer, which does not stream",
    r"backbone\.resnet\.": "Vocos's ResNet backbone (VocosResNetBackbone): only VocosBackbone compiles",
    r"head\.imdct\.": "an IMDCT head's: only ISTFTHead compiles",
    r"([a-z_]+\.)*upsampl\w*\.": "one with an UpSampler: only VocosBackbone and ISTFTHead compile",
}
_MAX_PICKLE = 16 << 20  # bytes; real ones have a few megabytes at most
_MAX_DEPTH = 64  # of nested hyper-parameters
_MAX_VALUES = 1 << 18  # of them
_CHUNK = 1 << 20  # bytes read at a time
_DTYPES = {"float32": "f4", "float16": "f2", "bfloat16": "u2", "float64": "f8"}  # torch's names and numpy's


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint.

    Attributes:
        path: the file.
        sha256: of the file's bytes, in hexadecimal; of them and its external data's, where it has some.
        tensors: the decoder's tensors and no others, named `decoder.…`, or `backbone.…` and `head.…`, whatever their
            prefix in the file. C-contiguous float32 or float64; float16 and bfloat16 are widened to float32, exactly.
        hyper_parameters: plain dicts, lists and scalars, with objects flattened to dicts of their attributes; or None.
        family: STREAMING or VOCOS.
        features: what the file says of the features, by name: MEL_FILTERS, CODEBOOKS; often nothing.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Array]
    hyper_parameters: dict[str, Any] | None
    family: str = STREAMING
    features: Mapping[str, Array] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a PyTorch zip container (.ckpt, .pt, .pth, .bin) or a safetensors file, as the contents say, or an .onnx.

    Or a folder that holds one of them; and the config.yaml beside it, where the model is of that family. Takes memory
    for the decoder's tensors and little more, however large the file. Raises CompileError, naming the file, for one
    that cannot be read, is malformed, holds no decoder, or tries to call something.
    """
    path = _file_in(path) if path.is_dir() else path
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            head = file.read(16)
            if path.suffix == ".onnx":
                contents, sha256 = _read_onnx(path, sha256)
            elif head.startswith(b"PK"):
                contents = _read_container(file, size)
            elif _is_safetensors(path, head, size):
                contents = _read_safetensors(path)
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
    try:
        return _checkpoint(path, sha256, contents)
    except CompileError as error:
        raise CompileError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Contents:
    """What a file holds: tensors by their names after reading."""

    tensors: dict[str, Array]
    hyper_parameters: dict[str, Any] | None
    family: str


def _checkpoint(path: Path, sha256: str, contents: _Contents) -> Checkpoint:
    """A file's contents, with the configuration beside it."""
    tensors, hyper_parameters = contents.tensors, contents.hyper_parameters
    if contents.family == STREAMING:
        return Checkpoint(path, sha256, tensors, hyper_parameters)
    features = _features(tensors)
    config = find_config(path.parent)
    if config is not None:
        hyper_parameters = _merged(hyper_parameters or {}, read_yaml(config))
    decoder = {name: tensor for name, tensor in tensors.items() if name.startswith(("backbone.", "head."))}
    _check_window(decoder.pop(_WINDOW, None))
    return Checkpoint(path, sha256, decoder, hyper_parameters, VOCOS, features)


def _merged(told: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """What a file says of itself, and its configuration, which wins, but for the look-ahead that a graph shows."""
    merged = told | config

    def inner(mapping: Any, *names: str) -> dict[str, Any]:
        for name in names:
            mapping = mapping.get(name) if isinstance(mapping, dict) else None
        return mapping if isinstance(mapping, dict) else {}

    graph = inner(told, "backbone", "init_args")
    for place in (inner(merged, "backbone", "init_args"), inner(merged, "model", "init_args", "backbone", "init_args")):
        if place and "lookahead_frames" in graph:
            place["lookahead_frames"] = graph["lookahead_frames"]
    return merged


def _features(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What is kept of the feature extractor; codebooks from whichever place the file has them in."""
    found = {MEL_FILTERS: tensors[MEL_FILTERS]} if MEL_FILTERS in tensors else {}
    layers = {int(match[1]): name for name in tensors if (match := _CODEBOOK.fullmatch(name))}
    if CODEBOOKS in tensors:
        books = tensors[CODEBOOKS]
        if books.ndim != 2 or books.size == 0 or len(books) % _CODES:
            raise CompileError(f"{CODEBOOKS}: expected {_CODES} rows a codebook")
        found[CODEBOOKS] = books.reshape(-1, _CODES, books.shape[1])
    elif layers:
        parts = [tensors[layers[i]] for i in range(len(layers)) if i in layers]
        if (
            len(parts) < len(layers)
            or len({part.shape for part in parts}) > 1
            or parts[0].ndim != 2
            or not parts[0].size
        ):
            raise CompileError("feature_extractor.encodec.quantizer: its codebooks are not alike, or some are missing")
        found[CODEBOOKS] = np.stack(parts)
    return found


def _check_window(window: Array | None) -> None:
    """Refuse another window than the periodic Hann one, which the kernels have in their tables."""
    if window is None:
        return
    n_fft = window.size
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / max(1, n_fft))
    if window.ndim != 1 or not np.abs(window - hann).max(initial=0) <= 2e-3:  # half a unit in bfloat16's last place
        raise CompileError(f"{_WINDOW}: is no periodic Hann window")


_SUFFIXES = (".bin", ".ckpt", ".onnx", ".pt", ".pth", ".safetensors")
_USUAL = ("pytorch_model.bin", "model.safetensors")  # what a model's folder holds


def _file_in(folder: Path) -> Path:
    """The checkpoint in a folder. Raises CompileError unless there is one, or one that is usual."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        raise CompileError(f"{folder}: cannot read: {error.strerror or error}") from error
    usual = [path for name in _USUAL for path in found if path.name == name]
    if usual or len(found) == 1:
        return (usual or found)[0]
    what = f"holds {', '.join(one_line(path.name) for path in found[:3])}" if found else "holds no checkpoint"
    raise CompileError(
        f"{folder}: {what}: expected one of {', '.join(_USUAL)}, or a single file {', '.join(_SUFFIXES)}"
    )


def _read_onnx(path: Path, sha256: str) -> tuple[_Contents, str]:
    """An ONNX file's contents, and the hash of all that belongs to it."""
    from .onnx_file import read_onnx  # noqa: PLC0415 - the package takes longer to import than a compile's other steps

    model = read_onnx(path)
    if model.files:
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in model.files]
        sha256 = hashlib.sha256(" ".join([sha256, *digests]).encode()).hexdigest()
    return _Contents(model.tensors, model.hyper_parameters, VOCOS), sha256


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


def _read_container(file: BinaryIO, size: int) -> _Contents:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, size)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise CompileError(f"truncated or corrupt zip container: {one_line(error)}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise CompileError("truncated or corrupt zip container: an offset before the file's start") from error


def _read_archive(archive: zipfile.ZipFile, size: int) -> _Contents:
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
    views, family = _decoder_views(root)
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
    return _Contents({name: tensors[name] for name in views}, _hyper_parameters(root), family)


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


def _decoder_views(root: dict[Any, Any]) -> tuple[dict[str, Tensor], str]:
    """The decoder's tensors, by their names after reading, and its family."""
    # A Lightning checkpoint keeps the tensors under state_dict; a bare file is the state_dict itself
    candidates = [root["state_dict"]] if isinstance(root.get("state_dict"), dict) else [root]
    candidates += [value for value in root.values() if isinstance(value, dict)]
    for state in {id(state): state for state in candidates}.values():
        decoder = _find_decoder(state)
        if decoder is not None:
            break
    else:
        raise CompileError(_NO_DECODER)
    views: dict[str, Tensor] = {}
    for key, value in state.items():
        if not decoder.holds(key):
            continue
        name = decoder.name(key)
        if not isinstance(value, Tensor):
            raise CompileError(f"{one_line(key)}: is no dense tensor")
        views[name] = value
    return views, decoder.family


_NO_DECODER = f"no decoder in it: no tensor's name ends with {_ANCHOR} or {_VOCOS_ANCHOR}"


@dataclass(frozen=True)
class _Decoder:
    """Where in a file a decoder is: its family, and what stands before its names."""

    family: str
    prefix: str

    def holds(self, key: Any) -> bool:
        """Whether a tensor is to be read."""
        if not isinstance(key, str) or not key.startswith(self.prefix):
            return False
        name = key[len(self.prefix) :]
        if self.family == VOCOS:
            is_decoder = name.startswith(("backbone.", "head."))
            return is_decoder or name in (MEL_FILTERS, CODEBOOKS) or _CODEBOOK.fullmatch(name) is not None
        # Without a prefix, the decoder's tensors are those of modules 0 and 1
        return self.prefix != "" or name.startswith(("0.", "1."))

    def name(self, key: str) -> str:
        """The name of a tensor after reading."""
        if not key.isprintable() or len(key) > 200:
            raise CompileError(f"{one_line(key)}: such a name no tensor has")
        return ("" if self.family == VOCOS else PREFIX) + key[len(self.prefix) :]


def _find_decoder(names: Mapping[Any, Any]) -> _Decoder | None:
    """The decoder among a file's tensors, found by the one that every decoder has; None if there is none."""
    for family, anchor, usual in ((STREAMING, _ANCHOR, PREFIX), (VOCOS, _VOCOS_ANCHOR, "")):
        found = [name.removesuffix(anchor) for name in names if isinstance(name, str) and name.endswith(anchor)]
        found = [prefix for prefix in found if prefix == "" or prefix.endswith(".")]
        if usual not in found and len(found) > 1:
            raise CompileError(
                f"several decoders in it: {one_line(', '.join(found))}; keep one, named {usual or 'backbone.'}"
            )
        if found:
            decoder = _Decoder(family, usual if usual in found else found[0])
            _check_kind(decoder, names)
            return decoder
    return None


def _check_kind(decoder: _Decoder, names: Mapping[Any, Any]) -> None:
    """Refuse, by name, the models that we know and do not compile."""
    for name in names if decoder.family == VOCOS else ():
        if isinstance(name, str) and name.startswith(decoder.prefix) and len(name) <= 200:
            for pattern, kind in _UNSUPPORTED.items():
                if re.match(pattern, name[len(decoder.prefix) :]):
                    raise CompileError(f"{name}: this model is {kind}")


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


def _read_safetensors(path: Path) -> _Contents:
    tensors: dict[str, Array] = {}
    # pread rather than mmap: a mapped file counts as memory. The library checks the header, which is then read again
    with safe_open(path, framework="np", backend="pread") as library, path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        text = header.pop("__metadata__", {}).get("hyper_parameters")
        decoder = _find_decoder(header)
        if decoder is None:
            raise CompileError(_NO_DECODER)
        for key, entry in header.items():
            if not decoder.holds(key):
                continue
            name = decoder.name(key)
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
    hyper_parameters = _hyper_parameters({"hyper_parameters": text and json.loads(text)})
    return _Contents(tensors, hyper_parameters, decoder.family)
