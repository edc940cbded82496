"""Measure what the compiled object does to real speech: `python -m bench.quality CHECKPOINT`; see README.md here.

Each recording becomes log-mel, by the compiled front end, and audio again: by PyTorch, and by the object in every
precision and at several chunk sizes. Then PyTorch and the objects are compared with the recording, and the objects with
PyTorch.
"""

import argparse
import json
import subprocess
import sys
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from bench.measures import MEASURES, all_measures, magnitudes
from bench.metrics import snr_db
from bench.peers import (
    ROOT,
    PeerError,
    PyTorchPeer,
    Row,
    compile_object,
    exit_reason,
    host_tool,
    last_line,
    read_report,
    unpack_checkpoint,
)
from bench.report import this_machine

mpl.use("Agg")

Audio = NDArray[np.float32]

SPEECH = ROOT / "examples" / "speech"
PRECISIONS = ("f32", "f16", "w8", "w8 --calibrate", "w8a8", "w4")
CHUNKS = (1, 2, 5, 10, 54)
MODEL = "PyTorch"
BARS = {"f32": 90.0, "f16": 50.0, "w8": 35.0, "w8 --calibrate": 35.0, "w8a8": 20.0, "w4": 26.0}
"""dB that the object's audio must be from PyTorch's, on the mean of the sentences.

Of integers they say less: the errors of all layers add up, so that a deep model is further away than a shallow one
(bench/NOTES.md). What is heard of it has bars of its own.
"""
PESQ_BAR = 0.02
"""How much the mean PESQ of w8 may be off that of f32."""
INTEGERS = ("w8", "w8 --calibrate", "w8a8", "w4")
HEARD = {"pesq_wb": ("PESQ", 0.1), "stoi": ("STOI", 0.005), "mel_distance": ("mel distance", 0.02)}
"""How much the mean of a measure may be off f32's, with integer weights; PESQ, by as much as checkpoints differ."""
HEADINGS = (
    *("dB from PyTorch", "mel distance", "log-spectral distance, dB", "PESQ (wide band)", "STOI"),
    *("STFT distance", "pitch, cents", "voicing errors"),
)
LEVELS, DIFFERENCES = 70, 30
"""dB that the picture's colours show, below the loudest bin and to either side of the recording."""
PLACES = (3, 2, 3, 3, 3, 1, 4)
"""Digits behind the point, of each measure."""


@dataclass(frozen=True)
class Sentence:
    """A recording, and what was made of it: by PyTorch (MODEL) and by the object in each precision."""

    name: str
    recording: Audio
    outputs: Mapping[str, Audio]


