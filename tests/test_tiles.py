"""bench.tiles: which tiles it times, and what it says of them. The timing itself is no test's business."""

import re

import pytest

from bench.tiles import AHEAD, REGISTERS, Result, candidates, table, variants_header
from compiler.emit import MatrixProduct
from compiler.isa import AVX2, AVX512, Isa

EXPAND = MatrixProduct("expand", "", 512, 528, 1552, "int8")


@pytest.mark.parametrize("isa", [AVX2, AVX512])
def test_the_chosen_tiles_are_among_those_timed(isa: Isa) -> None:
    timed = {(tile.rows, width) for tile in candidates(isa).tiles for width in tile.vectors}
    rows = {tile.rows for tile in candidates(isa).tiles}
    chosen = {(tile.rows, tile.widths(weights)[0]) for tile in isa.tiles for weights in ("f32", "f16", "int8")}
    assert {(row, width) for row, width in chosen if row in rows} <= timed
    assert all(rows * width < REGISTERS[isa.name] for rows, width in timed)


def test_the_header_lists_each_tile_with_its_sizes() -> None:
    lines = variants_header(candidates(AVX512), [EXPAND]).splitlines()
    assert "#define INPUTS_expand 512" in lines
    tiles = [line for line in lines if line.startswith("VARIANT")]
    assert len(tiles) == sum(len(tile.vectors) for tile in candidates(AVX512).tiles)
    # 16 biases and 16 scales in float, then 512 x 16 weights
    assert "VARIANT(expand, 5, 64, int8_t, 128, 8320, (const int16_t *)x, row_scales, )" in tiles


def test_the_table_names_the_fastest_beside_the_chosen() -> None:
    slow = Result("avx512", "w8", "expand", "int8", 5, 64, 512, dict.fromkeys(AHEAD, 100.0), 120.0)
    fast = Result("avx512", "w8", "expand", "int8", 5, 32, 512, {**dict.fromkeys(AHEAD, 50.0), 2048: 140.0}, 90.0)
    (line,) = table([slow, fast], [AVX512]).splitlines()[1:]
    pattern = r"avx512 +w8 +expand +5 +5x64 +100\.0 +140\.0 by 5x32, 2048 ahead +120\.0 +120\.0 by 5x64"
    assert re.fullmatch(pattern, line), line


def test_integers_have_tiles_of_their_own() -> None:
    results = [
        Result("avx2", "w8", product, weights, 3, columns, 512, dict.fromkeys(AHEAD, speed), speed)
        for product, weights in (("embed", "f16"), ("expand", "int8"))
        for columns, speed in ((32, 90.0), (16, 80.0))
    ]
    embed, expand = table(results, [AVX2]).splitlines()[1:]
    assert re.search(r" 3x32 +90\.0 .* 90\.0 +90\.0 by 3x32$", embed), embed
    assert re.search(r" 3x16 +80\.0 .* 80\.0 +90\.0 by 3x32$", expand), expand
    for tile in AVX2.tiles:
        (width,) = tile.widths("int8")
        assert tile.rows * width + width + 2 <= REGISTERS["avx2"], "sums, weights, an input and a product"
