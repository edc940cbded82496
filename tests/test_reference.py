"""The float64 reference against the outputs of the published implementation (golden/README.md)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import make_checkpoint, reference

GOLDEN = Path(__file__).parent / "golden"
SENTENCE = Path(__file__).parents[1] / "examples/speech/bdl_arctic_a0001.wav"


@cache
def config(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return values


@cache
def model(name: str) -> reference.Reference:
    return reference.Reference(make_checkpoint.tensors(config(name), config(name)["seed"]), config(name))


def golden(name: str, what: str) -> NDArray[Any]:
    return np.asarray(np.load(GOLDEN / f"{name}.{what}.npy"))


@pytest.mark.parametrize("name", ["small", "odd", "full"])
def test_audio_is_the_golden_one(name: str) -> None:
    """As close as the golden truth's own window, which was a float32 one (see the next test), lets it be."""
    assert reference.snr_db(golden(name, "audio64"), model(name).decode(golden(name, "mel"))) > 140


def test_only_the_window_differs_from_the_golden_audio() -> None:
    """With the window that the golden audio has, found by least squares, the two agree to float64's rounding."""
    mel, audio, hop = golden("odd", "mel"), golden("odd", "audio64"), config("odd")["hop_length"]
    frames = model("odd").frames(mel)
    window, rebuilt = np.zeros(frames.shape[1]), np.zeros(audio.shape)
    for phase in range(hop):  # the samples of one phase, one per hop, are a small convolution of their own
        taps = frames[:, phase::hop]
        terms = np.zeros(taps.shape)
        for j in range(taps.shape[1]):
            terms[j:, j] = taps[: len(taps) - j, j]
        fit = np.linalg.lstsq(terms, audio[phase::hop])[0]
        window[phase::hop] = fit
        rebuilt[phase::hop] = terms @ fit
    assert reference.snr_db(audio, rebuilt) > 240
    assert np.abs(window - window.astype(np.float32)).max() < 1e-12, "the golden window is not a float32 one"
    assert np.abs(window - reference.hann(len(window))).max() < 2**-22, "the golden window is not Hann's"


def test_audio_is_causal_and_the_tail_completes_it() -> None:
    mel, hop = golden("odd", "mel"), config("odd")["hop_length"]
    whole, start = model("odd").overlap_add(mel), model("odd").decode(mel[:20])
    assert len(start) == 20 * hop
    assert reference.snr_db(whole[: 20 * hop], start) > 240
    assert np.array_equal(np.concatenate([model("odd").decode(mel), model("odd").tail(mel)]), whole)
    assert len(model("odd").tail(mel)) == config("odd")["n_fft"] - hop


def test_log_mel_is_the_golden_one() -> None:
    """Golden is float32: 2e-4 is the contract, a third of it what float32 really loses here."""
    mel = golden("full", "mel")
    ours = reference.log_mel(reference.read_wav(SENTENCE), config("full"))
    assert ours.shape == mel.shape
    above = mel > np.log(reference.MEL_FLOOR) + 1e-3
    assert np.abs(ours - mel)[above].max() < 7e-5


def test_silence_lies_on_the_floor_of_the_square_root() -> None:
    """No sound at all is sqrt(1e-6) in every bin, weighted by the filters, and never below the clamp."""
    mel = reference.log_mel(np.zeros(1000), config("odd"))
    weights = reference.mel_filters(config("odd")).sum(axis=1)
    assert mel.shape == (14, 21)  # ceil(1000 / 75)
    assert np.allclose(mel, np.log(np.maximum(1e-3 * weights, 1e-5)))


def test_mel_scale_has_the_published_anchors() -> None:
    """Linear to 1 kHz, which is 15; 6.4 kHz is 27 more; and back."""
    points = {0.0: 0.0, 500.0: 7.5, 1000.0: 15.0, 6400.0: 42.0}
    assert [reference.hz_to_mel(hz) for hz in points] == pytest.approx(list(points.values()))
    assert reference.mel_to_hz(np.array(list(points.values()))) == pytest.approx(list(points))


def test_snr_of_known_noise() -> None:
    truth = np.ones(100)
    assert reference.snr_db(truth, truth * 1.001) == pytest.approx(60)
    assert reference.snr_db(truth, truth) == np.inf
