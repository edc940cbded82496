"""--precision f16, w8, w8a8 and w4: close to our own float32, bit-identical however decoded, and never an overflow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.arithmetic import PANEL
from compiler.formats import FORMATS
from compiler.formats.f16 import half_scales
from compiler.formats.format import LARGEST_INPUT
from compiler.forward import decode
from compiler.network import Operation, with_edges
from compiler.pack import pack
from compiler.quantise import int8_scales, quantise
from tests import builds
from tests.objects import Floats, Vocoder, every, folded, golden, linear, random_splits, run_compiler, some_mel
from tests.reference import snr_db

# dB of the output against our own float32, on a real log-mel and random weights. Measured: f16 57.2, w8 36.4,
# w8a8 33.5.
BARS = {"f16": 55.0, "w8": 35.0, "w8a8": 32.0, "w4": 20.0}

# No size is a multiple of a vector, nor even: the last pair of inputs has but one.
UNEVEN = {
    **{"sample_rate": 8000, "n_fft": 60, "hop_length": 25, "n_mels": 7, "dim": 19, "mlp_ratio": 1.95},
    **{"kernel_size": 3, "num_layers": 2, "seed": 5},
}


@pytest.fixture(scope="module", params=list(BARS))
def precise(request: pytest.FixtureRequest, small_checkpoint: Path) -> Vocoder:
    options = ("--chunk", "16", "--precision", request.param)
    return Vocoder(builds.library(small_checkpoint, "small", *options), "small")


def test_output_is_close_to_our_float32(precise: Vocoder, small: Vocoder) -> None:
    mel = golden("small", "mel")
    precision = precise.report["precision"]
    snr = snr_db(small.decode(mel).astype(np.float64), precise.decode(mel))
    assert snr >= BARS[precision], f"{precision}: {snr:.2f} dB"


def test_audio_depends_on_neither_split_nor_target(precise: Vocoder) -> None:
    mel = some_mel(33, precise.mels)
    expected = precise.decode(mel).tobytes()
    for target in precise.targets:
        assert precise.selftest(target) == 0, target
        for largest in (1, 2, 3, 5, 8, 13, 16):
            splits = random_splits(len(mel), largest, largest)
            assert precise.decode(mel, splits, target).tobytes() == expected, f"{target}, split {splits}"


def test_uneven_sizes() -> None:
    audio: dict[str, Floats] = {}
    mel = some_mel(29, 7)
    for precision in ("f32", *every(("w8", "w4"), ()), "w8a8", "w16", "w8a8 --edges w16"):
        options = ("--chunk", "7", "--precision", *precision.split())
        vocoder = Vocoder(builds.library(builds.checkpoint(UNEVEN), "uneven", *options), "uneven")
        for target in vocoder.targets:
            got = vocoder.decode(mel, random_splits(len(mel), 7, 1), target)
            assert vocoder.selftest(target) == 0, f"{precision} on {target}"
            assert got.tobytes() == audio.setdefault(precision, got).tobytes(), f"{precision} on {target}"
    for precision, least in (("w8", 25.0), ("w8a8", 20.0), ("w4", 10.0), ("w16", 45.0)):
        if precision in audio:
            assert snr_db(audio["f32"].astype(np.float64), audio[precision]) >= least, precision
    assert snr_db(audio["w8a8"].astype(np.float64), audio["w8a8 --edges w16"]) >= 35.0


def test_extreme_mels_are_as_harmless_as_in_float32(precise: Vocoder) -> None:
    quiet = some_mel(8, precise.mels)
    for extreme in (1e30, -1e30, 3e38, 1e-45, 0.0):
        stream = precise.stream()
        assert np.isfinite(precise.continue_decode(stream, np.full((5, precise.mels), extreme, np.float32))).all()
        assert precise.call("reset", stream) == 0
        assert precise.continue_decode(stream, quiet).tobytes() == precise.decode(quiet).tobytes()


def test_a_half_keeps_small_weights() -> None:
    """A layer scale of 1e-6 would make weights that halves cannot hold, but for the scale of each output."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((64, 40)) * np.logspace(-9, 3, 40)).astype(np.float32)
    scale = half_scales(linear(weight, np.zeros(40, np.float32)))
    mantissas, _ = np.frexp(scale)
    assert (mantissas == 0.5).all(), "not a power of two"
    halves = (weight / scale).astype(np.float16).astype(np.float32) * scale
    largest = np.abs(weight).max(axis=0)
    assert (np.abs(halves - weight) <= 2.0**-11 * np.maximum(np.abs(weight), 2.0**-13 * largest)).all()


