"""From microphone to speaker, by way of log-mel frames, through PortAudio (pip install sounddevice):

python microphone.py MODULE [SECONDS]
"""

import importlib
import sys
from typing import Any

import sounddevice


def main() -> None:
    """The command."""
    vocoder = importlib.import_module(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    analysis, synthesis = vocoder.MelStream(), vocoder.Stream()

    def callback(heard: Any, spoken: Any, count: int, time: Any, status: Any) -> None:
        """A chunk [count, 1] of int16, in and out. A model that looks ahead has fewer samples at first."""
        samples = synthesis.decode(analysis.mel(heard[:, 0]), "int16")
        spoken[:] = 0
        spoken[count - len(samples) :, 0] = samples

    chunk = vocoder.MAX_FRAMES * vocoder.HOP
    with sounddevice.Stream(vocoder.SAMPLE_RATE, chunk, channels=1, dtype="int16", callback=callback):
        sounddevice.sleep(round(1000 * seconds))


if __name__ == "__main__":
    main()
