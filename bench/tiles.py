"""Times every shape of tile on this machine: `python -m bench.tiles CHECKPOINT OUT.json`; some minutes.

For each instruction set, precision, product and number of rows: all widths that leave registers for the weights, from
memory with several prefetch distances, and from the cache. compiler/isa.py holds what was chosen by it.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.report import this_machine
from compiler.arithmetic import PANEL
from compiler.checkpoint import read_checkpoint
from compiler.emit import Options, emit
from compiler.fold import fold
from compiler.formats import FORMATS, Format
from compiler.isa import TARGETS, Fetch, Isa, Tile, fetch_of
from compiler.network import read_network
from compiler.pack import pack
from compiler.plan import plan
from compiler.weights import build_weights

SOURCE = Path(__file__).with_name("tiles.c")
FLAGS = [
    *("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror", "-Wno-unused-function"),
]
REGISTERS = {"avx2": 16, "avx512": 32}
ROWS = {"avx2": (1, 2, 3, 5, 6), "avx512": (1, 2, 3, 5, 6, 8, 10, 12)}
WIDTHS = (1, 2, 4, 8)  # vectors
AHEAD = (0, 256, 512, 1024, 2048, 4096, 8192)  # weights
FROM_MEMORY, FROM_CACHE = 32 << 20, 1 << 20  # bytes


@dataclasses.dataclass(frozen=True)
class Product:
    """A matrix product of the network, and the format of its weights."""

    name: str
    format: Format
    outputs: int


@dataclasses.dataclass(frozen=True)
class Result:
    """A tile's speed in GFLOP/s: from memory, by the distance of the prefetch, and from the cache."""

    isa: str
    precision: str
    product: str
    weights: str  # their format: the precision has several
    rows: int
    columns: int
    ahead: int  # the distance that the compiler chooses for this tile in such a model
    from_memory: dict[int, float]
    from_cache: float


def candidates(isa: Isa) -> Isa:
    """An instruction set with every tile that leaves registers for a row of weights and an input."""
    tiles = []
    for rows in ROWS[isa.name]:
        widths = [v for v in WIDTHS if rows * v + min(v, 2) + 1 <= REGISTERS[isa.name]]
        tiles.append(Tile(rows, tuple(reversed(widths))))
    return dataclasses.replace(isa, tiles=tuple(tiles))


def variants(isa: Isa, products: Iterable[Product]) -> Iterator[tuple[Product, int, int]]:
    """Each product, rows and columns, in the order of variants.h."""
    for product in products:
        for tile in isa.tiles:
            for vectors in tile.vectors:
                if vectors * isa.lanes <= product.outputs:
                    yield product, tile.rows, vectors * isa.lanes


def variants_header(isa: Isa, products: Iterable[Product]) -> str:
    """variants.h: the names of the tiles. Their types and sizes bench/tiles.c has from the emitted code."""
    lines = [f"VARIANT({p.name}, {p.name.upper()}, {rows}, {columns})" for p, rows, columns in variants(isa, products)]
    return "\n".join(lines) + "\n"


def emit_tiles(checkpoint: Path, isa: Isa, precision: str, directory: Path) -> tuple[list[Product], Fetch]:
    """Writes the sources of a model with this instruction set's tiles alone; returns its products and its prefetch."""
    read = read_checkpoint(checkpoint)
    network = fold(read_network(read, {}))
    layout, tables = plan(network, [isa.max_rows], precision), pack(network, precision)
    TARGETS["tiles"] = (isa,)
    options = Options(name="tiles", precision=precision, target="tiles")
    files = emit(layout, tables, build_weights(layout, tables, 0), read.sha256, options)
    for file, data in files.items():
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_bytes(data)
    products = [Product(kernel.name, kernel.format, kernel.panels * PANEL) for kernel in layout.kernels]
    return products, fetch_of(sum(table.data.nbytes for table in tables))


