"""Models that look ahead, and those whose overlap-add is divided: close to the truth, of exact length, one set of bits.

The truth is what the vocos package makes of random weights (tests/golden/make_vocos_golden.py); in other contexts than
its own, the float64 reference that gives the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import families
from compiler.calibrate import calibrate
from compiler.checkpoint import read_checkpoint
from compiler.errors import CompileError
from compiler.formats import FORMATS
from compiler.golden import exact_decode
from compiler.network import read_network
from compiler.pack import pack
from compiler.plan import plan
from compiler.speech import calibration_mels
from tests import aarch64, builds, make_vocos
from tests.ahead import BAR, CASES, GOLDEN, SHORT, STREAMING, mel_of, vocoder_of
from tests.batches import decode_batch
from tests.golden.make_vocos_golden import FRAMES
from tests.objects import (
    ALL,
    BAD_ARGUMENT,
    BAD_INPUT,
    BAD_STREAM,
    BAD_WEIGHTS,
    SANITIZED,
    SANITIZERS,
    TARGETS,
    Floats,
    Separate,
    Vocoder,
    build_c,
    declared_functions,
    every,
    golden,
    random_splits,
    run_c,
    run_ok,
    symbols,
    team_and_library,
)
from tests.reference import snr_db


@pytest.fixture(params=every(list(CASES), [*GOLDEN, "budget", "streaming_list"]))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def digest(audio: Floats) -> str:
    return hashlib.sha256(audio.tobytes()).hexdigest()


# ---- the truth ----


@pytest.mark.parametrize("name", GOLDEN)
def test_audio_is_the_packages(name: str) -> None:
    """Of the exact length and at least 110 dB, for every number of frames that the package was asked for."""
    whole, at = golden(name, "audio64"), 0
    for frames in FRAMES:
        audio = vocoder_of(name).utterance(golden(name, "mel")[:frames])
        expected = whole[at : at + len(audio)]
        at += len(audio)
        np.testing.assert_allclose(CASES[name].truth(golden(name, "mel")[:frames]), expected, atol=1e-12)
        assert len(audio) == 0 or snr_db(expected, audio) >= BAR, frames
    assert at == len(whole), "not the package's lengths"


def test_audio_is_close_and_of_exact_length(name: str) -> None:
    """For 1 to 80 frames, in chunks of all sizes."""
    case, vocoder = CASES[name], vocoder_of(name)
    for frames in every(range(1, 81), (*SHORT, 20, 51, 80)):
        mel = mel_of(name, frames)
        expected, audio = case.truth(mel), vocoder.utterance(mel, frames % vocoder.max_frames + 1)
        assert len(audio) == len(expected) == vocoder_samples(vocoder, frames)
        assert len(audio) == 0 or snr_db(expected, audio) >= BAR, frames


def vocoder_samples(vocoder: Vocoder, frames: int) -> int:
    """What the families promise: T * hop, (T - 1) * hop, or all of the overlap-add."""
    ends = {"same": 0, "center": -vocoder.hop, "causal": vocoder.n_fft - vocoder.hop}
    return frames * vocoder.hop + ends[vocoder.report["padding"]]


@pytest.mark.parametrize("name", every(GOLDEN, GOLDEN[:1]))
def test_over_libraries_it_is_as_close(name: str) -> None:
    case = CASES[name]
    libraries = ["-lopenblas", "-lfftw3f", "-lpthread", "-lm"]
    folder = builds.library(case.checkpoint, "ahead", "--chunk", "5", *case.options, "--link", "libs")
    vocoder = Vocoder(folder, "ahead", libraries)
    for frames in (*SHORT, 40):
        mel = mel_of(name, frames)
        for chunk in (1, 3, 5):
            audio = vocoder.utterance(mel, chunk)
            assert len(audio) == vocoder_samples(vocoder, frames)
            assert len(audio) == 0 or snr_db(case.truth(mel), audio) >= BAR, (frames, chunk)


# ---- one set of bits ----


def test_splits_and_targets_give_the_bits_of_the_whole(name: str) -> None:
    """The compiler's interpreter decodes whole utterances; its bits are the object's, however these are split."""
    case, vocoder = CASES[name], vocoder_of(name)
    largest = vocoder.max_frames
    layout, tables = plan(case.network, [largest]), pack(case.network, "f32")
    for frames in (*SHORT, 47):
        mel = mel_of(name, frames)
        expected = digest(exact_decode(layout, tables, mel))
        splits: list[Any] = list(range(1, largest + 1))
        splits += [random_splits(frames, largest, seed) for seed in range(every(50, 5))]
        for target in vocoder.targets:
            for split in splits:
                assert digest(vocoder.utterance(mel, split, target)) == expected, (frames, target, split)


def test_the_selftest_passes_on_every_target(name: str) -> None:
    vocoder = vocoder_of(name)
    assert {target: vocoder.selftest(target) for target in vocoder.targets} == dict.fromkeys(vocoder.targets, 0)
    stream = vocoder.stream()
    vocoder.continue_decode(stream, mel_of(name, 20))
    assert vocoder.call("selftest", stream, np.zeros(vocoder.call("scratch_bytes"), np.uint8)) == 0
    assert np.array_equal(stream, vocoder.stream()), "the stream is not reset"


@pytest.mark.parametrize("precision", every([name for name in FORMATS if name != "f32"], ["w8a8"]))
@pytest.mark.parametrize("name", every(list(CASES), ["vocos_encodec"]))
def test_every_precision_has_one_set_of_bits(name: str, precision: str) -> None:
    case, vocoder = CASES[name], vocoder_of(name, "--precision", precision)
    largest = vocoder.max_frames
    network = case.network
    heard = calibration_mels(network.config) if FORMATS[precision].calibrates else []
    fed = calibrate(network, heard, precision) if heard else None
    layout, tables = plan(network, [largest], precision), pack(network, precision, fed)
    for frames in (1, 3, 30):
        mel = mel_of(name, frames)
        expected = digest(exact_decode(layout, tables, mel))
        for target in vocoder.targets:
            assert vocoder.selftest(target) == 0
            for split in (1, largest, random_splits(frames, largest, 1)):
                assert digest(vocoder.utterance(mel, split, target)) == expected, (frames, target, split)


@pytest.mark.parametrize("name", every(list(CASES), ["vocos_center"]))
def test_aarch64_gives_the_same_bits(name: str) -> None:
    if aarch64.MISSING:
        pytest.skip(aarch64.MISSING)
    case = CASES[name]
    folder = builds.library(case.checkpoint, "ahead", "--chunk", 5, *case.options, "--target", "aarch64")
    emulated = aarch64.Emulated(folder, "ahead")
    try:
        for target in emulated.targets:
            for frames, split in ((1, 1), (3, 2), (30, 4), (30, [1, 5, 2])):
                mel = mel_of(name, frames)
                audio = emulated.utterance(mel, split, target)
                assert audio.tobytes() == vocoder_of(name).utterance(mel).tobytes(), (frames, split, target)
    finally:
        emulated.close()


@pytest.mark.parametrize("workers", every([1, 2, 3], [1, 3]))
def test_teams_and_batches_give_the_same_bits(name: str, workers: int) -> None:
    """Streams that began at different times, so that one call gives them different numbers of samples."""
    vocoder = vocoder_of(name)
    mels = [mel_of(name, 30)[i:] for i in (0, 2, 5)]
    starts = [0, 1, 12]
    streams = [vocoder.stream() for _ in mels]
    parts = [vocoder.continue_decode(streams[i], mels[i][: starts[i]]) for i in range(3)]
    frames = vocoder.max_frames // 3
    for step in range(12 // frames):
        chunks = [np.ascontiguousarray(mels[i][starts[i] + frames * step :][:frames]) for i in range(3)]
        counts = [vocoder.call("decode_samples", stream, frames) for stream in streams]
        status, audio = decode_batch(vocoder, streams, chunks, workers)
        assert status == max(counts)
        for i in range(3):
            assert np.isnan(audio[i][counts[i] :]).all(), "more was written than was said"
            parts[i] = np.concatenate([parts[i], audio[i][: counts[i]]])
    for i in range(3):
        whole = np.concatenate([parts[i], vocoder.flush(streams[i])])
        assert whole.tobytes() == vocoder.utterance(mels[i][: starts[i] + 12 // frames * frames]).tobytes(), i


# ---- streams ----


@pytest.mark.parametrize("name", ["vocos_center", "streaming_list"])
def test_a_copied_stream_resumes(name: str) -> None:
    vocoder, mel = vocoder_of(name), mel_of(name, 40)
    whole = vocoder.utterance(mel)
    for cut in (1, 3, 9, 15, 39):
        stream = vocoder.stream()
        start = vocoder.continue_decode(stream, mel[:cut], 4)
        snapshot = stream.copy()
        vocoder.continue_decode(stream, mel[:7])
        vocoder.flush(stream)
        assert np.array_equal(stream, vocoder.stream()), "flush does not reset"
        audio = np.concatenate([start, vocoder.continue_decode(snapshot, mel[cut:], 5), vocoder.flush(snapshot)])
        assert audio.tobytes() == whole.tobytes(), cut


def test_an_empty_utterance_has_no_audio(name: str) -> None:
    vocoder = vocoder_of(name)
    stream = vocoder.stream()
    assert len(vocoder.flush(stream)) == 0
    assert np.array_equal(stream, vocoder.stream())


def test_the_latency_is_what_it_says(name: str) -> None:
    """Before it has seen the look-ahead, decode gives nothing; the frame after that completes a hop, less the trim."""
    case, vocoder = CASES[name], vocoder_of(name)
    report = vocoder.report
    ahead, overlap = sum(case.lookahead), vocoder.n_fft - vocoder.hop
    assert (report["latency_lookahead_frames"], report["latency_overlap_samples"]) == (ahead, overlap)
    assert report["latency_samples"] == ahead * vocoder.hop + overlap == vocoder.call("latency_samples")
    for part in ("", "lookahead_", "overlap_"):
        samples = report[f"latency_{part}samples"]
        assert report[f"latency_{part}frames"] == pytest.approx(samples / vocoder.hop, abs=1e-6)
        assert report[f"latency_{part}ms"] == pytest.approx(1000 * samples / case.sizes["sample_rate"], abs=1e-6)
    trim = {"causal": 0, "same": overlap // 2, "center": vocoder.n_fft // 2}[report["padding"]]
    assert vocoder.tail == ahead * vocoder.hop + overlap - trim
    stream = vocoder.stream()
    for frame in range(1, 30):
        audio = vocoder.decode_chunk(stream, mel_of(name, 1))
        given = max(0, (frame - ahead) * vocoder.hop - trim)
        assert len(audio) == given - max(0, (frame - 1 - ahead) * vocoder.hop - trim)
    assert len(vocoder.flush(stream)) == vocoder.tail, "the most that flush gives"


def test_the_state_is_as_small_as_a_causal_models() -> None:
    """But for two counters."""
    causal = builds.sources(builds.checkpoint(STREAMING), "ahead", "--chunk", 5)
    assert (
        vocoder_of("streaming_list").stream_bytes == json.loads((causal / "ahead.json").read_text())["state_bytes"] + 8
    )


def test_int16_is_the_float_rounded(name: str) -> None:
    vocoder, mel = vocoder_of(name), mel_of(name, 21)
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    stream, found = vocoder.stream(), []
    for start in range(0, 21, 5):
        chunk = np.ascontiguousarray(mel[start : start + 5])
        pcm = np.zeros(5 * vocoder.hop, np.int16)
        count = vocoder.call("decode_int16", stream, scratch, chunk, len(chunk), pcm)
        found.append(pcm[:count])
    pcm = np.zeros(vocoder.tail, np.int16)
    count = vocoder.call("flush_int16", stream, *([scratch] if vocoder.lookahead else []), pcm)
    audio = vocoder.utterance(mel)
    expected = np.clip(np.rint(audio * np.float32(32768)), -32768, 32767)
    assert np.array_equal(np.concatenate([*found, pcm[:count]]), expected)


def test_extreme_features_give_finite_audio(name: str) -> None:
    """At the ends too, where the envelope is small."""
    vocoder, whole = vocoder_of(name), mel_of(name, 9)
    for extreme in (1e6, -1e6, 1e-45, 3e38, -3e38):
        audio = vocoder.utterance(np.full((9, vocoder.mels), extreme, np.float32), 2)
        assert np.isfinite(audio).all(), extreme
    assert vocoder.utterance(whole, 2).tobytes() == vocoder.utterance(whole, 1).tobytes()


def test_errors_are_silent_and_leave_the_stream_alone() -> None:
    vocoder, mel = vocoder_of("vocos_same"), mel_of("vocos_same", 20)
    scratch = np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    stream = vocoder.stream()
    vocoder.continue_decode(stream, mel[:5])
    before, broken = stream.copy(), np.full((2, vocoder.mels), np.nan, np.float32)
    audio = np.full(2 * vocoder.hop, 7, np.float32)
    assert vocoder.call("decode", stream, scratch, broken, 2, audio) == BAD_INPUT
    assert not audio.any() and np.array_equal(stream, before)
    assert vocoder.call("decode_samples", stream, 0) == BAD_ARGUMENT
    assert vocoder.call("decode_samples", stream, 17) == BAD_ARGUMENT
    assert vocoder.call("decode_samples", None, 1) == BAD_ARGUMENT
    tail = np.full(vocoder.tail, 7, np.float32)
    assert vocoder.call("flush", stream, None, tail) == BAD_ARGUMENT
    assert vocoder.call("flush", stream, scratch, None) == BAD_ARGUMENT
    assert np.array_equal(stream, before)
    # Counters that no stream has: `frames` and `flushed` stand behind two words
    for word, value in ((2, 10**6), (2, 0xFFFFFFFF), (3, 1)):
        damaged = before.copy()
        damaged.view(np.uint32)[word] = value
        assert vocoder.call("decode_samples", damaged, 1) == BAD_STREAM
        assert vocoder.call("decode", damaged, scratch, mel, 1, audio) == BAD_STREAM
        tail[:] = 7
        assert vocoder.call("flush", damaged, scratch, tail) == BAD_STREAM
        assert not tail.any()
        assert vocoder.call("reset", damaged) == 0
        assert np.array_equal(damaged, vocoder.stream())


@pytest.mark.skipif(not ALL, reason="10 s, after the fuzzer of such models: make test-all")
def test_memory_threads_and_the_macros(tmp_path: Path) -> None:
    """A program in C: teams of threads, arrays of the sizes that the macros say, under the sanitizers."""
    for name in every(("vocos_center", "divided", "streaming"), ("vocos_center",)):
        case = CASES[name]
        options = ("--chunk", 5, *every((), ("--target", "portable")), *case.options)
        folder = builds.library(case.checkpoint, "ahead", *options, make=SANITIZED)
        inputs = team_and_library(folder, "ahead")
        run_c(build_c("test_lookahead.c", tmp_path / name, folder, "ahead", flags=SANITIZERS, inputs=inputs))


# ---- what is refused ----


def test_weights_of_another_look_ahead_are_refused() -> None:
    """The tables are alike; the audio would not be."""
    ours, case = vocoder_of("budget", "--weights", "blob"), CASES["vocos_same"]
    assert isinstance(ours, Separate)
    other = builds.sources(case.checkpoint, "ahead", "--chunk", 2, "--weights", "blob") / "ahead_weights.bin"
    weights = np.zeros(ours.weights.size + 64, np.uint8)
    weights = weights[-weights.ctypes.data % 64 :][: ours.weights.size]
    for file, status in ((ours.file, 0), (other, BAD_WEIGHTS)):
        weights[:] = np.fromfile(file, np.uint8)
        assert ours.init(weights, weights.size) == status, file
    mel = mel_of("budget", 20)
    assert ours.utterance(mel, 2).tobytes() == vocoder_of("budget").utterance(mel).tobytes()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"n_fft": 16, "hop_length": 16, "padding": "same"}, "nothing can be divided"),
        ({"n_fft": 16, "hop_length": 12, "padding": "center"}, "more than half of n_fft"),
    ],
)
def test_heads_that_cannot_be_told_sample_by_sample(tmp_path: Path, sizes: dict[str, Any], words: str) -> None:
    folder = make_vocos.write_folder(tmp_path / "model", {**make_vocos.TINY, **sizes})
    with pytest.raises(CompileError, match=words) as info:
        read_network(read_checkpoint(folder), {})
    assert str(folder) in str(info.value) and "\n" not in str(info.value)


# ---- the bench ----


@pytest.mark.skipif(not ALL, reason="of make test-all")
def test_the_bench_measures_ours_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes = {**make_vocos.TINY, "hop_length": 4}
    out = tmp_path / "families.json"
    monkeypatch.setattr(families, "SIZES", sizes)
    monkeypatch.setattr(families, "PRECISIONS", ("f32",))
    command = ["families", "--runs", "2", "--python", "/nowhere", "--torch-python", "/nowhere", "--json", str(out)]
    monkeypatch.setattr("sys.argv", command)
    families.main()
    found = json.loads(out.read_text())
    assert [row["chunk"] for row in found["rows"]] == [1, 5, 10, 54]
    assert all(row["snr_db"] > 100 and row["total_ms"] > 0 for row in found["rows"])
    printed = capsys.readouterr()
    assert "pytorch: left out" in printed.err and "onnxruntime: left out" in printed.err
    assert printed.out.count("| vocosc f32 |") == 4


# ---- the host tool ----


@pytest.mark.parametrize("name", every(list(CASES), ["vocos_center"]))
def test_the_tool_decodes_whole_utterances(name: str, tmp_path: Path) -> None:
    vocoder, mel = vocoder_of(name), mel_of(name, 33)
    options = ("--target", "portable", *CASES[name].options)
    folder = builds.model(CASES[name].checkpoint, "ahead", "--chunk", 5, *options)
    tool, path, out = folder / "ahead", tmp_path / "mel.npy", tmp_path / "out.npy"
    np.save(path, mel)
    expected = vocoder.utterance(mel)
    for options in ((), ("--chunk", 5, "--threads", 2), ("--flush", "--target", "portable")):
        run_ok([tool, "decode", *options, path, out])
        assert np.load(out).tobytes() == expected.tobytes(), options
    for function in symbols(folder / "ahead.o")["undefined"]:
        assert function in ("memcpy", "memset", "memmove")
    declared = declared_functions(folder / "ahead.h", "ahead")
    assert "ahead_decode_samples" in declared
    assert set(symbols(folder / "ahead.o")["global"]) == declared
    report = json.loads((folder / "ahead.json").read_text())
    assert report["stack_bytes"] <= report["stack_bytes_bound"]
    run_ok([tool, "decode", path, tmp_path / "out.wav"])
    assert (tmp_path / "out.wav").stat().st_size == 44 + 2 * len(expected)
    info = run_ok([tool, "info"]).split()
    for key in ("tail_samples", "latency_lookahead_frames", "latency_overlap_samples"):
        assert info[info.index(key) + 1] == str(vocoder.report[key])
    bench = run_ok([tool, "bench", "--runs", 2, "--warmup", 0, "--frames", 9, "--chunk", 2, "--streams", 2])
    assert "avg_flush_ms" in bench
    assert TARGETS[bench.split()[bench.split().index("target") + 1]] > 0
