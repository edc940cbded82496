"""The instruction sets that the kernels are compiled for, and the tiles of the matrix products on each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from compiler.errors import CompileError


@dataclass(frozen=True)
class Tile:
    """The widths, in vectors, of the tiles of so many rows: widest first, one panel (or a part of it) last.

    `half` and `int8` are those for such weights, where others are faster than with float ones.
    """

    rows: int
    vectors: tuple[int, ...]
    half: tuple[int, ...] = ()
    int8: tuple[int, ...] = ()

    def widths(self, weights: str) -> tuple[int, ...]:
        """The widths for weights in f32, f16 or int8 (int8a8: whose inputs are bytes)."""
        return {"f32": (), "f16": self.half, "int8": self.int8, "int8a8": self.int8}[weights] or self.vectors


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
class Isa:
    """An instruction set.

    `lanes` floats in a vector; `int8_inputs` inputs in a step of a product of integers. `block_panels` panels stay in
    the cache while many tiles of rows pass over them, as measured: bench/NOTES.md.
    """

    name: str
    text: str
    lanes: int
    tiles: tuple[Tile, ...]
    block_panels: int
    code_bytes: int  # about, of the kernels for each height of tile
    stack_bytes: int  # of the deepest call, as GCC compiles it, and a little more
    int8_inputs: int = 2

    @property
    def max_rows(self) -> int:
        """Rows of the tallest tile."""
        return max(tile.rows for tile in self.tiles)

    def for_frames(self, frames: int) -> Isa:
        """Without the tiles that a call of at most so many frames cannot need."""
        tiles = tuple(tile for tile in self.tiles if tile.rows <= frames)
        return dataclasses.replace(self, tiles=tiles)


# Accumulators: at least 8, so that the latency of a fused multiply-add (4 cycles, 2 a cycle) is hidden; at most what
# the registers (16 for AVX2, 32 for AVX-512, NEON and most scalar FPUs) hold beside the weights and the inputs. On AVX2
# a product of integers needs a register of its own; but sums take 1 cycle, so that fewer hide it.
PORTABLE = Isa(
    name="portable",
    text="plain C",
    lanes=1,
    tiles=tuple(Tile(rows, (4,)) for rows in range(1, 5)),
    block_panels=4,
    code_bytes=13_500,
    stack_bytes=1280,
)
AVX2 = Isa(
    name="avx2",
    text="AVX2 and FMA",
    lanes=8,
    tiles=(
        Tile(1, (8, 2), int8=(2,)),
        *(Tile(rows, (4, 2), int8=(2,)) for rows in (2, 3)),
        *(Tile(rows, (2,)) for rows in range(4, 7)),
    ),
    block_panels=2,
    code_bytes=12_000,
    stack_bytes=2304,
)
AVX512 = Isa(
    name="avx512",
    text="AVX-512",
    lanes=16,
    tiles=(
        Tile(1, (8, 1)),
        *(Tile(rows, (8, 1), int8=(4, 1)) for rows in (2, 3)),
        *(Tile(rows, (4, 1)) for rows in range(4, 7)),
        *(Tile(rows, (2, 1), half=(1,)) for rows in range(7, 13)),
    ),
    block_panels=4,
    code_bytes=17_000,
    stack_bytes=2304,
)
# Not measured: chosen by count. 16 to 24 accumulators hide a latency of 4 cycles on cores that do two to four a cycle.
NEON = Isa(
    name="neon",
    text="NEON",
    lanes=4,
    tiles=(
        Tile(1, (16, 4)),
        Tile(2, (8, 4)),
        Tile(3, (8, 4)),
        *(Tile(rows, (4,)) for rows in range(4, 7)),
    ),
    block_panels=4,
    code_bytes=12_000,
    stack_bytes=1664,
)

# An integer has two sums: one of its inputs' low bytes, one of the high ones.
NEON_DOT_PRODUCT = dataclasses.replace(
    NEON,
    text="NEON with dot product",
    tiles=(
        Tile(1, (16, 4), int8=(8, 4)),
        *(Tile(rows, (8, 4), int8=(4,)) for rows in (2, 3)),
        *(Tile(rows, (4,), int8=(2,)) for rows in range(4, 7)),
    ),
    int8_inputs=4,
)

TARGETS = {
    "x86-64": (PORTABLE, AVX2, AVX512),
    "aarch64": (PORTABLE, NEON),
    "aarch64-dotprod": (PORTABLE, NEON_DOT_PRODUCT),
    "portable": (PORTABLE,),
}


def isas_of(target: str) -> tuple[Isa, ...]:
    """The instruction sets that a target's object chooses from at init."""
    if target not in TARGETS:
        raise CompileError(f"--target {target}: not known; there are: {', '.join(TARGETS)}")
    return TARGETS[target]
