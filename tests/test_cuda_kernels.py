"""The CUDA kernels on a shim, without a GPU: the CPU's audio, however it is cut, and no access that could race."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import builds
from tests.gpu import SHAPES, Gpu, build_faults, run_fault
from tests.objects import ALL, Floats, Vocoder, every, golden, some_mel, truth
from tests.reference import snr_db

FRAMES = 20


@pytest.fixture(scope="module")
def odd_gpu(odd_checkpoint: Path) -> Gpu:
    """For calls of up to 16 frames (two passes of a thread block) and 3 streams, of which 5 have a slot."""
    return Gpu(odd_checkpoint, "odd", (3, 16), batch=3, slots=5)


@pytest.fixture(scope="module")
def many_gpu(odd_checkpoint: Path) -> Gpu:
    """For so many streams that a thread block takes several in turn."""
    gpu = Gpu(odd_checkpoint, "odd", (2,), batch=11)
    assert gpu.device.tile_jobs == 2
    return gpu


@pytest.fixture(params=["f32", "f16"])
def small_gpu(request: pytest.FixtureRequest, small_checkpoint: Path) -> Gpu:
    return Gpu(small_checkpoint, "small", (5,), precision=request.param)


@pytest.fixture(autouse=True)
def orders(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads run in ascending order, but where a test says otherwise; no stream is left from another test."""
    for name in {"odd_gpu", "many_gpu"} & set(request.fixturenames):
        gpu = request.getfixturevalue(name)
        gpu.order, gpu.blocks, gpu.is_weak, gpu.overlaps, gpu.is_poisoned = 0, 0, False, False, True
        gpu.reset()
    yield


# ---- the CPU's audio ----


def test_audio_is_the_cpus(small_gpu: Gpu, small: Vocoder) -> None:
    """In float within rounding (measured: 113 dB, and 123 from the truth); in half as the CPU's halves (57)."""
    mel = golden("small", "mel")[: every(60, 15)]
    audio = small_gpu.decode(mel)
    assert snr_db(small.decode(mel).astype(np.float64), audio) >= (55.0 if small_gpu.device.is_half else 110.0)
    if not small_gpu.device.is_half:
        assert snr_db(golden("small", "audio64")[: audio.size], audio) >= 118.0


def test_half_weights_are_the_cpus(small_checkpoint: Path) -> None:
    """The same rounding of the weights: nothing but the order of the sums is different."""
    options = ("--chunk", "16", "--precision", "f16", "--target", "portable")
    cpu = Vocoder(builds.library(small_checkpoint, "small", *options), "small")
    gpu = Gpu(small_checkpoint, "small", (5,), precision="f16")
    mel = golden("small", "mel")[20:40]
    assert snr_db(cpu.decode(mel).astype(np.float64), gpu.decode(mel)) >= 105.0


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_steep_audio_is_no_further_from_the_truth_than_the_cpus(odd_gpu: Gpu, odd: Vocoder) -> None:
    """Phases of 60 rad amplify rounding: the CPU itself is at 95 dB here, the GPU at 100."""
    mel = golden("odd", "mel")
    expected = golden("odd", "audio64")
    assert snr_db(expected, odd_gpu.decode(mel)) >= snr_db(expected, odd.decode(mel))
    assert snr_db(odd.decode(mel).astype(np.float64), odd_gpu.decode(mel)) >= 92.0


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_a_published_chunk(full_checkpoint: Path, full: Vocoder) -> None:
    gpu = Gpu(full_checkpoint, "full", (5,), precision="f16")
    assert len(gpu.device.launches) == 20
    mel = golden("full", "mel")[:5]
    assert snr_db(full.decode(mel).astype(np.float64), gpu.decode(mel)) >= 55.0


@pytest.mark.parametrize("shape", every(list(SHAPES), ["one_tap", "no_multiples"]))
def test_odd_shapes(shape: str) -> None:
    sizes = SHAPES[shape]
    gpu = Gpu(builds.checkpoint(sizes), "shape", (3, 4), batch=2)
    mel = some_mel(9, gpu.mels)
    audio = gpu.decode(mel, [4, 1], slot=1)
    assert snr_db(truth(sizes).decode(mel)[: audio.size], audio) >= 100.0
    (tail,) = gpu.flush([1])
    if tail.size:
        assert snr_db(truth(sizes).tail(mel), tail) >= 100.0


