"""The compiled object's audio: close to the float64 truth, and the same bits however it is asked for."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import builds
from tests.objects import (
    BAD_INPUT,
    BAD_STREAM,
    BAD_TARGET,
    TARGETS,
    Vocoder,
    config,
    every,
    golden,
    random_splits,
    some_mel,
    truth,
)
from tests.reference import snr_db
from tests.vocoders import everywhere

# The golden mels' audio, on every target and with every compiler. It changes only if the order of the arithmetic or a
# polynomial is changed on purpose.
GOLDEN_SHA256 = {
    "small": "31a0e9e839e164a631e5c41c3ab776e96dcc6cef7371d0fe01be92ba04fc2e1d",
    "odd": "cbb26c65b8f2f4f33cd9d663ef1139aefb2cf6236c06e32b3912e4e67592a953",
}


def sha256(audio: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(audio.tobytes()).hexdigest()


# ---- accuracy ----


@pytest.mark.parametrize(("name", "least"), [("full", 108.0), ("small", 111.0), ("odd", 89.0)])
def test_audio_is_as_close_to_the_truth_as_promised(request: pytest.FixtureRequest, name: str, least: float) -> None:
    vocoder: Vocoder = request.getfixturevalue(name)
    snr = snr_db(golden(name, "audio64"), vocoder.decode(golden(name, "mel")))
    assert snr >= least, f"{snr:.2f} dB"


@everywhere
def test_flush_gives_the_rest_of_the_overlap_add(vocoder: Vocoder) -> None:
    """The n_fft - hop samples that the whole utterance's sum has after the last frame's hop; then the stream is new."""
    model = truth(config(vocoder.name))
    for frames in (1, 2, 30):  # one frame's tail, one where frames still overlap, a usual one
        mel = golden(vocoder.name, "mel")[:frames]
        stream = vocoder.stream()
        vocoder.continue_decode(stream, mel)
        tail = vocoder.flush(stream)
        snr = snr_db(model.tail(mel), tail)
        assert snr >= (108 if vocoder.name == "small" else 85), f"{snr:.2f} dB after {frames} frames"
        assert np.array_equal(stream, vocoder.stream()), "flush does not reset"
        assert not vocoder.flush(stream).any(), "silence has a tail"


@everywhere
def test_flush_is_what_silence_would_add_nothing_to(vocoder: Vocoder) -> None:
    """The sum of two utterances' audio and tails does not depend on which chunks they came in."""
    mel = golden(vocoder.name, "mel")[:23]
    tails = []
    for chunks in (1, 7, 16):
        stream = vocoder.stream()
        vocoder.continue_decode(stream, mel, chunks)
        tails.append(vocoder.flush(stream).tobytes())
    assert tails[0] == tails[1] == tails[2]


# ---- one golden output ----


@everywhere
def test_the_golden_audio_has_one_hash_on_every_target(vocoder: Vocoder) -> None:
    mel = golden(vocoder.name, "mel")
    hashes = {target: sha256(vocoder.decode(mel, target=target)) for target in vocoder.targets}
    assert hashes == dict.fromkeys(vocoder.targets, GOLDEN_SHA256[vocoder.name])


def test_the_selftest_passes_on_every_target(vocoder: Vocoder, full: Vocoder) -> None:
    """The compiler has computed the hash in Python: a second implementation, with the same bits."""
    for model in (vocoder, full):
        assert {target: model.selftest(target) for target in model.targets} == dict.fromkeys(model.targets, 0)
    stream, new = vocoder.stream(), vocoder.stream()
    vocoder.continue_decode(stream, some_mel(7, vocoder.mels))
    assert vocoder.call("selftest", stream, np.zeros(vocoder.call("scratch_bytes"), np.uint8)) == 0
    assert np.array_equal(stream, new), "the stream is not reset"


@pytest.mark.parametrize("target", ["portable", "sse2", "avx2", "avx512"])
def test_targets_give_the_same_bits(vocoder: Vocoder, full: Vocoder, target: str) -> None:
    if target not in vocoder.targets:
        stream = np.zeros(vocoder.stream_bytes, np.uint8)
        assert vocoder.call("init_target", stream, TARGETS[target]) == BAD_TARGET
        pytest.skip(f"this CPU has no {target}")
    mel = some_mel(40, vocoder.mels)
    expected = vocoder.decode(mel)
    for chunks in (1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16):
        assert sha256(vocoder.decode(mel, chunks, target)) == sha256(expected), f"chunk {chunks}"
    assert sha256(full.decode(golden("full", "mel")[:12], 5, target)) == sha256(full.decode(golden("full", "mel")[:12]))


