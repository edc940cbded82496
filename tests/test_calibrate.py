"""--calibrate rounds int8 weights for real log-mels, and the report states the accuracy that comes of it."""

import stat
from pathlib import Path

import numpy as np
import pytest

from compiler.accuracy import measure
from compiler.calibrate import calibrate
from compiler.checkpoint import read_checkpoint
from compiler.forward import decode
from compiler.network import Network, read_network
from compiler.pack import input_limits, pack
from compiler.quantise import Moments, quantise
from compiler.speech import calibration_mels
from compiler.tensors import Array
from tests import builds
from tests.objects import Vocoder, compile_sources, folded, golden, linear, run_compiler
from tests.reference import snr_db


@pytest.fixture(scope="module")
def network(small_checkpoint: Path) -> Network:
    return folded(small_checkpoint)


@pytest.fixture(scope="module")
def calibrated(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Vocoder:
    """Calibrated on the first half of the golden sentence."""
    folder = tmp_path_factory.mktemp("calibrated")
    np.save(folder / "mel.npy", golden("small", "mel")[:81])
    options = ("--chunk", "16", "--precision", "w8", "--calibrate", folder / "mel.npy")
    return Vocoder(builds.model(small_checkpoint, "small", *options, light=True), "small")


@pytest.mark.parametrize("name", ["small", "odd"])
def test_the_compilers_own_float64_is_the_truth(request: pytest.FixtureRequest, name: str) -> None:
    checkpoint = request.getfixturevalue(f"{name}_checkpoint")
    audio = decode(folded(checkpoint), golden(name, "mel"))
    # Folding rounds the weights to float32: 136 and 114 dB.
    assert snr_db(golden(name, "audio64"), audio) >= 110


def test_calibration_serves_unseen_speech(calibrated: Vocoder, small: Vocoder) -> None:
    """In the half that calibration has not seen: 36.8 dB without, 50.6 with it."""
    mel = golden("small", "mel")
    unseen = 81 * small.report["model"]["hop_length"]
    snr = snr_db(small.decode(mel)[unseen:].astype(np.float64), calibrated.decode(mel)[unseen:])
    assert snr >= 47, f"{snr:.2f} dB"


def test_calibrated_audio_has_the_same_bits_everywhere(calibrated: Vocoder) -> None:
    mel = golden("small", "mel")
    expected = calibrated.decode(mel).tobytes()
    for target in calibrated.targets:
        assert calibrated.decode(mel, [1, 7, 16] * 6 + [16, 2], target).tobytes() == expected, target


def test_errors_are_handed_on_to_correlated_inputs() -> None:
    """Inputs that move together: the product's error falls far below that of rounding to nearest."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 64))
    inputs = common + 0.1 * rng.standard_normal((400, 64)) + 2
    product = linear(rng.standard_normal((64, 32)).astype(np.float32), rng.standard_normal(32).astype(np.float32))
    exact = inputs @ product.weight + product.bias

    def error(fed: Moments | None) -> float:
        rounded = quantise(product, fed)
        got = inputs @ (rounded.weights * rounded.scale) + rounded.bias
        return float(((got - exact) ** 2).mean())

    learnt = error(Moments(inputs.mean(axis=0), np.cov(inputs.T, bias=True)))
    assert learnt < 0.1 * error(None)


def test_moments_are_those_of_all_frames(network: Network) -> None:
    mels = [golden("small", "mel")[:30], golden("small", "mel")[30:70]]
    inputs: list[Array] = []
    for mel in mels:
        decode(network, mel, lambda operation, x: inputs.append(x) if operation.name == "block1_contract" else None)
    fed = calibrate(network, mels, "w8")["block1_contract"]
    together = np.concatenate(inputs)
    np.testing.assert_allclose(fed.mean, together.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(fed.covariance, np.cov(together.T, bias=True), atol=1e-12)


def test_no_input_can_overflow_calibrated_weights(network: Network) -> None:
    tables = pack(network, "w8", fed=calibrate(network, [golden("small", "mel")], "w8"))
    largest = max(table.largest_sum for table in tables)
    assert 0 < min(input_limits(network, tables).values()) * largest < 2**31


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((5, 79), np.float32), "is 5x79; a log-mel of this model is frames x 80"),
        (np.zeros((0, 80), np.float32), "is 0x80"),
        (np.zeros(80, np.float32), "is 80;"),
        (np.zeros((5, 80), np.int16), "holds int16"),
        (np.full((5, 80), np.nan, np.float32), "no log-mel's"),
        (np.full((5, 80), 1000, np.float32), "no log-mel's"),
        (b"no array at all", "not a .npy file"),
        (b"", "not a .npy file"),
        (None, "No such file"),
    ],
)
def test_a_bad_log_mel_gets_one_line(
    small_checkpoint: Path, tmp_path: Path, content: np.ndarray | bytes | None, message: str
) -> None:
    path = tmp_path / "mel.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    done = run_compiler(small_checkpoint, "-o", tmp_path / "out", "--precision", "w8", "--calibrate", path)
    assert done.returncode == 1
    assert done.stderr.startswith("vocosc: error: ") and done.stderr.count("\n") == 1
    assert str(path) in done.stderr and message in done.stderr
    assert not (tmp_path / "out").exists()


def test_only_int8_is_calibrated(small_checkpoint: Path, tmp_path: Path) -> None:
    done = run_compiler(small_checkpoint, "-o", tmp_path / "out", "--precision", "f16", "--calibrate", "mel.npy")
    assert done.returncode == 1
    assert done.stderr == "vocosc: error: --calibrate: only --precision w16, w8, w8a8, w4 are rounded by it, not f16\n"


def test_the_report_states_the_accuracy(calibrated: Vocoder, small: Vocoder) -> None:
    mel = golden("small", "mel")
    for vocoder in (calibrated, small):
        accuracy = vocoder.report["accuracy"]
        # The report's log-mel is our own of the same sentence, hence the tolerance.
        snr = snr_db(golden("small", "audio64"), vocoder.decode(mel))
        assert accuracy["snr_db"] == pytest.approx(snr, abs=1.0)
        assert accuracy["frames"] == len(mel)


def test_no_accuracy_is_claimed_unmeasured(network: Network, odd: Vocoder, tmp_path: Path) -> None:
    assert odd.report["accuracy"] is None, "its sample rate is not the sentence's"
    assert measure(tmp_path / "absent", network) is None
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexit 1\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert measure(tool, network) is None


def test_without_files_it_rounds_for_the_speech_that_comes_along(odd_checkpoint: Path, tmp_path: Path) -> None:
    """As for files of the same log-mels; int4 does so by itself."""
    paths = []
    for i, mel in enumerate(calibration_mels(read_network(read_checkpoint(odd_checkpoint), {}).config)):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], mel)
    assert len(paths) == 4
    for precision, plain in (("w8", False), ("w4", True)):
        options = ("--precision", precision, "--target", "portable")
        given, found, default = (
            compile_sources(odd_checkpoint, tmp_path / f"{precision}{i}", "odd", *options, *more)
            for i, more in enumerate((("--calibrate", *paths), ("--calibrate",), ()))
        )
        weights = [(folder / "network" / "odd_weights.bin").read_bytes() for folder in (given, found, default)]
        assert weights[0] == weights[1]
        assert (weights[1] == weights[2]) is plain
