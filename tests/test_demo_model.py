"""The model in examples/model: it compiles, and what the objects say is close to what was recorded."""

from pathlib import Path

import numpy as np
import pytest

from bench.measures import mel_distance
from tests import builds
from tests.objects import ROOT, Floats, Vocoder, every
from tests.reference import read_wav, snr_db

CHECKPOINT = ROOT / "examples" / "model" / "demo.ckpt"
SPEECH = ROOT / "examples" / "speech"
MEL_BAR = 1.15
"""Mean mel distance from the recordings, at most. Measured: 1.127."""
OFF = 0.01
"""How much further integer weights may be away. Measured: 0.006 in w8a8, 0.003 in w4."""
LAG = 352
"""Samples by which the output lags behind the recording."""
BARS = {"w8": 29.0, "w8 --calibrate": 33.4, "w8a8": 16.0, "w4": 15.3}
"""dB against f32: what this model has, 29.15, 33.48, 16.21 and 15.39. It misses bars of bench/quality.py."""


PRECISIONS = every(tuple(BARS), ("w8", "w4"))


@pytest.fixture(scope="module")
def spoken() -> dict[str, dict[str, Floats]]:
    """What the objects make of every sentence, without the lag: by precision and sentence."""
    audio: dict[str, dict[str, Floats]] = {}
    for precision in ("f32", *PRECISIONS):
        options = ("--chunk", "50", "--precision", *precision.split())
        vocoder = Vocoder(builds.library(CHECKPOINT, "demo", *options), "demo")
        audio[precision] = {path.stem: resynthesised(vocoder, path) for path in sorted(SPEECH.glob("*.wav"))}
    return audio


def resynthesised(vocoder: Vocoder, path: Path) -> Floats:
    recording = read_wav(path).astype(np.float32)
    stream = vocoder.stream()
    decoded = vocoder.continue_decode(stream, vocoder.log_mel(recording))
    return np.concatenate([decoded, vocoder.flush(stream)])[vocoder.tail :][: len(recording)]


def mel_distances(audio: dict[str, Floats]) -> list[float]:
    return [mel_distance(audio[name], read_wav(SPEECH / f"{name}.wav"), 16000) for name in sorted(audio)]


def test_the_five_sentences_sound_like_the_recordings(spoken: dict[str, dict[str, Floats]]) -> None:
    distances = mel_distances(spoken["f32"])
    assert len(distances) == 5
    assert np.mean(distances) <= MEL_BAR, distances


@pytest.mark.parametrize("precision", PRECISIONS)
def test_integers_say_the_same(spoken: dict[str, dict[str, Floats]], precision: str) -> None:
    ratios = {name: snr_db(audio, spoken[precision][name]) for name, audio in spoken["f32"].items()}
    assert np.mean(list(ratios.values())) >= BARS[precision], ratios
    off = np.mean(mel_distances(spoken[precision])) - np.mean(mel_distances(spoken["f32"]))
    assert off <= OFF


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "audio").glob("*.wav")), ids=lambda path: path.stem)
def test_the_audio_to_listen_to_is_the_objects(spoken: dict[str, dict[str, Floats]], path: Path) -> None:
    """Bit for bit; after another training, examples/audio/README.md says how to make it anew."""
    name, _, precision = path.stem.rpartition("_")
    shipped, expected = read_wav(path), spoken[precision][name]
    samples = np.clip(np.rint(expected * np.float32(32768)), -32768, 32767) / 32768
    assert np.array_equal(shipped[LAG:][: len(samples)], samples)
