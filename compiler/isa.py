"""The instruction sets that the kernels are compiled for, a row each: all that the rest has to know of them.

To add one: a row here, its place in TARGETS, and templates/network/vocosc_vector_NAME.h.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import CompileError
from .formats import Format

# CPUID's bits of what /proc/cpuinfo calls so
_CPUID = {
    "fma": ("1_ecx", 12),
    "f16c": ("1_ecx", 29),
    "avx2": ("7_ebx", 5),
    "avx512f": ("7_ebx", 16),
    "avx512dq": ("7_ebx", 17),
    "avx512bw": ("7_ebx", 30),
    "avx512vl": ("7_ebx", 31),
    "avx512_vnni": ("7_ecx", 11),
    "amx_tile": ("7_edx", 24),
    "amx_int8": ("7_edx", 25),
}
_XSAVE = (("1_ecx", 27), ("1_ecx", 28))  # OSXSAVE and AVX: the operating system saves wide registers


@dataclass(frozen=True)
class Tile:
    """The widths, in vectors, of the tiles of so many rows: widest first, one panel (or a part of it) last.

    `half` and `integer` are those for such weights, where others are faster than with float ones; `grouped` those for
    integers whose groups have sums of their own.
    """

    rows: int
    vectors: tuple[int, ...]
    half: tuple[int, ...] = ()
    integer: tuple[int, ...] = ()
    grouped: tuple[int, ...] = ()

    def widths(self, number_format: Format) -> tuple[int, ...]:
        """The widths for weights of a format."""
        if number_format.group:
            return self.grouped or self.integer or self.vectors
        other = self.integer if number_format.is_integer else self.half if number_format.weight_bytes == 2 else ()
        return other or self.vectors


@dataclass(frozen=True)
class Fetch:
    """How far ahead of its use a weight is fetched, and into the cache of which level.

    `panel` weights ahead in each panel of a tile, but no more than `tile` in all of them together.
    """

    panel: int
    tile: int
    level: int

    def weights(self, panels: int) -> int:
        """The weights in each panel of a tile of so many."""
        return min(self.panel, self.tile // panels)


def fetch_of(weight_bytes: int) -> Fetch:
    """The prefetch of a model's weights, by whether they stay in a third-level cache. Measured: bench/NOTES.md."""
    return Fetch(512, 4096, level=1) if weight_bytes <= 20 << 20 else Fetch(8192, 8192, level=2)


@dataclass(frozen=True)
class Order:
    """The order of a panel's weights of a format, where an instruction set multiplies whole panels by functions of its
    own (vocosc_products_....h) and wants another order: [16 / outputs][inputs / inputs here][outputs][inputs here].

    `shuffle` is the order of the inputs that lie side by side, or, `by_fours`, around fours of outputs: [outputs /
    4][inputs here][4]. All bits of `flip` are changed in each element, so that two's complement has an offset.
    """

    format: str
    outputs: int
    shuffle: tuple[int, ...] = (0,)
    by_fours: bool = False
    flip: int = 0


@dataclass(frozen=True)
class ManyRows:
    """So many rows or more, times weights of a format: an instruction set has functions of its own for them."""

    format: str
    rows: int

    def are_among(self, formats: Iterable[Format], rows: int) -> bool:
        """Whether a build with weights of such formats, in calls of at most so many rows, has such products."""
        return rows >= self.rows and self.format in {found.name for found in formats}


