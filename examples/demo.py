"""Compile a model and hear the object speak a sentence: `make demo`, or `make demo CKPT=FILE`."""

import argparse
import json
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from bench.measures import mel_distance  # noqa: E402 (not installed packages)
from tests import reference  # noqa: E402

mpl.use("Agg")
from matplotlib import pyplot  # noqa: E402

Array = NDArray[Any]

SENTENCE = Path("examples/speech/bdl_arctic_a0001.wav")
CHECKPOINT = Path("examples/model/demo.ckpt")
OUT = Path("build/demo")  # paths are relative to ROOT, so that what is printed is short
TOOL = OUT / "vocos"
CHUNKS = (1, 5)


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="of a trained model (%(default)s)")
    checkpoint: Path = parser.parse_args().checkpoint
    if not (ROOT / checkpoint).is_file():
        parser.error(f"{checkpoint}: no such file")
    (ROOT / OUT).mkdir(parents=True, exist_ok=True)
    try:
        demo(checkpoint)
    except subprocess.CalledProcessError as error:
        print(f"\n{error.stderr.strip()}\ndemo: failed: {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


def demo(checkpoint: Path) -> None:
    """Take every step and say in a line what came of it. Raises CalledProcessError."""
    print("A Streaming Vocos checkpoint becomes one static C object.\n")
    note = ": this project's own small model" if checkpoint == CHECKPOINT else ""
    say("checkpoint", f"{checkpoint}, {megabytes(checkpoint)}{note}")

    start = time.monotonic()
    if sys.stdout.isatty():
        say("compile", "...", end="\r")
    chunks = ",".join(map(str, CHUNKS))
    run(sys.executable, "-m", "compiler", str(checkpoint), "-o", str(OUT), "--name", "vocos", "--chunk", chunks)
    library = OUT / "vocos.o"
    say("compile", f"{library}, {megabytes(library)}, in {time.monotonic() - start:.1f} s")
    say("", f"it needs no library, only {', '.join(needs(library)) or 'itself'}")

    mel_file, audio_file, copy_file = OUT / "mel.npy", OUT / "decoded.wav", OUT / "copy.wav"
    run(str(TOOL), "mel", str(SENTENCE), str(mel_file))
    mel = np.load(ROOT / mel_file)
    say("audio -> mel", f"{mel_file}: {len(mel)} frames of {mel.shape[1]} bins")

    outputs = []
    for chunk in CHUNKS:
        run(str(TOOL), "decode", "--flush", "--chunk", str(chunk), str(mel_file), str(audio_file))
        outputs.append((ROOT / audio_file).read_bytes())
    say("mel -> audio", f"{audio_file}: {seconds(audio_file):.2f} s of audio")
    same = "the same, bit for bit" if len(set(outputs)) == 1 else "NOT the same: please report this"
    say("", f"chunk by chunk, in chunks of {' and of '.join(map(str, CHUNKS))} frames: {same}")
    report = json.loads((ROOT / OUT / "vocos.json").read_text())
    lag = int(report["latency_overlap_samples"]) if report["padding"] == "causal" else 0  # else it is trimmed
    say("", f"{distance(audio_file, lag):.2f} from the original (log-mel distance over seven scales)")

    run(str(TOOL), "copy", str(SENTENCE), str(copy_file))
    say("there and back", f"{copy_file}: audio -> mel -> audio in one stream, {seconds(copy_file):.2f} s")

    print("\n  One thread, this machine:   each chunk   real-time factor   latency")
    for chunk in CHUNKS:
        result = json.loads(run(str(TOOL), "bench", "--json", "--chunk", str(chunk), "--warmup", "3", "--runs", "10"))
        print(
            f"  {f'chunks of {chunk}':<26}{result['avg_proc_per_chunk_ms']:>9.2f} ms"
            f"{result['avg_rtf']:>19.3f}{result['avg_latency_ms']:>7.1f} ms"
        )

    picture = OUT / "spectrogram.png"
    draw(mel, audio_file, lag, picture)
    print()
    say("look", f"{picture}")
    say("listen", f"{SENTENCE} (the original)")
    say("", f"{audio_file}, {copy_file}")
    print("\nTo hear a model of your own say it: make demo CKPT=path/to/checkpoint.ckpt")


def say(what: str, text: str, end: str = "\n") -> None:
    """Print one line of the account."""
    print(f"  {what:<15} {text}", end=end, flush=True)


def run(*command: str) -> str:
    """Run a command in ROOT and return what it prints. Raises CalledProcessError."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def distance(audio_file: Path, lag: int) -> float:
    """Return how far the output, less the samples that it lags behind, is from the sentence."""
    sentence, output = (reference.read_wav(ROOT / path) for path in (SENTENCE, audio_file))
    with wave.open(str(ROOT / SENTENCE)) as file:
        return mel_distance(output[lag : lag + len(sentence)], sentence, file.getframerate())


def needs(library: Path) -> list[str]:
    """Return the symbols that an object leaves for others to define: memcpy and its like, if all is well."""
    return [line.split()[-1] for line in run("nm", "-u", str(library)).splitlines()]


def megabytes(path: Path) -> str:
    """Return the size of a file, for people."""
    return f"{(ROOT / path).stat().st_size / 1e6:.1f} MB"


def seconds(path: Path) -> float:
    """Return the duration of a WAV file."""
    with wave.open(str(ROOT / path)) as file:
        return float(file.getnframes() / file.getframerate())


def draw(mel: Array, audio_file: Path, lag: int, picture: Path) -> None:
    """Draw the original, its log-mel [frames, bins] and the output below each other, over time."""
    figure, axes = pyplot.subplots(3, 1, figsize=(9, 7), sharex=True, layout="constrained")
    spectrogram(axes[0], SENTENCE, 0, f"{SENTENCE.name}: the original")
    length = seconds(SENTENCE)
    axes[1].imshow(mel.T, origin="lower", aspect="auto", cmap="magma", extent=(0, length, 0, mel.shape[1]))
    axes[1].set_title("its log-mel: all that the vocoder sees", loc="left", fontsize=10)
    axes[1].set_ylabel("mel bin")
    spectrogram(axes[2], audio_file, lag, f"{audio_file.name}: what the object made of it")
    axes[2].set_xlabel("time, s")
    axes[2].set_xlim(0, length)
    figure.savefig(ROOT / picture, dpi=120)
    pyplot.close(figure)


def spectrogram(axes: Any, path: Path, skip: int, title: str) -> None:
    """Draw the magnitudes of a WAV file from sample `skip` on, over time and frequency, 70 dB deep."""
    audio, size, hop = reference.read_wav(ROOT / path)[skip:], 512, 80
    padded = np.concatenate([np.zeros(size // 2), audio, np.zeros(size // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * reference.hann(size)
    decibels = 20 * np.log10(np.abs(np.fft.rfft(windows)) + 1e-9)
    with wave.open(str(ROOT / path)) as file:
        rate = file.getframerate()
    axes.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, len(audio) / rate, 0, rate / 2000),
        vmin=decibels.max() - 70,
        vmax=decibels.max(),
    )
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel("kHz")


if __name__ == "__main__":
    sys.exit(main())
