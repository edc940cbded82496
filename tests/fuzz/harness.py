"""Builds the libFuzzer programs for the least model, with the address and the undefined-behaviour sanitizer."""

from pathlib import Path

from tests.make_checkpoint import write_checkpoint
from tests.objects import TINY, compile_sources, make_library, rename, run_ok

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
NAME = "tiny"
# What each program links of the host tool, beside the object.
FUZZERS = {
    "api": (),
    "mel": ("tool_mel", "tool_npy", "tool_output", "tool_error", "tool_progress"),
    "wav": ("tool_wav", "tool_output", "tool_error", "tool_progress"),
    "weights": (),
}
SANITIZERS = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all"]


def compile_tiny(build: Path, fuzzer: str, *options: object) -> Path:
    """The least model's sources and its object as a fuzzer needs it, instrumented, for at most four frames."""
    weights = "blob" if fuzzer == "weights" else "incbin"
    directory = build / weights
    if directory.exists():
        return directory
    checkpoint = build / f"{NAME}.ckpt"
    write_checkpoint(checkpoint, TINY)
    compile_sources(checkpoint, directory, NAME, "--chunk", 4, "--weights", weights, *options)
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
    paths = ["-I", build, "-I", model, f'-DWEIGHTS_FILE="{model / NAME}_weights.bin"']
    run_ok(["clang", *flags, *paths, "-o", executable, *sources, model / f"lib{NAME}.a", "-lm"])
    return executable