@pytest.mark.parametrize("largest", [1, 2, 3, 5, 8, 10, 16])
def test_audio_does_not_depend_on_the_split(vocoder: Vocoder, largest: int) -> None:
    mel = some_mel(37, vocoder.mels, seed=largest)
    expected = vocoder.decode(mel).tobytes()
    for seed in range(every(200, 20)):
        splits = random_splits(len(mel), largest, seed)
        assert vocoder.decode(mel, splits).tobytes() == expected, f"split {splits}"
    for target in vocoder.targets:
        for seed in range(5):
            splits = random_splits(len(mel), largest, 1000 + seed)
            assert vocoder.decode(mel, splits, target).tobytes() == expected, f"split {splits} on {target}"


@pytest.mark.parametrize("largest", every([1, 2, 3, 5, 8, 10], [1, 3, 5, 8]))
def test_audio_does_not_depend_on_the_largest_chunk(odd: Vocoder, odd_checkpoint: Path, largest: int) -> None:
    """Objects compiled for other chunk sizes have other tiles and another scratch, and the same audio."""
    target = "x86-64" if largest == 5 else "portable"
    other = Vocoder(builds.library(odd_checkpoint, "odd", "--chunk", largest, "--target", target), "odd")
    assert other.max_frames == largest
    mel = some_mel(37, odd.mels)
    expected = odd.decode(mel).tobytes()
    for seed in range(every(200 if target == "x86-64" else 30, 20)):
        splits = random_splits(len(mel), largest, seed)
        assert other.decode(mel, splits, other.targets[seed % len(other.targets)]).tobytes() == expected, splits


