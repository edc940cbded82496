"""bench/firmware.py: the rows that `make bench-firmware` counts under QEMU."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from bench import firmware
from tests import builds


def test_a_row_tells_what_a_frame_takes(tmp_path: Path) -> None:
    (core,) = (core for core in firmware.CORES if core.name == "cortex-m7")
    if shutil.which(f"{core.cross}gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("no compiler or emulator of Arm here: .ci/setup test")
    firmware.build_counter(tmp_path)
    row, text = firmware.count(core, builds.checkpoint("odd"), "w8", 2, tmp_path, by_function=True)
    total, *functions = text.splitlines()
    counts = {name: int(number) for number, name in map(str.split, functions)}
    assert sum(counts.values()) == int(total) == row.instructions_per_frame * 2 + int(total) % 2
    assert any(name.startswith("expand") for name in counts)
    assert row.instructions_per_frame > row.macs_per_frame / 2
    assert row.weight_bytes < row.flash_bytes < row.weight_bytes + 60_000
    assert 0 < row.ram_bytes < 200_000
    results = json.loads(firmware.to_json([row]))
    assert results["rows"] == [dataclasses.asdict(row)]
    assert {"core", "model", "precision", "chunk", "instructions_per_frame", "flash_bytes", "ram_bytes"} <= {
        *results["rows"][0]
    }
