"""--check: a flipped bit of a stream or of the weights is found, every one of them; the audio is what it was."""

from pathlib import Path

import numpy as np
import pytest

from tests import builds, make_vocos
from tests.objects import (
    BAD_ARGUMENT,
    BAD_STREAM,
    BAD_WEIGHTS,
    TINY,
    Separate,
    Vocoder,
    one_line,
    run_compiler,
    some_mel,
)


def build(*options: object) -> Path:
    return builds.library(builds.checkpoint(TINY), "tiny", "--chunk", "3", *options)


@pytest.fixture(params=[("portable",), ("x86-64",), ("portable", "--weights", "blob")], ids=" ".join)
def vocoder(request: pytest.FixtureRequest) -> Vocoder:
    target, *options = request.param
    return (Separate if "blob" in options else Vocoder)(build("--target", target, "--check", *options), "tiny")


def test_the_audio_is_the_same(vocoder: Vocoder) -> None:
    mel = some_mel(20, vocoder.mels)
    plain = Vocoder(build("--target", "portable"), "tiny")
    stream = vocoder.stream()
    assert vocoder.continue_decode(stream, mel, 2).tobytes() == plain.decode(mel).tobytes()
    assert vocoder.selftest() == 0
    assert plain.stream_bytes + 4 + (8 if isinstance(vocoder, Separate) else 0) == vocoder.stream_bytes
    assert vocoder.report["state_bytes"] == vocoder.stream_bytes


def test_every_flip_of_a_stream_is_found_and_nothing_else(vocoder: Vocoder) -> None:
    stream = vocoder.stream()
    states = [stream.copy()]
    vocoder.continue_decode(stream, some_mel(9, vocoder.mels))
    states.append(stream.copy())
    pcm = np.zeros(vocoder.hop, np.int16)
    assert vocoder.call("decode_int16", stream, vocoder._scratch, some_mel(1, vocoder.mels), 1, pcm) == vocoder.hop
    states.append(stream.copy())
    vocoder.flush(stream)
    states.append(stream.copy())
    for state in states:
        assert vocoder.call("check", state) == 0
        for byte in range(state.size):
            bit = 1 << byte % 8
            state[byte] ^= bit
            assert vocoder.call("check", state) == BAD_STREAM, byte
            state[byte] ^= bit
        assert vocoder.call("check", state) == 0
    assert vocoder.call("check", None) == BAD_ARGUMENT
    assert vocoder.call("check", np.zeros_like(stream)) == BAD_STREAM


def test_every_flip_of_the_weights_is_found() -> None:
    vocoder = Separate(build("--target", "portable", "--check", "--weights", "blob"), "tiny")
    memory = np.zeros(vocoder.weights.size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    weights = memory[start : start + vocoder.weights.size]
    weights[:] = vocoder.weights
    vocoder.weights = weights
    stream = vocoder.stream()
    for byte in [*range(20, 72), *range(72, weights.size, 37)]:
        weights[byte] ^= 1 << byte % 8
        assert vocoder.call("check", stream) == BAD_WEIGHTS, byte
        weights[byte] ^= 1 << byte % 8
    assert vocoder.call("check", stream) == 0


def test_models_that_count_frames_have_it_too(tmp_path: Path) -> None:
    folder = make_vocos.write_folder(tmp_path / "model", make_vocos.TINY)
    directory = builds.library(folder / "pytorch_model.bin", "tiny", "--chunk", "3", "--target", "portable", "--check")
    vocoder = Vocoder(directory, "tiny")
    stream = vocoder.stream()
    audio = np.zeros(3 * vocoder.hop, np.float32)
    for _ in range(5):
        assert vocoder.call("decode", stream, vocoder._scratch, some_mel(3, vocoder.mels), 3, audio) >= 0
        assert vocoder.call("check", stream) == 0
    for byte in range(stream.size):
        stream[byte] ^= 4
        assert vocoder.call("check", stream) == BAD_STREAM, byte
        stream[byte] ^= 4


def test_it_is_not_there_with_libraries(tmp_path: Path) -> None:
    one_line(run_compiler(builds.checkpoint(TINY), "-o", tmp_path / "out", "--check", "--link", "libs"), "--check")
