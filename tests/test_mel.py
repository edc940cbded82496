"""The compiled object's analysis: log-mel close to the float64 truth, and the same bits however the audio comes."""

from typing import Any

import numpy as np

from tests.objects import BAD_ARGUMENT, BAD_INPUT, SENTENCE, Floats, Vocoder, config, golden, some_audio, truth
from tests.reference import MEL_FLOOR, log_mel, read_wav, snr_db
from tests.vocoders import everywhere

CLAMP = float(np.log(np.float32(MEL_FLOOR)))


def random_pieces(total: int, largest: int, seed: int) -> list[int]:
    """Sizes of 0 .. largest that add up to `total`; nothing, one sample and the largest are all among them."""
    rng = np.random.default_rng(seed)
    sizes = [0, 1, largest, 0, 1, 1]
    while sum(sizes) < total:
        sizes.append(int(rng.integers(0, largest + 1)) if rng.random() < 0.9 else 1)
    return sizes


def far_from(truth: Floats, found: Floats) -> float:
    """The largest error above the clamp."""
    assert found.shape == truth.shape
    above = truth > CLAMP + 1e-3
    return float(np.abs(found - truth)[above].max())


def test_log_mel_of_the_sentence_is_the_golden_one(full: Vocoder) -> None:
    assert far_from(golden("full", "mel"), full.log_mel(read_wav(SENTENCE).astype(np.float32))) <= 2e-4


@everywhere
def test_log_mel_is_as_close_to_the_truth_as_promised(vocoder: Vocoder) -> None:
    audio = some_audio(40 * vocoder.hop + 7)
    expected = log_mel(audio, config(vocoder.name)).astype(np.float32)
    found = vocoder.log_mel(audio)
    assert far_from(expected, found) <= 2e-4
    assert found.min() >= np.float32(CLAMP) - 1e-6


@everywhere
def test_silence_is_the_square_roots_floor(vocoder: Vocoder) -> None:
    expected = log_mel(np.zeros(vocoder.hop), config(vocoder.name))
    assert np.abs(vocoder.log_mel(np.zeros(vocoder.hop, np.float32)) - expected).max() <= 2e-4


def test_frames_do_not_depend_on_the_split(vocoder: Vocoder) -> None:
    audio = some_audio(30 * vocoder.hop + 11)
    expected = vocoder.log_mel(audio).tobytes()
    sizes = (1, 2, vocoder.hop - 1, vocoder.hop, vocoder.hop + 1, 3 * vocoder.hop, vocoder.max_frames * vocoder.hop)
    for largest in sizes:
        for seed in range(2 if largest < 3 else 25):
            pieces = random_pieces(len(audio), largest, seed)
            target = vocoder.targets[seed % len(vocoder.targets)]
            assert vocoder.log_mel(audio, pieces, target).tobytes() == expected, f"pieces of 0 .. {largest}, {target}"


@everywhere
def test_there_are_as_many_frames_as_hops_begun(vocoder: Vocoder) -> None:
    hop = vocoder.hop
    for samples in (0, 1, hop - 1, hop, hop + 1, 2 * hop, 17 * hop - 1, 33 * hop + 1):
        assert len(vocoder.log_mel(some_audio(samples))) == -(-samples // hop), f"{samples} samples"


def test_targets_give_the_same_bits(vocoder: Vocoder) -> None:
    audio = some_audio(20 * vocoder.hop + 3)
    found = {target: vocoder.log_mel(audio, target=target).tobytes() for target in vocoder.targets}
    assert set(found.values()) == {found["portable"]}


@everywhere
def test_int16_is_float(vocoder: Vocoder) -> None:
    audio = some_audio(20 * vocoder.hop + 3)
    pcm = (audio * 32768).astype(np.int16)
    pcm[:2] = (-32768, 32767)
    floats = pcm.astype(np.float32) / 32768
    assert vocoder.log_mel(pcm, [5, 0, vocoder.hop]).tobytes() == vocoder.log_mel(floats).tobytes()


@everywhere
def test_streams_are_independent_and_can_be_copied_and_reset(vocoder: Vocoder) -> None:
    hop, scratch = vocoder.hop, np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    audio = some_audio(8 * hop)
    expected = vocoder.log_mel(audio)
    cut = 3 * hop + 5

    def push(stream: np.ndarray[Any, Any], piece: Floats) -> Floats:
        frames = np.zeros((vocoder.max_frames, vocoder.mels), np.float32)
        return frames[: vocoder.call("mel", stream, scratch, np.ascontiguousarray(piece), len(piece), frames)]

    stream = vocoder.mel_stream()
    start = push(stream, audio[:cut])
    snapshot = stream.copy()
    push(stream, some_audio(4 * hop + 9, seed=2))
    assert np.concatenate([start, push(snapshot, audio[cut:])]).tobytes() == expected.tobytes()
    assert vocoder.call("mel_reset", stream) == 0
    assert np.array_equal(stream, vocoder.mel_stream()), "reset is not the state after init"
    assert push(stream, audio).tobytes() == expected.tobytes()
    push(stream, audio[: hop + 1])
    assert vocoder.call("mel_flush", stream, scratch, np.zeros(vocoder.mels, np.float32)) == 1
    assert np.array_equal(stream, vocoder.mel_stream()), "flush does not reset"


@everywhere
def test_bad_audio_gives_silence_and_leaves_the_stream_alone(vocoder: Vocoder) -> None:
    hop, scratch = vocoder.hop, np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    stream = vocoder.mel_stream()
    frames = np.zeros((vocoder.max_frames, vocoder.mels), np.float32)
    assert vocoder.call("mel", stream, scratch, some_audio(hop + 5), hop + 5, frames) == 1
    before = stream.copy()
    for bad in (np.nan, np.inf, -np.inf):
        audio = some_audio(3 * hop)
        audio[-1] = bad
        frames[:] = 7
        assert vocoder.call("mel", stream, scratch, audio, 3 * hop, frames) == BAD_INPUT
        assert np.array_equal(stream, before), "the stream changed"
        assert np.allclose(frames[:3], CLAMP, atol=1e-6, rtol=0)
        assert (frames[3:] == 7).all(), "more than the frames due was written"
    too_many = vocoder.max_frames * hop + 1
    for count in (-1, too_many):
        assert vocoder.call("mel", stream, scratch, np.zeros(too_many, np.float32), count, frames) == BAD_ARGUMENT
    assert np.array_equal(stream, before), "the stream changed"


@everywhere
def test_audio_to_mel_to_audio_chunk_by_chunk(vocoder: Vocoder) -> None:
    """What the two streams do together, sample in, sample out, is what the whole utterance does; and near the truth."""
    hop, scratch = vocoder.hop, np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    audio = some_audio(20 * hop)
    analysis, synthesis = vocoder.mel_stream(), vocoder.stream()
    out = []
    for start in range(0, len(audio), 3 * hop // 2):
        piece = np.ascontiguousarray(audio[start : start + 3 * hop // 2])
        frames = np.zeros((vocoder.max_frames, vocoder.mels), np.float32)
        count = vocoder.call("mel", analysis, scratch, piece, len(piece), frames)
        if count > 0:
            out.append(vocoder.decode_chunk(synthesis, frames[:count]))
    whole = vocoder.decode(vocoder.log_mel(audio))
    assert np.concatenate(out).tobytes() == whole.tobytes()
    sizes = config(vocoder.name)
    assert snr_db(truth(sizes).decode(vocoder.log_mel(audio)), whole) > 80
