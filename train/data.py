"""Speech to train on: folders of WAVs become random segments, the same ones for the same seed and step."""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from train.audio import Floats, normalised, read_audio

SUFFIXES = (".wav", ".flac")


def audio_files(folder: Path, only: Sequence[str] | None = None) -> list[Path]:
    """All audio files under a folder, or under those of its subfolders that `only` names, sorted.

    Raises ValueError if there is none.
    """
    roots = [folder] if only is None else [folder / str(name) for name in only]
    files = sorted(path for root in roots for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{', '.join(map(str, roots))}: no WAV or FLAC files there")
    return files


class Corpus:
    """The audio of a folder in one memory map: 16 kHz mono int16, each file at peak 0.9; but for files held out."""

    def __init__(self, folder: Path, cache: Path, held_out: Collection[Path] = ()) -> None:
        files = [path for path in audio_files(folder) if path.resolve() not in held_out]
        if not files:
            raise ValueError(f"{folder}: all files are for validation: none is left to train on")
        listing = [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        key = hashlib.sha256(json.dumps([str(folder.resolve()), listing]).encode()).hexdigest()[:16]
        samples, ends = cache / f"{key}.npy", cache / f"{key}.ends.npy"
        if not ends.exists():
            cache.mkdir(parents=True, exist_ok=True)
            parts = [np.round(normalised(read_audio(path)) * 32767).astype(np.int16) for path in files]
            np.save(samples, np.concatenate(parts))
            np.save(ends, np.cumsum([len(part) for part in parts]))
        self.samples: np.ndarray[Any, np.dtype[np.int16]] = np.load(samples, mmap_mode="r")
        self.ends = np.load(ends)

    def draw(self, length: int, rng: np.random.Generator) -> Floats:
        """So many samples from anywhere in one file; silence follows a file that is shorter."""
        # A file is as likely as it is long
        file = int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))
        first, last = (int(self.ends[file - 1]) if file else 0), int(self.ends[file])
        start = first + int(rng.integers(max(1, last - first - length + 1)))
        piece = self.samples[start : min(last, start + length)].astype(np.float32) / 32767
        return np.pad(piece, (0, length - len(piece)))


@dataclass(frozen=True)
class Augmentation:
    """How segments are varied. `rate`: speed and pitch together, as a range of factors; the others in dB or as odds."""

    rate_odds: float = 0.0
    rate: tuple[float, float] = (0.88, 1.25)
    equalise_odds: float = 0.0
    equalise_db: float = 6.0
    mix_odds: float = 0.0
    noise_odds: float = 0.0
    noise_db: tuple[float, float] = (-60.0, -35.0)
    level_db: float = 0.0
    """Segments are made quieter by up to this."""
    formant_odds: float = 0.0
    formant: tuple[float, float] = (0.85, 1.18)
    """The spectral envelope is stretched by a factor from this range; the pitch stays."""
    room_odds: float = 0.0
    room_seconds: tuple[float, float] = (0.1, 0.5)
    """The time in which the room's reverberation falls by 60 dB."""
    room_db: tuple[float, float] = (-20.0, -6.0)
    """The reverberation's energy above the direct sound's."""

    def length(self, length: int, rng: np.random.Generator) -> int:
        """How many samples to draw for a segment of `length`."""
        if rng.random() >= self.rate_odds:
            return length
        low, high = np.log(self.rate)
        return int(length * math.exp(rng.uniform(low, high)))

    def apply(self, audio: Floats, length: int, other: Floats, rng: np.random.Generator) -> Floats:
        """A varied segment of `length` samples. `other` is another one, to be mixed in perhaps."""
        if len(audio) != length:
            audio = np.asarray(soxr.resample(audio, len(audio), length, quality="MQ"), np.float32)
            audio = np.pad(audio[:length], (0, max(0, length - len(audio))))
        # Odds of 0 draw nothing, so that older configurations draw what they always drew
        if self.formant_odds and rng.random() < self.formant_odds:
            low, high = np.log(self.formant)
            audio = with_formants_moved(audio, math.exp(rng.uniform(low, high)))
        if self.room_odds and rng.random() < self.room_odds:
            audio = in_a_room(audio, rng, rng.uniform(*self.room_seconds), rng.uniform(*self.room_db))
        if rng.random() < self.mix_odds:
            audio = audio + other[:length] * 10 ** (rng.uniform(-20, 0) / 20)
        if rng.random() < self.equalise_odds:
            audio = equalised(audio, rng, self.equalise_db)
        if rng.random() < self.noise_odds:
            level = np.float32(10 ** (rng.uniform(*self.noise_db) / 20))
            audio = audio + level * rng.standard_normal(length, np.float32)
        peak = float(np.abs(audio).max(initial=0.0))
        if peak > 0.9:
            audio = audio * (0.9 / peak)
        return np.asarray(audio * 10 ** (-rng.uniform(0, self.level_db) / 20), np.float32)


def equalised(audio: Floats, rng: np.random.Generator, decibels: float) -> Floats:
    """The audio through a random smooth response, within so many dB either way."""
    spectrum = np.fft.rfft(audio)
    frequency = np.log2(1 + np.arange(len(spectrum)) / len(spectrum) * 64)
    corners = np.linspace(0, frequency[-1], 7)
    gain = np.interp(frequency, corners, rng.uniform(-decibels, decibels, len(corners)))
    return np.asarray(np.fft.irfft(spectrum * 10 ** (gain / 20), len(audio)), np.float32)


