"""Mel front ends of every family: near torchaudio's log-mel, the same bits however the audio comes, mirrored ends."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.checkpoint import read_checkpoint
from compiler.config import read_config
from compiler.mel import filters_of, parse_mel
from tests import make_checkpoint
from tests.make_mel_golden import CASES, GOLDEN, audio, options
from tests.objects import BAD_INPUT, BAD_STREAM, Floats, Vocoder, compile_model, every, run_ok

MODEL = {"dim": 8, "mlp_ratio": 1.0, "kernel_size": 1, "num_layers": 1, "seed": 1}
SHORT = ("mel_24khz", "odd")  # what `make test` has; test_front_ends_in_numpy has all of them
CASES_NOW = every(tuple(CASES), SHORT)


@pytest.fixture(scope="module", params=CASES_NOW)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Vocoder]:
    """A small model with the front end of a case."""
    name = str(request.param)
    sizes = CASES[name]["sizes"]
    folder = tmp_path_factory.mktemp(name)
    make_checkpoint.write_checkpoint(folder / "a.ckpt", {**MODEL, **sizes})
    more = [f"--{key.replace('_', '-')}={sizes[key]}" for key in ("f_min", "f_max") if key in sizes]
    options = ("--chunk", 2, "--mel", CASES[name]["mel"], *more)
    directory = compile_model(folder / "a.ckpt", folder / "out", "front", *options, light=True)
    return name, Vocoder(directory, "front")


def push(vocoder: Vocoder, wave: Floats, pieces: list[int], target: str = "best") -> Floats:
    """Log-mel of audio in pieces of those sizes, over and over."""
    stream, scratch = vocoder.mel_stream(target), np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    parts, start, i = [], 0, 0
    while start < len(wave):
        piece = np.ascontiguousarray(
            wave[start : start + min(pieces[i % len(pieces)], vocoder.max_frames * vocoder.hop)]
        )
        frames = np.full((vocoder.max_frames, vocoder.mels), np.nan, np.float32)
        count = vocoder.call("mel", stream, scratch, piece, len(piece), frames)
        assert 0 <= count <= vocoder.max_frames
        assert np.isnan(frames[count:]).all(), "more was written than the count says"
        parts.append(frames[:count])
        start, i = start + len(piece), i + 1
    tail = vocoder.report["mel"]["tail_frames"]
    frames = np.full((tail, vocoder.mels), np.nan, np.float32)
    count = vocoder.call("mel_flush", stream, scratch, frames)
    assert 0 <= count <= tail
    assert np.array_equal(stream, vocoder.mel_stream(target)), "flush does not reset"
    return np.concatenate([*parts, frames[:count]])


def test_log_mel_is_torchaudios(case: tuple[str, Vocoder]) -> None:
    name, vocoder = case
    floor = float(np.log(float(options(CASES[name]["mel"])["floor"])))
    with np.load(GOLDEN) as golden:
        for samples in CASES[name]["samples"]:
            wanted = golden[f"{name}_{samples}"]
            found = push(vocoder, audio(samples), [10**6])
            assert found.shape == wanted.shape
            above = wanted > floor + 1e-3
            assert above.mean() > 0.9
            assert np.abs(found - wanted)[above].max() <= 2e-4
            assert np.abs(found - wanted)[~above].max(initial=0) <= 2e-3


def test_frames_do_not_depend_on_the_split(case: tuple[str, Vocoder]) -> None:
    _, vocoder = case
    hop, start = vocoder.hop, vocoder.n_fft // 2
    rng = np.random.default_rng(3)
    for samples in (0, 1, 2, start - 1, start, start + 1, start + 2, vocoder.n_fft, 7 * hop, 9 * hop + 1):
        wave = audio(samples)
        wanted = push(vocoder, wave, [10**6])
        for pieces in ([1, hop], [hop - 1], [hop + 1], [start, 0, 1], list(rng.integers(0, 2 * hop, 20))):
            if samples and max(pieces) > 0:
                assert push(vocoder, wave, [int(piece) for piece in pieces]).tobytes() == wanted.tobytes()
        for target in vocoder.targets:
            assert push(vocoder, wave, [10**6], target).tobytes() == wanted.tobytes(), target


def test_audio_too_short_to_be_mirrored_once_is_mirrored_to_and_fro(case: tuple[str, Vocoder]) -> None:
    """As numpy's "reflect" does it, where torch refuses."""
    name, vocoder = case
    sizes, mel = CASES[name]["sizes"], parse_mel(CASES[name]["mel"])
    n_fft, hop = sizes["n_fft"], sizes["hop_length"]
    pad = n_fft // 2 if mel["padding"] == "center" else (n_fft - hop) // 2
    for samples in (1, 2, pad // 3, pad, pad + 1, n_fft + 3):
        padded = np.pad(audio(samples).astype(float), pad, mode="reflect")
        frames: Any = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] if len(padded) >= n_fft else []
        found = push(vocoder, audio(samples), [7])
        assert len(found) == len(frames)
        for frame, row in zip(frames, found, strict=True):
            window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
            bins = np.abs(np.fft.rfft(frame * window)) ** mel["power"]
            wanted = np.log(np.maximum(_filters(vocoder) @ bins, mel["floor"]))
            # Of few samples, mirrored, most bins hold nothing but rounding errors
            loud = wanted > wanted.max() - 9
            assert np.abs(row - wanted)[loud].max() <= 2e-3