@dataclass(frozen=True)
class Isa:
    """An instruction set, from which follow the target's name and number in C, its dispatch, and how it is compiled.

    Its vectors are templates/network/vocosc_vector_NAME.h. `lanes` floats are in a vector. `block_panels` panels stay
    in the cache while many tiles of rows pass over them, as measured: bench/NOTES.md. `flags` are the compiler's, and
    `cpu` what x86 CPUs must have, by /proc/cpuinfo's names; those with `integer_` are for integer weights, besides.
    """

    name: str
    number: int  # of NAME_target in C: never reused
    text: str
    lanes: int = 0
    tiles: tuple[Tile, ...] = ()
    block_panels: int = 0
    code_bytes: int = 0  # about, of the kernels for each height of tile
    stack_bytes: tuple[int, int, int] = (0, 0, 0)  # bounds on the deepest call, as GCC compiles it, for weights in
    # float, half and integers
    flags: tuple[str, ...] = ()
    gcc_flags: tuple[str, ...] = ()  # which clang does not know, nor need
    make_flags: str = ""  # more of them, as make works them out
    cpu: tuple[str, ...] = ()
    shared_loads: tuple[tuple[str, int], ...] = ()  # formats whose weights it loads for so many vectors at once
    orders: tuple[Order, ...] = ()  # of the formats that it multiplies whole panels of
    wide_rows: bool = False  # it multiplies no bytes: rows of them become int16
    row_sums: bool = False  # its products of integers want the sums of rows
    vector_order: Order | None = None  # of halves that it multiplies by vectors without denormals: compiler/arrange.py
    small_halves: bool = False  # a half is cheapest to widen as 2^-112 of its value: compiler/arrange.py
    headers: tuple[str, ...] = ()  # what its vectors' header includes, in templates/network/vocosc_....h
    is_optional: bool = False  # a module of its own has it, and tries at init whether its multiply-adds are fused
    integer_flags: tuple[str, ...] = ()
    integer_cpu: tuple[str, ...] = ()
    base: str = ""  # the instruction set whose kernels it runs, but for products of
    many_rows: ManyRows | None = None  # A build that has none does without it.
    asks: bool = False  # the process must ask its operating system before: chosen by its name alone

    @property
    def kernels(self) -> str:
        """The instruction set whose kernels run."""
        return self.base or self.name

    def vectors_loaded(self, format_name: str) -> int:
        """The vectors that a load of a format's weights is for."""
        return dict(self.shared_loads).get(format_name, 1)

    def order(self, format_name: str) -> Order | None:
        """The order of a format's weights, if it is not the usual one."""
        return next((order for order in self.orders if order.format == format_name), None)

    @property
    def max_rows(self) -> int:
        """Rows of the tallest tile."""
        return max(tile.rows for tile in self.tiles)

    def for_build(self, frames: int, *, has_integers: bool) -> Isa:
        """Without the tiles that a call of at most so many frames cannot need; with what integer weights take."""
        tiles = tuple(tile for tile in self.tiles if tile.rows <= frames)
        more = (self.integer_flags, self.integer_cpu) if has_integers else ((), ())
        return dataclasses.replace(self, tiles=tiles, flags=self.flags + more[0], cpu=self.cpu + more[1])

    def cpuid(self, register: str) -> str:
        """The mask, in C, of the bits that CPUID must have set in a register: 1_ecx, 7_ebx, 7_ecx or 7_edx."""
        bits = (*_XSAVE, *(_CPUID[name] for name in self.cpu))
        return f"{sum(1 << bit for place, bit in bits if place == register):#x}u"

    @property
    def saved_state(self) -> str:
        """The mask, in C, of the registers (XCR0) that the operating system must save: of AVX, AVX-512, AMX."""
        if "amx_tile" in self.cpu:
            return "0x600e6u"
        return "0xe6u" if "avx512f" in self.cpu else "0x06u"


