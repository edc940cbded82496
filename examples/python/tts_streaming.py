"""Speaks the frames of a text-to-speech model as they come, in place of one call of vocos at the end.

    python tts_streaming.py MODULE MEL.npy | aplay -f S16_LE -r RATE

F5-TTS and its like make features [1, mels, frames], a piece of the text at a time. Here a file, frames x mels, plays
that model. Raw samples of 16 bits go to standard output; how long the first of them took goes to standard error.
"""

import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def text_to_speech(mel: np.ndarray[Any, Any], frames: int) -> Iterator[np.ndarray[Any, Any]]:
    """Stands for the model: features [1, mels, at most `frames`], one piece after the other."""
    for start in range(0, len(mel), frames):
        yield mel[start : start + frames].T[None]


def speak(vocoder: Any, features: Iterable[Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Samples as soon as they are complete: [samples] of int16. A piece may be an array, or a tensor of PyTorch."""
    with vocoder.Stream() as stream:
        for piece in features:
            yield stream.decode(piece[0].T, "int16")
        yield stream.flush("int16")


def main() -> None:
    """The command."""
    vocoder, mel = importlib.import_module(sys.argv[1]), np.load(sys.argv[2])
    start, first = time.perf_counter(), None
    for samples in speak(vocoder, text_to_speech(mel, 25)):
        if first is None and len(samples):
            first = 1000 * (time.perf_counter() - start)
        sys.stdout.buffer.write(samples.tobytes())
        sys.stdout.buffer.flush()
    print(f"{len(mel)} frames; the first samples took {first:.1f} ms", file=sys.stderr)


if __name__ == "__main__":
    main()
