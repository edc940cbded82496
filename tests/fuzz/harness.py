"""Builds the libFuzzer programs for the least model, with the address and the undefined-behaviour sanitizer."""

from pathlib import Path

from tests import builds, make_vocos
from tests.objects import (
    TINY,
    include_flags,
    rename,
    run_ok,
    source,
    weights_file,
)

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
NAME = "tiny"
# What each program links of the host tool, beside the object.
FUZZERS = {
    "api": (),
    "ahead": (),
    "mel": ("tool_mel", "tool_npy", "tool_messages"),
    "wav": ("tool_wav", "tool_messages"),
    "weights": (),
}
SANITIZERS = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all"]


def compile_tiny(fuzzer: str, *options: object, optimise: str = "-O1") -> Path:
    """A least model's sources and library, instrumented, for at most four frames; 'ahead' has one that looks ahead."""
    options = ("--chunk", 4, "--weights", "blob" if fuzzer == "weights" else "incbin", *options)
    variables = ("CC=clang", f"EXTRA_CFLAGS={optimise} -g {' '.join(SANITIZERS)}")
    checkpoint = builds.checkpoint(TINY)
    if fuzzer == "ahead":
        sizes = {**make_vocos.TINY, "padding": "center"}
        checkpoint = builds.once(
            ("vocos", sorted(sizes.items(), key=str)), lambda out: make_vocos.write_folder(out, sizes)
        )
    return builds.library(checkpoint, NAME, *options, make=variables)


def build_fuzzer(fuzzer: str, model: Path, build: Path) -> Path:
    """The executable of fuzz_FUZZER.c; the sources are written with the placeholder prefix and get the model's."""
    build.mkdir(parents=True, exist_ok=True)
    for path in HERE.glob("*.[ch]"):
        (build / path.name).write_text(rename(path.read_text(), NAME))
    executable = build / fuzzer
    sources = [build / f"fuzz_{fuzzer}.c", *(source(model, f"{NAME}_{part}.c") for part in FUZZERS[fuzzer])]
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", *warnings, *SANITIZERS, "-fsanitize=fuzzer"]
    paths = ["-I", build, *include_flags(model), f'-DWEIGHTS_FILE="{weights_file(model, NAME)}"']
    run_ok(["clang", *flags, *paths, "-o", executable, *sources, model / f"lib{NAME}.a", "-lm"])
    return executable
