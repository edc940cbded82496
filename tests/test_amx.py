"""AMX's tiles, for many rows of w8a8: the bits of every other target, and only where the process has asked for them."""

import json
import platform
from pathlib import Path

import numpy as np
import pytest

from compiler.isa import AMX
from tests import builds
from tests.batches import decode_batch
from tests.objects import BAD_TARGET, TARGETS, Vocoder, build_c, grants_tiles, run_c, run_ok, some_mel, team_and_library
from tests.wheels import load, site_of

MOST = 40  # frames of a call
# Inputs in whole tiles of 64; in parts of 32 and 16; and in fours, of sizes that are a multiple of nothing.
SIZES = {
    "whole": {"dim": 64, "mlp_ratio": 2.0},
    "parts": {"dim": 48, "mlp_ratio": 2.0},
    "fours": {"dim": 19, "mlp_ratio": 1.95},
}
REST = {"sample_rate": 8000, "n_fft": 60, "hop_length": 25, "n_mels": 7, "kernel_size": 3, "num_layers": 2, "seed": 5}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is of x86-64")


def compiled(sizes: str) -> Path:
    checkpoint = builds.checkpoint({**REST, **SIZES[sizes]})
    return builds.library(checkpoint, "tiled", "--chunk", MOST, "--precision", "w8a8")


def by_tiles(sizes: str) -> Vocoder:
    vocoder = Vocoder(compiled(sizes), "tiled")
    if "amx" not in vocoder.targets:
        pytest.skip("this CPU has no AMX (amx_tile, amx_int8), or Linux does not grant it")
    return vocoder


@pytest.mark.parametrize("sizes", SIZES)
def test_any_number_of_rows_gives_the_same_bits(sizes: str) -> None:
    vocoder = by_tiles(sizes)
    for frames in (15, 16, 17, 31, 32, 33, 39, MOST):
        mel = some_mel(3 * frames, vocoder.mels, seed=frames)
        expected = vocoder.decode(mel, 5, "portable").tobytes()
        assert vocoder.decode(mel, frames, "amx").tobytes() == expected, f"{frames} frames"


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("count", "frames"), [(16, 1), (5, 7), (2, 17)])
def test_rows_may_be_of_many_streams(count: int, frames: int, workers: int) -> None:
    """Teams share panels: of three workers, one has a panel without a neighbour."""
    vocoder = by_tiles("parts")
    mels = [some_mel(frames, vocoder.mels, seed) for seed in range(count)]
    streams = [vocoder.stream("amx") for _ in mels]
    status, audio = decode_batch(vocoder, streams, mels, workers)
    assert status == frames * vocoder.hop
    for mel, samples in zip(mels, audio, strict=True):
        assert samples.tobytes() == vocoder.decode(mel, 3, "portable").tobytes()


def test_it_runs_only_where_it_was_asked_for() -> None:
    """By its name, that is: neither init nor a loop over all targets comes to it."""
    vocoder = Vocoder(compiled("whole"), "tiled")
    assert "amx" in vocoder.report["targets"]
    stream = vocoder.stream()
    assert stream[4:8].view(np.uint32)[0] not in (0, TARGETS["amx"])
    header = (vocoder.directory / "tiled.h").read_text()
    assert f"TILED_AMX = {TARGETS['amx']} " in header
    assert "#define TILED_LAST_TARGET TILED_RVV " in header
    assert TARGETS["amx"] > TARGETS["rvv"]


def test_a_process_asks_for_all_of_its_threads(tmp_path: Path) -> None:
    directory = compiled("whole")
    team = team_and_library(directory, "tiled")
    printed = run_c(build_c("test_host_target.c", tmp_path, directory, "tiled", inputs=team))
    flags = Path("/proc/cpuinfo").read_text().split()
    has_tiles = {"amx_tile", "amx_int8"} <= set(flags) and grants_tiles()
    assert ("amx" in printed.split()) == has_tiles


def test_a_wheel_begins_with_it() -> None:
    checkpoint = builds.checkpoint({**REST, **SIZES["whole"]})
    directory = builds.model(checkpoint, "tiled", "--chunk", 16, "--precision", "w8a8", "--wheel", light=True)
    module = load(site_of(directory), "tiled")
    mel = some_mel(40, 7)
    expected = module.Stream("portable").decode(mel).tobytes()
    if "amx" in Vocoder(directory, "tiled").targets:
        assert module.Stream()._values[4:8].view(np.uint32)[0] == TARGETS["amx"]
        assert module.Stream("amx").decode(mel).tobytes() == expected
        assert run_ok([directory / "tiled", "info"]).split().count("amx") == 2  # of the targets, and the best
    else:
        with pytest.raises(module.VocoderError, match="amx is not in this build or CPU"):
            module.Stream("amx")
    assert module.decode(mel).tobytes() == expected


@pytest.mark.parametrize(
    ("precision", "chunk", "gains"),
    [("w8a8", 16, True), ("w8a8", 15, False), ("w8", MOST, False), ("f32", MOST, False)],
)
def test_a_build_that_would_not_gain_has_none_of_it(precision: str, chunk: int, gains: bool) -> None:
    checkpoint = builds.checkpoint({**REST, **SIZES["whole"]})
    directory = builds.sources(checkpoint, "tiled", "--chunk", chunk, "--precision", precision)
    assert ("amx" in json.loads((directory / "tiled.json").read_text())["targets"]) == gains
    sources = {path.name: path.read_text() for path in (directory / "network").glob("*.[ch]")}
    found = {name for name, text in sources.items() if "_tile_" in text or "MANY_ROWS" in text}
    assert found == ({"tiled_products_amx.h", "tiled_tiles_avx512.h"} if gains else set())
    assert ("REQUEST" in (directory / "tiled_team_pthread.c").read_text()) == gains


def test_other_builds_refuse_it(odd: Vocoder) -> None:
    stream = np.zeros(odd.stream_bytes, np.uint8)
    assert odd.call("init_target", stream, TARGETS["amx"]) == BAD_TARGET
    assert AMX.many_rows is not None and AMX.many_rows.rows == 16