class Judge:
    """Makes audio of recordings. All files lie in `work`."""

    def __init__(self, checkpoint: Path, work: Path, compiler_python: str, torch_python: str, lag: int | None) -> None:
        self.work, self.torch_python = work, torch_python
        self.work.mkdir(parents=True, exist_ok=True)
        self.tensors = unpack_checkpoint(compiler_python, checkpoint, work / "tensors.npz")
        self.objects = {}
        for precision in PRECISIONS:
            print(f"compiling {precision}", file=sys.stderr, flush=True)
            name, *more = precision.split()
            out = work / precision.replace(" ", "")
            self.objects[precision] = compile_object(compiler_python, checkpoint, out, CHUNKS, name, more=more)
        report = read_report(self.objects["f32"])
        self.sample_rate = int(report["model"]["sample_rate"])
        untrimmed = report["padding"] == "causal"
        self.lag = lag if lag is not None else int(report["latency_overlap_samples"]) if untrimmed else 0

    def sentence(self, path: Path) -> Sentence:
        """Make and compare. Raises PeerError if a file cannot be read, or audio depends on the chunk size."""
        recording, rate = read_wav(path)
        if rate != self.sample_rate:
            raise PeerError(f"{path}: {rate} Hz; the model is for {self.sample_rate} Hz")
        # Silence at the end brings out what the output lags behind
        padded, mel = self.work / "padded.wav", self.work / "mel.npy"
        write_wav(padded, np.pad(recording, (0, self.lag)), rate)
        self._tool("f32", "mel", str(padded), str(mel))
        outputs = {MODEL: self._torch(mel)}
        for precision in PRECISIONS:
            outputs[precision] = self._object(precision, mel)
        audible = slice(self.lag, self.lag + len(recording))
        return Sentence(path.stem, recording, {name: audio[audible] for name, audio in outputs.items()})

    def _torch(self, mel: Path) -> Audio:
        peer = PyTorchPeer(MODEL, self.tensors, mel, self.work, [self.torch_python, "-m", "bench.torch_worker"])
        row = Row(None, 1)
        try:
            peer.prepare(row)
            return peer.decode(row)
        finally:
            peer.close()

    def _object(self, precision: str, mel: Path) -> Audio:
        out = self.work / f"{precision}.npy"
        audio: list[Audio] = []
        for chunk in CHUNKS:
            self._tool(precision, "decode", "--chunk", str(chunk), str(mel), str(out))
            audio.append(np.load(out, allow_pickle=False))
            if audio[-1].tobytes() != audio[0].tobytes():
                raise PeerError(f"{precision}: chunks of {chunk} and of {CHUNKS[0]} frames give different audio")
        return audio[0]

    def _tool(self, precision: str, *arguments: str) -> None:
        line = [str(host_tool(self.objects[precision])), *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerError(f"{' '.join(line)}: {exit_reason(done.returncode)}: {last_line(done.stderr)}")


def read_wav(path: Path) -> tuple[Audio, int]:
    """Samples of a mono 16-bit file at full scale 1, and their rate. Raises PeerError."""
    try:
        with wave.open(str(path)) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise PeerError(f"{path}: not mono 16-bit")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return (samples / 32768).astype(np.float32), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise PeerError(f"{path}: no WAV file: {error}") from None


def write_wav(path: Path, audio: Audio, rate: int) -> None:
    """Mono 16-bit."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.round(np.clip(audio * 32768, -32768, 32767)).astype("<i2").tobytes())


def measured(sentence: Sentence, rate: int) -> dict[str, dict[str, float]]:
    """Of PyTorch and of every precision: the measures against the recording, and `snr_db` against PyTorch."""
    rows = {}
    for name, audio in sentence.outputs.items():
        rows[name] = all_measures(audio, sentence.recording, rate)
        if name != MODEL:
            rows[name]["snr_db"] = snr_db(sentence.outputs[MODEL], audio)
    return rows


def means(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over the sentences, of each measure."""
    first = next(iter(results.values()))
    return {
        name: {key: float(np.mean([rows[name][key] for rows in results.values()])) for key in first[name]}
        for name in first
    }


def verdicts(mean: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """What the objects must reach, what was measured, and whether that is enough."""
    rows: list[dict[str, Any]] = [
        {"what": f"{name}, dB from PyTorch", "bar": bar, "measured": mean[name]["snr_db"]} for name, bar in BARS.items()
    ]
    for row in rows:
        row["passed"] = row["measured"] >= row["bar"]
    heard = [(name, "pesq_wb", "PESQ", PESQ_BAR) for name in ("w8", "w8 --calibrate")]
    heard += [(name, key, measure, bar) for name in INTEGERS for key, (measure, bar) in HEARD.items()]
    for name, key, measure, bar in heard:
        off = abs(mean[name][key] - mean["f32"][key])
        rows.append({"what": f"{name}, {measure} off f32's", "bar": bar, "measured": off, "passed": off <= bar})
    return rows


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]], bars: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the means, the bars, and every sentence."""
    head = ["", *HEADINGS]

    def lines(label: str, rows: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
        return [
            [
                f"{label}{name}",
                f"{row['snr_db']:.1f}" if "snr_db" in row else "",
                *(f"{row[key]:.{places}f}" for key, places in zip(MEASURES, PLACES, strict=True)),
            ]
            for name, row in rows.items()
        ]

    body = lines("", means(results))
    every = [line for sentence, rows in results.items() for line in lines(f"{sentence}, ", rows)]
    told = [[r["what"], f"{r['bar']:g}", f"{r['measured']:.4g}", "yes" if r["passed"] else "NO"] for r in bars]
    parts = [
        f"Means over {len(results)} sentences:\n\n{markdown(head, body)}",
        markdown(["bar", "at", "measured", "reached"], told),
        markdown(head, every),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw(sentence: Sentence, rate: int, path: Path) -> None:
    """Spectrograms side by side: the recording, PyTorch, f32, w8, and how far f32 is above or below the recording."""
    panels = {"the recording": sentence.recording, **{n: sentence.outputs[n] for n in (MODEL, "f32", "w8")}}
    names = {"f32": "vocosc f32", "w8": "vocosc w8", MODEL: "the model in PyTorch"}
    top = max(float(magnitudes(audio, 512).max()) for audio in panels.values())
    levels = {
        name: np.maximum(20 * np.log10(magnitudes(audio, 512) / top + 1e-9), -LEVELS) for name, audio in panels.items()
    }
    figure, axes = plt.subplots(1, len(panels) + 1, figsize=(17, 3.4), sharey=True, layout="constrained")
    look = {"origin": "lower", "aspect": "auto", "extent": (0, len(sentence.recording) / rate, 0, rate / 2000)}
    for panel, (name, decibels) in zip(axes, levels.items(), strict=False):
        image = panel.imshow(decibels.T, cmap="magma", vmin=-LEVELS, vmax=0, **look)
        panel.set_title(names.get(name, name), loc="left", fontsize=10)
    figure.colorbar(image, ax=axes[-2], label="dB")
    off = levels["f32"] - levels["the recording"]
    image = axes[-1].imshow(off.T, cmap="RdBu_r", vmin=-DIFFERENCES, vmax=DIFFERENCES, **look)
    axes[-1].set_title("vocosc f32 less the recording", loc="left", fontsize=10)
    figure.colorbar(image, ax=axes[-1], label="dB")
    for panel in axes:
        panel.set_xlabel("time, s")
    axes[0].set_ylabel("kHz")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of the library in the file, the same data gives the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.quality", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--speech", type=Path, default=SPEECH, metavar="DIR", help="WAVs to judge by (%(default)s)")
    parser.add_argument("--compiler-python", default=sys.executable, help="the Python that runs the compiler")
    parser.add_argument("--torch-python", default="/usr/bin/python3", help="the one that has PyTorch (%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "quality", help="for objects and audio")
    parser.add_argument(
        "--lag",
        type=int,
        metavar="SAMPLES",
        help="of the model's audio behind the recording (default: n_fft - hop, or 0 if trimmed)",
    )
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--table", type=Path, help="and this, as Markdown")
    parser.add_argument("--picture", type=Path, help="spectrograms of one sentence, PNG")
    parser.add_argument("--draw", metavar="NAME", help="of which (default: the first)")
    parser.add_argument("--date", help="to note in the JSON")
    return parser.parse_args(argv)


def judge(args: argparse.Namespace) -> None:
    """Run it all. Raises PeerError."""
    files = sorted(args.speech.glob("*.wav"))
    if not files:
        raise PeerError(f"{args.speech}: no WAV files there")
    work = args.work.resolve()
    crew = Judge(args.checkpoint, work, args.compiler_python, args.torch_python, args.lag)
    results, sentences = {}, {}
    for path in files:
        print(path.stem, file=sys.stderr, flush=True)
        sentences[path.stem] = crew.sentence(path)
        results[path.stem] = measured(sentences[path.stem], crew.sample_rate)
        for name, audio in sentences[path.stem].outputs.items():
            write_wav(work / f"{path.stem}.{name}.wav", audio, crew.sample_rate)
    mean = means(results)
    bars = verdicts(mean)
    text = table(results, bars)
    print(text)
    if args.table:
        args.table.write_text(text)
    if args.picture:
        chosen = sentences.get(args.draw or files[0].stem)
        if chosen is None:
            raise PeerError(f"--draw {args.draw}: no such sentence in {args.speech}")
        draw(chosen, crew.sample_rate, args.picture)
    if args.json:
        report = read_report(crew.objects["f32"])
        data = {
            "date": args.date,
            "machine": this_machine(),
            "checkpoint_sha256": report["checkpoint_sha256"],
            "model": report["model"],
            "latency_ms": report["latency_ms"],
            "chunks": CHUNKS,
            "mean": mean,
            "bars": bars,
            "sentences": results,
        }
        args.json.write_text(json.dumps(data, indent=1) + "\n")


def main() -> int:
    """Run the command; returns the exit status."""
    try:
        judge(arguments(None))
    except PeerError as error:
        print(f"quality: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"quality: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
