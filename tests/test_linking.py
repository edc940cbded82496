"""What a program that links the object relies on: its symbols and sections, its header, its API, its memory bounds."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import builds
from tests.objects import (
    ALL,
    PROGRAMS,
    SANITIZED,
    SANITIZERS,
    WRAPPED,
    Vocoder,
    build_c,
    declared_functions,
    golden,
    include_flags,
    rename,
    run_c,
    run_ok,
    symbols,
    team_and_library,
)
from tests.vocoders import every_object, everywhere


@pytest.fixture
def sanitized(odd_checkpoint: Path) -> Path:
    """The sources of `odd`, every target, built with the address and the undefined-behaviour sanitizer."""
    return builds.library(odd_checkpoint, "odd", "--chunk", "7", make=SANITIZED)


# ---- the object file ----


@everywhere
def test_only_memory_functions_are_needed(vocoder: Vocoder) -> None:
    assert set(symbols(vocoder.directory / f"{vocoder.name}.o")["undefined"]) <= {"memcpy", "memset", "memmove"}


@every_object
def test_the_global_symbols_are_the_functions_of_the_header(vocoder: Vocoder) -> None:
    name = vocoder.name
    declared = declared_functions(vocoder.directory / f"{name}.h", name)
    assert {f"{name}_decode", f"{name}_reset", f"{name}_mel_flush", f"{name}_status_text"} <= declared
    assert set(symbols(vocoder.directory / f"{name}.o")["global"]) == declared
    assert set(symbols(vocoder.directory / f"lib{name}.a")["global"]) == declared


@every_object
def test_nothing_is_writable(vocoder: Vocoder) -> None:
    """All sections with contents are code or read-only data, also once relocated (.data.rel.ro would not be)."""
    listing = run_ok(["readelf", "-S", "-W", vocoder.directory / f"{vocoder.name}.o"])
    found = re.findall(
        r"^\s*\[ *\d+\] (\S+)\s+(\w+)\s+\w+ \w+ (\w+) \w+ +(\w*) +\d+ +\d+ +(\d+)$", listing, re.MULTILINE
    )
    assert any(section == ".text" for section, *_ in found)
    for section, kind, size, flags, _ in found:
        if int(size, 16) > 0 and "A" in flags:
            assert "W" not in flags, f"{section} is writable"
            assert kind == "PROGBITS" or section == ".note.gnu.property", section
    weights = [entry[3:] for entry in found if entry[0] == f".rodata.{vocoder.name}.weights"]
    assert weights == ([("A", "64")] if vocoder.report["baked"] else [])


@every_object
def test_the_stack_is_not_executable(vocoder: Vocoder) -> None:
    listing = run_ok(["readelf", "-S", "-W", vocoder.directory / f"{vocoder.name}.o"])
    (line,) = [line for line in listing.splitlines() if ".note.GNU-stack" in line]
    assert " X " not in line


@every_object
def test_the_report_tells_the_tables_sizes(vocoder: Vocoder) -> None:
    report = vocoder.report
    listing = run_ok(["size", "-A", vocoder.directory / f"{vocoder.name}.o"])
    sizes = {line.split()[0]: int(line.split()[1]) for line in listing.splitlines() if line.startswith(".")}
    tables = sum(-(-table["bytes"] // 64) * 64 for table in report["tables"])
    assert sizes.get(f".rodata.{vocoder.name}.weights", 0) == (64 + tables if report["baked"] else 0)
    assert sum(table["bytes"] for table in report["tables"]) == report["weight_bytes"]
    read_only = sum(size for section, size in sizes.items() if section.startswith((".text", ".rodata")))
    assert report["flash_bytes"] == read_only
    assert report["state_bytes"] == vocoder.stream_bytes
    assert report["mel_state_bytes"] == vocoder.mel_stream_bytes
    assert report["scratch_bytes"] == vocoder.call("scratch_bytes")
    # What was said before the build. Tiny models, of which GCC unrolls every loop, are harder to tell.
    assert 2 / 3 < report["flash_bytes_estimate"] / report["flash_bytes"] < 1.5
    is_tiny = min(report["model"]["n_fft"], report["model"]["dim"]) < 64
    assert 0 < report["stack_bytes"] <= report["stack_bytes_bound"] < (5 if is_tiny else 1.75) * report["stack_bytes"]
    header = (vocoder.directory / f"{vocoder.name}.h").read_text()
    for key in ("flash_bytes", "stack_bytes", "scratch_bytes", "state_bytes", "weight_bytes", "macs_per_frame"):
        assert f"#define {vocoder.name.upper()}_{key.upper()} {report[key]}" in header
    for buffer in report["scratch"]:
        assert buffer["offset_bytes"] + buffer["bytes"] <= report["scratch_bytes"]


# ---- the header ----


@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_the_header_stands_alone(vocoder: Vocoder, tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    run_c(build_c("sizes.c", tmp_path, vocoder.directory, vocoder.name, flags=["-pedantic"], compiler=[compiler]))


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cpp_includes_the_header_and_links(vocoder: Vocoder, tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    run_c(build_c("header.cpp", tmp_path, vocoder.directory, vocoder.name, flags=flags, compiler=[compiler]))


def test_the_library_links_without_libm(vocoder: Vocoder, tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text(rename((PROGRAMS / "sizes.c").read_text(), vocoder.name))
    library = vocoder.directory / f"lib{vocoder.name}.a"
    run_ok(["cc", "-std=c11", "-I", vocoder.directory, "-o", tmp_path / "main", source, library])
    run_ok([tmp_path / "main"])


def test_two_models_in_one_program(small: Vocoder, odd: Vocoder, tmp_path: Path) -> None:
    arguments = []
    for name in ("small", "odd"):
        golden(name, "mel").tofile(tmp_path / f"{name}.mel")
        arguments += [tmp_path / f"{name}.mel", tmp_path / f"{name}.audio"]
    program = build_c(
        "two_models.c",
        tmp_path / "build",
        small.directory,
        "small",
        flags=include_flags(odd.directory),
        inputs=[odd.directory / "libodd.a", small.directory / "libsmall.a"],
    )
    run_c(program, *arguments)
    for vocoder in (small, odd):
        audio = np.fromfile(tmp_path / f"{vocoder.name}.audio", np.float32)
        assert audio.tobytes() == vocoder.decode(golden(vocoder.name, "mel")).tobytes(), vocoder.name


# ---- the functions ----


def test_the_api_keeps_its_word(vocoder: Vocoder, tmp_path: Path) -> None:
    inputs = team_and_library(vocoder.directory, vocoder.name)
    run_c(build_c("test_api.c", tmp_path, vocoder.directory, vocoder.name, flags=SANITIZERS, inputs=inputs))


def test_only_the_arrays_given_are_touched(vocoder: Vocoder, tmp_path: Path) -> None:
    run_c(build_c("test_memory.c", tmp_path, vocoder.directory, vocoder.name, flags=WRAPPED))


@pytest.mark.parametrize("program", ["test_api.c", "test_memory.c"])
def test_sanitizers_find_nothing(sanitized: Path, tmp_path: Path, program: str) -> None:
    inputs = team_and_library(sanitized, "odd")
    wrap = WRAPPED if program == "test_memory.c" else []
    run_c(build_c(program, tmp_path, sanitized, "odd", flags=[*SANITIZERS, *wrap], inputs=inputs))


def test_the_thread_sanitizer_finds_nothing(odd_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--chunk", "3", "--target", "portable")
    directory = builds.library(odd_checkpoint, "odd", *options, make=["EXTRA_CFLAGS=-O1 -g -fsanitize=thread"])
    inputs = team_and_library(directory, "odd")
    for program in ("test_api.c", "test_reentrant.c"):
        run_c(build_c(program, tmp_path / "build", directory, "odd", flags=["-fsanitize=thread"], inputs=inputs))


@pytest.mark.skipif(not ALL, reason="10 s, after the sanitizers: make test-all")
def test_valgrind_finds_nothing(odd: Vocoder, tmp_path: Path) -> None:
    """Reads of memory that nothing was written to, above all; Valgrind knows AVX2, not AVX-512."""
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind here")
    program = build_c("test_memory.c", tmp_path, odd.directory, "odd", flags=WRAPPED)
    run_c(program, "first", under=["valgrind", "--quiet", "--error-exitcode=99"])


def test_the_static_assertions_hold_for_sources_alone(odd_checkpoint: Path) -> None:
    """What no build measured is 0 in the header, and null in the report."""
    directory = builds.sources(odd_checkpoint, "odd", "--target", "portable")
    report = json.loads((directory / "odd.json").read_text())
    assert report["flash_bytes"] is None and report["stack_bytes"] is None
    header = (directory / "odd.h").read_text()
    assert "#define ODD_FLASH_BYTES 0" in header and "#define ODD_STACK_BYTES 0" in header
    assert not list(directory.rglob("*.[oa]"))
