"""decode_batch: several streams at once, each bit for bit as if it were decoded alone."""

import ctypes
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.objects import BAD_ARGUMENT, BAD_INPUT, BAD_STREAM, Floats, Vocoder, some_mel

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
    frames = len(mels[0])
    audio = [np.full(frames * vocoder.hop, np.nan, np.float32) for _ in streams]
    rows = [(s.ctypes.data, m.ctypes.data, a.ctypes.data) for s, m, a in zip(streams, mels, audio, strict=True)]
    jobs = (Job * len(rows))(*(Job(*row) for row in rows))
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    entry = getattr(vocoder._library, f"{vocoder.name}_decode_batch")
    meeting = threading.Barrier(workers)
    wait = BARRIER(lambda _: meeting.wait() and None)
    results: list[int] = []

    def work(worker: int) -> None:
        team = Team(worker, workers, wait, None)
        results.append(entry(jobs, len(rows), ctypes.c_void_p(scratch.ctypes.data), frames, ctypes.byref(team)))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1, results
    return results[0], audio


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("count", "frames"), [(16, 1), (3, 5), (2, 8), (5, 3), (1, 16)])
def test_each_stream_is_as_if_alone(small: Vocoder, count: int, frames: int, workers: int) -> None:
    mels = [some_mel(4 * frames, small.mels, seed) for seed in range(count)]
    for target in small.targets if workers == 1 else ["best"]:
        streams = [small.stream(target) for _ in range(count)]
        parts: list[list[Floats]] = [[] for _ in range(count)]
        for start in range(0, 4 * frames, frames):
            chunk = [np.ascontiguousarray(mel[start : start + frames]) for mel in mels]
            status, audio = decode_batch(small, streams, chunk, workers)
            assert status == frames * small.hop
            for part, samples in zip(parts, audio, strict=True):
                part.append(samples)
        for mel, part, stream in zip(mels, parts, streams, strict=True):
            alone = small.stream(target)
            assert np.concatenate(part).tobytes() == small.continue_decode(alone, mel, frames).tobytes(), target
            assert stream.tobytes() == alone.tobytes(), "the state differs"


def test_streams_may_have_come_different_ways(odd: Vocoder) -> None:
    """One in the middle of its utterance, one at its start, one reset: the batch knows nothing of that."""
    before, mel = some_mel(7, odd.mels, 1), some_mel(4, odd.mels, 2)
    streams = [odd.stream() for _ in range(3)]
    odd.continue_decode(streams[0], before)
    odd.continue_decode(streams[2], before)
    odd.call("reset", streams[2])
    expected = [odd.continue_decode(stream.copy(), mel) for stream in streams]
    _, audio = decode_batch(odd, streams, [mel] * 3)
    assert [a.tobytes() for a in audio] == [e.tobytes() for e in expected]


def test_errors_move_no_stream(odd: Vocoder) -> None:
    good, bad = some_mel(4, odd.mels), some_mel(4, odd.mels)
    bad[2, 3] = np.nan
    streams = [odd.stream(), odd.stream()]
    other = odd.stream("portable" if len(odd.targets) > 1 else "best")
    cases = [
        (streams, [good, bad], BAD_INPUT),
        ([streams[0], streams[0]], [good, good], BAD_ARGUMENT),
        ([streams[0], np.zeros(odd.stream_bytes, np.uint8)], [good, good], BAD_STREAM),
        ([odd.stream() for _ in range(5)], [good] * 5, BAD_ARGUMENT),  # 20 frames, at most 16
    ]
    if other.tobytes() != streams[0].tobytes():
        cases.append(([streams[0], other], [good, good], BAD_ARGUMENT))
    before = [stream.tobytes() for stream in streams]
    for given, mels, wanted in cases:
        status, audio = decode_batch(odd, given, mels)
        assert status == wanted
        assert not np.concatenate(audio).any(), "not silent"
        assert [stream.tobytes() for stream in streams] == before
