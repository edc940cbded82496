"""Counts the instructions of the matrix products' inner loops on AArch64: `python -m bench.instructions CHECKPOINT`.

For instruction sets that nobody here can time. It needs Debian's cross compiler.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from compiler.emit import ROOT

CROSS = "aarch64-linux-gnu-"
TARGETS = ("aarch64", "aarch64-dotprod")
# Of float, of int16 and of int8; an int16 is two int8, so that only half of the 16 products of sdot count.
MULTIPLY_ADDS = {"fmla": 4, "smlal": 4, "smlal2": 4, "sdot": 8}


@dataclass(frozen=True)
class InnerLoop:
    """The loop over the inputs of a tile, in instructions."""

    tile: str
    instructions: int
    multiply_adds: int
    stack: int  # loads and stores of what the registers could not hold


def inner_loops(disassembly: str) -> list[InnerLoop]:
    """Of every tile in what objdump -d --no-show-raw-insn printed."""
    loops = []
    for tile, body in re.findall(r"^[0-9a-f]+ <(\w+_\d+x\d+)>:\n((?:.+\n)+)", disassembly, re.MULTILINE):
        lines = re.findall(r"^ *([0-9a-f]+):\t(.+)$", body, re.MULTILINE)
        index = {address: i for i, (address, _) in enumerate(lines)}
        back = [
            (index[branch[1]], i)
            for i, (_, text) in enumerate(lines)
            if (branch := re.match(r"(?:b\.\w+|cbnz)\t(?:\w+, )?([0-9a-f]+) ", text)) and index.get(branch[1], i) < i
        ]
        first, last = max(back, key=lambda loop: loop[1] - loop[0])
        texts = [text for _, text in lines[first : last + 1]]
        names = [text.split("\t")[0] for text in texts]
        multiply_adds = sum(MULTIPLY_ADDS.get(name, 0) for name in names)
        loops.append(InnerLoop(tile, len(texts), multiply_adds, sum("[sp" in text for text in texts)))
    return loops


def disassemble(checkpoint: Path, target: str, precision: str) -> str:
    """The NEON kernels of a target, compiled as the object's are."""
    options = ["--name", "tiles", "--chunk", "6", "--precision", precision, "--target", target, "--sources-only"]
    with tempfile.TemporaryDirectory() as name:

        def run(*command: str | Path, cwd: str = name) -> str:
            return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout

        run(sys.executable, "-m", "compiler", checkpoint.resolve(), "-o", name, *options, cwd=str(ROOT))
        run("make", "-s", "-f", "tiles.mk", "network/tiles_network_neon.o")
        return run(f"{CROSS}objdump", "-d", "--no-show-raw-insn", "network/tiles_network_neon.o")


def main() -> None:
    """Print the loops of all targets."""
    parser = argparse.ArgumentParser(prog="bench.instructions", description="Count the inner loops' instructions.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", default="w8")
    arguments = parser.parse_args()
    for target in TARGETS:
        loops = inner_loops(disassemble(arguments.checkpoint, target, arguments.precision))
        print(f"{target:16} tile             instructions  multiply-adds  of them an instruction  on the stack")
        for loop in sorted(loops, key=lambda loop: loop.tile):
            each = loop.multiply_adds / loop.instructions
            print(f"{'':16} {loop.tile:16} {loop.instructions:12} {loop.multiply_adds:14} {each:23.2f} {loop.stack:13}")


if __name__ == "__main__":
    main()
