"""The GPU's host code (runtime/cuda/vocosc_cuda.c) over a fake driver: every call and every failure, without a GPU."""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from compiler.cuda import Launch
from compiler.emit import _render
from compiler.nvrtc import Image, images_bytes
from tests import builds
from tests.objects import (
    CFLAGS,
    ROOT,
    SANITIZERS,
    TINY,
    build_c,
    compile_sources,
    include_flags,
    make_library,
    run_c,
    run_ok,
    source,
)

NAME = "tiny"
FAKE = ROOT / "tests" / "cuda" / "fake"
RUNTIME = [path for path in sorted((ROOT / "runtime" / "cuda").iterdir()) if "libs" not in path.name]
IMAGES = [
    Image(
        *(architecture, is_ptx, f"{text} {architecture}".encode().ljust(63, b".") + b"\0"),
        offset=64 * i,
        least_driver=12090 if is_ptx else 12000,
    )
    for i, (architecture, is_ptx, text) in enumerate(
        [*((number, False, "machine code") for number in (80, 89, 90)), (80, True, "PTX"), (90, True, "PTX")]
    )
]
WEIGHTS = b"\1\2\3".ljust(511, b"\0") + b"\4"
# A made-up GPU build of four steps, whose kernels tests/c/test_cuda_runtime.c stands in for.
LAUNCHES = (
    Launch("first", (8, 1, 1), 128, True),  # the overlap of these two would be wrong, and is not asked for
    Launch("second", (16, 2, 1), 256, True, 1024),
    Launch("third", (132, 1, 1), 256, True, 200000),
    Launch("last", (4, 3, 2), 64),
)
SINGLE, FLUSH = Launch("single", (100, 1, 1), 512, shared_bytes=2048), Launch("flush", (3, 1, 1), 32)
DEVICE = SimpleNamespace(
    batch=3,
    parameter_jobs=3,
    state_bytes=f"(({NAME.upper()}_STATE_BYTES + 255) / 256 * 256)",
    value_bytes=f"{NAME.upper()}_CUDA_STATE_BYTES",
    scratch_bytes=1024,
    weight_bytes=len(WEIGHTS),
    launches=LAUNCHES,
    ways={"launches": LAUNCHES, "single_launch": (SINGLE,), "flush_launch": (FLUSH,)},
    resident=None,
    library_steps=[],
    needs_libraries=False,
)