def _filters(vocoder: Vocoder) -> Any:
    mel = vocoder.report["mel"]
    config: Any = type("Sizes", (), mel)
    return filters_of(config, mel["scale"], mel["norm"])


def test_bad_audio_gives_silence_as_far_as_frames_were_due(case: tuple[str, Vocoder]) -> None:
    name, vocoder = case
    hop, scratch = vocoder.hop, np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    floor = np.float32(np.log(float(options(CASES[name]["mel"])["floor"])))
    stream = vocoder.mel_stream()
    frames = np.full((vocoder.max_frames, vocoder.mels), 7, np.float32)
    for samples in (1, hop, 2 * hop, 2 * hop, 3, hop - 4, 2):
        bad = audio(samples)
        bad[0] = np.nan
        before = stream.copy()
        frames[:] = 7
        assert vocoder.call("mel", stream, scratch, bad, samples, frames) == BAD_INPUT
        assert np.array_equal(stream, before)
        silent = int((frames[:, 0] != 7).sum())
        assert np.allclose(frames[:silent], floor, atol=1e-6)
        assert (frames[silent:] == 7).all()
        assert vocoder.call("mel", stream, scratch, audio(samples), samples, frames) == silent
    stream.view(np.uint32)[2] = 1 << 20  # pending
    assert vocoder.call("mel", stream, scratch, audio(1), 1, frames) == BAD_STREAM
    assert vocoder.call("mel_flush", stream, scratch, np.zeros((9, vocoder.mels), np.float32)) == BAD_STREAM


@pytest.mark.parametrize("name", CASES)
def test_front_ends_in_numpy(tmp_path: Path, name: str) -> None:
    """Every case's filters and options, without a build: what the golden mels say of them."""
    sizes, mel = CASES[name]["sizes"], parse_mel(CASES[name]["mel"])
    make_checkpoint.write_checkpoint(tmp_path / "a.ckpt", {**MODEL, **sizes})
    overrides: dict[str, Any] = {key: sizes[key] for key in ("f_min", "f_max") if key in sizes}
    config = read_config(read_checkpoint(tmp_path / "a.ckpt"), {**overrides, "mel": CASES[name]["mel"]})
    n_fft, hop = config.n_fft, config.hop_length
    pad = n_fft // 2 if mel["padding"] == "center" else (n_fft - hop) // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    with np.load(GOLDEN) as golden:
        for samples in CASES[name]["samples"]:
            padded = np.pad(audio(samples).astype(float), pad, mode="reflect")
            frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
            bins = np.abs(np.fft.rfft(frames * window)) ** mel["power"]
            found = np.log(np.maximum(bins @ filters_of(config, mel["scale"], mel["norm"]).T, mel["floor"]))
            assert np.abs(found - golden[f"{name}_{samples}"]).max() <= 2e-4


def test_the_tool_writes_all_frames(case: tuple[str, Vocoder], tmp_path: Path) -> None:
    _, vocoder = case
    for samples in (7 * vocoder.hop + 3, vocoder.n_fft // 2):
        pcm = (audio(samples) * 32768).astype(np.int16)
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setparams((1, 2, vocoder.report["model"]["sample_rate"], len(pcm), "NONE", ""))
            file.writeframes(pcm.tobytes())
        run_ok([vocoder.directory / "front", "mel", tmp_path / "a.wav", tmp_path / "a.npy"])
        assert np.load(tmp_path / "a.npy").tobytes() == push(vocoder, audio(samples), [10**6]).tobytes()
    info = run_ok([vocoder.directory / "front", "info"])
    assert vocoder.report["mel"]["text"] in info


def test_any_finite_audio_has_a_finite_log_mel(case: tuple[str, Vocoder]) -> None:
    """Also where a power is too large for float32, or too small for a normal number."""
    name, vocoder = case
    floor = float(np.log(float(options(CASES[name]["mel"])["floor"])))
    for level in (0.0, 1e-30, 1e-19, 1e-10, 1e10, 1e19, 1e30, 3e38):
        found = push(vocoder, (audio(4 * vocoder.n_fft) * np.float32(level)).astype(np.float32), [10**6])
        assert np.isfinite(found).all(), level
        assert found.min() >= floor - 1e-5
