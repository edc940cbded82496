"""Compiles the CUDA sources with NVRTC, NVIDIA's run-time compiler: a library; no GPU nor host compiler is needed."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import CompileError

ARCHITECTURES = (80, 86, 89, 90, 100)
LEAST_ARCHITECTURE = 75  # what the kernels are written for
OVERLAPPING = 90  # the first architecture with programmatic dependent launch
PACKAGE = "nvidia-cuda-nvrtc-cu12==12.9.86"  # CUDA 12's, whose machine code drivers of CUDA 12.0 take
LIBRARY_VARIABLE = "NVRTC_LIBRARY"  # an environment variable that names the library, instead of the places below

# The first toolkit, as drivers count (1000 * major + 10 * minor), that knows an architecture, where CUDA 12.0 does not.
FIRST_TOOLKIT = {100: 12080, 101: 12080, 120: 12080, 103: 12090, 121: 12090, 88: 13000, 110: 13000}
# The first driver's release of each version of CUDA.
RELEASES = {12000: 525, 12010: 530, 12020: 535, 12030: 545, 12040: 550, 12050: 555, 12060: 560, 12080: 570, 12090: 575,
            13000: 580}  # fmt: skip

# No contraction: which products are fused with which sums is written out, as for the CPU.
OPTIONS = ("--device-as-default-execution-space", "--std=c++17", "--fmad=false", "--ptxas-options=-v")
# What NVRTC lacks without the toolkit's headers, as far as the sources need it.
STANDARD_HEADERS = {
    "stddef.h": "",
    "string.h": "",
    "stdint.h": "typedef signed char int8_t;\ntypedef short int16_t;\ntypedef int int32_t;\n"
    "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\ntypedef unsigned int uint32_t;\n"
    "typedef unsigned long long uint64_t;\n",
}


@dataclass(frozen=True)
class Kernel:
    """What the assembler says of a kernel: a thread's registers, spilled and stacked bytes; a block's shared bytes."""

    name: str
    registers: int
    spilled: int
    stack_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Image:
    """Code for one architecture (10 * major + minor): a cubin, or PTX, which later chips' drivers compile."""

    architecture: int
    is_ptx: bool
    code: bytes
    kernels: tuple[Kernel, ...] = ()
    offset: int = 0
    least_driver: int = 0  # the driver that it needs, as cuDriverGetVersion counts

    @property
    def text(self) -> str:
        """What it is."""
        return f"PTX of compute_{self.architecture}" if self.is_ptx else f"cubin of sm_{self.architecture}"

    @property
    def driver_text(self) -> str:
        """The driver that it needs."""
        release = f" (release {RELEASES[self.least_driver]})" if self.least_driver in RELEASES else ""
        return f"CUDA {self.least_driver // 1000}.{self.least_driver % 1000 // 10}{release}"


