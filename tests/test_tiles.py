"""bench.tiles: which tiles it times, that it calls them as they are, and what it says of them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.report import this_machine
from bench.tiles import AHEAD, REGISTERS, Product, Result, build, candidates, run, table, variants, variants_header
from compiler.formats import FORMATS
from compiler.isa import AVX2, AVX512, Isa
from tests.objects import every


@pytest.mark.parametrize("isa", [AVX2, AVX512])
def test_the_chosen_tiles_are_among_those_timed(isa: Isa) -> None:
    timed = {(tile.rows, width) for tile in candidates(isa).tiles for width in tile.vectors}
    rows = {tile.rows for tile in candidates(isa).tiles}
    chosen = {(tile.rows, tile.widths(found)[0]) for tile in isa.tiles for found in FORMATS.values()}
    assert {(row, width) for row, width in chosen if row in rows} <= timed
    assert all(rows * width < REGISTERS[isa.name] for rows, width in timed)


def test_the_header_lists_each_tile() -> None:
    lines = variants_header(candidates(AVX512), [Product("expand", FORMATS["w8"], 1536)]).splitlines()
    assert len(lines) == sum(len(tile.vectors) for tile in candidates(AVX512).tiles)
    assert "VARIANT(expand, EXPAND, 5, 64)" in lines


CASES = [(AVX2, "w8a8"), *every([(AVX2, "f32"), (AVX512, "w8"), (AVX512, "w8a8")], [])]


@pytest.mark.parametrize(("isa", "precision"), CASES)
def test_tiles_are_called_with_their_own_types_within_their_memory(
    isa: Isa, precision: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    """The lowest and the tallest, in every width and format. Every warning is an error, AddressSanitizer watches."""
    found = candidates(isa)
    some = replace(found, tiles=(found.tiles[0], found.tiles[-1]))
    checks = ["-O1", "-g", "-fsanitize=address", "-fno-sanitize-recover=all"]
    program, products, _ = build(small_checkpoint, some, precision, tmp_path, *checks)
    if {*isa.cpu, *isa.integer_cpu} <= set(this_machine()["cpu_flags"]):
        speeds = run(program, 512, 1 << 18, 1)
        assert len(speeds) == len(list(variants(some, products))) > 2 * len(products)
        assert all(speed > 0 for speed in speeds)


def test_the_table_names_the_fastest_beside_the_chosen() -> None:
    slow = Result("avx512", "w8", "expand", "w8", 5, 64, 512, dict.fromkeys(AHEAD, 100.0), 120.0)
    fast = Result("avx512", "w8", "expand", "w8", 5, 32, 512, {**dict.fromkeys(AHEAD, 50.0), 2048: 140.0}, 90.0)
    (line,) = table([slow, fast], [AVX512]).splitlines()[1:]
    pattern = r"avx512 +w8 +expand +5 +5x64 +100\.0 +140\.0 by 5x32, 2048 ahead +120\.0 +120\.0 by 5x64"
    assert re.fullmatch(pattern, line), line


def test_each_format_has_tiles_of_its_own() -> None:
    results = [
        Result("avx2", precision, product, weights, 3, columns, 512, dict.fromkeys(AHEAD, speed), speed)
        for precision, product, weights in (
            ("w8", "embed", "f16"),
            ("w8", "expand", "w8"),
            ("w8a8", "expand", "w8a8"),
        )
        for columns, speed in ((32, 90.0), (16, 80.0))
    ]
    embed, *expand = table(results, [AVX2]).splitlines()[1:]
    assert re.search(r" 3x32 +90\.0 .* 90\.0 +90\.0 by 3x32$", embed), embed
    assert len(expand) == 2
    for line in expand:
        assert re.search(r" 3x16 +80\.0 .* 80\.0 +90\.0 by 3x32$", line), line
    for tile in AVX2.tiles:
        (width,) = tile.widths(FORMATS["w8"])
        assert tile.rows * width + width + 2 <= REGISTERS["avx2"], "sums, weights, an input and a product"
