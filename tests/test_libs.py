"""The second profile, --link libs: the same model over OpenBLAS and FFTW3, and the oracle of the first."""

from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.objects import (
    BAD_INPUT,
    BAD_TARGET,
    TARGETS,
    Vocoder,
    build_c,
    config,
    golden,
    run_c,
    run_ok,
    some_audio,
    some_mel,
    team_and_library,
    truth,
)
from tests.reference import MEL_FLOOR, log_mel, snr_db

LIBRARIES = ["-lopenblas", "-lfftw3f", "-lpthread", "-lm"]


def build(name: str) -> Vocoder:
    directory = builds.model(builds.checkpoint(name), name, "--chunk", "16", "--link", "libs", light=True)
    return Vocoder(directory, name, LIBRARIES)


@pytest.fixture(scope="module")
def small_libs() -> Vocoder:
    return build("small")


@pytest.fixture(scope="module")
def odd_libs() -> Vocoder:
    return build("odd")


@pytest.fixture(params=["small", "odd"])
def pair(request: pytest.FixtureRequest) -> tuple[Vocoder, Vocoder]:
    """The two profiles of one model: default, libs."""
    return request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_libs")


def test_its_audio_is_close_to_the_truth_and_to_ours(pair: tuple[Vocoder, Vocoder]) -> None:
    ours, libs = pair
    mel = golden(ours.name, "mel")
    least = {"small": 105.0, "odd": 85.0}[ours.name]
    assert snr_db(golden(ours.name, "audio64"), libs.decode(mel)) >= least
    assert snr_db(libs.decode(mel), ours.decode(mel)) >= least
    assert snr_db(libs.decode(mel), libs.decode(mel, 3)) >= least, "split into chunks"


def test_its_tail_is_the_rest(pair: tuple[Vocoder, Vocoder]) -> None:
    ours, libs = pair
    mel = golden(ours.name, "mel")[:25]
    stream = libs.stream()
    libs.continue_decode(stream, mel, 7)
    assert snr_db(truth(config(ours.name)).tail(mel), libs.flush(stream)) >= 80
    assert np.array_equal(stream, libs.stream())


def test_its_log_mel_is_close(pair: tuple[Vocoder, Vocoder]) -> None:
    ours, libs = pair
    audio = some_audio(30 * ours.hop + 5)
    expected = log_mel(audio, config(ours.name))
    found = libs.log_mel(audio, [1, 0, 7, ours.hop])
    above = expected > np.log(MEL_FLOOR) + 1e-3
    assert np.abs(found - expected)[above].max() <= 2e-4
    assert np.abs(found - ours.log_mel(audio))[above].max() <= 2e-4


def test_streams_of_it_behave(pair: tuple[Vocoder, Vocoder]) -> None:
    _, libs = pair
    mel = some_mel(20, libs.mels)
    whole = libs.decode(mel, 4)
    stream = libs.stream()
    start = libs.continue_decode(stream, mel[:8], 4)
    snapshot = stream.copy()
    broken = np.full((1, libs.mels), np.nan, np.float32)
    audio = np.full(libs.hop, 7, np.float32)
    scratch = np.zeros(libs.call("scratch_bytes"), np.uint8)
    assert libs.call("decode", stream, scratch, broken, 1, audio) == BAD_INPUT
    assert not audio.any() and np.array_equal(stream, snapshot)
    libs.continue_decode(stream, mel)
    assert np.concatenate([start, libs.continue_decode(snapshot, mel[8:], 4)]).tobytes() == whole.tobytes()


def test_it_is_alone_in_its_build(pair: tuple[Vocoder, Vocoder]) -> None:
    ours, libs = pair
    assert libs.targets == ["libs"]
    assert "libs" not in ours.targets
    stream = np.zeros(libs.stream_bytes, np.uint8)
    assert libs.call("init_target", stream, TARGETS["portable"]) == BAD_TARGET
    assert libs.call("init_target", stream, TARGETS["best"]) == 0
    assert libs.report["link"] == "libs" and libs.report["targets"] == ["libs"]


def test_the_api_keeps_its_word(pair: tuple[Vocoder, Vocoder], tmp_path: Path) -> None:
    """All of it but the bits, which are the libraries'."""
    _, libs = pair
    inputs = team_and_library(libs.directory, libs.name)
    flags = ["-DBITS_MAY_DIFFER"]
    run_c(build_c("test_api.c", tmp_path, libs.directory, libs.name, flags=flags, inputs=inputs, libraries=LIBRARIES))


def test_its_host_tool_decodes(odd_libs: Vocoder, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", golden("odd", "mel"))
    run_ok([odd_libs.directory / "odd", "decode", tmp_path / "mel.npy", tmp_path / "out.npy"])
    assert snr_db(golden("odd", "audio64"), np.load(tmp_path / "out.npy")) >= 85
