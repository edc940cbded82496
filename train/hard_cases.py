"""Sounds that a model of speech finds hard: `python -m train.hard_cases build/hard-cases`, then `make quality SPEECH=`.

A singing voice, a child's voice, plucked strings and noise, each a few seconds of 16 kHz mono, synthesised here, the
same on every run. None of it is trained on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.audio import SAMPLE_RATE, normalised, write_wav

Floats = NDArray[np.float64]

VOWELS = {
    "a": (730.0, 1090.0, 2440.0, 3400.0),
    "i": (270.0, 2290.0, 3010.0, 3600.0),
    "u": (300.0, 870.0, 2240.0, 3300.0),
    "e": (530.0, 1840.0, 2480.0, 3500.0),
}
"""Formants in Hz, of an adult."""
BANDWIDTHS = (80.0, 100.0, 140.0, 200.0)


def vowel(name: str, pitch: Floats, formant_scale: float) -> Floats:
    """A vowel with such a fundamental, in Hz for each sample: harmonics under the response of its formants."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    audio = np.zeros(len(pitch))
    for harmonic in range(1, int(SAMPLE_RATE / 2 / pitch.min()) + 1):
        hertz = harmonic * pitch
        response = np.ones(len(pitch), np.complex128)
        for centre, width in zip(VOWELS[name], BANDWIDTHS, strict=True):
            pole = -np.pi * width + 2j * np.pi * centre * formant_scale
            s = 2j * np.pi * hertz
            response *= abs(pole) ** 2 / ((s - pole) * (s - pole.conjugate()))
        audible = hertz < SAMPLE_RATE / 2 - 200
        audio += np.where(audible, np.abs(response) / harmonic, 0) * np.sin(harmonic * phase + np.angle(response))
    return audio * _fade(len(audio))


def _fade(length: int, seconds: float = 0.03) -> Floats:
    ends = np.minimum(np.arange(length), np.arange(length)[::-1]) / (seconds * SAMPLE_RATE)
    return np.asarray(np.sin(np.pi / 2 * np.minimum(1, ends)) ** 2)


def singing() -> Floats:
    """Five notes with vibrato, the vowels in turn."""
    t = np.arange(int(0.7 * SAMPLE_RATE)) / SAMPLE_RATE
    vibrato = 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.2))
    notes = zip((220.0, 277.2, 329.6, 440.0, 392.0), "aieua", strict=True)
    return np.concatenate([vowel(name, pitch * vibrato, 1.1) for pitch, name in notes])


def child() -> Floats:
    """Short syllables, 300 to 420 Hz, of a short vocal tract."""
    parts = []
    for i, name in enumerate("aeiuaeia"):
        length = int((0.22 + 0.06 * (i % 3)) * SAMPLE_RATE)
        pitch = np.linspace(300 + 30 * (i % 4), 420 - 25 * (i % 3), length)
        parts += [vowel(name, pitch, 1.35), np.zeros(int(0.05 * SAMPLE_RATE))]
    return np.concatenate(parts)


def strings(rng: np.random.Generator) -> Floats:
    """Four plucked chords (Karplus and Strong, 1983)."""
    audio = np.zeros(4 * SAMPLE_RATE)
    for i, chord in enumerate(((110.0, 165.0, 220.0, 277.2), (98.0, 147.0, 196.0, 246.9)) * 2):
        for hertz in chord:
            start = i * SAMPLE_RATE
            delay = round(SAMPLE_RATE / hertz)
            string = rng.uniform(-1, 1, delay)
            for at in range(start, len(audio), delay):
                piece = string[: len(audio) - at]
                audio[at : at + len(piece)] += piece
                string = 0.4995 * (string + np.roll(string, 1))
    return audio


def noise(rng: np.random.Generator) -> Floats:
    """Pink noise in gusts."""
    spectrum = np.fft.rfft(rng.standard_normal(4 * SAMPLE_RATE))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))))
    gusts = 0.55 + 0.45 * np.sin(2 * np.pi * 0.7 * np.arange(len(pink)) / SAMPLE_RATE)
    return np.asarray(pink * gusts)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m train.hard_cases DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    sounds = {"singing": singing(), "child": child(), "strings": strings(rng), "noise": noise(rng)}
    for name, audio in sounds.items():
        write_wav(folder / f"{name}.wav", normalised(audio, 0.5))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
