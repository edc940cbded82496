"""Models that look ahead, and those whose overlap-add is divided, by the GPU's kernels on the shim."""

from typing import Any

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.nvrtc import OVERLAPPING, Nvrtc
from tests.ahead import BAR, CASES, SHORT, Case, mel_of
from tests.gpu import Gpu
from tests.objects import ALL, every, random_splits
from tests.reference import snr_db

CHUNK = 5


def gpu_of(case: Case, **options: Any) -> Gpu:
    """For calls of up to three streams, of which four have a slot."""
    return Gpu(case.network, "ahead", (CHUNK,), batch=3, slots=4, **options)


@pytest.mark.parametrize("name", every(list(CASES), ["streaming_list"]))
def test_audio_is_close_and_of_exact_length_however_it_is_cut(name: str) -> None:
    """One set of bits: for every split, from the chain and from the single kernel, whose memory is weakly ordered."""
    case = CASES[name]
    gpu = gpu_of(case)
    for frames in every((*SHORT, 20, 47), (1, 3, 13)):
        mel = mel_of(name, frames)
        expected, audio = case.truth(mel), gpu.utterance(mel)
        assert len(audio) == len(expected)
        assert len(audio) == 0 or snr_db(expected, audio) >= BAR, frames
        splits: list[Any] = every([1, 2, 3, 4, *(random_splits(frames, CHUNK, seed) for seed in range(5))], [1, 3])
        for split in splits:
            assert gpu.utterance(mel, split, slot=2).tobytes() == audio.tobytes(), (frames, split)
        for gpu.blocks, gpu.order, gpu.is_weak in every([(1, 0, False), (2, 1, True), (5, 2, True)], [(3, 2, True)]):
            assert gpu.utterance(mel, 4, slot=1).tobytes() == audio.tobytes(), (frames, gpu.blocks)
        gpu.blocks = 0


@pytest.mark.parametrize("blocks", [0, 3])
@pytest.mark.parametrize("name", every(["vocos_center", "list", "streaming"], ["least"]))
def test_streams_of_a_call_are_at_different_places(name: str, blocks: int) -> None:
    """One is new, one in its first frames, one has settled; they end together, though one has but a frame."""
    gpu = gpu_of(CASES[name])
    mels = [mel_of(name, 16), mel_of(name, 8)[3:], mel_of(name, 4)[:1]]
    alone = [gpu.utterance(mel, slot=slot) for slot, mel in enumerate(mels)]
    gpu.blocks = blocks
    parts = [[gpu.decode(mels[0][:12], 4, slot=0)], [gpu.decode(mels[1][:2], slot=3)], []]
    gpu.reset(1)
    for at in range(3):
        streams = [0, 1, 2] if at == 0 else [1, 0]
        starts = (12 + at, 2 + at, 0)
        audio = gpu.decode_chunk([mels[s][starts[s] : starts[s] + 1] for s in streams], [(0, 3, 1)[s] for s in streams])
        for stream, part in zip(streams, audio, strict=True):
            parts[stream].append(part)
    parts[0].append(gpu.continue_decode(mels[0][15:], slot=0))
    for stream, rest in zip((2, 0, 1), gpu.flush([1, 0, 3]), strict=True):
        parts[stream].append(rest)
    for stream, found in enumerate(parts):
        assert np.concatenate(found).tobytes() == alone[stream].tobytes(), stream
    assert not gpu.state.bytes.any()


@pytest.mark.parametrize(("precision", "tuning"), every([("f16", ""), ("f16", "data"), ("f32", "early")], []))
def test_the_compilers_output_has_the_bits_of_the_sources(precision: str, tuning: str) -> None:
    try:
        Nvrtc()
    except CompileError as reason:
        pytest.skip(str(reason))
    case = CASES["least"]
    source, ptx = (gpu_of(case, precision=precision, tuning=tuning, ptx=ptx) for ptx in (0, OVERLAPPING))
    mel = mel_of("least", 13)
    expected = source.utterance(mel).tobytes()
    ptx.overlaps = True
    assert ptx.utterance(mel, 3).tobytes() == expected
    for ptx.blocks, ptx.order, ptx.is_weak in ((2, 0, True), (3, 1, False)):
        ptx.scratch.bytes[:] = 0
        assert ptx.utterance(mel, 4).tobytes() == expected


@pytest.mark.skipif(not ALL, reason="takes 6 s: make test-all")
def test_halves_and_tensor_cores_are_near() -> None:
    case, mel = CASES["least"], mel_of("least", 20)
    plain = gpu_of(case, precision="f16").utterance(mel).astype(np.float64)
    assert snr_db(plain, gpu_of(case, precision="f16", tuning="half").utterance(mel)) > 50.0
    tensor = gpu_of(case, precision="f16", tuning="tensor")
    tensor.launches = tensor.device.library_steps
    audio = tensor.utterance(mel)
    assert snr_db(plain, audio) > 100.0
    assert tensor.utterance(mel, 2, slot=1).tobytes() == audio.tobytes()
