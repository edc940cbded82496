"""The kernels by themselves: vector math against libm, FFTs against FFTW, matrix products against OpenBLAS."""

from pathlib import Path

import pytest

from tests import builds
from tests.objects import ISA_FLAGS, LEAST, Vocoder, build_c, every, run_c, source

LENGTHS = """
    2 3 4 5 6 9 10 15 16 25 27 45 60 75 81 125 128 240 256 300 320 400 480 512 600 640 675 720 960 1000 1024 1280 1536
    1920 2048 2187 3125 4096
"""
# Of `make test`: odd and even lengths, and each radix alone, repeated and beside the others.
FEW = "2 3 4 5 15 16 27 75 240 1000 1024 1920 3125"


def need(vocoder: Vocoder, isa: str) -> None:
    if isa not in vocoder.targets:
        pytest.skip(f"this CPU has no {isa}")


# ---- vector math ----


@pytest.fixture(scope="session")
def math_results(odd: Vocoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The results' hashes of each instruction set that this CPU has. The portable fma is tested in all its forms."""
    results = {}
    variants: dict[str, tuple[str, list[str]]] = {isa: (isa, []) for isa in ISA_FLAGS if isa in odd.targets}
    if "avx2" in odd.targets:
        variants["portable with fma"] = ("portable", ["-mfma"])
    variants["portable without FPU"] = ("portable", ["-DVEC_SOFT_FLOAT"])
    for variant, (isa, flags) in variants.items():
        build = tmp_path_factory.mktemp("math")
        program = build_c("test_math.c", build, odd.directory, odd.name, isa=isa, flags=["-O2", *flags])
        printed = run_c(program)
        print(f"{variant}:\n{printed}")
        results[variant] = [line for line in printed.splitlines() if line.startswith("hash")]
    return results


def test_vector_math_keeps_its_word_and_is_the_same_everywhere(math_results: dict[str, list[str]]) -> None:
    assert len(math_results["portable"]) == 5
    for isa, hashes in math_results.items():
        assert hashes == math_results["portable"], isa


# ---- matrix products ----


@pytest.mark.parametrize("isa", ["portable", "sse2", "avx2", "avx512"])
@pytest.mark.parametrize("name", every(["small", "odd"], ["odd"]))
def test_products_against_openblas(request: pytest.FixtureRequest, tmp_path: Path, name: str, isa: str) -> None:
    vocoder: Vocoder = request.getfixturevalue(name)
    need(vocoder, isa)
    program = build_c(
        "test_products.c", tmp_path, vocoder.directory, name, isa=isa, inputs=[], libraries=["-lopenblas"]
    )
    run_c(program)


# ---- FFT ----


@pytest.mark.parametrize("n_fft", [int(length) for length in every(LENGTHS, FEW).split()])
def test_fft_against_fftw(tmp_path: Path, n_fft: int) -> None:
    checkpoint = builds.checkpoint({**LEAST, "n_fft": n_fft, "hop_length": 1 + n_fft // 3})
    directory = builds.sources(checkpoint, "tiny", "--chunk", 1, "--target", "portable")
    tables = [source(directory, "tiny_tables.c")]
    program = build_c("test_fft.c", tmp_path, directory, "tiny", isa="portable", inputs=tables, libraries=["-lfftw3"])
    print(run_c(program))