def with_formants_moved(audio: Floats, factor: float) -> Floats:
    """The audio with its spectral envelope stretched by `factor` along frequency; pitch and time stay.

    Frames of 512 are filtered, without delay, by the ratio of the two envelopes: the cepstrum's first 40 coefficients.
    """
    size, hop, order = 512, 128, 40
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    padded = np.pad(audio, (size, size + -len(audio) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectrum = np.fft.rfft(frames)
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + 1e-4))
    cepstrum[:, order:-order] = 0
    envelope = np.fft.rfft(cepstrum).real
    bins = np.arange(size // 2 + 1)
    moved = np.stack([np.interp(bins / factor, bins, row) for row in envelope])
    filtered = np.fft.irfft(spectrum * np.exp(np.clip(moved - envelope, -3, 3))) * window
    out = np.zeros(len(padded))
    for start, frame in zip(range(0, len(padded), hop), filtered, strict=False):
        out[start : start + size] += frame
    return np.asarray(out[size : size + len(audio)] / (size / hop / 2), np.float32)


def in_a_room(audio: Floats, rng: np.random.Generator, seconds: float, decibels: float, rate: int = 16000) -> Floats:
    """The audio and its reverberation, `decibels` above it in all: noise that falls by 60 dB in `seconds`."""
    length = int(seconds * rate)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (decibels / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(audio) + length - 1).bit_length()
    reverberant = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(tail, size), size)
    return np.asarray(reverberant[: len(audio)], np.float32)


class Segments(Dataset[torch.Tensor]):  # type: ignore[misc,unused-ignore]
    """Segment i of the endless training set: a function of (seed, i) alone, so that training resumes exactly."""

    def __init__(
        self, corpora: Sequence[tuple[Corpus, float]], length: int, augmentation: Augmentation, seed: int
    ) -> None:
        self.corpora = [corpus for corpus, _ in corpora]
        weights = np.array([weight for _, weight in corpora])
        self.shares = weights / weights.sum()
        self.length, self.augmentation, self.seed = length, augmentation, seed

    def __getitem__(self, index: int) -> torch.Tensor:
        """[length] samples."""
        rng = np.random.default_rng([self.seed, index])
        audio = self._draw(self.augmentation.length(self.length, rng), rng)
        other = self._draw(self.length, rng)
        return torch.from_numpy(self.augmentation.apply(audio, self.length, other, rng))

    def _draw(self, length: int, rng: np.random.Generator) -> Floats:
        return self.corpora[int(rng.choice(len(self.corpora), p=self.shares))].draw(length, rng)


class Batches(Sampler[list[int]]):  # type: ignore[misc,unused-ignore]
    """The indices of the batches from `start` to `stop`; its length is that of all, as a resuming trainer counts."""

    def __init__(self, start: int, stop: int, size: int, rank: int, ranks: int) -> None:
        self.start, self.stop, self.size, self.rank, self.ranks = start, stop, size, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        """One batch after the other."""
        for batch in range(self.start, self.stop):
            first = (batch * self.ranks + self.rank) * self.size
            yield list(range(first, first + self.size))

    def __len__(self) -> int:
        """Of all, those before `start` included."""
        return self.stop


class Files(Dataset[dict[str, Any]]):  # type: ignore[misc,unused-ignore]
    """Whole files for validation: {"audio": [samples], "name": ...}."""

    def __init__(self, folder: Path, limit: int | None, only: Sequence[str] | None = None) -> None:
        self.all = audio_files(folder, only)
        self.files = self.all if limit is None else self.all[:: math.ceil(len(self.all) / limit)]

    def __len__(self) -> int:
        """The number of files."""
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One file, resampled; its level as it is."""
        path = self.files[index]
        return {"audio": torch.from_numpy(read_audio(path)), "name": path.stem}


@dataclass(frozen=True)
class SpeechData:
    """The section `data` of a configuration.

    `train` and `validation` map names to {"folder": ..., "weight": ...} and {"folder": ..., "limit": ..., "only": ...}.
    A training folder is drawn from by its weight, whatever its length. Validation takes `limit` files, or all, of the
    folder, or of those of its subfolders that `only` lists, say of some speakers. No file of validation is trained on,
    even if it lies in a training folder; nor is any other in a subfolder that `only` lists.
    """

    train: Mapping[str, Mapping[str, Any]]
    validation: Mapping[str, Mapping[str, Any]]
    cache: str = "build/train-cache"
    segment_length: int = 30720
    batch_size: int = 16
    num_workers: int = 4
    seed: int = 1
    augmentation: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raises TypeError for an augmentation that is not known."""
        Augmentation(**(self.augmentation or {}))

    def training_loader(
        self, first_batch: int, last_batch: int, rank: int = 0, ranks: int = 1
    ) -> "DataLoader[torch.Tensor]":
        """Batches [batch_size, segment_length]: those from `first_batch` up to `last_batch`.

        Of several processes each draws its own: batch i of `rank` is batch i * `ranks` + `rank` of one process.
        """
        cache = Path(self.cache)
        held_out = self._held_out()
        corpora = [
            (Corpus(Path(c["folder"]), cache, held_out), float(c.get("weight", 1.0))) for c in self.train.values()
        ]
        segments = Segments(corpora, self.segment_length, Augmentation(**(self.augmentation or {})), self.seed)
        order = Batches(first_batch, last_batch, self.batch_size, rank, ranks)
        workers = self.num_workers
        return DataLoader(segments, batch_sampler=order, num_workers=workers, persistent_workers=workers > 0)

    def validation_loaders(self) -> list["DataLoader[dict[str, Any]]"]:
        """One loader a folder, one whole file at a time."""
        return [DataLoader(files, batch_size=1) for files in self._validation()]

    def _validation(self) -> list[Files]:
        return [Files(Path(v["folder"]), v.get("limit"), v.get("only")) for v in self.validation.values()]

    def _held_out(self) -> set[Path]:
        sets = zip(self.validation.values(), self._validation(), strict=True)
        return {path.resolve() for v, files in sets for path in (files.all if "only" in v else files.files)}
