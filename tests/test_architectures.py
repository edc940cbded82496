"""Models of any size, through the whole chain, against the float64 reference."""

from typing import Any

import numpy as np
import pytest

from tests import builds
from tests.objects import BASE, Vocoder, every, some_audio, some_mel, truth
from tests.reference import MEL_FLOOR, log_mel, snr_db

# What differs from BASE, and the chunk sizes
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "one-mel": ({"n_mels": 1, "kernel_size": 2}, "7"),
    "many-mels": ({"n_mels": 129, "n_fft": 400}, "1"),
    "kernel-1": ({"kernel_size": 1}, "7"),
    "kernel-2-mlp-1": ({"kernel_size": 2, "mlp_ratio": 1.0}, "7"),
    "mlp-3.3": ({"mlp_ratio": 3.3, "dim": 17}, "7"),
    "dim-8": ({"dim": 8, "num_layers": 1}, "7"),
    "dim-33": ({"dim": 33, "kernel_size": 9}, "4"),
    "dim-40": ({"dim": 40, "num_layers": 5}, "2,6"),
    "hop-is-n_fft": ({"hop_length": 64}, "7"),
    "hop-1": ({"hop_length": 1, "n_fft": 12}, "7"),
    "hop-small": ({"hop_length": 7, "n_fft": 60}, "7"),
    "odd-n_fft": ({"n_fft": 75, "hop_length": 30}, "7"),
    "odd-n_fft-9": ({"n_fft": 9, "hop_length": 4, "n_mels": 3}, "1"),
    "n_fft-2": ({"n_fft": 2, "hop_length": 1, "n_mels": 1}, "3"),
    "one-sample": ({"n_fft": 4, "hop_length": 4, "n_mels": 2}, "3"),
    "long-chunk": ({"n_fft": 30}, "64"),
    "mel-range": ({"f_min": 90.0, "f_max": 7000.0, "n_fft": 256}, "7"),
}


FEW = ["one-mel", "kernel-1", "mlp-3.3", "dim-33", "dim-40", "hop-is-n_fft", "odd-n_fft-9", "n_fft-2", "mel-range"]


@pytest.mark.parametrize("name", every(list(MODELS), FEW))
def test_any_architecture(name: str) -> None:
    changes, chunks = MODELS[name]
    sizes = {**BASE, **changes}
    options = ["--chunk", chunks, "--target", "portable"]
    for limit in ("f_min", "f_max"):
        options += [f"--{limit.replace('_', '-')}", str(sizes[limit])] if limit in sizes else []
    vocoder = Vocoder(builds.library(builds.checkpoint(sizes), "model", *options), "model")
    assert vocoder.max_frames == max(map(int, chunks.split(",")))

    assert vocoder.selftest() == 0, "the compiler's arithmetic is not the object's"
    mel = some_mel(50, sizes["n_mels"])
    model = truth(sizes)
    audio = vocoder.decode(mel)
    snr = snr_db(model.decode(mel), audio)
    assert snr >= 100, f"{snr:.2f} dB"
    for chunk in (1, (vocoder.max_frames + 1) // 2):
        assert vocoder.decode(mel, chunk).tobytes() == audio.tobytes(), f"chunk {chunk}"
    if vocoder.tail > 0:
        stream = vocoder.stream()
        vocoder.continue_decode(stream, mel)
        assert snr_db(model.tail(mel), vocoder.flush(stream)) >= 95

    sound = some_audio(30 * vocoder.hop + 1)
    expected = log_mel(sound, sizes)
    found = vocoder.log_mel(sound)
    assert found.shape == expected.shape
    above = expected > np.log(MEL_FLOOR) + 1e-3
    assert np.abs(found - expected)[above].max(initial=0) <= 2e-4
    assert np.abs(found - expected).max() <= 2e-3, "near the clamp"
    pieces = [1, 0, 2, vocoder.hop, 1] + [1 + vocoder.hop // 2] * 10
    allowed = [min(piece, vocoder.max_frames * vocoder.hop) for piece in pieces]
    assert vocoder.log_mel(sound, allowed).tobytes() == found.tobytes()
