"""decode_batch: several streams at once, each bit for bit as if it were decoded alone."""

from typing import Any

import numpy as np
import pytest

from tests import builds, make_vocos
from tests.batches import call_batch, decode_batch
from tests.objects import BAD_ARGUMENT, BAD_INPUT, BAD_STREAM, Floats, Vocoder, config, some_mel


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


# ---- --streams ----


@pytest.fixture(params=["odd", "vocos_center"])
def server(request: pytest.FixtureRequest) -> Vocoder:
    """Sized for five streams of three frames: one that is causal, and one that looks ahead."""
    sizes = config(request.param)
    source = (
        builds.once(("vocos", sorted(sizes.items(), key=str)), lambda out: make_vocos.write_folder(out, sizes))
        if request.param.startswith("vocos")
        else builds.checkpoint(request.param)
    )
    options = ("--chunk", "3", "--streams", "5", "--target", "portable")
    return Vocoder(builds.library(source, "server", *options), "server")


def test_streams_and_frames_are_sized_apart(server: Vocoder) -> None:
    """Five streams of three frames, seven of two, fifteen of one; and no stream of more than three."""
    assert server.max_frames == 3 and server.report["streams"] == 5
    for count, frames in ((5, 3), (7, 2), (15, 1), (1, 3)):
        mels = [some_mel(4 * frames, server.mels, seed) for seed in range(count)]
        streams = [server.stream() for _ in range(count)]
        alone = [server.stream() for _ in range(count)]
        for start in range(0, 4 * frames, frames):
            chunk = [np.ascontiguousarray(mel[start : start + frames]) for mel in mels]
            _, audio = decode_batch(server, streams, chunk, 1 + count % 2)
            for stream, mel, samples in zip(alone, chunk, audio, strict=True):
                own = server.decode_chunk(stream, mel)
                assert samples[: own.size].tobytes() == own.tobytes()
        assert [stream.tobytes() for stream in streams] == [stream.tobytes() for stream in alone]
    for count, frames in ((1, 4), (6, 3), (16, 1)):
        given = [some_mel(frames, server.mels, seed) for seed in range(count)]
        assert decode_batch(server, [server.stream() for _ in range(count)], given)[0] == BAD_ARGUMENT


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_in_int16(server: Vocoder, workers: int) -> None:
    """Rounded as decode_int16 does it; streams at different places, one of which has given no sample yet."""
    how: Any = {"workers": workers, "function": "decode_batch_int16"}
    streams = [server.stream() for _ in range(5)]
    for ahead, stream in enumerate(streams):
        for start in range(0, 7 * ahead, 3):
            server.decode_chunk(stream, some_mel(3, server.mels, start))
    alone = [stream.copy() for stream in streams]
    for seed in range(3):
        mels = [some_mel(3, server.mels, 9 * seed + i) for i in range(5)]
        audio = [np.full(3 * server.hop, 77, np.int16) for _ in streams]
        expected = [samples.copy() for samples in audio]
        counts = [
            server.call("decode_int16", stream, server._scratch, mel, 3, samples)
            for stream, mel, samples in zip(alone, mels, expected, strict=True)
        ]
        assert call_batch(server, streams, mels, audio, **how) == max(counts)
        assert [samples.tobytes() for samples in audio] == [samples.tobytes() for samples in expected]
        assert [stream.tobytes() for stream in streams] == [stream.tobytes() for stream in alone]
    mels[2][1, 1] = np.inf
    assert call_batch(server, streams, mels, audio, **how) == BAD_INPUT
    assert not np.concatenate(audio).any()
    assert [stream.tobytes() for stream in streams] == [stream.tobytes() for stream in alone]
