"""bench/firmware.py: the rows that `make bench-firmware` counts under QEMU."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from bench import firmware
from compiler import microcontrollers
from tests import builds
from tests.objects import ROOT, every


def test_a_row_tells_what_a_frame_takes(tmp_path: Path) -> None:
    (core,) = (core for core in firmware.CORES if core.name == "cortex-m7")
    if shutil.which(f"{core.cross}gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("no compiler or emulator of Arm here: .ci/setup test")
    firmware.build_counter(tmp_path)
    row, text = firmware.count(core, builds.checkpoint("odd"), "w8", 2, tmp_path, by_function=True)
    total, *functions = text.splitlines()
    counts = {name: int(number) for number, name in map(str.split, functions)}
    assert sum(counts.values()) == int(total)
    assert abs(row.instructions_per_frame * 2 - int(total)) <= 1, "of two frames"
    assert any(name.startswith("expand") for name in counts)
    assert row.instructions_per_frame > row.macs_per_frame / 2
    assert row.weight_bytes < row.flash_bytes < row.weight_bytes + 60_000
    assert 0 < row.ram_bytes < 200_000
    results = json.loads(firmware.to_json([row]))
    assert results["rows"] == [dataclasses.asdict(row)]
    assert {"core", "model", "precision", "chunk", "instructions_per_frame", "flash_bytes", "ram_bytes"} <= {
        *results["rows"][0]
    }


# Instructions a product at most, edges in half included, in chunks of 5 unless another is named: bench/NOTES.md.
PRODUCTS = {
    "rv32 f32": 1.55,
    "rv64 f32": 1.55,
    "rv64 f32 1": 2.2,
    "rv32 f16": 2.25,
    "rv32 w8": 2.7,
    "rv64 w8": 1.59,
    "rv32 w8a8": 2.2,
    "rv32 w4": 2.7,
    "rv64 w4": 1.85,
}


@pytest.mark.parametrize("case", every(list(PRODUCTS), ["rv32 f32", "rv64 w8"]))
def test_a_product_takes_so_many_instructions(tmp_path: Path, case: str) -> None:
    name, precision, *rest = case.split()
    (core,) = (core for core in firmware.CORES if core.name == name)
    if shutil.which(f"{core.cross}gcc") is None or shutil.which("qemu-system-riscv32") is None:
        pytest.skip("no compiler or emulator of RISC-V here: .ci/setup test")
    firmware.build_counter(tmp_path)
    chunk = int(rest[0]) if rest else 5
    row, text = firmware.count(core, firmware.MODELS["tiny"], precision, chunk, tmp_path, by_function=True)
    counts = [line.split() for line in text.splitlines()[1:]]
    products = sum(int(number) for number, function in counts if re.search(r"_products|_\dx\d", function))
    assert 1 < products / chunk / row.macs_per_frame < PRODUCTS[case]


def test_the_readme_has_the_results() -> None:
    results = json.loads((ROOT / "bench/results/firmware.json").read_text())
    rows = [firmware.Row(**row) for row in results["rows"]]
    readme = (ROOT / "README.md").read_text()
    assert "\n".join(firmware.table(rows)).strip() in readme
    # One estimate for each core, precision and chunk that both models were counted for, and it is what they take.
    estimates = firmware.estimates(rows)
    assert {key: list(value) for key, value in estimates.items()} == microcontrollers.counts()
    for row in rows:
        each, besides = estimates[f"{row.core} {row.precision} {row.chunk}"]
        told = each * microcontrollers.work_per_frame(row.macs_per_frame, row.values_per_frame) + besides
        assert told == pytest.approx(row.instructions_per_frame, rel=0.01)
        # Of any other model, too, it is a number of instructions: one that is near what the products alone take.
        assert 0.1 < each < 5
        assert abs(besides) < 0.3 * row.instructions_per_frame
