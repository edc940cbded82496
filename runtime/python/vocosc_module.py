"""A vocoder compiled by vocosc: log-mel frames in, audio out, whole or as a stream; `info` says which model it is.

Frames are float32 [frames, MELS], as `mel` makes them; audio is [samples], float32 of full scale 1 or int16. Arrays
that are contiguous are used in place. Calls release the GIL; streams of different threads run at the same time.
"""

from __future__ import annotations

import ctypes
import functools
import json
import mmap
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "HOP",
    "LATENCY_SAMPLES",
    "MAX_FRAMES",
    "MELS",
    "N_FFT",
    "SAMPLE_RATE",
    "Batch",
    "MelStream",
    "Stream",
    "VocoderError",
    "Vocos",
    "decode",
    "decode_codes",
    "info",
    "mel",
    "selftest",
]

_HERE = Path(__file__).resolve().parent
_MODEL: dict[str, Any] = json.loads((_HERE / "model.json").read_text())
_SIZES: dict[str, Any] = _MODEL["sizes"]  # the header's macros
_NAME: str = _MODEL["report"]["name"]
_LIBRARY = ctypes.CDLL(str(_HERE / f"lib{_NAME}.so"))

info: dict[str, Any] = _MODEL["report"]
__version__: str = _MODEL["version"]

SAMPLE_RATE: int = _SIZES["SAMPLE_RATE"]
MELS: int = _SIZES["MELS"]
HOP: int = _SIZES["HOP"]
N_FFT: int = _SIZES["N_FFT"]
MAX_FRAMES: int = _SIZES["MAX_FRAMES"]
LATENCY_SAMPLES: int = _SIZES["LATENCY_SAMPLES"]

_TAIL: int = _SIZES["TAIL"]
_HAS_MEL: int = _SIZES["HAS_MEL"]
_MAX_ROWS: int = _SIZES["MAX_ROWS"]  # frames of all streams of a call
_MEL_TAIL: int = _SIZES["MEL_TAIL"]
_SILENT_MEL: float = _SIZES["SILENT_MEL"]
_LN_10 = float(np.log(10.0))
_ENOUGH_FRAMES = 40  # to tell a scale by
_LINE = 64  # bytes of a cache line
_BAD_INPUT = -2
_CODEBOOKS: int = _SIZES.get("CODEBOOKS", 0)
_CODES: int = _SIZES.get("CODES", 0)  # of a codebook
_SNAPSHOT = struct.Struct("<8s4s16sI")  # magic, kind, which weights and layout, checksum of the values that follow
_MAGIC = b"vocosc\x00\x01"


class VocoderError(RuntimeError):
    """The library refused a call: the message says why."""


class _Job(ctypes.Structure):
    _fields_ = (("stream", ctypes.c_void_p), ("mel", ctypes.c_void_p), ("audio", ctypes.c_void_p))


class _Scratches(threading.local):
    """The working memory of a call: one for each thread, made when it is first needed."""

    def __init__(self) -> None:
        self.address = _address(_memory(int(_LIBRARY[f"{_NAME}_scratch_bytes"]()), self))


def _function(name: str, *kinds: Any) -> Any:
    function = _LIBRARY[f"{_NAME}_{name}"]
    function.argtypes, function.restype = kinds, ctypes.c_int
    return function


_P, _I = ctypes.c_void_p, ctypes.c_int
for _name in ("scratch_bytes", "stream_bytes", "mel_stream_bytes"):
    _LIBRARY[f"{_NAME}_{_name}"].restype = ctypes.c_size_t
_status_text = _LIBRARY[f"{_NAME}_status_text"]
_status_text.restype = ctypes.c_char_p
_target_name = _LIBRARY[f"{_NAME}_target_name"]
_target_name.restype = ctypes.c_char_p
_DECODE = {"f": _function("decode", _P, _P, _P, _I, _P), "h": _function("decode_int16", _P, _P, _P, _I, _P)}
_DECODE_CODES = {
    kind: _function(f"decode_codes{suffix}", _P, _P, _P, _I, _I, _P)
    for kind, suffix in (("f", ""), ("h", "_int16"))
    if _CODEBOOKS
}
_LOOKS_AHEAD = bool(_SIZES.get("LATENCY_LOOKAHEAD_FRAMES", 0))  # then flush computes, and takes a scratch
_COUNTS_FRAMES = bool(_SIZES.get("COUNTS_FRAMES", 0))  # then streams that are not in step give unequal samples
_flush_arguments = (_P, _P, _P) if _LOOKS_AHEAD else (_P, _P)
_FLUSH = {"f": _function("flush", *_flush_arguments), "h": _function("flush_int16", *_flush_arguments)}
_MEL = {"f": _function("mel", _P, _P, _P, _I, _P), "h": _function("mel_int16", _P, _P, _P, _I, _P)}
_mel_flush = _function("mel_flush", _P, _P, _P)
_RESET = {"stream": _function("reset", _P)}
if _HAS_MEL:
    _RESET["mel_stream"] = _function("mel_reset", _P)
