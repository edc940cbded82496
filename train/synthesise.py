"""Make a corpus of speech that anyone may use: `python -m train.synthesise build/corpus`.

Debian's free synthesisers read sentences written for it, in many voices, languages, speeds and pitches. DIR/train and
DIR/validation then hold, by synthesiser, WAVs of a few seconds each (16 kHz mono, 16 bits), DIR/manifest.json says
which voice said what, and under which licence the voice is. The text is the same on every run; the audio is the
synthesisers'. Only voices under permissive licences speak, so that nobody need ask what a model owes them.

The speakers BDL and SLT of CMU ARCTIC judge the models, so no voice built from their recordings takes part.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from train.audio import SAMPLE_RATE, normalised, read_audio, write_wav
from train.sentences import sentence

ENGINES = ("flite", "festival", "espeak")
JUDGES = ("bdl", "slt")
VALIDATION_EVERY = 24
"""One utterance of so many of a voice is held out."""


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesiser. `speed` and `pitch` are factors, 1 by default."""

    engine: str
    name: str
    script: str
    licence: str
    utterances: int
    speed: float = 1.0
    pitch: float = 1.0


FLITE_LICENCE = "flite: BSD-like (Carnegie Mellon University)"
ESPEAK_LICENCE = "espeak-ng: GPL-3+, which does not reach its output"
FESTIVAL = {
    "kal_diphone": ("english", "festvox-kallpc16k: BSD-like"),
    "ked_diphone": ("english", "festvox-kdlpc16k: BSD-like"),
    "msu_ru_nsh_clunits": ("cyrillic", "festvox-ru: BSD-like"),
}
ESPEAK_LANGUAGES = """
en-us en-gb en-gb-scotland en-gb-x-rp de fr-fr es es-419 it pt pt-br nl sv nb da fi pl cs hu ro tr id vi sw af sq et lv
eo
""".split()  # noqa: SIM905 (a list of strings would take a page)
ESPEAK_VARIANTS = """
m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alicia Andrea Andy Annie Denis Gene Jacky Lee Marco Mario Michael Nguyen belinda
benjamin boris caleb david edward linda max norbert pablo quincy rob robert steph travis victor zac klatt2 klatt4 aunty
grandpa john anika
""".split()  # noqa: SIM905


def voices(rng: random.Random) -> Iterator[Voice]:
    """Every voice, and how much it says."""
    for name in ("awb", "rms", "kal16"):
        for speed, pitch in ((1.0, 1.0), (0.87, 1.12), (1.15, 0.9)):
            yield Voice("flite", name, "english", FLITE_LICENCE, 24, speed, pitch)
    for name, (script, licence) in FESTIVAL.items():
        for speed in (1.0, 1.2):
            yield Voice("festival", name, script, licence, 12, speed)
    for i, variant in enumerate(ESPEAK_VARIANTS):
        for j in range(2):
            language = ESPEAK_LANGUAGES[(2 * i + j) % len(ESPEAK_LANGUAGES)]
            script = "english" if language.startswith("en") else "latin"
            speed, pitch = rng.uniform(0.8, 1.15), rng.uniform(0.75, 1.3)
            yield Voice("espeak", f"{language}+{variant}", script, ESPEAK_LICENCE, 4, round(speed, 2), round(pitch, 2))


def command(voice: Voice, text: Path, out: Path) -> list[str]:
    """What makes `out`, a WAV, of `text`, a file."""
    if voice.engine == "flite":
        # int_f0_target_mean is the voice's own, about 100 Hz; diphone voices alone follow it
        options = ["--setf", f"duration_stretch={1 / voice.speed:.2f}"]
        if voice.name == "kal16":
            options += ["--setf", f"int_f0_target_mean={105 * voice.pitch:.0f}"]
        return ["flite", "-voice", voice.name, *options, "-f", str(text), "-o", str(out)]
    if voice.engine == "festival":
        evaluate = f"(begin (voice_{voice.name}) (Parameter.set 'Duration_Stretch {1 / voice.speed:.2f}))"
        return ["text2wave", "-eval", evaluate, str(text), "-o", str(out)]
    words, pitch = f"{165 * voice.speed:.0f}", f"{50 * voice.pitch:.0f}"
    return ["espeak-ng", "-v", voice.name, "-s", words, "-p", pitch, "-f", str(text), "-w", str(out)]


def speak(voice: Voice, text: str, directory: Path) -> np.ndarray:
    """Audio of a text at SAMPLE_RATE, peak 0.9, without the silence at its ends. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        source, out = Path(scratch) / "text", Path(scratch) / "out.wav"
        source.write_text(text + "\n", encoding="utf-8")
        subprocess.run(command(voice, source, out), check=True, capture_output=True, timeout=120)
        audio = normalised(read_audio(out))
    loud = np.flatnonzero(np.abs(audio) > 0.01)
    if loud.size < SAMPLE_RATE // 2:
        raise subprocess.CalledProcessError(1, voice.engine, stderr=b"silence")
    margin = SAMPLE_RATE // 10
    return audio[max(0, loud[0] - margin) : loud[-1] + margin]


def say_all(voice: Voice, seed: int, directory: Path) -> list[dict[str, object]]:
    """All that a voice says, written to `directory`/train and /validation; the manifest's entries."""
    rng = random.Random(seed)
    label = f"{voice.engine}_{voice.name}_{seed:03d}".replace("+", "-")
    entries: list[dict[str, object]] = []
    for i in range(voice.utterances):
        text = " ".join(sentence(voice.script, rng) for _ in range(2))
        part = "validation" if (seed * 7 + i) % VALIDATION_EVERY == 0 else "train"
        path = directory / part / voice.engine / f"{label}_{i:02d}.wav"
        try:
            audio = speak(voice, text, directory)
        except (subprocess.SubprocessError, RuntimeError) as error:
            print(f"synthesise: {label}: {error}: left out", file=sys.stderr)
            return entries
        write_wav(path, audio)
        entries.append(
            {
                "file": str(path.relative_to(directory)),
                "seconds": round(len(audio) / SAMPLE_RATE, 2),
                "text": text,
                **asdict(voice),
            }
        )
    return entries


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of utterances (default: %(default)s)")
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    for part in ("train", "validation"):
        for engine in ENGINES:
            (directory / part / engine).mkdir(parents=True, exist_ok=True)
    rng = random.Random(arguments.seed)
    chosen = [replace(v, utterances=max(1, round(v.utterances * arguments.scale))) for v in voices(rng)]
    assert not any(judge in voice.name.lower() for judge in JUDGES for voice in chosen)
    entries: list[dict[str, object]] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for said in pool.map(lambda pair: say_all(pair[1], pair[0], directory), enumerate(chosen)):
            entries += said
    (directory / "manifest.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    minutes = sum(float(str(entry["seconds"])) for entry in entries) / 60
    print(f"synthesise: {len(entries)} utterances of {len(chosen)} voices, {minutes:.0f} minutes, in {directory}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        sys.exit(f"synthesise: error: {error.filename} is missing: .ci/setup corpus brings it")
