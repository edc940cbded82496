"""Calls of decode_batch, by one thread or a team of them."""

import ctypes
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.objects import Floats, Vocoder

Stream = NDArray[np.uint8]
BARRIER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Job(ctypes.Structure):
    _fields_ = (("stream", ctypes.c_void_p), ("mel", ctypes.c_void_p), ("audio", ctypes.c_void_p))


class Team(ctypes.Structure):
    _fields_ = (
        ("worker", ctypes.c_int),
        ("workers", ctypes.c_int),
        ("barrier", BARRIER),
        ("context", ctypes.c_void_p),
    )


def decode_batch(
    vocoder: Vocoder, streams: list[Stream], mels: list[Floats], workers: int = 1
) -> tuple[int, list[Floats]]:
    """One call, by a team of Python threads if there are several workers; its status and each stream's audio."""
    audio = [np.full(len(mels[0]) * vocoder.hop, np.nan, np.float32) for _ in streams]
    return call_batch(vocoder, streams, mels, audio, workers=workers, function="decode_batch"), audio


def call_batch(
    vocoder: Vocoder, streams: list[Stream], mels: list[Floats], audio: list[Any], *, workers: int, function: str
) -> int:
    rows = [(s.ctypes.data, m.ctypes.data, a.ctypes.data) for s, m, a in zip(streams, mels, audio, strict=True)]
    jobs = (Job * len(rows))(*(Job(*row) for row in rows))
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    entry = getattr(vocoder._library, f"{vocoder.name}_{function}")
    meeting = threading.Barrier(workers)
    wait = BARRIER(lambda _: meeting.wait() and None)
    results: list[int] = []

    def work(worker: int) -> None:
        team = Team(worker, workers, wait, None)
        arguments = (jobs, len(rows), ctypes.c_void_p(scratch.ctypes.data), len(mels[0]), ctypes.byref(team))
        results.append(entry(*arguments))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1, results
    return results[0]