class Nvrtc:
    """The library. Raises CompileError if there is none."""

    def __init__(self) -> None:
        self._library = _load()
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = f"{major.value}.{minor.value}"
        self._number = 1000 * major.value + 10 * minor.value

    @property
    def architectures(self) -> tuple[int, ...]:
        """Those that it compiles these kernels for."""
        count = ctypes.c_int()
        self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._library.nvrtcGetSupportedArchs(found)
        return tuple(architecture for architecture in found if architecture >= LEAST_ARCHITECTURE)

    def compile(self, source: str, files: Mapping[str, str], architecture: int, *, is_ptx: bool = False) -> Image:
        """Compiles the file `source` of `files`, the others being its headers."""
        headers = {**STANDARD_HEADERS, **{name: text for name, text in files.items() if name != source}}
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
        program = ctypes.c_void_p()
        self._check(
            self._library.nvrtcCreateProgram(
                ctypes.byref(program), files[source].encode(), source.encode(), len(headers), texts, names
            )
        )
        try:
            kind = "compute" if is_ptx else "sm"
            options = [*OPTIONS, f"--gpu-architecture={kind}_{architecture}"]
            words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            failed = self._library.nvrtcCompileProgram(program, len(options), words)
            log = self._get(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if failed:
                line = next((line for line in log.splitlines() if "error" in line), log[:200] or self._text(failed))
                raise CompileError(f"NVRTC {self.version}, {kind}_{architecture}: {line}")
            code = self._get(program, "PTX" if is_ptx else "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))
        kernels = () if is_ptx else kernels_of(log)
        return Image(architecture, is_ptx, code, kernels, least_driver=driver_for(self._number, architecture, is_ptx))

    def _get(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        data = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, data))
        return data.raw

    def _check(self, status: int) -> None:
        if status:
            raise CompileError(f"NVRTC {self.version}: {self._text(status)}")

    def _text(self, status: int) -> str:
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        text: bytes = self._library.nvrtcGetErrorString(status)
        return text.decode()


def driver_for(toolkit: int, architecture: int, is_ptx: bool) -> int:
    """The driver, as cuDriverGetVersion counts, that takes what a toolkit's compiler (counted alike) makes.

    Machine code: any driver of the toolkit's major version that knows the architecture. PTX: one as new as the toolkit.
    """
    return toolkit if is_ptx else max(toolkit // 1000 * 1000, FIRST_TOOLKIT.get(architecture, 0))


def compile_images(source: str, files: Mapping[str, str], architectures: Sequence[int]) -> tuple[Image, ...]:
    """A cubin for each architecture and PTX for later chips, each at a multiple of 64 bytes.

    PTX of the first architecture runs on every later one, but its kernels do not overlap: so there is PTX of the first
    architecture that can, too.
    """
    library = Nvrtc()
    for architecture in architectures:
        if architecture not in library.architectures:
            known = ",".join(map(str, library.architectures))
            raise CompileError(f"--gpu {architecture}: NVRTC {library.version} compiles for {known}")
    first_overlapping = [architecture for architecture in sorted(architectures) if architecture >= OVERLAPPING][:1]
    ptx = sorted({min(architectures), *first_overlapping})
    wanted = [
        *((architecture, False) for architecture in architectures),
        *((architecture, True) for architecture in ptx),
    ]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        images = list(pool.map(lambda one: library.compile(source, files, one[0], is_ptx=one[1]), wanted))
    placed, offset = [], 0
    for image in images:
        placed.append(replace(image, offset=offset))
        offset += -(-len(image.code) // 64) * 64
    return tuple(placed)


def images_bytes(images: Sequence[Image]) -> bytes:
    """All images at their offsets."""
    return b"".join(image.code + bytes(-len(image.code) % 64) for image in images)


def kernels_of(log: str) -> tuple[Kernel, ...]:
    """The kernels of an assembler's log (ptxas -v)."""
    found = []
    for part in re.split(r"Compiling entry function '", log)[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        shared = re.search(r"(\d+) bytes smem", part)
        if registers and spilled:
            found.append(
                Kernel(
                    name=part.split("'")[0],
                    registers=int(registers[1]),
                    spilled=int(spilled[2]) + int(spilled[3]),
                    stack_bytes=int(spilled[1]),
                    shared_bytes=int(shared[1]) if shared else 0,
                )
            )
    return tuple(found)


def _load() -> ctypes.CDLL:
    named = os.environ.get(LIBRARY_VARIABLE)
    for path in [Path(named)] if named else candidates():
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    where = f"{LIBRARY_VARIABLE}={named} cannot be loaded" if named else "NVRTC not found"
    raise CompileError(
        f"--target cuda: {where}: install the CUDA Toolkit (12 or later), or pip install {PACKAGE}; for the CPU alone, "
        "another --target needs neither"
    )


def candidates() -> list[Path]:
    """Where the library may be: a Python package, the toolkit, the loader's own places; CUDA 12's before the rest.

    Drivers of CUDA 12 take no machine code of CUDA 13's compiler, but newer drivers take that of CUDA 12's.
    """
    found: list[Path] = []
    roots: list[str | None] = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    package = importlib.util.find_spec("nvidia")
    for root in (package.submodule_search_locations or []) if package else []:
        found += sorted(Path(root).glob("*/lib/libnvrtc.so.*"))
    for toolkit in roots:
        if toolkit:
            found += sorted(Path(toolkit).glob("lib64/libnvrtc.so.*"))
    found = [path for path in found if re.fullmatch(r"libnvrtc\.so\.\d+", path.name)]
    found += [Path("libnvrtc.so.12"), Path("libnvrtc.so.13")]
    return [*sorted(found, key=lambda path: path.suffix), Path("libnvrtc.so")]