def build(checkpoint: Path, isa: Isa, precision: str, work: Path, *flags: str) -> tuple[Path, list[Product], Fetch]:
    """Emits and compiles the tiles of an instruction set and a precision; returns the program as well."""
    products, fetch = emit_tiles(checkpoint, isa, precision, work)
    (work / "variants.h").write_text(variants_header(isa, products))
    layers = FORMATS[precision]
    names = [f"-DTILES_ISA_{isa.name.upper()}", f'-DTILES="tiles_tiles_{isa.name}.h"']
    if layers.is_integer:
        names += [f"-DINTEGER_ROW={layers.row_type}", f"-DINTEGER_SCALE={layers.name}_row_scale"]
        names.append(f"-DINTEGER_NEIGHBOURS={layers.neighbours}")
    sources = [str(SOURCE), "network/tiles_tables.c", "network/tiles_weights.S"]
    command = ["cc", *FLAGS, *isa.flags, *isa.integer_flags, *names, *flags, "-I.", "-Inetwork", *sources]
    subprocess.run([*command, "-o", "tiles"], cwd=work, check=True)
    return work / "tiles", products, fetch


def run(program: Path, ahead: int, size: int, times: int) -> list[float]:
    """GFLOP/s of every variant, going over so many bytes of weights so many times a round."""
    line = [str(program), str(ahead), str(size), str(times)]
    return [float(word) for word in subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.split()]


def measure(checkpoint: Path, chosen: Isa, precision: str) -> list[Result]:
    """Emits, compiles and times the tiles of an instruction set and a precision."""
    isa = candidates(chosen)
    with tempfile.TemporaryDirectory() as name:
        program, products, fetch = build(checkpoint, isa, precision, Path(name))
        memory = {ahead: run(program, ahead, FROM_MEMORY, 1) for ahead in AHEAD}
        cache = run(program, 0, FROM_CACHE, 5)
    return [
        Result(
            isa=isa.name,
            precision=precision,
            product=product.name,
            weights=product.format.name,
            rows=rows,
            columns=columns,
            ahead=fetch.weights(max(columns // PANEL, 1)),
            from_memory={ahead: memory[ahead][i] for ahead in AHEAD},
            from_cache=cache[i],
        )
        for i, (product, rows, columns) in enumerate(variants(isa, products))
    ]


def table(results: Iterable[Result], isas: Iterable[Isa]) -> str:
    """For each product and number of rows: the chosen tile and the fastest, from memory and from the cache."""
    tiles = {(isa.name, tile.rows): (isa.lanes, tile) for isa in isas for tile in isa.tiles}

    def is_chosen(result: Result) -> bool:
        lanes, tile = tiles.get((result.isa, result.rows), (0, None))
        return tile is not None and result.columns == tile.widths(FORMATS[result.weights])[0] * lanes

    groups: dict[tuple[str, str, str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.isa, result.precision, result.product, result.rows), []).append(result)
    lines = ["isa     weights  product    rows  chosen        from memory, GFLOP/s: chosen, best      from the cache"]
    for (isa, precision, product, rows), group in groups.items():
        own = next(filter(is_chosen, group), group[0])
        best = max(group, key=lambda r: max(r.from_memory.values()))
        ahead, speed = max(best.from_memory.items(), key=lambda item: item[1])
        hot = max(group, key=lambda r: r.from_cache)
        lines.append(
            f"{isa:7} {precision:8} {product:10} {rows:4}  {rows}x{own.columns:<9}"
            f"{own.from_memory[own.ahead]:8.1f}  {speed:6.1f} by {rows}x{best.columns}, {ahead} ahead".ljust(82)
            + f"{own.from_cache:8.1f}  {hot.from_cache:6.1f} by {rows}x{hot.columns}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench.tiles", description="Time every shape of tile on this machine.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("json", type=Path, metavar="OUT.json")
    parser.add_argument("--precision", default="f32,f16,w8,w8a8", metavar="P,P")
    parser.add_argument("--isa", default=",".join(ROWS), metavar="ISA,ISA")
    parser.add_argument("--date", help="to note in it")
    arguments = parser.parse_args()
    machine = this_machine()
    isas = [isa for isa in TARGETS["x86-64"] if isa.name in ROWS and isa.name in arguments.isa.split(",")]
    results = []
    for isa in isas:
        lacking = {*isa.cpu, *isa.integer_cpu} - set(machine["cpu_flags"])
        if lacking:
            print(f"{isa.name}: this CPU lacks {', '.join(sorted(lacking))}", file=sys.stderr)
            continue
        for precision in arguments.precision.split(","):
            print(f"timing {isa.name}, {precision}", file=sys.stderr)
            results += measure(arguments.checkpoint, isa, precision)
    print(table(results, isas))
    tiles = [dataclasses.asdict(result) for result in results]
    data: dict[str, Any] = {"date": arguments.date, "machine": machine, "tiles": tiles}
    arguments.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