_decode_samples = _function("decode_samples", _P, _I) if _COUNTS_FRAMES else None
_decode_batch = _function("decode_batch", ctypes.POINTER(_Job), _I, _P, _I, _P)


def _memory(count: int, keeper: Any) -> np.ndarray:
    """Zeros on a cache line, kept alive by an attribute of `keeper`."""
    whole = np.zeros(count + _LINE, np.uint8)
    keeper._whole = whole
    start = -_address(whole) % _LINE
    return whole[start : start + count]


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _checked(status: int) -> int:
    if status < 0:
        text = (_status_text(status) or b"").decode()
        raise ValueError(text) if status == _BAD_INPUT else VocoderError(text)
    return status


def _open_weights() -> mmap.mmap | None:
    """The weights, where they are not in the library; mapped, so that all processes share them."""
    if _SIZES["BAKED"]:
        return None
    with (_HERE / f"{_NAME}_weights.bin").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


_WEIGHTS = _open_weights()
_scratches = _Scratches()


# ---- what is given, checked ----


def _array(given: Any, what: str) -> np.ndarray:
    """As a numpy array, without a copy; a torch tensor too."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    array = np.asarray(given)
    if array.dtype == object:
        raise TypeError(f"{what}: is a {type(given).__name__}, not an array of numbers")
    return array


def _frames(given: Any) -> np.ndarray:
    """Log-mel frames, contiguous."""
    frames = _array(given, "mel")
    if frames.dtype != np.float32:
        raise TypeError(f"mel: is {frames.dtype}, must be float32: pass mel.astype(numpy.float32)")
    if frames.ndim != 2 or frames.shape[1] != MELS:
        raise ValueError(f"mel: has the shape {frames.shape}, must be (frames, {MELS}){_shape_hint(frames.shape)}")
    if not np.isfinite(frames).all():
        frame, bin_ = np.argwhere(~np.isfinite(frames))[0]
        raise ValueError(f"mel: is {frames[frame, bin_]} in frame {frame}, bin {bin_}; all values must be finite")
    return np.ascontiguousarray(frames)


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2 and shape[0] == MELS:
        return ": it is transposed, pass mel.T"
    if len(shape) == 3 and MELS in shape[1:]:
        return (
            f": decode one utterance at a time, mel[0]{'.T' if shape[1] == MELS else ''}, or pass all to Vocos.decode"
        )
    if len(shape) == 1 and shape[0] == MELS:
        return ": one frame is mel[None]"
    if len(shape) == 2:
        return f": this model has {MELS} mels"
    return ""


def _codes(given: Any) -> np.ndarray:
    """Codebook indices, contiguous, as the library takes them."""
    if not _CODEBOOKS:
        raise VocoderError("this model has no codebooks: pass its features to decode")
    codes = _array(given, "codes")
    if codes.dtype.kind not in "iu":
        raise TypeError(f"codes: are {codes.dtype}, must be whole numbers")
    if codes.ndim != 2 or not 1 <= codes.shape[1] <= _CODEBOOKS:
        hint = ": they are transposed, pass codes.T" if codes.ndim == 2 and codes.shape[0] <= _CODEBOOKS else ""
        raise ValueError(
            f"codes: have the shape {codes.shape}, must be (frames, codebooks), of 1 to {_CODEBOOKS} codebooks{hint}"
        )
    if codes.size and not 0 <= codes.min() <= codes.max() < _CODES:
        raise ValueError(f"codes: go from {codes.min()} to {codes.max()}; this model's go from 0 to {_CODES - 1}")
    return np.ascontiguousarray(codes, np.uint16)


def _audio(given: Any) -> np.ndarray:
    """Samples, contiguous."""
    audio = _array(given, "audio")
    if audio.dtype not in (np.float32, np.int16):
        raise TypeError(f"audio: is {audio.dtype}, must be float32 (full scale 1) or int16")
    if audio.ndim != 1:
        raise ValueError(f"audio: has the shape {audio.shape}, must be (samples,): one channel of {SAMPLE_RATE} Hz")
    if audio.dtype == np.float32 and audio.size:
        if not np.isfinite(audio).all():
            place = int(np.argmin(np.isfinite(audio)))
            raise ValueError(f"audio: is {audio[place]} at sample {place}; all values must be finite")
        if np.abs(audio).max() > 256:
            raise ValueError("audio: looks like 16-bit samples in float: divide by 32768, or pass them as int16")
    return np.ascontiguousarray(audio)


def _kind(dtype: Any) -> np.dtype:
    kind: np.dtype = np.dtype(dtype)
    if kind.char not in _DECODE:
        raise TypeError(f"dtype: is {kind}, must be float32 or int16")
    return kind


def _fault(frames: np.ndarray) -> str | None:
    """What is wrong with the values of an utterance's log-mel, if it is plain; none if in doubt.

    Neighbouring bins of speech and music are alike, whatever scale they are on: what has not even that is no audio's
    mel, and let pass.
    """
    if len(frames) < _ENOUGH_FRAMES or MELS < 8 or not _HAS_MEL:
        return None
    low, high = float(frames.min()), float(frames.max())
    left, right = frames[:, :-1] - frames[:, :-1].mean(), frames[:, 1:] - frames[:, 1:].mean()
    energy = float(np.sqrt((left * left).sum() * (right * right).sum()))
    likeness = float((left * right).sum()) / energy if energy > 0.0 else 0.0
    if low >= 0.0 and likeness > 0.4:
        return "no value is negative: it looks like a mel without its logarithm; this model takes the natural one"
    if likeness < 0.6:
        return None
    if low < 2.0 * min(_SILENT_MEL, -11.5):
        return "values are far below any silence: it looks like decibels; this model takes the natural logarithm"
    if high > _loudness() + 2.0:
        return "values are above full scale: it looks like the mel of 16-bit samples; divide the audio by 32768"
    # log10 of a recording that hisses as loudly as speech would be let pass; and so is ln of all that does not.
    if low > max(_silence() / _LN_10, -5.0) - 0.001 and high < 5.0 / _LN_10 and high - low > 1.5:
        return "no value is as low as silence is: it looks like log10; multiply by numpy.log(10)"
    return None


@functools.cache
def _silence() -> float:
    """The least log-mel of digital silence."""
    return float(mel(np.zeros(2 * N_FFT, np.int16)).min())


@functools.cache
def _loudness() -> float:
    """The greatest log-mel of a tone of full scale, of any frequency."""
    time = np.arange(32 * N_FFT)
    return float(mel(np.sin(np.pi / 2 * time * time / time.size).astype(np.float32)).max())


# ---- states ----


class _State:
    """What streams of both directions have in common: a plain struct of the library's, copied and saved as a whole."""

    _struct = ""  # its name in C
    _prefix = 0  # bytes of it that belong to this process: whether it is ready, its target, its weights' address

    def __init__(self, target: str = "best") -> None:
        self._target = target
        self._lock = threading.Lock()
        self._values = _memory(int(_LIBRARY[f"{_NAME}_{self._struct}_bytes"]()), self)
        self._address = _address(self._values)
        self._init(_target_number(target))

    def _init(self, target: int) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        """Back to silence: the next frame begins a new utterance."""
        with self._lock:
            self._reset()

    def _reset(self) -> None:
        _checked(_RESET[self._struct](self._address))

    def copy(self) -> Any:
        """A stream that goes on from here on its own."""
        other = type(self)(self._target)
        with self._lock:
            other._values[:] = self._values
        return other

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def snapshot(self) -> bytes:
        """The state, for `restore`, here or in any other process or machine that has this model's module."""
        with self._lock:
            values = self._values[self._prefix :].tobytes()
        return _SNAPSHOT.pack(_MAGIC, self._kind(), bytes.fromhex(_MODEL["state"]), zlib.crc32(values)) + values

    @classmethod
    def restore(cls, snapshot: bytes, target: str = "best") -> Any:
        """The stream whose `snapshot` this is. Raises ValueError if it is damaged or another model's."""
        stream = cls(target)
        wanted = stream._values.size - cls._prefix
        if len(snapshot) < _SNAPSHOT.size or not bytes(snapshot).startswith(_MAGIC):
            raise ValueError("snapshot: is none of a vocosc stream")
        _, kind, state, checksum = _SNAPSHOT.unpack_from(snapshot)
        values = bytes(snapshot)[_SNAPSHOT.size :]
        if kind != cls._kind():
            raise ValueError(f"snapshot: is not one of a {cls.__name__}")
        if state != bytes.fromhex(_MODEL["state"]):
            raise ValueError(f"snapshot: is of another model, or another precision of it, than this {_NAME}")
        if len(values) != wanted or zlib.crc32(values) != checksum:
            raise ValueError("snapshot: is cut off or damaged")
        stream._values[cls._prefix :] = np.frombuffer(values, np.uint8)
        return stream

    @classmethod
    def _kind(cls) -> bytes:
        return cls.__name__[:4].encode()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def __reduce__(self) -> Any:
        raise TypeError(f"{type(self).__name__}: is not pickled; send snapshot(), and restore() it there")