@pytest.fixture
def directory() -> Path:
    """A model compiled for the CPU; beside it the GPU's host code, a made-up model's tables, and the fake driver."""

    def make(out: Path) -> None:
        compile_sources(builds.checkpoint(TINY), out, NAME, "--chunk", "4", "--target", "portable")
        make_library(out, NAME, builds.lightly(builds.checkpoint(TINY)))
        values = {
            **{"device": DEVICE, "images": IMAGES, "images_bytes": len(images_bytes(IMAGES))},
            "options": SimpleNamespace(name=NAME, gpus=(80, 89, 90)),
            "plan": SimpleNamespace(counts_frames=False),
        }
        for path in RUNTIME:
            file, text = _render(path, NAME, values)
            (out / ("" if path.name == "vocosc_cuda.h" else "network") / file).write_text(text)
        (out / "network" / f"{NAME}_cuda_images.bin").write_bytes(images_bytes(IMAGES))
        (out / "network" / f"{NAME}_cuda_weights.bin").write_bytes(WEIGHTS)
        for path in FAKE.glob("fake_driver.*"):
            file, text = _render(path, NAME, {})
            (out / "network" / file).write_text(text)
        fake = [out / "network" / "fake_driver.c", "-o", out / "libcuda.so.1"]
        run_ok(["cc", *CFLAGS, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", *fake])

    return builds.once("host code", make)


def object_of(directory: Path, build: Path, *flags: str) -> Path:
    """The host code and its tables, compiled as the object's makefile does, into `build`."""
    standard = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-fno-strict-aliasing"]
    built = build / "host_code.o"
    objects = []
    for part in (".c", "_tables.c", "_data.S"):
        objects.append(build / f"part{part}.o")
        source = f"network/{NAME}_cuda{part}"
        run_ok(["cc", *standard, *flags, "-I.", "-c", "-o", objects[-1], source], cwd=directory)
    run_ok(["cc", "-r", "-nostdlib", "-o", built, *objects])
    return built


def test_the_host_code_keeps_its_word(directory: Path, tmp_path: Path) -> None:
    inputs = [object_of(directory, tmp_path, *SANITIZERS), directory / f"lib{NAME}.a", directory / "libcuda.so.1"]
    flags = [*SANITIZERS, f"-Wl,-rpath,{directory}"]
    run_c(build_c("test_cuda_runtime.c", tmp_path, directory, NAME, flags=flags, inputs=inputs))


def test_only_dlopen_and_dlsym_are_needed_beside_memory_functions(directory: Path, tmp_path: Path) -> None:
    listing = run_ok(["nm", "-P", "-u", object_of(directory, tmp_path)])
    needed = {line.split()[0] for line in listing.splitlines()}
    assert needed - {"_GLOBAL_OFFSET_TABLE_"} <= {"dlopen", "dlsym", "memcpy", "memset", f"{NAME}_status_text"}
    assert {"dlopen", "dlsym"} <= needed


# ---- the driver's declarations ----


def cuda_include() -> Path | None:
    """Where CUDA's own headers are, if they are anywhere that is usual."""
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/usr"]
    found = [Path(place) / "include" for place in places if place]
    return next((path for path in found if (path / "cuda.h").is_file()), None)


def names(text: str) -> set[str]:
    """The driver's functions that a source names."""
    return set(re.findall(r'(?:"|X\()(cu[A-Z]\w+)[",]', text))


def test_the_drivers_names_are_those_of_the_stub_library() -> None:
    """Ours, and the bench's: NVIDIA's library to link against exports them all."""
    include = cuda_include()
    stubs = [] if include is None else [include.parent / folder / "stubs" / "libcuda.so" for folder in ("lib64", "lib")]
    stub = next((path for path in stubs if path.is_file()), None)
    if stub is None:
        pytest.skip("no stub of libcuda.so here")
    exported = {line.split()[0] for line in run_ok(["nm", "-D", "-P", "--defined-only", stub]).splitlines()}
    used = names(source(ROOT / "runtime", "vocosc_cuda_driver.h").read_text())
    measured = names((ROOT / "bench" / "gpu_driver.h").read_text())
    assert len(used) > 25 and len(measured) > 15
    assert used | measured <= exported


def test_the_declarations_agree_with_cudas_header(tmp_path: Path) -> None:
    """Constants, structs, and of each function the symbol, the number of arguments and their sizes."""
    include = cuda_include()
    if include is None:
        pytest.skip("no cuda.h here")
    text = source(ROOT / "runtime", "vocosc_cuda_driver.h").read_text()
    constants = re.findall(r"^  (CU\w+) = (\d+)", text, re.MULTILINE)
    functions = re.findall(r"^  X\((\w+), \w+,\s\((.*?)\)\)", text.replace(" \\\n   ", ""), re.MULTILINE)
    assert len(constants) > 30 and len(functions) > 25
    lines = ["#include <cuda.h>", "#include <stddef.h>", "#include <stdint.h>"]
    # Without the constants, which have CUDA's names.
    lines.append(re.sub(r"^enum \{.*?^\};", "", text, flags=re.MULTILINE | re.DOTALL))
    lines += [f'_Static_assert((int){name} == {value}, "{name}");' for name, value in constants]
    for ours, theirs in [
        ("vocosc_cuda_launch_config, grid[2]", "CUlaunchConfig, gridDimZ"),
        ("vocosc_cuda_launch_config, block[2]", "CUlaunchConfig, blockDimZ"),
        ("vocosc_cuda_launch_config, shared_bytes", "CUlaunchConfig, sharedMemBytes"),
        ("vocosc_cuda_launch_config, stream", "CUlaunchConfig, hStream"),
        ("vocosc_cuda_launch_config, attributes", "CUlaunchConfig, attrs"),
        ("vocosc_cuda_launch_config, attribute_count", "CUlaunchConfig, numAttrs"),
        ("vocosc_cuda_launch_attribute, id", "CUlaunchAttribute, id"),
        ("vocosc_cuda_launch_attribute, value", "CUlaunchAttribute, value"),
        ("vocosc_cuda_rows_copy, from.pitch", "CUDA_MEMCPY2D, srcPitch"),
        ("vocosc_cuda_rows_copy, to.memory", "CUDA_MEMCPY2D, dstMemoryType"),
        ("vocosc_cuda_rows_copy, to.device", "CUDA_MEMCPY2D, dstDevice"),
        ("vocosc_cuda_rows_copy, bytes", "CUDA_MEMCPY2D, WidthInBytes"),
        ("vocosc_cuda_node_parameters, block[2]", "CUDA_KERNEL_NODE_PARAMS, blockDimZ"),
        ("vocosc_cuda_node_parameters, shared_bytes", "CUDA_KERNEL_NODE_PARAMS, sharedMemBytes"),
        ("vocosc_cuda_node_parameters, parameters", "CUDA_KERNEL_NODE_PARAMS, kernelParams"),
        ("vocosc_cuda_node_parameters, context", "CUDA_KERNEL_NODE_PARAMS, ctx"),
    ]:
        lines.append(f'_Static_assert(offsetof({ours}) == offsetof({theirs}), "{ours}");')
    lines.append('_Static_assert(sizeof(vocosc_cuda_launch_config) == sizeof(CUlaunchConfig), "config");')
    lines.append('_Static_assert(sizeof(vocosc_cuda_rows_copy) == sizeof(CUDA_MEMCPY2D), "rows");')
    lines.append('_Static_assert(sizeof(vocosc_cuda_node_parameters) == sizeof(CUDA_KERNEL_NODE_PARAMS), "node");')
    lines.append('_Static_assert(sizeof(vocosc_cuda_launch_attribute) == sizeof(CUlaunchAttribute), "attribute");')
    # Calls with our types compile only if theirs take as many arguments, of no smaller size.
    for symbol, arguments in functions:
        names = ", ".join(re.findall(r"(\w+)(?:,|$)", arguments))
        plain = re.sub(r"_v\d+$", "", symbol)
        lines.append(
            f"int call_{symbol}({arguments}); int call_{symbol}({arguments}) {{ return (int){plain}({names}); }}"
        )
    program = tmp_path / "agree.c"
    program.write_text("\n".join(lines) + "\n")
    lax = ["-Wno-incompatible-pointer-types"]  # int for an enum, uint64_t for unsigned long long
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", *lax, "-I", include]
    run_ok([*command, "-c", "-o", tmp_path / "agree.o", program])
    called = {line.split()[0] for line in run_ok(["nm", "-P", "-u", tmp_path / "agree.o"]).splitlines()}
    assert {symbol for symbol, _ in functions} == {
        name for name in called if name.startswith("cu")
    }  # CUDA's header agrees on the versions


@pytest.mark.parametrize("compiler", [["cc", "-std=c11"], ["g++", "-std=c++11"]])
def test_the_header_stands_alone(directory: Path, tmp_path: Path, compiler: list[str]) -> None:
    program = tmp_path / ("main.c" if compiler[0] == "cc" else "main.cpp")
    upper = NAME.upper()
    program.write_text(
        f'#include "{NAME}_cuda.h"\n'
        f"static {NAME}_cuda cuda;\n"
        f"static unsigned char memory[{upper}_CUDA_MEMORY_BYTES(2)];\n"
        f"int main(void) {{ return (int)sizeof memory * 0 + {NAME}_cuda_wait(&cuda, 0); }}\n"
    )
    strict = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    run_ok([*compiler, *strict, *include_flags(directory), "-c", "-o", tmp_path / "main.o", program])