# Accumulators: at least 8, so that the latency of a fused multiply-add (4 cycles, 2 a cycle) is hidden; at most what
# the registers (16 for AVX2, 32 for AVX-512, NEON and most scalar FPUs) hold beside the weights and the inputs. On AVX2
# a product of integers needs a register of its own; but sums take 1 cycle, so that fewer hide it.
PORTABLE = Isa(
    name="portable",
    number=1,
    text="plain C",
    lanes=1,
    tiles=tuple(Tile(rows, (4,)) for rows in range(1, 5)),
    block_panels=4,
    code_bytes=13_500,
    stack_bytes=(896, 896, 1024),
    flags=("-fno-tree-vectorize",),  # vectorised it would be no faster, but with integer weights four times as large
)
# Vectors of 128 bits without a fused multiply-add, which is emulated: a tile of floats takes 40 instructions for each
# of its accumulators, so that few suffice.
SSE2 = Isa(
    name="sse2",
    number=8,
    text="SSE2, as every x86-64 has it: fused multiply-adds are emulated",
    lanes=4,
    tiles=(Tile(1, (4,)), *(Tile(rows, (2,)) for rows in (2, 3, 4))),
    block_panels=4,
    code_bytes=20_000,
    stack_bytes=(1280, 1280, 1280),
    headers=("simd128_types", "vector_simd128"),
)
AVX2 = Isa(
    name="avx2",
    number=2,
    text="AVX2, FMA and F16C",
    lanes=8,
    tiles=(
        Tile(1, (8, 2), integer=(2,)),
        *(Tile(rows, (4, 2), integer=(2,)) for rows in (2, 3)),
        *(Tile(rows, (2,), grouped=(1,)) for rows in range(4, 7)),
    ),
    block_panels=2,
    code_bytes=12_000,
    stack_bytes=(1280, 1856, 2176),
    flags=("-mavx2", "-mfma", "-mf16c"),
    cpu=("fma", "f16c", "avx2"),
)
AVX512 = Isa(
    name="avx512",
    number=3,
    text="AVX-512 F, VL, BW and DQ; with integer weights VNNI",
    lanes=16,
    tiles=(
        Tile(1, (8, 1), grouped=(4, 1)),
        *(Tile(rows, (8, 1), integer=(4, 1), grouped=(2, 1)) for rows in (2, 3)),
        *(Tile(rows, (4, 1), grouped=(2, 1)) for rows in range(4, 7)),
        *(Tile(rows, (2, 1), half=(1,), grouped=(1,)) for rows in range(7, 13)),
    ),
    block_panels=4,
    code_bytes=17_000,
    stack_bytes=(1280, 1856, 2176),
    flags=("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma"),
    cpu=("fma", "f16c", "avx2", "avx512f", "avx512dq", "avx512bw", "avx512vl"),
    integer_flags=("-mavx512vnni",),
    integer_cpu=("avx512_vnni",),
)
# Its registers are 8 KB: Linux saves them for processes that have asked for them, and no others.
AMX = Isa(
    name="amx",
    number=128,
    text="AVX-512 with VNNI, and AMX's tiles for 16 rows of w8a8 or more",
    cpu=(*AVX512.cpu, "amx_tile", "amx_int8"),
    integer_cpu=AVX512.integer_cpu,
    headers=("products_amx",),
    base="avx512",
    many_rows=ManyRows("w8a8", 16),
    asks=True,
)
# Not measured: chosen by count. 16 to 24 accumulators hide a latency of 4 cycles on cores that do two to four a cycle.
NEON = Isa(
    name="neon",
    number=5,
    text="NEON, as every AArch64 has it; with --target aarch64-dotprod, dot products too",
    lanes=4,
    tiles=(
        Tile(1, (16, 4)),
        Tile(2, (8, 4)),
        Tile(3, (8, 4), integer=(4,)),
        *(Tile(rows, (4,)) for rows in (4, 5)),
        Tile(6, (4,), integer=(2,), grouped=(4,)),
    ),
    block_panels=4,
    code_bytes=12_000,
    stack_bytes=(768, 992, 1600),
    # It would move all loads of a tile to the front, and spill accumulators; and it would call GELU, sine and exp,
    # whose constants are then loaded for each vector.
    gcc_flags=("-fno-schedule-insns", "--param=inline-unit-growth=400"),
    shared_loads=(("f16", 2), ("w8", 4), ("w4", 4)),
)

# An integer has two sums: one of its inputs' low bytes, one of the high ones.
NEON_DOT_PRODUCT = dataclasses.replace(
    NEON,
    stack_bytes=(768, 992, 1088),
    tiles=(
        Tile(1, (16, 4), integer=(8, 4)),
        *(Tile(rows, (8, 4), integer=(4,)) for rows in (2, 3)),
        *(Tile(rows, (4,), integer=(2,)) for rows in range(4, 7)),
    ),
    flags=("-march=armv8.2-a+dotprod",),
    shared_loads=(("f16", 2),),
)

# Cortex-M with the DSP extension and an FPU. An FPU of 32 registers holds 5 rows of 4 outputs beside their weights. Of
# 14 integer registers, 5 rows take as many sums, 4 inputs of two rows, one word of weights and one to unpack it.
_FPU_ORDERS = (Order("f32", outputs=4), Order("f16", outputs=4))
_DSP_ORDERS = (
    *(Order(name, outputs=2, shuffle=(0, 2, 1, 3)) for name in ("w8", "w8a8")),
    Order("w16", outputs=2, shuffle=(0, 1, 2, 3)),
    Order("w4", outputs=2, shuffle=(0, 2, 1, 3, 4, 6, 5, 7)),
)
DSP = Isa(
    name="dsp",
    number=6,
    text="Armv7E-M and Armv8-M with DSP: Cortex-M4, M7, M33, M35P",
    lanes=1,
    tiles=tuple(Tile(rows, (4,)) for rows in range(1, 6)),
    block_panels=4,
    code_bytes=2_500,
    stack_bytes=(1024, 1024, 1024),
    flags=("-fno-tree-vectorize",),
    make_flags="$(if $(filter -mcpu=cortex-m7% -mfpu=fpv5%,$(TARGET_CFLAGS)),-DVEC_FPV5)",
    orders=(*_FPU_ORDERS, *_DSP_ORDERS),
    wide_rows=True,
    headers=("vector_portable", "vector_fpu", "products_fpu", "products_dsp"),
)
MVE = dataclasses.replace(
    DSP,
    name="mve",
    number=7,
    text="Armv8.1-M with MVE: Cortex-M55, M85",
    orders=(
        *_FPU_ORDERS,
        *(Order(name, outputs=1) for name in ("w8", "w8a8", "w16")),
        Order("w4", outputs=1, shuffle=tuple(range(16))),
    ),
    wide_rows=False,
    vector_order=Order("f16", outputs=4, shuffle=(0, 1)),
    headers=("vector_portable", "vector_fpu", "products_fpu", "products_mve", "rows_mve"),
)
# Not measured: chosen by count. 32 registers of each kind hold 5 rows of 4 sums.
RISCV = Isa(
    name="riscv",
    number=9,
    text="RISC-V, RV32 or RV64, with M and F",
    lanes=1,
    tiles=tuple(Tile(rows, (4,)) for rows in range(1, 6)),
    block_panels=4,
    code_bytes=3_000,
    stack_bytes=(1152, 1280, 4096),
    flags=("-fno-tree-vectorize",),
    orders=(
        *_FPU_ORDERS,
        *(Order(name, outputs=8, flip=0x80) for name in ("w8", "w8a8")),
        Order("w16", outputs=8, flip=0x8000),
        Order("w4", outputs=8, shuffle=(0, 1), by_fours=True, flip=0x88),
    ),
    wide_rows=True,
    row_sums=True,
    small_halves=True,
    headers=("vector_portable", "products_fmadd", "products_riscv"),
)