# ---- however it is cut ----


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_a_wide_model_in_two_passes() -> None:
    """The last shard of channels has some that no layer has: the frames kept between passes skip them."""
    gpu = Gpu(builds.checkpoint(SHAPES["wide"]), "wide", (8,))
    assert gpu.device.passes == 2
    mel = some_mel(8, gpu.mels)
    assert gpu.decode(mel).tobytes() == gpu.decode(mel, 3).tobytes()


def test_every_chunk_size_gives_the_same_bits(odd_gpu: Gpu) -> None:
    mel = some_mel(16, odd_gpu.mels)
    expected = odd_gpu.decode(mel).tobytes()
    for size in every(range(1, 16), (1, 7)):
        assert odd_gpu.decode(mel, size).tobytes() == expected, f"chunks of {size}"


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_other_builds_give_the_same_bits(odd_checkpoint: Path, odd_gpu: Gpu, many_gpu: Gpu) -> None:
    """The frames of a pass, the streams of a tile and the outputs of a lane are the build's, not the audio's."""
    mel = some_mel(7, odd_gpu.mels)
    expected = odd_gpu.decode(mel).tobytes()
    assert many_gpu.decode(mel).tobytes() == expected
    few_gpu = Gpu(odd_checkpoint, "odd", (16,), tuning="processors=2")
    assert few_gpu.device.rows == 5 and few_gpu.device.single.grid[0] > 3
    for few_gpu.blocks in (0, 3):
        assert few_gpu.decode(mel).tobytes() == expected


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_by_data_a_few_frames_are_transformed_at_a_time(
    odd_checkpoint: Path, odd_gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no thread holds on to too many words of the spectrum: as a long transform would have it."""
    monkeypatch.setattr("compiler.cuda.DATA_BINS", 0)
    gpu = Gpu(odd_checkpoint, "odd", (5,), tuning="data")
    assert gpu.device.fft_frames == 1
    mel = some_mel(7, gpu.mels)
    gpu.blocks, gpu.is_weak = 3, True
    assert gpu.decode(mel).tobytes() == odd_gpu.decode(mel).tobytes()


def test_streams_do_not_know_of_each_other(odd_gpu: Gpu) -> None:
    """Calls of one, two and three streams, in changing order and slots; one of them restarts on the way."""
    mels = [some_mel(FRAMES, odd_gpu.mels, seed) for seed in range(4)]
    alone = [odd_gpu.decode(mel, 4) for mel in mels]
    odd_gpu.reset()
    slots = [4, 0, 3, 1]
    heard: list[list[Floats]] = [[] for _ in mels]
    positions = [0] * len(mels)
    calls = [[0, 1, 2], [2, 0], [3, 1, 0], [1], [2, 3, 1], [0, 3], [3, 2, 1]]
    for number, streams in enumerate(calls):
        frames = 1 + number % 4
        chunks = [mels[stream][positions[stream] :][:frames] for stream in streams]
        for stream, audio in zip(streams, odd_gpu.decode_chunk(chunks, [slots[s] for s in streams]), strict=True):
            heard[stream].append(audio)
            positions[stream] += frames
    untouched = odd_gpu.state.bytes[2 * odd_gpu.device.state_bytes :][: odd_gpu.device.state_bytes]
    assert not untouched.any(), "a slot that no job named"
    for stream, parts in enumerate(heard):
        audio = np.concatenate(parts)
        assert audio.tobytes() == alone[stream][: audio.size].tobytes(), f"stream {stream}"


def test_many_streams_in_tiles(many_gpu: Gpu) -> None:
    mels = [some_mel(4, many_gpu.mels, seed) for seed in range(11)]
    alone = [many_gpu.decode(mel, 2, slot) for slot, mel in enumerate(mels)]
    many_gpu.reset()
    first = many_gpu.decode_chunk([mel[:2] for mel in mels], range(11))
    second = many_gpu.decode_chunk([mel[2:] for mel in mels[:10]], range(10))
    for stream, audio in enumerate(second):
        assert np.concatenate([first[stream], audio]).tobytes() == alone[stream].tobytes(), f"stream {stream}"


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_more_streams_than_a_parameter_holds() -> None:
    """Their jobs are put into memory, by as many launches as it takes; the bits are those of one stream alone."""
    checkpoint, streams = builds.checkpoint({**SHAPES["tiny"], "num_layers": 1}), 7
    alone = Gpu(checkpoint, "many", (1,))
    many = Gpu(checkpoint, "many", (1,), batch=streams, parameter_jobs=3)
    mels = [some_mel(2, alone.mels, seed) for seed in range(5)]
    expected = [alone.decode(mel) for mel in mels]
    for many.blocks in (0, 2):
        many.reset()
        parts = [many.decode_chunk([mels[i % 5][at : at + 1] for i in range(streams)], range(streams)) for at in (0, 1)]
        for i in range(streams):
            assert np.concatenate([part[i] for part in parts]).tobytes() == expected[i % 5].tobytes(), i
        tails = many.flush(range(streams))
        assert tails[0].tobytes() == tails[5].tobytes() != tails[1].tobytes()


def test_the_tail_is_the_overlap(odd_gpu: Gpu, odd: Vocoder) -> None:
    mel = some_mel(FRAMES, odd_gpu.mels)
    stream = odd.stream()
    odd.continue_decode(stream, mel)
    odd_gpu.decode(mel, slot=2)
    odd_gpu.decode(mel[:5], slot=4)
    other, tail = odd_gpu.flush([4, 2])
    assert snr_db(odd.flush(stream).astype(np.float64), tail) >= 90.0
    assert other.tobytes() != tail.tobytes()
    assert not odd_gpu.state.bytes.any()


def test_a_call_of_nothing_does_nothing(odd_gpu: Gpu) -> None:
    odd_gpu.decode(some_mel(5, odd_gpu.mels), slot=1)
    before = odd_gpu.state.bytes.copy()
    odd_gpu.run([], 0)
    odd_gpu.launch(odd_gpu.device.flush, odd_gpu.call([], 0))
    assert np.array_equal(odd_gpu.state.bytes, before)


# ---- what a mel may hold ----


def test_no_number_is_silence_and_poisons_nothing(odd_gpu: Gpu) -> None:
    mel = some_mel(FRAMES, odd_gpu.mels)
    cleaned = mel.copy()
    for frame, value in ((3, np.nan), (7, np.inf), (11, -np.inf), (FRAMES - 1, np.nan)):
        mel[frame, frame % odd_gpu.mels] = value
        cleaned[frame, frame % odd_gpu.mels] = np.float32(np.log(1e-5))
    for chunk in (16, 2):
        audio = odd_gpu.decode(mel, chunk)
        assert np.isfinite(audio).all()
        assert audio.tobytes() == odd_gpu.decode(cleaned, chunk).tobytes()


def test_denormals_count_as_zero(odd_gpu: Gpu) -> None:
    """As the state shows: beside the biases, nobody could hear them."""
    history = odd_gpu.state.floats[: odd_gpu.plan.left * odd_gpu.mels]
    for value in (1e-42, -1e-38, 9e-21):
        odd_gpu.decode(np.full((5, odd_gpu.mels), value, np.float32))
        assert not history.any(), value
    odd_gpu.decode(np.full((5, odd_gpu.mels), 2e-20, np.float32))
    assert history.all()


def test_extreme_mels_stay_finite(odd_gpu: Gpu) -> None:
    for value in (1e30, -1e30, 3e38):
        assert np.isfinite(odd_gpu.decode(np.full((3, odd_gpu.mels), value, np.float32))).all()


# ---- the single kernel ----


def some_calls(gpu: Gpu) -> bytes:
    """Audio and state of calls of one to three streams, whose frames take one and two passes."""
    mels = [some_mel(14, gpu.mels, seed) for seed in range(3)]
    gpu.reset()
    audio = gpu.decode_chunk([mel[:11] for mel in mels], [2, 0, 1])
    audio += gpu.decode_chunk([mel[11:] for mel in mels[1:]], [0, 1])
    audio += gpu.decode_chunk([mels[0][11:12]], [2])
    return b"".join(part.tobytes() for part in audio) + gpu.state.bytes.tobytes()


@pytest.mark.parametrize("is_weak", every([False, True], [True]))
def test_the_single_kernel_gives_the_same_bits(odd_gpu: Gpu, is_weak: bool) -> None:
    """However many blocks there are, and whichever runs ahead.

    Over memory that shows writes at once what is overwritten too early is lost; over weakly ordered memory what was not
    published or not waited for is missing.
    """
    expected = some_calls(odd_gpu)
    odd_gpu.is_weak = is_weak
    for odd_gpu.blocks, odd_gpu.order in every(((1, 0), (2, 0), (3, 1), (5, 2), (4, 3)), ((3, 1), (5, 2))):
        assert some_calls(odd_gpu) == expected, f"{odd_gpu.blocks} blocks, order {odd_gpu.order}"


def test_the_single_kernel_in_all_its_blocks(small_checkpoint: Path) -> None:
    """One shard a block, as on a large chip; with one more that has nothing to do."""
    gpu = Gpu(small_checkpoint, "small", (5,), precision="f16")
    mel = golden("small", "mel")[:7]
    expected = gpu.decode(mel).tobytes()
    most = gpu.device.single.grid[0]
    assert most == max(launch.grid[0] for launch in gpu.device.launches)
    gpu.blocks = most
    assert gpu.decode(mel).tobytes() == expected


def test_flags_go_on_counting(odd_gpu: Gpu) -> None:
    """From call to call, over the end of their numbers, and none is reset."""
    mel = some_mel(3, odd_gpu.mels)
    expected = odd_gpu.decode(mel, 1).tobytes()
    odd_gpu.blocks, odd_gpu.is_poisoned = 3, False
    area = next(area for area in odd_gpu.device.scratch if area.name == "flags")
    flags = odd_gpu.scratch.bytes[4 * area.offset :][: 4 * odd_gpu.blocks].view(np.uint32)
    steps = len(odd_gpu.device.launches) - 1
    flags[:] = 2**32 - steps - 2
    assert odd_gpu.decode(mel, 1).tobytes() == expected
    assert flags.tolist() == [2 * steps - 2] * 3


@pytest.mark.parametrize("tuning", every(["resident,processors=5", "data,resident"], ["resident"]))
@pytest.mark.parametrize("precision", every(["f16", "f32"], ["f16"]))
def test_the_resident_kernel_gives_the_same_bits(precision: str, tuning: str) -> None:
    """For every split, with two streams in turns, and when it has been ended and started again; in more blocks, too."""
    checkpoint = builds.checkpoint(SHAPES["tiny"])
    plain, resident = (
        Gpu(checkpoint, "model", (3, 10), slots=3, precision=precision, tuning=tuning) for tuning in ("", tuning)
    )
    resident.is_resident, mels = True, [some_mel(13, plain.mels, seed) for seed in range(2)]
    expected = [plain.utterance(mel).tobytes() for mel in mels]
    blocks = resident.device.resident.grid[0]
    for resident.blocks, resident.order, resident.is_weak in every(
        [(blocks, 0, False), (blocks + 1, 1, True), (blocks, 2, True)], [(blocks + 1, 2, True)]
    ):
        splits: list[Any] = every([10, 3, [1, 7, 2]], [[1, 7, 2]])
        for split in splits:
            assert resident.utterance(mels[0], split, slot=1).tobytes() == expected[0]
        parts: list[list[Floats]] = [[], []]
        for frame in range(0, 13, 2):
            for stream, slot in ((1, 2), (0, 0)):
                parts[stream] += resident.decode_chunk([mels[stream][frame : frame + 2]], [slot])
        for stream, slot in ((0, 0), (1, 2)):
            parts[stream] += resident.flush([slot])
            assert np.concatenate(parts[stream]).tobytes() == expected[stream]
            resident.frames[0] = 0


HAND_OVERS = {
    "no_wait": "",
    "no_fence": "",
    "no_barrier_after_the_wait": "",
    "published_before_the_barrier": "",
    "published_by_a_plain_store": "deadlock",
    "waits_for_each_other": "deadlock",
}


@pytest.mark.parametrize("kernel", HAND_OVERS)
def test_the_shim_finds_what_is_wrong_between_blocks(faults: Path, kernel: str) -> None:
    """A deadlock is told; what is not ordered is not there, in some order of running at least."""
    right = [*range(64), *reversed(range(64))]
    wrong = 0
    for order in (0, 1):
        assert run_fault(faults, "faultless_hand_over", together=True, order=order) == (right, "")
        result, error = run_fault(faults, kernel, together=True, order=order)
        assert HAND_OVERS[kernel] in error and bool(error) == bool(HAND_OVERS[kernel])
        wrong += result != right
    assert wrong > 0


def test_blocks_that_do_not_run_together_must_not_wait(faults: Path) -> None:
    _, error = run_fault(faults, "waits_for_each_other")
    assert "waits for a block that may never run" in error


# ---- races ----


@pytest.mark.parametrize("order", every([1, 2], [2]))
def test_the_order_of_blocks_warps_and_lanes_makes_no_difference(odd_gpu: Gpu, many_gpu: Gpu, order: int) -> None:
    """Neither to the audio nor to the state: blocks share nothing, and threads nothing without a barrier."""
    mels = [some_mel(14, odd_gpu.mels, seed) for seed in range(3)]
    pairs = [some_mel(2, many_gpu.mels, seed) for seed in range(11)]
    results = []
    for gpu in (odd_gpu, many_gpu):
        gpu.reset()
    for odd_gpu.order in (0, order):
        many_gpu.order = odd_gpu.order
        odd_gpu.reset()
        many_gpu.reset()
        audio = odd_gpu.decode_chunk([mel[:11] for mel in mels], [2, 0, 1])
        audio += odd_gpu.decode_chunk([mel[11:] for mel in mels], [2, 0, 1])
        audio += many_gpu.decode_chunk(pairs, range(11)) + odd_gpu.flush([1])
        state = odd_gpu.state.bytes.tobytes() + many_gpu.state.bytes.tobytes()
        results.append(b"".join(part.tobytes() for part in audio) + state)
    assert results[0] == results[1]


def test_nothing_of_the_chunk_is_read_before_the_wait(odd_gpu: Gpu) -> None:
    """As if the kernel before had not finished: until all threads wait for it, scratch holds NaN, but for the call."""
    mels = [some_mel(11, odd_gpu.mels, seed) for seed in range(2)]
    expected = [odd_gpu.decode(mel, slot=slot) for slot, mel in enumerate(mels)]
    odd_gpu.reset()
    odd_gpu.overlaps = True
    for audio, wanted in zip(odd_gpu.decode_chunk(mels, [0, 1]), expected, strict=True):
        assert audio.tobytes() == wanted.tobytes()
    overlapping = [launch.overlaps_previous for launch in odd_gpu.device.launches]
    assert overlapping == [False, False] + [True] * (len(overlapping) - 2), "the first two follow what is complete"


FAULTS = {
    "no_barrier_before_reading": "read what another thread wrote",
    "no_barrier_before_writing": "wrote what another thread read",
    "two_writers": "wrote what another thread wrote",
    "never_written": "read before it was written",
    "out_of_bounds": "out of bounds",
    "not_aligned": "not aligned",
    "some_skip_a_barrier": "a barrier that not all threads",
    "some_skip_a_shuffle": "a shuffle that not all lanes",
    "different_shuffles": "disagree in their shuffle",
}


@pytest.fixture
def faults() -> Path:
    return build_faults()


def test_the_shim_runs_what_is_right(faults: Path) -> None:
    result, error = run_fault(faults, "faultless")
    assert not error
    places = (np.arange(64) + 1) % 64
    assert result == [*[places[:32].sum()] * 32, *[places[32:].sum()] * 32] * 2


@pytest.mark.parametrize("kernel", FAULTS)
def test_the_shim_finds_what_is_wrong(faults: Path, kernel: str) -> None:
    _, error = run_fault(faults, kernel)
    assert FAULTS[kernel] in error and error.startswith(f"{kernel}: block ")
    _, error = run_fault(faults, "faultless")
    assert not error, "the error left something behind"
