"""Counts the instructions of a frame on microcontrollers, under QEMU: `make bench-firmware`.

QEMU counts instructions, not cycles: a figure tells what a core has to do, not how long it waits for its memory. Each
row is an object of its own, compiled for its core, its precision and its largest chunk, in an image of
examples/bare_metal that decodes one chunk. The count depends on neither the audio nor the weights' values
(tests/test_bare_metal.py), so that one call tells it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.build import flash_bytes, stack_bytes
from compiler.emit import ROOT
from compiler.formats import FORMATS
from compiler.microcontrollers import CORES as TARGETS
from compiler.microcontrollers import values_per_frame, work_per_frame

BOARDS = ROOT / "examples" / "bare_metal"
PROGRAM = ROOT / "bench" / "firmware.c"
COUNTER = ROOT / "tests" / "c" / "qemu_count.c"
MODELS = {name: ROOT / "examples" / "model" / f"{name}.ckpt" for name in ("demo", "tiny")}
CHUNKS = (1, 2, 5)
PRECISIONS = ("f32", "f16", "w8", "w8a8", "w4")


@dataclass(frozen=True)
class Core:
    """A core: the board of examples/bare_metal that has it, and the target that it is compiled for."""

    name: str
    board: str
    cross: str
    clang: str = ""  # in place of CROSS's gcc

    @property
    def target(self) -> str:
        """What it is compiled for."""
        return TARGETS[self.name]


CORES = (
    Core("cortex-m4", "cortex_m4", "arm-none-eabi-"),
    Core("cortex-m7", "cortex_m7", "arm-none-eabi-"),
    Core("cortex-m55", "cortex_m55", "arm-none-eabi-"),
    Core("cortex-a53", "cortex_a53", "aarch64-linux-gnu-"),
    Core("rv32", "riscv32", "riscv64-unknown-elf-"),
    Core("rv64", "riscv64", "riscv64-unknown-elf-"),
    Core("rv64v", "riscv64v", "riscv64-unknown-elf-", "clang-19"),
)


@dataclass(frozen=True)
class Row:
    """A core, a model, a precision and a chunk: what a frame takes. RAM: as --budget ram counts it."""

    core: str
    model: str
    precision: str
    chunk: int
    target: str
    instructions_per_frame: int
    instructions_per_second: int
    init_instructions: int  # of NAME_init, weights baked in
    macs_per_frame: int
    values_per_frame: int  # that are computed one by one: compiler/microcontrollers.py
    flash_bytes: int
    ram_bytes: int
    weight_bytes: int
    weight_bytes_per_second: int


def run(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a command; if it fails, so does this, with what it said."""
    words = [str(word) for word in command]
    environment = {**os.environ, "CCACHE_DISABLE": "1"}  # which would keep objects without their call graphs
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench.firmware: {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def build_counter(folder: Path) -> Path:
    """The plugin of QEMU's that counts, and an utterance of no frames, into a folder."""
    run("cc", "-std=c11", "-O2", "-shared", "-fPIC", "-o", folder / "count.so", COUNTER)
    (folder / "none.f32").touch()
    return folder / "count.so"


COMPILING = threading.Lock()  # cores that share a target share its sources


def sources(checkpoint: Path, precision: str, target: str, chunk: int, folder: Path) -> Path:
    """The folder of a model's sources."""
    with COMPILING:
        return _sources(checkpoint, precision, target, chunk, folder)


@functools.cache
def _sources(checkpoint: Path, precision: str, target: str, chunk: int, folder: Path) -> Path:
    out = folder / f"sources-{checkpoint.stem}-{precision}-{target}-{chunk}"
    options = ["--precision", precision, "--target", target, "--chunk", chunk, "--sources-only"]
    run(sys.executable, "-m", "compiler", checkpoint, "-o", out, "--name", "vocos", *options)
    return out


def count(
    core: Core, checkpoint: Path, precision: str, chunk: int, folder: Path, *, by_function: bool = False
) -> tuple[Row, str]:
    """A row, and what the counter printed. `folder` holds the counter, and takes what is built."""
    model = sources(checkpoint, precision, core.target, chunk, folder)
    out = folder / f"{core.name}-{model.name}"
    flags = f"-plugin {folder / 'count.so'}{',functions=on' if by_function else ''}"
    variables = {
        "BOARD": core.board,
        "MODEL": model,
        "OUT": out,
        "UTTERANCE": folder / "none.f32",
        "PROGRAM": PROGRAM,
        "FLAGS": f"-DCHUNK={chunk} -I {COUNTER.parent}",
        "EXTRA_CFLAGS": "" if core.clang else "-fcallgraph-info=su",
        "EMULATOR_FLAGS": flags,
    }
    done = run("make", "-s", "-C", BOARDS, *(f"{name}={value}" for name, value in variables.items()), "run")
    report = json.loads((model / "vocos.json").read_text())
    built = out / "model" / "vocos.o"
    lines = done.stderr.splitlines()
    first_boot, decoded = (i for i, line in enumerate(lines) if line.isdecimal())  # functions have names as well
    instructions = int(lines[decoded])
    stack = report["stack_bytes_bound"] if core.clang else stack_bytes(out / "model", "vocos")
    parts = (report["state_bytes"], report["mel_state_bytes"], report["scratch_bytes"])
    model_sizes = report["model"]
    rate = model_sizes["sample_rate"] / model_sizes["hop_length"]
    row = Row(
        core=core.name,
        model=checkpoint.stem,
        precision=precision,
        chunk=chunk,
        target=done.stdout.strip(),
        instructions_per_frame=round(instructions / chunk),
        instructions_per_second=round(instructions / chunk * rate),
        init_instructions=int(lines[first_boot]),
        macs_per_frame=report["macs_per_frame"],
        values_per_frame=values_per_frame(
            model_sizes["num_layers"], model_sizes["dim"], model_sizes["hidden"], model_sizes["n_fft"]
        ),
        flash_bytes=flash_bytes(built, f"{core.cross}size"),
        ram_bytes=sum(parts) + stack,
        weight_bytes=report["weight_bytes"],
        weight_bytes_per_second=report["chunks"][str(chunk)]["weight_bytes_per_second"],
    )
    if not by_function:
        shutil.rmtree(out)
    return row, "\n".join(lines[decoded:])


def chosen(text: str | None, every: Iterable[str], usual: Iterable[str] | None = None) -> list[str]:
    """Those of a list that an option names, or the usual ones, or all."""
    known = list(every)
    names = list(usual or known) if text is None else text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"bench.firmware: {name}: not known; there are {', '.join(known)}")
    return names