_TARGETS = [_target_name(number).decode() for number in range(256)]


@functools.cache
def _has_tiles() -> bool:
    """Whether build and CPU have AMX, and Linux grants its tiles: to this process, from now on."""
    stream = np.zeros(int(_LIBRARY[f"{_NAME}_mel_stream_bytes"]()), np.uint8)
    if _LIBRARY[f"{_NAME}_mel_init_target"](_P(_address(stream)), _TARGETS.index("amx")) < 0 or sys.platform != "linux":
        return False
    arch_prctl, request, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


def _target_number(name: str) -> int:
    """The number of an instruction set ("avx2"); it need not be in the build."""
    if name not in _TARGETS:
        built = ", ".join(["best", *info["targets"]])
        raise ValueError(f"target: {name!r} is none; this build has {built}")
    if name == "amx" and not _has_tiles():
        raise VocoderError("target: amx is not in this build or CPU, or Linux does not grant it")
    return _TARGETS.index("amx" if name == "best" and _has_tiles() else name)


class Stream(_State):
    """One utterance, decoded as its frames come. However they are cut into calls, the audio is the same, bit for bit.

    `target` is an instruction set of the build ("avx2", "portable"), by default the CPU's best; all give the same bits.
    As a context manager it is reset at the end. Threads that share a stream take turns.
    """

    _struct = "stream"
    _prefix = 8 if _SIZES["BAKED"] else 16
    _seen: _Watch

    def _init(self, target: int) -> None:
        self._seen = _Watch()
        if _WEIGHTS is None:
            _checked(_LIBRARY[f"{_NAME}_init_target"](_P(self._address), target))
        else:
            weights = np.frombuffer(_WEIGHTS, np.uint8)
            function = _function("init_weights", _P, _I, _P, ctypes.c_size_t)
            _checked(function(self._address, target, _address(weights), weights.size))

    def _reset(self) -> None:
        super()._reset()
        self._seen = _Watch()

    def decode(self, mel: Any, dtype: Any = np.float32) -> np.ndarray:
        """The samples that these frames, any number of them, complete: [samples], float32 or int16.

        A causal model gives HOP samples a frame; one that looks ahead gives fewer at first, the rest with `flush`.
        After an error the stream is as it was.
        """
        frames, kind = _frames(mel), _kind(dtype)
        self._seen.add(frames)
        with self._lock:
            return self._decode(frames, kind)

    def decode_codes(self, codes: Any, dtype: Any = np.float32) -> np.ndarray:
        """As `decode`, of codebook indices, whole numbers [frames, codebooks], of a model that has codebooks."""
        rows, kind = _codes(codes), _kind(dtype)
        with self._lock:
            return self._decode(rows, kind)

    def _decode(self, frames: np.ndarray, kind: np.dtype) -> np.ndarray:
        """Of log-mel frames, or, if they are uint16, of codes."""
        audio = np.empty(len(frames) * HOP, kind)
        functions, width = (_DECODE, ()) if frames.dtype == np.float32 else (_DECODE_CODES, frames.shape[1:])
        function, scratch, count = functions[kind.char], _scratches.address, 0
        for start in range(0, len(frames), MAX_FRAMES):
            part = frames[start : start + MAX_FRAMES]
            room = audio[count:]
            count += _checked(function(self._address, scratch, _address(part), *width, len(part), _address(room)))
        return audio if count == audio.size else audio[:count]

    def flush(self, dtype: Any = np.float32) -> np.ndarray:
        """The end of the utterance: the samples that frames still to come would have added to. Resets the stream."""
        kind = _kind(dtype)
        tail = np.empty(_TAIL + 1, kind)  # there may be none, but C wants a pointer
        with self._lock:
            scratch = (_scratches.address,) if _LOOKS_AHEAD else ()
            count = _checked(_FLUSH[kind.char](self._address, *scratch, _address(tail)))
            self._seen = _Watch()
        return tail[:count]


