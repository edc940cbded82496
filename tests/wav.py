"""WAV files, well-formed or not, and samples to fill them with."""

import struct

import numpy as np
from numpy.typing import NDArray

RATE = 16000


def make_samples(count: int) -> NDArray[np.int16]:
    time_axis = np.arange(count) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 220 * time_axis) + 0.1 * np.sin(2 * np.pi * 1330 * time_axis)
    return np.round(wave * 32767).astype(np.int16)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav_format(kind: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits))


def wav_file(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def wav_bytes(samples: NDArray[np.int16]) -> bytes:
    return wav_file(wav_format(), chunk(b"data", samples.tobytes()))