@pytest.mark.parametrize(
    ("optimisation", "compiler"),
    every([(level, name) for level in ("-O0", "-O3") for name in ("gcc", "clang")], [("-O3", "clang")]),
)
def test_audio_does_not_depend_on_the_c_compiler(odd_checkpoint: Path, compiler: str, optimisation: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    options = ("--chunk", 5, "--target", "portable" if optimisation == "-O3" else "x86-64")
    variables = (f"CC={compiler}", f"EXTRA_CFLAGS={optimisation}")
    vocoder = Vocoder(builds.library(odd_checkpoint, "odd", *options, make=variables), "odd")
    hashes = {target: sha256(vocoder.decode(golden("odd", "mel"), target=target)) for target in vocoder.targets}
    assert hashes == dict.fromkeys(vocoder.targets, GOLDEN_SHA256["odd"])


# ---- streams ----


@everywhere
def test_two_streams_interleaved(vocoder: Vocoder) -> None:
    mels = [some_mel(30, vocoder.mels, seed) for seed in (5, 6)]
    alone = [vocoder.decode(mel) for mel in mels]
    streams = [vocoder.stream(), vocoder.stream()]
    parts: list[list[np.ndarray[Any, Any]]] = [[], []]
    for start in range(0, 30, 3):
        for k in (0, 1):
            parts[k].append(vocoder.decode_chunk(streams[k], mels[k][start : start + 3]))
    for k in (0, 1):
        assert np.concatenate(parts[k]).tobytes() == alone[k].tobytes()


@everywhere
def test_a_copied_stream_resumes(vocoder: Vocoder) -> None:
    mel, other = some_mel(30, vocoder.mels), some_mel(9, vocoder.mels, seed=9)
    whole = vocoder.decode(mel)
    for cut in (1, 2, 13, 29):
        stream = vocoder.stream()
        start = vocoder.continue_decode(stream, mel[:cut])
        snapshot = stream.copy()
        vocoder.continue_decode(stream, other)  # the original goes another way
        end = vocoder.continue_decode(snapshot, mel[cut:])
        assert np.concatenate([start, end]).tobytes() == whole.tobytes(), f"cut at {cut}"


def test_a_stream_of_a_target_that_is_not_here_is_refused(odd: Vocoder) -> None:
    """As in a snapshot that another object took: its mark fits its target."""
    scratch = np.zeros(odd.call("scratch_bytes"), np.uint8)
    mel, audio = np.zeros((1, odd.mels), np.float32), np.zeros(odd.hop, np.float32)
    for target in (71, TARGETS["dsp"]):
        stream, mel_stream = odd.stream(), odd.mel_stream()
        for words in (stream, mel_stream):
            words[:8].view(np.uint32)[:] = ((0x564F434F + target * 0x9E3779B1) % 2**32, target)
        assert odd.call("decode", stream, scratch, mel, 1, audio) == BAD_STREAM
        assert odd.call("mel", mel_stream, scratch, audio, odd.hop, mel) == BAD_STREAM


@everywhere
def test_reset_in_mid_utterance(vocoder: Vocoder) -> None:
    mel = some_mel(20, vocoder.mels)
    for target in vocoder.targets:
        stream = vocoder.stream(target)
        vocoder.continue_decode(stream, some_mel(7, vocoder.mels, seed=8))
        assert vocoder.call("reset", stream) == 0
        assert np.array_equal(stream, vocoder.stream(target)), "reset is not the state after init"
        assert vocoder.continue_decode(stream, mel).tobytes() == vocoder.decode(mel).tobytes()


@everywhere
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_mel_gives_silence_and_leaves_the_stream_alone(vocoder: Vocoder, bad: float) -> None:
    mel = some_mel(12, vocoder.mels)
    expected = vocoder.decode(mel, 4)
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    for place in (0, vocoder.mels + 3, 4 * vocoder.mels - 1):
        stream = vocoder.stream()
        first = vocoder.decode_chunk(stream, mel[:4])
        before = stream.copy()
        broken = mel[4:8].copy()
        broken.ravel()[place] = bad
        audio = np.full(4 * vocoder.hop + 1, 7, np.float32)
        assert vocoder.call("decode", stream, scratch, broken, 4, audio) == BAD_INPUT
        assert not audio[:-1].any() and audio[-1] == 7, "not silence, or too much of it"
        pcm = np.full(4 * vocoder.hop + 1, 7, np.int16)
        assert vocoder.call("decode_int16", stream, scratch, broken, 4, pcm) == BAD_INPUT
        assert not pcm[:-1].any() and pcm[-1] == 7
        assert np.array_equal(stream, before), "the stream changed"
        assert np.concatenate([first, vocoder.continue_decode(stream, mel[4:], 4)]).tobytes() == expected.tobytes()


@everywhere
def test_extreme_mels_give_finite_audio(vocoder: Vocoder) -> None:
    """The spectrum is clipped, so finite mels make finite audio; on every target the same; no trace is left."""
    mel = some_mel(12, vocoder.mels)
    for extreme in (1e6, -1e6, 1e-45, 3e38, -3e38):
        loud = np.full((5, vocoder.mels), extreme, np.float32)
        audio = vocoder.decode(loud)
        assert np.isfinite(audio).all(), f"mel of {extreme:g}"
        for target in vocoder.targets:
            stream = vocoder.stream(target)
            assert vocoder.continue_decode(stream, loud, 2).tobytes() == audio.tobytes(), (
                f"mel of {extreme:g}, {target}"
            )
            assert vocoder.call("reset", stream) == 0
            assert vocoder.continue_decode(stream, mel).tobytes() == vocoder.decode(mel).tobytes()


@everywhere
def test_int16_is_the_float_rounded_and_clipped(vocoder: Vocoder) -> None:
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    for lift in (0, 4):  # the latter clips
        mel = some_mel(16, vocoder.mels) + np.float32(lift)
        stream, twin = vocoder.stream(), vocoder.stream()
        audio = vocoder.decode_chunk(stream, mel)
        pcm = np.zeros(audio.size, np.int16)
        assert vocoder.call("decode_int16", twin, scratch, mel, 16, pcm) == audio.size
        assert np.array_equal(pcm, np.clip(np.rint(audio * np.float32(32768)), -32768, 32767))
        assert np.array_equal(stream, twin)
        tail = vocoder.flush(stream)
        pcm_tail = np.zeros(vocoder.tail, np.int16)
        assert vocoder.call("flush_int16", twin, pcm_tail) == vocoder.tail
        assert np.array_equal(pcm_tail, np.clip(np.rint(tail * np.float32(32768)), -32768, 32767))
        assert np.array_equal(stream, twin)


@pytest.mark.parametrize("tiny", [1e-38, 1e-42, -1e-45, 9e-21])
def test_denormal_input_counts_as_zero(vocoder: Vocoder, tiny: float) -> None:
    """Or a chunk of it would take several times as long as a chunk of speech."""
    zeros = np.zeros((9, vocoder.mels), np.float32)
    for target in vocoder.targets:
        stream, expected = vocoder.stream(target), vocoder.stream(target)
        audio = vocoder.continue_decode(stream, np.full_like(zeros, tiny), 4)
        assert audio.tobytes() == vocoder.continue_decode(expected, zeros, 4).tobytes(), target
        assert np.array_equal(stream, expected), f"the last frames are kept as they came, on {target}"
        silence = np.zeros(3 * vocoder.hop, np.float32)
        assert np.array_equal(
            vocoder.log_mel(np.full_like(silence, tiny), target=target), vocoder.log_mel(silence, target=target)
        )
