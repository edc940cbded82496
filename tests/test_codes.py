"""Models of codebook indices, as EnCodec makes them: decode_codes is decode of the rows' sums, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compiler.checkpoint import CODEBOOKS
from tests import make_vocos
from tests.objects import BAD_ARGUMENT, BAD_INPUT, BAD_STREAM, Floats, Separate, Vocoder, compile_model, run_compiler
from tests.wheels import install, load

FEATURES, ROWS, BOOKS = 13, 32, 6
SIZES = {
    **make_vocos.TINY,
    **{"sample_rate": 24000, "n_fft": 80, "hop_length": 40, "n_mels": FEATURES, "padding": "same", "bandwidths": 4},
}
USED = 4  # of the codebooks: 12 kbit/s are four of 5 bits, 600 times a second

Codes = NDArray[np.uint16]


@pytest.fixture(scope="module")
def books() -> Floats:
    return np.random.RandomState(3).standard_normal((BOOKS, ROWS, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, books: Floats) -> Path:
    """A model with AdaLayerNorm and codebooks."""
    layer = "feature_extractor.encodec.quantizer.vq.layers.{}._codebook.embed"
    more = {layer.format(i): book for i, book in enumerate(books)}
    return make_vocos.write_folder(tmp_path_factory.mktemp("encodec") / "model", SIZES, more=more)


@pytest.fixture(scope="module")
def vocoder(folder: Path) -> Vocoder:
    options = ("--bandwidth-id", 3, "--chunk", 3, "--target", "portable")
    return Vocoder(compile_model(folder, folder.parent / "out", "enc", *options, light=True), "enc")


@pytest.fixture(scope="module")
def separate(folder: Path) -> Separate:
    options = ("--bandwidth-id", 3, "--chunk", 3, "--target", "portable", "--weights", "blob", "--precision", "w8")
    return Separate(compile_model(folder, folder.parent / "blob", "encb", *options, light=True), "encb")


def some_codes(frames: int, codebooks: int = USED) -> Codes:
    return np.random.RandomState(frames).randint(0, ROWS, (frames, codebooks)).astype(np.uint16)


def features(books: Floats, codes: Codes) -> Floats:
    """The sum of one row of each codebook, one after the other, in float32."""
    total = books[0][codes[:, 0]]
    for book in range(1, codes.shape[1]):
        total = total + books[book][codes[:, book]]
    return np.asarray(total, np.float32)


def decode_codes(vocoder: Vocoder, codes: Codes, chunk: int, kind: Any = np.float32) -> Any:
    stream, scratch = vocoder.stream(), np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    parts = []
    for start in range(0, len(codes), chunk):
        part = np.ascontiguousarray(codes[start : start + chunk])
        audio = np.full(len(part) * vocoder.hop, 77, kind)
        name = "decode_codes" if kind == np.float32 else "decode_codes_int16"
        count = vocoder.call(name, stream, scratch, part, part.shape[1], len(part), audio)
        assert 0 <= count <= audio.size
        assert (audio[count:] == 77).all(), "more was written than the count says"
        parts.append(audio[:count])
    return np.concatenate(parts), stream


@pytest.mark.parametrize("codebooks", [1, 3, USED])
def test_codes_are_sums_of_rows(vocoder: Vocoder, separate: Separate, books: Floats, codebooks: int) -> None:
    codes = some_codes(17, codebooks)
    for model in (vocoder, separate):
        found = np.zeros((3, FEATURES), np.float32)
        assert model.call("codes_to_features", model.stream(), codes, codebooks, 3, found) == 0
        assert found.tobytes() == features(books, codes[:3]).tobytes()
        for chunk in (1, 2, 3):
            audio, stream = decode_codes(model, codes, chunk)
            wanted = model.stream()
            scratch = np.zeros(model.call("scratch_bytes"), np.uint8)
            out = []
            for start in range(0, 17, 3):
                rows = features(books, codes[start : start + 3])
                buffer = np.zeros(len(rows) * model.hop, np.float32)
                out.append(buffer[: model.call("decode", wanted, scratch, rows, len(rows), buffer)])
            assert audio.tobytes() == np.concatenate(out).tobytes()
            assert np.array_equal(stream, wanted), "the streams went on differently"
        pcm, _ = decode_codes(model, codes, 2, np.int16)
        assert np.array_equal(pcm, np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16))


def test_codes_that_are_refused(vocoder: Vocoder) -> None:
    stream, scratch = vocoder.stream(), np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    codes = some_codes(3)
    for name, kind in (("decode_codes", np.float32), ("decode_codes_int16", np.int16)):
        audio = np.full(3 * vocoder.hop, 7, kind)
        before = stream.copy()

        def call(status: int, *arguments: Any, name: str = name, audio: Any = audio, before: Any = before) -> None:
            audio[:] = 7
            assert vocoder.call(name, *arguments, audio) == status
            assert np.array_equal(stream, before), "the stream moved"

        bad = codes.copy()
        bad[2, 3] = ROWS
        call(BAD_INPUT, stream, scratch, bad, USED, 3)
        assert not audio.any()
        bad[2, 3] = 65535
        call(BAD_INPUT, stream, scratch, bad, USED, 3)
        for codebooks in (0, -1, USED + 1):
            call(BAD_ARGUMENT, stream, scratch, codes, codebooks, 3)
            assert not audio.any()
        for frames in (0, -1, 4):
            call(BAD_ARGUMENT, stream, scratch, codes, USED, frames)
            assert (audio == 7).all()
        call(BAD_ARGUMENT, stream, scratch, None, USED, 3)
        call(BAD_ARGUMENT, stream, None, codes, USED, 3)
        call(BAD_ARGUMENT, None, scratch, codes, USED, 3)
        call(BAD_STREAM, np.zeros_like(stream), scratch, codes, USED, 3)
        assert vocoder.call(name, stream, scratch, codes, USED, 3, None) == BAD_ARGUMENT
    found = np.full((3, FEATURES), 7, np.float32)
    assert vocoder.call("codes_to_features", stream, codes, USED + 1, 3, found) == BAD_ARGUMENT
    assert not found.any()


def test_a_model_of_codes_has_no_mel(vocoder: Vocoder, tmp_path: Path) -> None:
    header = (vocoder.directory / "enc.h").read_text()
    assert re.search(r"ENC_HAS_MEL[\s\\]+0 ", header) and re.search(rf"ENC_CODEBOOKS[\s\\]+{USED} ", header)
    assert vocoder.report["mel"] is None
    stream, scratch = vocoder.mel_stream(), np.zeros(vocoder.call("scratch_bytes"), np.uint8)
    frames = np.full((9, FEATURES), 7, np.float32)
    assert vocoder.call("mel", stream, scratch, np.zeros(40, np.float32), 40, frames) == BAD_ARGUMENT
    assert vocoder.call("mel_flush", stream, scratch, frames) == BAD_ARGUMENT
    assert (frames == 7).all()
    tables = (vocoder.directory / "network" / "enc_tables.c").read_text()
    assert "mel_weights" not in tables and "analysis_window" not in tables


def test_the_wheel_takes_codes(folder: Path, books: Floats, tmp_path: Path) -> None:
    """Whole and as a stream, the bits of the features that the codes stand for."""
    options = ("--bandwidth-id", 3, "--chunk", 3, "--target", "portable", "--padding", "center", "--wheel")
    output = compile_model(folder, tmp_path / "out", "encpy", *options, light=True)
    for file in ("encpy.h", "encpy.sbom.json"):
        words = re.sub(r"[\s*]+", " ", (output / file).read_text())  # clang-format breaks long lines
        assert "--padding center --bandwidth-id 3" in words, "what was asked for"
    module = load(install(next(output.glob("*.whl")), tmp_path / "site"), "encpy")
    codes = some_codes(17)
    wanted = module.decode(features(books, codes), flush=True)
    assert np.array_equal(module.decode_codes(codes.astype(np.int64), flush=True), wanted)
    stream = module.Stream()
    parts = [stream.decode_codes(codes[:4]), stream.decode_codes(codes[4:]), stream.flush()]
    assert np.array_equal(np.concatenate(parts), wanted)
    assert np.array_equal(module.decode_codes(codes, "int16"), module.decode(features(books, codes), "int16"))
    for wrong, words in (
        (codes.T, "transposed"),
        (codes + ROWS, f"go from 0 to {ROWS - 1}"),
        (codes.astype(np.int32) - ROWS, "go from"),
        (codes[:, :0], "1 to 4 codebooks"),
    ):
        with pytest.raises(ValueError, match=words):
            module.decode_codes(wrong)
    with pytest.raises(TypeError, match="whole numbers"):
        module.decode_codes(codes.astype(np.float32))


def test_bandwidths_choose_norms(folder: Path, tmp_path: Path) -> None:
    done = run_compiler(folder, "--report")
    assert done.returncode == 1 and "--bandwidth-id 0 to 3" in done.stderr
    done = run_compiler(folder, "--report", "--bandwidth-id", 4)
    assert done.returncode == 1 and "give 0 to 3" in done.stderr


def test_codebooks_that_are_not_finite(tmp_path: Path, books: Floats) -> None:
    bad = np.zeros((2 * 1024, FEATURES), np.float32)
    bad[5, 3] = np.inf
    folder = make_vocos.write_folder(tmp_path / "model", SIZES, more={CODEBOOKS: bad})
    done = run_compiler(folder, "--report", "--bandwidth-id", 0)
    assert done.returncode == 1 and CODEBOOKS in done.stderr and len(done.stderr.splitlines()) == 1


def test_speech_calibrates_no_model_of_codes(folder: Path, tmp_path: Path) -> None:
    done = run_compiler(folder, "-o", tmp_path / "out", "--bandwidth-id", 3, "--precision", "w8", "--calibrate")
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr.startswith("vocosc: error: --calibrate: ") and "give files" in done.stderr
