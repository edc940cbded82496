"""Builds the libFuzzer programs for the least model, with the address and the undefined-behaviour sanitizer."""

from pathlib import Path

from tests.make_checkpoint import write_checkpoint
from tests.objects import TINY, compile_sources, make_library, rename, run_ok

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
NAME = "tiny"
# What each program links of the host tool, beside the object.
READERS = ("tool_error", "tool_progress")
FUZZERS = {
    "api": (),
    "mel": ("tool_mel", "tool_npy", "tool_output", *READERS),
    "wav": ("tool_wav", "tool_output", *READERS),
}
SANITIZERS = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all"]


def compile_tiny(build: Path, *options: object) -> Path:
    """The least model's sources and its object, instrumented; for at most four frames."""
    checkpoint = build / f"{NAME}.ckpt"
    write_checkpoint(checkpoint, TINY)
    directory = compile_sources(checkpoint, build / "model", NAME, "--chunk", 4, *options)
    make_library(directory, NAME, "CC=clang", f"EXTRA_CFLAGS=-O1 -g {' '.join(SANITIZERS)}")
    return directory


def build_fuzzer(fuzzer: str, model: Path, build: Path) -> Path:
    """The executable of fuzz_FUZZER.c; the sources are written with the placeholder prefix and get the model's."""
    build.mkdir(parents=True, exist_ok=True)
    for path in HERE.glob("*.[ch]"):
        (build / path.name).write_text(rename(path.read_text(), NAME))
    executable = build / fuzzer
    sources = [build / f"fuzz_{fuzzer}.c", *(model / f"{NAME}_{source}.c" for source in FUZZERS[fuzzer])]
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", *warnings, *SANITIZERS, "-fsanitize=fuzzer"]
    run_ok(["clang", *flags, "-I", build, "-I", model, "-o", executable, *sources, model / f"lib{NAME}.a", "-lm"])
    return executable
