"""The instruction sets that the kernels are compiled for, and the tiles of the matrix products on each."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.errors import CompileError


@dataclass(frozen=True)
class Tile:
    """The widths, in vectors, of the tiles of so many rows: widest first, one panel (or a part of it) last."""

    rows: int
    vectors: tuple[int, ...]


@dataclass(frozen=True)
class Isa:
    """An instruction set: `lanes` floats in a vector; `block_panels` panels stay in the cache while rows pass over."""

    name: str
    text: str
    lanes: int
    tiles: tuple[Tile, ...]
    block_panels: int

    @property
    def max_rows(self) -> int:
        """Rows of the tallest tile."""
        return max(tile.rows for tile in self.tiles)

    def for_frames(self, frames: int) -> Isa:
        """Without the tiles that a call of at most so many frames cannot need."""
        tiles = tuple(tile for tile in self.tiles if tile.rows <= frames)
        return Isa(self.name, self.text, self.lanes, tiles, self.block_panels)


# Accumulators: at least 8, so that the latency of a fused multiply-add (4 cycles, 2 a cycle) is hidden; at most what the
# registers (16 for AVX2, 32 for AVX-512 and most scalar FPUs) hold beside the weights and the inputs.
PORTABLE = Isa("portable", "plain C", 1, tuple(Tile(rows, (4,)) for rows in range(1, 5)), 4)
AVX2 = Isa(
    "avx2",
    "AVX2 and FMA",
    8,
    (Tile(1, (8, 2)), Tile(2, (4, 2)), Tile(3, (4, 2)), Tile(4, (2,)), Tile(5, (2,)), Tile(6, (2,))),
    4,
)
AVX512 = Isa("avx512", "AVX-512", 16, (Tile(1, (8, 1)), *(Tile(rows, (4, 1)) for rows in range(2, 7))), 8)

TARGETS = {"x86-64": (PORTABLE, AVX2, AVX512), "portable": (PORTABLE,)}


def isas_of(target: str) -> tuple[Isa, ...]:
    """The instruction sets that a target's object chooses from at init."""
    if target not in TARGETS:
        raise CompileError(f"--target {target}: not known; there are: {', '.join(TARGETS)}")
    return TARGETS[target]