def main() -> None:
    """Measures, prints a line per row, and writes the results."""
    parser = argparse.ArgumentParser(prog="bench.firmware", description="Count a frame's instructions under QEMU.")
    parser.add_argument("--cores", help="some of them, such as cortex-m7,rv32")
    parser.add_argument("--models", help="demo,tiny")
    parser.add_argument("--precisions", help="f32,w8 and so on")
    parser.add_argument("--chunks", default=",".join(map(str, CHUNKS)))
    parser.add_argument("--functions", action="store_true", help="print each row's most expensive functions, too")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--estimates", type=Path, help="where to write what compiler/microcontrollers.py estimates by")
    parser.add_argument("--table", action="store_true", help="print the README's table, too")
    arguments = parser.parse_args()
    cores = {core.name: core for core in CORES}
    jobs = [
        (cores[core], MODELS[model], precision, int(chunk))
        for model in chosen(arguments.models, MODELS)
        for precision in chosen(arguments.precisions, FORMATS, PRECISIONS)
        for core in chosen(arguments.cores, cores)
        for chunk in arguments.chunks.split(",")
    ]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        folder = Path(name)
        build_counter(folder)

        def measure(job: tuple[Core, Path, str, int]) -> tuple[Row, str]:
            return count(*job, folder, by_function=arguments.functions)

        rows = list(show(pool.map(measure, jobs), arguments.functions))
    if arguments.json:
        arguments.json.write_text(to_json(rows))
    if arguments.estimates:
        arguments.estimates.write_text(json.dumps(estimates(rows), indent=1) + "\n")
    if arguments.table:
        print(*table(rows), sep="\n")


def show(counts: Iterable[tuple[Row, str]], by_function: bool) -> Iterable[Row]:
    """Prints rows as they come."""
    print(
        "core        model precision chunk  target        instructions a frame     a second  a MAC      flash      RAM"
    )
    for row, text in counts:
        name = f"{row.core:11} {row.model:5} {row.precision:9} {row.chunk:5}  {row.target:12}"
        work = f"{row.instructions_per_frame:19,} {row.instructions_per_second:11,}"
        each = row.instructions_per_frame / row.macs_per_frame
        print(f"{name} {work} {each:6.2f} {row.flash_bytes:10,} {row.ram_bytes:8,}", flush=True)
        if by_function:
            functions = [line.split() for line in text.splitlines()[1:]]
            for number, function in sorted(((int(n), f) for n, f in functions), reverse=True)[:24]:
                print(f"{'':40} {number // row.chunk:12,} {function}")
        yield row


def estimates(rows: Sequence[Row]) -> dict[str, tuple[float, int]]:
    """Instructions a multiply-add and a frame besides, such that both models take what they take."""
    found = {}
    for row in rows:
        others = [r for r in rows if (r.core, r.precision, r.chunk) == (row.core, row.precision, row.chunk)]
        if row is others[0] and len(others) == len(MODELS):
            features = np.array([[work_per_frame(r.macs_per_frame, r.values_per_frame), 1] for r in others], np.float64)
            each = np.linalg.solve(features, [r.instructions_per_frame for r in others])
            found[f"{row.core} {row.precision} {row.chunk}"] = (round(float(each[0]), 4), round(float(each[1])))
    return found


def table(rows: Sequence[Row]) -> Iterable[str]:
    """Markdown: millions of instructions a second, chunks of 5, by core and precision, for each model."""
    chunk = max(row.chunk for row in rows)
    precisions = list(dict.fromkeys(row.precision for row in rows))
    for model in dict.fromkeys(row.model for row in rows):
        yield f"| {model}, millions of instructions a second | {' | '.join(f'`{p}`' for p in precisions)} |"
        yield f"|---|{'---|' * len(precisions)}"
        for core in dict.fromkeys(row.core for row in rows):
            chosen_rows = [r for r in rows if (r.core, r.model, r.chunk) == (core, model, chunk)]
            numbers = {r.precision: f"{r.instructions_per_second / 1e6:.1f}" for r in chosen_rows}
            yield f"| {core} | {' | '.join(numbers.get(p, '') for p in precisions)} |"
        yield ""


def to_json(rows: Sequence[Row]) -> str:
    """The results file."""
    versions = {
        program: run(program, "--version").stdout.splitlines()[0]
        for program in (*sorted({core.clang or f"{core.cross}gcc" for core in CORES}), "qemu-system-arm")
    }
    results: dict[str, Any] = {
        "what": "instructions under QEMU, not cycles; RAM: a stream each way, a call's working memory, the stack",
        "tools": versions,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    return json.dumps(results, indent=1) + "\n"


if __name__ == "__main__":
    main()