def test_clipping_never_raises_the_error() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 48)).astype(np.float32)

    def error(scale: Floats) -> Floats:
        rounded = np.clip(np.rint(weight / scale), -127, 127) * scale
        return np.asarray(((rounded - weight) ** 2).sum(axis=0))

    clipped = error(int8_scales(linear(weight, np.zeros(48, np.float32))))
    plain = error(np.abs(weight).max(axis=0) / np.float32(127))
    assert (clipped <= plain).all()
    assert (clipped < plain).any()


@pytest.mark.parametrize("inputs", [16, 560, 4096])
def test_no_sum_of_int16_can_overflow(inputs: int) -> None:
    """Weights and inputs share the 31 bits."""
    rng = np.random.default_rng(0)
    product = linear(rng.standard_normal((inputs, PANEL)).astype(np.float32), np.zeros(PANEL, np.float32))
    table = FORMATS["w16"].pack(product)
    assert table.input_limit * table.largest_sum < 2**31
    assert min(table.input_limit, int(np.abs(table.data[0, 128:]).max())) >= 1000


def test_embedding_and_head_may_have_a_format_of_their_own(small_checkpoint: Path) -> None:
    network = with_edges(folded(small_checkpoint), "w16")
    types = {table.name: table.c_type for table in pack(network, "w8")}
    assert {name for name, kind in types.items() if kind == "int16_t"} == {"embed", "magnitude", "phase"}
    assert types["block0_expand"] == "int8_t"


@pytest.mark.parametrize("option", [("--link", "libs"), ("--target", "cuda")])
def test_edges_are_for_the_cpus_own_kernels(small_checkpoint: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    done = run_compiler(small_checkpoint, "-o", tmp_path / "out", "--edges", "w16", *option)
    assert done.returncode == 1
    assert done.stderr == "vocosc: error: --edges: works with neither --target cuda nor --link libs\n"


def test_no_input_can_overflow() -> None:
    """With the largest inputs of the worst signs, the sum of the worst output stays within 32 bits."""
    worst = np.full((4096, PANEL), -1, np.float32), np.zeros(PANEL, np.float32)
    table = FORMATS["w8"].pack(linear(*worst))
    assert table.largest_sum == 4096 * 127
    limit = table.input_limit
    assert limit < LARGEST_INPUT, "this one must be limited"
    assert limit * table.largest_sum < 2**31 <= (limit + 1) * table.largest_sum
    small = FORMATS["w8"].pack(linear(worst[0][:64], worst[1]))
    assert small.input_limit == LARGEST_INPUT


def test_the_default_profile_is_needed(small_checkpoint: Path, tmp_path: Path) -> None:
    done = run_compiler(small_checkpoint, "-o", tmp_path / "out", "--link", "libs", "--precision", "w8")
    assert done.returncode == 1
    assert done.stderr.startswith("vocosc: error: --link libs:") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", every(["small", "full"], ["small"]))
def test_int8_errs_as_much_as_its_steps_explain(request: pytest.FixtureRequest, name: str) -> None:
    """Rounding is like noise of half a step either way: the audio's error is that of such noise, within 1.5 dB."""
    network = folded(request.getfixturevalue(f"{name}_checkpoint"))
    rng = np.random.default_rng(0)

    def noisy(product: Operation) -> Floats:
        noise = rng.uniform(-0.5, 0.5, product.weight.shape) * int8_scales(product)
        return np.asarray(product.weight + noise, np.float32)

    def rounded(product: Operation) -> Floats:
        int8 = quantise(product)
        return np.asarray(int8.weights * int8.scale)

    def changed(operation: Operation, change: Callable[[Operation], Floats]) -> Operation:
        if operation.kind != "linear" or operation.is_precise:
            return operation
        return replace(operation, tensors={**operation.tensors, "weight": change(operation)})

    def snr(change: Callable[[Operation], Floats]) -> float:
        operations = tuple(changed(operation, change) for operation in network.operations)
        return snr_db(exact, decode(replace(network, operations=operations), mel))

    mel = golden(name, "mel")[:80]
    exact = decode(network, mel)
    assert abs(snr(rounded) - snr(noisy)) < 1.5, f"{snr(rounded):.1f} dB, of noise {snr(noisy):.1f} dB"


def test_tables_shrink(small_checkpoint: Path) -> None:
    network = folded(small_checkpoint)
    sizes = {p: sum(table.data.nbytes for table in pack(network, p)) for p in ("f32", "f16", "w8", "w4")}
    assert sizes["w4"] < sizes["w8"] < sizes["f16"] < 0.55 * sizes["f32"]