# Not measured: chosen by count. A vector takes four registers of 32: a tile holds its sums, weights, and little else.
# The stack is that of registers of 256 bits, as seen under QEMU: what stands there of vectors is as long as they are.
RVV = Isa(
    name="rvv",
    number=12,
    text="RISC-V, RV32 or RV64, with V 1.0",
    lanes=16,
    tiles=(
        Tile(1, (4, 1)),
        Tile(2, (2, 1)),
        Tile(3, (2, 1), integer=(1,)),
        *(Tile(rows, (1,)) for rows in range(4, 7)),
    ),
    block_panels=4,
    code_bytes=12_000,
    stack_bytes=(4352, 4352, 4096),
    small_halves=True,
)

# A module is valid only where the engine knows all of its instructions, so there are two: one of plain SIMD, and one
# that has relaxed multiply-adds, too, which may be fused or not. V8 keeps 15 vectors in registers on x86-64.
WASM = dataclasses.replace(
    SSE2,
    name="wasm",
    number=10,
    text="WebAssembly's SIMD: fused multiply-adds are emulated",
    stack_bytes=(1024, 1024, 1024),
)
WASM_RELAXED = Isa(
    name="wasm_relaxed",
    number=11,
    text="WebAssembly's relaxed SIMD, where its multiply-adds are fused",
    lanes=4,
    tiles=(
        Tile(1, (8, 4), integer=(4,)),
        Tile(2, (4,)),
        Tile(3, (4,), integer=(2,)),
        *(Tile(rows, (2,)) for rows in range(4, 7)),
    ),
    block_panels=4,
    code_bytes=12_000,
    stack_bytes=(1024, 1024, 1024),
    flags=("-mrelaxed-simd",),
    headers=("vector_wasm", "simd128_types", "vector_simd128"),
    is_optional=True,
)

# OpenBLAS and FFTW3, in place of kernels of our own: alone in its build, and not bit for bit
LIBS = Isa(name="libs", number=4, text="OpenBLAS and FFTW3 (--link libs): not bit for bit")

# In C, by their numbers; those that a process must ask for have 128 or more.
ISAS = (PORTABLE, AVX2, AVX512, LIBS, NEON, DSP, MVE, SSE2, RISCV, WASM, WASM_RELAXED, RVV, AMX)

TARGETS = {
    "x86-64": (PORTABLE, SSE2, AVX2, AVX512, AMX),
    "aarch64": (PORTABLE, NEON),
    "aarch64-dotprod": (PORTABLE, NEON_DOT_PRODUCT),
    "armv7e-m": (DSP,),
    "armv8.1-m": (MVE,),
    "riscv": (RISCV,),
    "riscv-v": (RVV,),
    "portable": (PORTABLE,),
    "wasm": (WASM, WASM_RELAXED),
}


# Those without an operating system, and the flags that name their smallest core.
BARE_TARGETS = {
    "armv7e-m": "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "armv8.1-m": "-mthumb -mcpu=cortex-m55+nomve.fp -mfloat-abi=hard",
}


def isas_of(target: str) -> tuple[Isa, ...]:
    """The instruction sets that a target's object may have, the best last. A build has those that serve it."""
    if target not in TARGETS:
        raise CompileError(f"--target {target}: not known; there are: {', '.join(TARGETS)}")
    return TARGETS[target]
