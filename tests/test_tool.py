"""The host tool: its commands agree with each other, and bad input gets one line, an exit code and no output file."""

import io
import json
import os
import resource
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests import builds, vocoders
from tests.objects import TINY, Floats, some_mel
from tests.wav import chunk, make_samples, wav_bytes, wav_file, wav_format

MELS = 80
HOP = 320
TAIL = 1024 - HOP
RATE = 16000
MAX_FRAMES = 16
FRAMES = 37


@pytest.fixture
def tool() -> str:
    return str(vocoders.directory("small") / "small")


@pytest.fixture
def mel() -> Floats:
    return some_mel(FRAMES, MELS)


@pytest.fixture
def mel_file(tmp_path: Path, mel: Floats) -> Path:
    path = tmp_path / "mel.npy"
    np.save(path, mel)
    return path


def read_wav(path: Path) -> npt.NDArray[np.int16]:
    """The samples of a WAV file as the tool writes it: a header of 44 bytes whose every field is checked."""
    data = path.read_bytes()
    expected = wav_file(wav_format(), chunk(b"data", data[44:]))
    assert data[:44] == expected[:44], f"wrong WAV header: {data[:44]!r}"
    return np.frombuffer(data[44:], "<i2")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(tool: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [tool, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)


def run_ok(tool: str, *arguments: object, **options: Any) -> bytes:
    result = run(tool, *arguments, **options)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr == b""
    return result.stdout


def error_line(result: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of a failed run."""
    line = result.stderr.decode()
    assert result.returncode in (1, 2), f"exit code {result.returncode}: {line}"
    assert line.startswith("small: "), line
    assert line.count("\n") == 1, line
    assert line.endswith("\n"), line
    return line.strip()


def decode(tool: str, tmp_path: Path, mel_file: Path, *options: object) -> Floats:
    """The audio of `tool decode OPTIONS MEL`, taken through a .npy file."""
    out = tmp_path / "decoded.npy"
    run_ok(tool, "decode", *options, mel_file, out)
    audio: Floats = np.load(out)
    out.unlink()
    return audio


# ---- what the commands give ----


def test_decode_gives_whole_frames_and_the_tail_on_request(tool: str, tmp_path: Path, mel_file: Path) -> None:
    audio = decode(tool, tmp_path, mel_file)
    assert audio.dtype == np.float32
    assert audio.shape == (FRAMES * HOP,)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() > 0
    flushed = decode(tool, tmp_path, mel_file, "--flush")
    assert flushed.shape == (FRAMES * HOP + TAIL,)
    assert flushed[: audio.size].tobytes() == audio.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        ["--chunk", "1"],
        ["--chunk=5"],
        ["--chunk", "16"],
        ["--threads", "2"],
        ["--threads", "3", "--chunk", "3"],
        ["--target", "portable"],
    ],
    ids=" ".join,
)
def test_decode_is_the_same_however_it_is_done(tool: str, tmp_path: Path, mel_file: Path, options: list[str]) -> None:
    expected = decode(tool, tmp_path, mel_file, "--chunk", 7)
    assert decode(tool, tmp_path, mel_file, *options).tobytes() == expected.tobytes()


def test_every_target_it_names_works(tool: str, tmp_path: Path, mel_file: Path) -> None:
    expected = decode(tool, tmp_path, mel_file)
    for target in json.loads(run_ok(tool, "info", "--json"))["targets"]:
        assert decode(tool, tmp_path, mel_file, "--target", target).tobytes() == expected.tobytes(), target


def test_streams_equal_files(tool: str, tmp_path: Path, mel: Floats, mel_file: Path) -> None:
    expected = decode(tool, tmp_path, mel_file, "--flush")
    assert run_ok(tool, "decode", "--flush", "--chunk", 5, "-", "-", input=mel.tobytes()) == expected.tobytes()
    assert run_ok(tool, "decode", "--flush", mel_file, "-") == expected.tobytes()
    out = tmp_path / "out.npy"
    run_ok(tool, "decode", "--flush", "-", out, input=mel.tobytes())
    assert np.load(out).tobytes() == expected.tobytes()


def test_a_stream_is_answered_chunk_by_chunk(tool: str, mel: Floats) -> None:
    with subprocess.Popen([tool, "decode", "--chunk", "2", "-", "-"], stdin=-1, stdout=-1, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for start in (0, 2, 4):
            process.stdin.write(mel[start : start + 2].tobytes())
            left = 2 * HOP * 4
            while left > 0:  # would hang if the tool waited for more input
                got = len(process.stdout.read(left))
                assert got > 0
                left -= got
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


@pytest.fixture
def sound(tool: str, tmp_path: Path) -> tuple[bytes, bytes]:
    """Samples of int16, which end within a frame, and what copying their file gives."""
    (tmp_path / "in.wav").write_bytes(wav_bytes(make_samples(9001)))
    run_ok(tool, "copy", tmp_path / "in.wav", tmp_path / "out.wav")
    return make_samples(9001).tobytes(), read_wav(tmp_path / "out.wav").tobytes()


def test_copy_is_a_pipe(tool: str, tmp_path: Path, sound: tuple[bytes, bytes]) -> None:
    """What comes as WAV goes as WAV, raw as raw; int16 unless float32 is said."""
    came, goes = sound
    assert run_ok(tool, "copy", "-", "-", input=came) == goes
    assert run_ok(tool, "copy", "--raw", "s16", "--chunk", 1, "-", "-", input=came) == goes
    for data in (came + b"x", came[:-1]):
        assert "middle of a sample" in error_line(run(tool, "copy", "-", "-", input=data))
    file = wav_bytes(np.frombuffer(came, "<i2"))
    whole = (tmp_path / "out.wav").read_bytes()
    assert run_ok(tool, "copy", "-", "-", input=file) == whole
    assert run_ok(tool, "copy", tmp_path / "in.wav", "-") == whole
    assert run_ok(tool, "copy", "--raw", "s16", tmp_path / "in.wav", "-") == goes
    endless = file[:4] + b"\xff" * 4 + file[8:40] + b"\xff" * 4 + file[44:]  # as recorders write it to a pipe
    streamed = run_ok(tool, "copy", "-", "-", input=endless)
    assert streamed == whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    run_ok(tool, "copy", "-", tmp_path / "piped.wav", input=endless)
    assert (tmp_path / "piped.wav").read_bytes() == whole
    floats = np.frombuffer(came, "<i2") / np.float32(32768)
    audio = np.frombuffer(run_ok(tool, "copy", "--raw", "f32", "-", "-", input=floats.tobytes()), "<f4")
    assert np.clip(np.rint(audio * 32768), -32768, 32767).astype("<i2").tobytes() == goes
    assert "NaN" in error_line(run(tool, "copy", "--raw=f32", "-", "-", input=b"\xff" * 4000))


def test_mel_and_decode_are_pipes(tool: str, tmp_path: Path, sound: tuple[bytes, bytes]) -> None:
    came, goes = sound
    run_ok(tool, "mel", tmp_path / "in.wav", tmp_path / "mel.npy")
    frames = np.load(tmp_path / "mel.npy").tobytes()
    assert run_ok(tool, "mel", "-", "-", input=came) == frames
    assert run_ok(tool, "mel", tmp_path / "in.wav", "-") == frames
    floats = np.frombuffer(came, "<i2") / np.float32(32768)
    assert run_ok(tool, "mel", "--raw", "f32", "-", "-", input=floats.tobytes()) == frames
    assert run_ok(tool, "decode", "--raw", "s16", "-", "-", input=frames) == goes


def test_a_copied_pipe_is_answered_chunk_by_chunk(tool: str) -> None:
    """A microphone's sound goes on as soon as a chunk is there."""
    samples = make_samples(6 * HOP).tobytes()
    with subprocess.Popen([tool, "copy", "--chunk", "2", "-", "-"], stdin=-1, stdout=-1, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for start in range(0, len(samples), 4 * HOP):
            process.stdin.write(samples[start : start + 4 * HOP])
            left = 4 * HOP
            while left > 0:  # would hang if the tool waited for more input
                got = len(process.stdout.read(left))
                assert got > 0
                left -= got
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_wav_is_the_rounded_npy(tool: str, tmp_path: Path, mel: Floats) -> None:
    mel_file = tmp_path / "loud.npy"
    np.save(mel_file, mel + 3)
    audio = decode(tool, tmp_path, mel_file)
    expected = np.clip(np.rint(audio * np.float32(32768)), -32768, 32767).astype(np.int16)
    run_ok(tool, "decode", mel_file, tmp_path / "out.WAV")
    np.testing.assert_array_equal(read_wav(tmp_path / "out.WAV"), expected)
    run_ok(tool, "decode", "-", tmp_path / "streamed.wav", input=(mel + 3).tobytes())
    np.testing.assert_array_equal(read_wav(tmp_path / "streamed.wav"), expected)


def test_loud_samples_are_clipped_in_wav_files(tmp_path: Path) -> None:
    """Of a model whose magnitudes are e^5 times as large."""
    loud = builds.checkpoint({**TINY, "log_mag_mean": 4.0})
    tool = str(builds.model(loud, "loud", "--chunk", 3, "--target", "portable", light=True) / "loud")
    mel_file = tmp_path / "mel.npy"
    np.save(mel_file, some_mel(FRAMES, MELS)[:, : TINY["n_mels"]])
    audio = decode(tool, tmp_path, mel_file)
    assert audio.min() < -1 and audio.max() > 1
    run_ok(tool, "decode", mel_file, tmp_path / "out.wav")
    samples = np.frombuffer((tmp_path / "out.wav").read_bytes()[44:], "<i2")
    np.testing.assert_array_equal(samples, np.clip(np.rint(audio * np.float32(32768)), -32768, 32767))


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 5 * 320, 16 * 320, 9000])
def test_copy_is_mel_then_decode(tool: str, tmp_path: Path, samples: int) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(wav_bytes(make_samples(samples)))
    run_ok(tool, "mel", source, tmp_path / "mel.npy")
    mel = np.load(tmp_path / "mel.npy")
    assert mel.dtype == np.float32
    assert mel.shape == (-(-samples // HOP), MELS)
    run_ok(tool, "decode", tmp_path / "mel.npy", tmp_path / "two.wav")
    for frames in (1, 5, MAX_FRAMES):
        run_ok(tool, "copy", "--chunk", frames, source, tmp_path / "one.wav")
        np.testing.assert_array_equal(read_wav(tmp_path / "one.wav"), read_wav(tmp_path / "two.wav"))


def test_wav_headers_of_other_programs(tool: str, tmp_path: Path) -> None:
    samples = make_samples(1000)
    data = chunk(b"data", samples.tobytes())
    pcm = bytes.fromhex("0100000000001000800000aa00389b71")
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + pcm
    unknown = [b"data" + struct.pack("<I", size) + samples.tobytes() for size in (0xFFFFFFFF, 0x7FFFF000)]
    good = {
        "a list of odd size before": wav_file(wav_format(), chunk(b"LIST", b"odd"), data),
        "chunks after": wav_file(wav_format(), data, chunk(b"LIST", b"INFO")),
        "extensible": wav_file(chunk(b"fmt ", extensible), data),
        "format of 18 bytes": wav_file(chunk(b"fmt ", wav_format()[8:] + b"\0\0"), data),
        "from a pipe (ffmpeg)": b"RIFF\xff\xff\xff\xffWAVE" + wav_format() + unknown[0],
        "from a pipe (sox)": b"RIFF\x24\xf0\xff\x7fWAVE" + wav_format() + unknown[1],
        "sizes never filled in": b"RIFF\0\0\0\0WAVE" + wav_format() + b"data\0\0\0\0" + samples.tobytes(),
    }
    (tmp_path / "plain.wav").write_bytes(wav_bytes(samples))
    run_ok(tool, "mel", tmp_path / "plain.wav", tmp_path / "plain.npy")
    for name, content in good.items():
        (tmp_path / "in.wav").write_bytes(content)
        run_ok(tool, "mel", tmp_path / "in.wav", tmp_path / "out.npy")
        assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes(), name


def test_npy_format_2(tool: str, tmp_path: Path, mel: Floats, mel_file: Path) -> None:
    path = tmp_path / "two.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, mel, version=(2, 0))
    assert decode(tool, tmp_path, path).tobytes() == decode(tool, tmp_path, mel_file).tobytes()


def test_output_may_replace_its_own_input(tool: str, tmp_path: Path, mel_file: Path) -> None:
    expected = decode(tool, tmp_path, mel_file)
    link = tmp_path / "link.npy"
    link.symlink_to(mel_file.name)
    run_ok(tool, "decode", mel_file, link)
    assert link.is_symlink()
    assert np.load(mel_file).tobytes() == expected.tobytes()
    assert names(tmp_path) == ["link.npy", "mel.npy"]


def test_output_to_a_named_pipe(tool: str, tmp_path: Path, mel_file: Path) -> None:
    expected = decode(tool, tmp_path, mel_file)
    pipe = tmp_path / "pipe.npy"
    os.mkfifo(pipe)
    with subprocess.Popen([tool, "decode", str(mel_file), str(pipe)]) as process:
        received = np.load(io.BytesIO(pipe.read_bytes()))
    assert process.returncode == 0
    assert received.tobytes() == expected.tobytes()


def test_info(tool: str) -> None:
    info = json.loads(run_ok(tool, "info", "--json"))
    shape = {"name": "small", "sample_rate": RATE, "n_fft": 1024, "hop": HOP, "mels": MELS, "max_frames": MAX_FRAMES}
    assert {key: info[key] for key in shape} == shape
    assert info["latency_ms"] == pytest.approx(info["latency_samples"] * 1000 / RATE)
    for key in ("flash_bytes", "state_bytes", "scratch_bytes", "stack_bytes", "weight_bytes", "macs_per_frame"):
        assert info[key] > 0, key
    assert MAX_FRAMES in info["chunks"]
    assert "portable" in info["targets"]
    assert info["best_target"] in info["targets"]
    table = run_ok(tool, "info").decode().splitlines()
    assert [line.split()[0] for line in table] == list(info)


def test_bench(tool: str, mel_file: Path) -> None:
    options = ["--runs", 2, "--warmup", 1, "--chunk", 5, "--threads", 2]
    bench = json.loads(run_ok(tool, "bench", "--json", *options))
    assert {key: bench[key] for key in ("chunk_frames", "threads", "frames", "runs", "warmup")} == {
        "chunk_frames": 5,
        "threads": 2,
        "frames": 162,
        "runs": 2,
        "warmup": 1,
    }
    endless = ["--warmup", 1_000_000, "--runs", 1_000_000, "--seconds", 1]  # for no more than two seconds or so
    bounded = json.loads(run_ok(tool, "bench", "--json", *endless))
    assert 0 < bounded["warmup"] < 1_000_000 and 0 < bounded["runs"] < 1_000_000
    assert bench["streams"] == 1
    assert bench["p50_per_chunk_per_stream_ms"] == bench["p50_per_chunk_ms"]
    assert bench["audio_seconds"] == pytest.approx(3.24)
    assert bench["target"] in json.loads(run_ok(tool, "info", "--json"))["targets"]
    assert bench["avg_latency_ms"] == pytest.approx(100 + bench["avg_proc_per_chunk_ms"])
    assert bench["first_chunk_latency_ms"] == pytest.approx(100 + bench["avg_first_chunk_proc_ms"])
    assert bench["avg_total_processing_time_ms"] == pytest.approx(33 * bench["avg_proc_per_chunk_ms"], abs=1e-3)
    assert bench["avg_rtf"] == pytest.approx(bench["avg_total_processing_time_ms"] / 3240, abs=1e-6)
    assert 0 < bench["p50_total_ms"] <= bench["p90_total_ms"] <= bench["p99_total_ms"]
    assert 0 < bench["p50_per_chunk_ms"] <= bench["p99_per_chunk_ms"] <= bench["max_per_chunk_ms"]
    table = run_ok(tool, "bench", *options).decode().splitlines()
    assert [line.split()[0] for line in table] == list(bench)

    assert json.loads(run_ok(tool, "bench", "--json", *options, "--mel", mel_file))["frames"] == FRAMES
    assert json.loads(run_ok(tool, "bench", "--json", *options, "--frames", 3))["frames"] == 3
    assert "37 frames" in error_line(run(tool, "bench", "--mel", mel_file, "--frames", FRAMES + 1))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("streams", "frames"), [(3, 5), (16, 1)])
def test_bench_of_several_streams(tool: str, streams: int, frames: int, threads: int) -> None:
    options = ["--streams", streams, "--chunk", frames, "--threads", threads, "--frames", 12]
    bench = json.loads(run_ok(tool, "bench", "--json", "--runs", 3, "--warmup", 1, *options))
    assert (bench["streams"], bench["chunk_frames"], bench["threads"]) == (streams, frames, threads)
    # The utterance is that of one stream, the times are those of all.
    assert (bench["frames"], bench["audio_seconds"]) == (12, pytest.approx(0.24))
    assert bench["avg_rtf"] == pytest.approx(bench["avg_total_processing_time_ms"] / 240, abs=1e-6)
    assert bench["p50_per_chunk_per_stream_ms"] > 0
    assert bench["p50_per_chunk_per_stream_ms"] == pytest.approx(bench["p50_per_chunk_ms"] / streams, abs=1e-6)


def test_help(tool: str) -> None:
    for arguments in (["--help"], ["-h"], ["decode", "--help"]):
        assert run_ok(tool, *arguments).startswith(b"usage: small decode")
    nothing = run(tool)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith(b"usage: small decode")
    assert nothing.stdout == b""


# ---- bad input ----


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["play"], "play"),
        (["decode", "--chunk", "0", "mel.npy", "out.wav"], "1 to 16"),
        (["decode", "--chunk", "1000000000", "mel.npy", "out.wav"], "1 to 16"),
        (["decode", "--chunk", "99999999999999999999", "mel.npy", "out.wav"], "1 to 16"),
        (["decode", "--chunk", "abc", "mel.npy", "out.wav"], "'abc'"),
        (["decode", "--chunk", "5x", "mel.npy", "out.wav"], "'5x'"),
        (["decode", "--chunk=", "mel.npy", "out.wav"], "1 to 16"),
        (["decode", "mel.npy", "out.wav", "--chunk"], "--chunk"),
        (["copy", "--chunk", "-1", "in.wav", "out.wav"], "1 to 16"),
        (["bench", "--chunk", "17"], "1 to 16"),
        (["bench", "--runs", "0"], "--runs"),
        (["bench", "--streams", "0"], "1 to "),
        (["bench", "--streams", "4", "--chunk", "5"], "20 frames a call, at most 16 (give a smaller --chunk, or "),
        (["bench", "--streams", "1000000"], "compile with --chunk 16 --streams 1000000"),
        (["decode", "--streams", "2", "mel.npy", "out.wav"], "--streams"),
        (["decode", "--threads", "0", "mel.npy", "out.wav"], "1 to 64"),
        (["decode", "--threads", "65", "mel.npy", "out.wav"], "1 to 64"),
        (["decode", "--target", "cray", "mel.npy", "out.wav"], "'cray'"),
        (["decode", "--loud", "mel.npy", "out.wav"], "--loud"),
        (["decode", "--flush=1", "mel.npy", "out.wav"], "--flush"),
        (["decode", "--a-very-long-option-that-is-none", "mel.npy", "out.wav"], "--a-very-long"),
        (["mel", "--chunk", "1", "in.wav", "out.npy"], "--chunk"),
        (["decode", "mel.npy"], "2 files"),
        (["decode", "mel.npy", "out.wav", "more.wav"], "more.wav"),
        (["decode", "mel.npy", "out.mp3"], "out.mp3"),
        (["mel", "in.wav", "out.wav"], "out.wav"),
        (["copy", "--raw", "u8", "-", "-"], "'u8'"),
        (["copy", "--raw", "s16", "in.wav", "out.wav"], "there is none"),
        (["mel", "--raw", "s16", "in.wav", "-"], "there is none"),
        (["copy", "in.wav", "out.npy"], "out.npy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_command_line(tool: str, tmp_path: Path, mel_file: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "in.wav").write_bytes(wav_bytes(make_samples(1000)))
    result = run(tool, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in error_line(result)
    assert result.stdout == b""
    assert names(tmp_path) == ["in.wav", mel_file.name]


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_value(value: float) -> bytes:
    mel = some_mel(FRAMES, MELS)
    mel[12, 3] = value
    return npy_bytes(mel)


def claiming(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 640


BAD_MELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"hello, this is no mel", "not a .npy"),
    "magic only": (lambda: npy_bytes(some_mel(3, MELS))[:9], "truncated"),
    "header cut": (lambda: npy_bytes(some_mel(3, MELS))[:60], "truncated"),
    "no data": (lambda: npy_bytes(some_mel(3, MELS))[:128], "truncated"),
    "data cut": (lambda: npy_bytes(some_mel(3, MELS))[:-1], "truncated"),
    "format 3": (lambda: b"\x93NUMPY\x03" + npy_bytes(some_mel(3, MELS))[7:], "3.0"),
    "float64": (lambda: npy_bytes(some_mel(3, MELS).astype(np.float64)), "float64, expected float32"),
    "float16": (lambda: npy_bytes(some_mel(3, MELS).astype(np.float16)), "float16, expected float32"),
    "big endian": (lambda: npy_bytes(some_mel(3, MELS).astype(">f4")), ">f4"),
    "structure": (lambda: npy_bytes(np.zeros(3, dtype=[("a", "<f4"), ("b", "<f4")])), "structure"),
    "fortran order": (lambda: npy_bytes(np.asfortranarray(some_mel(3, MELS))), "Fortran"),
    "100 bins": (lambda: npy_bytes(np.zeros((3, 100), np.float32)), "100 bins per frame, expected 80"),
    "transposed": (lambda: npy_bytes(np.zeros((80, 100), np.float32)), "transpose"),
    "one dimension": (lambda: npy_bytes(np.zeros(80, np.float32)), "1 dimension, expected 2"),
    "three dimensions": (lambda: npy_bytes(np.zeros((1, 3, 80), np.float32)), "3 dimensions, expected 2"),
    "no frames": (lambda: npy_bytes(np.zeros((0, 80), np.float32)), "no frames"),
    "a claim of many frames": (lambda: claiming("(1000000000000, 80)"), "truncated"),
    "a claim beyond memory": (lambda: claiming("(9000000000000000000, 80)"), "too large"),
    "a claim beyond integers": (lambda: claiming("(99999999999999999999999, 80)"), "shape"),
    "no shape": (lambda: claiming("None"), "shape"),
    "nan": (lambda: with_value(np.nan), "frame 12, bin 3 is nan"),
    "infinite": (lambda: with_value(np.inf), "frame 12, bin 3 is infinite"),
}


@pytest.mark.parametrize("name", BAD_MELS)
def test_bad_mel(tool: str, tmp_path: Path, name: str) -> None:
    make, words = BAD_MELS[name]
    (tmp_path / "mel.npy").write_bytes(make())
    for out in ("out.wav", "out.npy", "-"):
        result = run(tool, "decode", "mel.npy", out, cwd=tmp_path)
        line = error_line(result)
        assert result.returncode == 1
        assert line.startswith("small: mel.npy: ")
        assert words in line
        assert result.stdout == b""
        assert names(tmp_path) == ["mel.npy"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no frames"),
        (some_mel(3, MELS).tobytes()[:-1], "middle of frame 2: 319 bytes of 320"),
        (b"x", "middle of frame 0"),
        (with_value(np.nan)[128:], "frame 12, bin 3 is nan"),
    ],
    ids=["empty", "a frame cut", "one byte", "nan"],
)
def test_bad_standard_input(tool: str, tmp_path: Path, data: bytes, words: str) -> None:
    result = run(tool, "decode", "--chunk", 5, "-", "out.wav", input=data, cwd=tmp_path)
    assert result.returncode == 1
    assert error_line(result).startswith("small: standard input: ")
    assert words in error_line(result)
    assert names(tmp_path) == []


SAMPLES = make_samples(1000).tobytes()
DATA = chunk(b"data", SAMPLES)
BAD_WAVS = {
    "empty file": (b"", "is empty"),
    "text": (b"hello, this is no audio at all", "not a WAV"),
    "flac": (b"fLaC" + bytes(100), "not a WAV"),
    "no samples": (wav_file(wav_format(), chunk(b"data", b"")), "no samples"),
    "no samples in a pipe": (b"RIFF\xff\xff\xff\xffWAVE" + wav_format() + b"data\xff\xff\xff\xff", "no samples"),
    "no data": (wav_file(wav_format()), "truncated"),
    "no format": (wav_file(DATA), "no format"),
    "short format": (wav_file(chunk(b"fmt ", b"\1\0\1\0"), DATA), "format chunk"),
    "header cut": (wav_file(wav_format(), DATA)[:30], "truncated"),
    "data cut": (wav_file(wav_format(), DATA)[:-500], "750 samples of 1000"),
    "half a sample": (wav_file(wav_format(), chunk(b"data", SAMPLES[:-1])), "middle of a sample"),
    "half a sample in a pipe": (
        b"RIFF\xff\xff\xff\xffWAVE" + wav_format() + b"data\xff\xff\xff\xff" + SAMPLES[:-1],
        "middle of a sample",
    ),
    "8 bit": (wav_file(wav_format(bits=8), DATA), "8-bit PCM, mono, 16000 Hz"),
    "24 bit": (wav_file(wav_format(bits=24), DATA), "24-bit PCM"),
    "float": (wav_file(wav_format(kind=3, bits=32), DATA), "32-bit float"),
    "mu-law": (wav_file(wav_format(kind=7, bits=8), DATA), "8-bit format 7"),
    "stereo": (wav_file(wav_format(channels=2), DATA), "stereo"),
    "six channels": (wav_file(wav_format(channels=6), DATA), "6 channels"),
    "44.1 kHz": (wav_file(wav_format(rate=44100), DATA), "44100 Hz"),
}


@pytest.mark.parametrize("name", BAD_WAVS)
@pytest.mark.parametrize("command", ["mel", "copy"])
def test_bad_wav(tool: str, tmp_path: Path, command: str, name: str) -> None:
    content, words = BAD_WAVS[name]
    (tmp_path / "in.wav").write_bytes(content)
    result = run(tool, command, "in.wav", "out.npy" if command == "mel" else "out.wav", cwd=tmp_path)
    line = error_line(result)
    assert result.returncode == 1
    assert line.startswith("small: in.wav: ")
    assert words in line
    if "Hz;" in line:
        assert "sox in.wav -e signed-integer -b 16 -c 1 -r 16000" in line
    assert names(tmp_path) == ["in.wav"]


def test_files_that_cannot_be_opened(tool: str, tmp_path: Path, mel_file: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    cases: list[tuple[list[object], str]] = [
        (["decode", "gone.npy", "out.wav"], "gone.npy: cannot open: No such file"),
        (["mel", "gone.wav", "out.npy"], "gone.wav: cannot open: No such file"),
        (["mel", "folder.wav", "out.npy"], "folder.wav: cannot read: Is a directory"),
        (["decode", mel_file, "folder.wav"], "folder.wav: is a directory"),
        (["decode", mel_file, "gone/out.wav"], "gone/out.wav: cannot create: No such file"),
        (["bench", "--mel", "gone.npy"], "gone.npy: cannot open"),
    ]
    for arguments, words in cases:
        assert words in error_line(run(tool, *arguments, cwd=tmp_path))
    assert names(tmp_path) == ["folder.wav", "mel.npy"]


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize("out", ["out.wav", "out.npy", "old.wav"])
def test_no_room_for_a_file(tool: str, tmp_path: Path, mel_file: Path, out: str) -> None:
    (tmp_path / "old.wav").write_bytes(b"precious")
    result = run(tool, "decode", mel_file, out, cwd=tmp_path, preexec_fn=limit_file_size)
    assert f"{out}: cannot write" in error_line(result)
    assert names(tmp_path) == ["mel.npy", "old.wav"]
    assert (tmp_path / "old.wav").read_bytes() == b"precious"


@pytest.mark.parametrize("command", ["decode", "info", "bench"])
def test_standard_output_on_a_full_disk(tool: str, mel_file: Path, command: str) -> None:
    arguments = {"decode": [str(mel_file), "-"], "info": ["--json"], "bench": ["--runs", "1", "--warmup", "0"]}[command]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [tool, command, *arguments], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert "standard output: cannot write: No space left" in error_line(result)


def test_a_full_device_as_output(tool: str, tmp_path: Path, mel_file: Path) -> None:
    (tmp_path / "full.wav").symlink_to("/dev/full")
    assert "No space left" in error_line(run(tool, "decode", mel_file, "full.wav", cwd=tmp_path))
    assert names(tmp_path) == ["full.wav", "mel.npy"]


def test_closed_pipe(tool: str, tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", some_mel(300, MELS))
    command = [tool, "decode", str(tmp_path / "long.npy"), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        line = process.stderr.read()
    assert process.returncode == 1
    assert line == b"small: standard output: cannot write: Broken pipe\n"


def test_an_interrupt_leaves_nothing(tool: str, tmp_path: Path, mel: Floats) -> None:
    command = [tool, "decode", "--chunk", "1", "-", str(tmp_path / "out.wav")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(mel.tobytes())
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not names(tmp_path):
            assert time.monotonic() < deadline, "the tool never began to write"
            time.sleep(0.005)
        assert names(tmp_path) == [f"out.wav.partial-{process.pid}"]
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert process.returncode == -signal.SIGTERM
    assert names(tmp_path) == []


# ---- a GPU ----


def test_a_build_without_gpu_code_says_so(tool: str, tmp_path: Path, mel_file: Path) -> None:
    for command in (["decode", str(mel_file), str(tmp_path / "out.wav")], ["bench", "--runs", "1"]):
        done = subprocess.run([tool, *command, "--target", "cuda"], capture_output=True, check=False)
        assert done.returncode == 1
        assert done.stderr == b"small: --target: this build has no GPU code (compile with --target cuda)\n"
    assert not (tmp_path / "out.wav").exists()