class _Watch:
    """Looks at the first frames of a stream, and warns once if they are plainly no log-mel of this model's kind."""

    _ENOUGH = 100

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._count = 0

    def add(self, frames: np.ndarray) -> None:
        if self._count >= self._ENOUGH:
            return
        self._parts.append(frames[: self._ENOUGH - self._count].copy())
        self._count += len(self._parts[-1])
        if self._count >= self._ENOUGH:
            fault = _fault(np.concatenate(self._parts))
            self._parts = []
            if fault:
                warnings.warn(f"mel: {fault}", RuntimeWarning, stacklevel=3)


class MelStream(_State):
    """The analysis of one recording as it comes: audio in, log-mel frames out, as this model was trained on."""

    _struct = "mel_stream"
    _prefix = 8

    def _init(self, target: int) -> None:
        if not _HAS_MEL:
            raise VocoderError(f"this model takes no mel, but {_SIZES['MEL_TEXT']}")
        _checked(_LIBRARY[f"{_NAME}_mel_init_target"](_P(self._address), target))

    def mel(self, audio: Any) -> np.ndarray:
        """The frames [frames, MELS] that these samples complete: any number, float32 of full scale 1, or int16."""
        samples = _audio(audio)
        with self._lock:
            function, scratch, count = _MEL[samples.dtype.char], _scratches.address, 0
            frames = np.empty((len(samples) // HOP + 1, MELS), np.float32)
            for start in range(0, len(samples), MAX_FRAMES * HOP):
                part = samples[start : start + MAX_FRAMES * HOP]
                count += _checked(function(self._address, scratch, _address(part), len(part), _address(frames[count:])))
        return frames[:count]

    def flush(self) -> np.ndarray:
        """The end of the recording: the frames that silence, or the audio mirrored, completes. Resets."""
        frames = np.empty((_MEL_TAIL, MELS), np.float32)
        with self._lock:
            count = _checked(_mel_flush(self._address, _scratches.address, _address(frames)))
        return frames[:count]


class Batch:
    """Many streams decoded together, which reads the weights once for all of them. They need not be in step."""

    def __init__(self, streams: int | Iterable[Stream]) -> None:
        """A number of new streams, or some that there are, all of one target."""
        self.streams = [Stream() for _ in range(streams)] if isinstance(streams, int) else list(streams)
        if len({id(stream) for stream in self.streams}) < len(self.streams):
            raise ValueError("streams: one is given twice")
        if len({stream._target for stream in self.streams}) > 1:
            raise ValueError("streams: must be of one target")

    def __len__(self) -> int:
        """How many streams."""
        return len(self.streams)

    def decode(self, mels: Sequence[Any] | Mapping[int, Any], dtype: Any = np.float32) -> list[np.ndarray]:
        """Each stream's frames to its audio, as Stream.decode alone gives it.

        `mels` has an entry for each stream, None if it has nothing to decode, or is a mapping from their indices. Each
        may bring any number of frames.
        """
        kind = _kind(dtype)
        given = mels if isinstance(mels, Mapping) else dict(enumerate(mels))
        if not isinstance(mels, Mapping) and len(mels) != len(self.streams):
            raise ValueError(f"mels: has {len(mels)} entries for {len(self.streams)} streams")
        wrong = [index for index in given if not 0 <= index < len(self.streams)]
        if wrong:
            raise ValueError(f"mels: has an entry for stream {wrong[0]}, of {len(self.streams)}")
        frames: dict[int, np.ndarray] = {}
        for index, mel in sorted(given.items()):
            if mel is not None:
                try:
                    frames[index] = _frames(mel)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"stream {index}: {error}") from None
        audio = [np.empty(len(frames.get(index, ())) * HOP, np.float32) for index in range(len(self.streams))]
        locks = [self.streams[index]._lock for index in sorted(frames, key=lambda index: id(self.streams[index]))]
        for lock in locks:  # in an order that is the same for all batches
            lock.acquire()
        try:
            counts = self._decode(frames, audio)
        finally:
            for lock in locks:
                lock.release()
        return [_as(samples[:count], kind) for samples, count in zip(audio, counts, strict=True)]

    def _decode(self, frames: dict[int, np.ndarray], audio: list[np.ndarray]) -> list[int]:
        """Calls of as many streams, and as many frames of each, as fit; those that have less to go are done first."""
        counts = [0] * len(audio)
        done = dict.fromkeys(frames, 0)
        while True:
            left = sorted(
                (len(frames[index]) - done[index], index) for index in frames if done[index] < len(frames[index])
            )
            if not left:
                return counts
            group = left[:_MAX_ROWS]
            step = min(group[0][0], MAX_FRAMES, _MAX_ROWS // len(group))
            jobs = (_Job * len(group))()
            for job, (_, index) in zip(jobs, group, strict=True):
                job.stream = self.streams[index]._address
                job.mel = _address(frames[index][done[index] :])
                job.audio = _address(audio[index][counts[index] :])
            samples = [step * HOP] * len(group)
            if _decode_samples is not None:
                samples = [_checked(_decode_samples(job.stream, step)) for job in jobs]
            _checked(_decode_batch(jobs, len(group), _scratches.address, step, None))
            for (_, index), count in zip(group, samples, strict=True):
                done[index] += step
                counts[index] += count

    def flush(self, index: int, dtype: Any = np.float32) -> np.ndarray:
        """The end of a stream's utterance; it begins anew."""
        return self.streams[index].flush(dtype)


def _as(audio: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Rounded to nearest, ties to even, and clipped, as the library does it."""
    if kind == audio.dtype:
        return audio
    return np.asarray(np.clip(np.rint(audio * np.float32(32768)), -32768, 32767), kind)


# ---- whole utterances ----


def decode(mel: Any, dtype: Any = np.float32, *, flush: bool = False, check: bool = True) -> np.ndarray:
    """An utterance's audio: mel [frames, MELS] float32 to [samples], HOP a frame, float32 or int16.

    `flush` adds the overlap's end behind the last frame, where the model has one. An utterance that is plainly on
    another scale than this model's (log10, decibels, no logarithm, 16-bit samples) is a ValueError that says so, unless
    `check` is false.
    """
    frames, kind = _frames(mel), _kind(dtype)
    fault = _fault(frames) if check else None
    if fault:
        raise ValueError(f"mel: {fault} (check=False decodes it all the same)")
    return _whole(frames, kind, flush)


def decode_codes(codes: Any, dtype: Any = np.float32, *, flush: bool = False) -> np.ndarray:
    """An utterance's audio from codebook indices, whole numbers [frames, codebooks]; otherwise as `decode`."""
    return _whole(_codes(codes), _kind(dtype), flush)


def _whole(frames: np.ndarray, kind: np.dtype, flush: bool) -> np.ndarray:
    stream = Stream()
    audio = np.concatenate([stream._decode(frames, kind), stream.flush(kind)])
    return audio if flush else audio[: len(frames) * HOP]


def mel(audio: Any) -> np.ndarray:
    """A recording's log-mel: audio [samples] of SAMPLE_RATE Hz, float32 of full scale 1 or int16, to [frames, MELS]."""
    stream = MelStream()
    return np.concatenate([stream.mel(audio), stream.flush()])


def selftest() -> None:
    """Decodes a built-in chunk and compares the audio's hash with the compiler's. Raises VocoderError."""
    if _SIZES["HAS_SELFTEST"]:
        stream = Stream()
        _checked(_function("selftest", _P, _P)(stream._address, _scratches.address))


class Vocos:
    """Stands in for vocos.Vocos where only `decode` is called: Vocos().decode(features)."""

    def decode(self, features: Any, *, check: bool = True) -> Any:
        """features [batch, MELS, frames] or [MELS, frames], a torch tensor or an array, to audio [batch, samples].

        A tensor's audio is a tensor, on its device.
        """
        values = _array(features, "features")
        if values.ndim not in (2, 3) or values.shape[-2] != MELS:
            raise ValueError(f"features: has the shape {values.shape}, must be (batch, {MELS}, frames)")
        batch = values.astype(np.float32, copy=False).reshape(-1, *values.shape[-2:])
        audio = np.stack([decode(utterance.T, check=check) for utterance in batch])
        return features.new_tensor(audio) if hasattr(features, "new_tensor") else audio
