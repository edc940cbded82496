"""What a frame takes on microcontrollers, before anything is built: an estimate from counts of two other models.

`make bench-firmware` counts the instructions of the demo and the tiny model under QEMU (bench/results/firmware.json)
and writes microcontrollers.json beside this module: for each core, precision and chunk how many instructions a
multiply-add takes, and how many a frame of no products would. Both models have about as many products to a value that
is computed by itself (of a hidden row, of a normed row, of a window), so that they cannot tell what such a value takes:
it is taken for VALUE products.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from .isa import isas_of
from .plan import Plan

COUNTS = Path(__file__).with_name("microcontrollers.json")
CORES = {
    "cortex-m4": "armv7e-m",
    "cortex-m7": "armv7e-m",
    "cortex-m55": "armv8.1-m",
    "cortex-a53": "aarch64",
    "rv32": "riscv",
    "rv64": "riscv",
    "rv64v": "riscv-v",
}  # and the targets that they are compiled for
VALUE = 25  # products that take as long as a value, about: GELU, LayerNorm, the FFT, by the listings of all cores
INSTRUCTIONS_PER_CYCLE = 1.0  # an assumption, for want of hardware
QSPI_BYTES_PER_SECOND = 80e6  # four lines at 80 MHz, both edges


def values_per_frame(layers: int, dim: int, hidden: int, n_fft: int) -> int:
    """The values of a frame that are computed one by one, whatever the products take."""
    return layers * (hidden + 2 * dim) + 2 * n_fft


def work_per_frame(macs: int, values: int) -> int:
    """A frame's multiply-adds and values, as multiply-adds."""
    return macs + VALUE * values


@functools.cache
def counts() -> dict[str, Any]:
    """By "core precision chunk": [instructions a multiply-add, instructions a frame besides]."""
    return json.loads(COUNTS.read_text()) if COUNTS.exists() else {}


def estimates(plan: Plan, target: str, weight_bytes: int) -> list[dict[str, Any]]:
    """For each core of a target and each chunk size of a plan; none where nothing like it was counted.

    A chunk between two that were counted is taken for the smaller one.
    """
    config, found = plan.config, []
    values = values_per_frame(config.num_layers, config.dim, config.hidden, config.n_fft)
    work = work_per_frame(plan.macs_per_frame, values)
    rate = config.sample_rate / config.hop_length
    for core, its_target in CORES.items():
        if isas_of(its_target)[-1] not in isas_of(target):
            continue
        for chunk in plan.chunks:
            sizes = [int(key.split()[2]) for key in counts() if key.split()[:2] == [core, plan.precision]]
            size = max((size for size in sizes if size <= chunk), default=None)
            if size is None:
                continue
            each, besides = counts()[f"{core} {plan.precision} {size}"]
            instructions = max(round(work * each + besides), 0)
            bytes_per_second = weight_bytes * rate / chunk
            found.append(
                {
                    "core": core,
                    "chunk": chunk,
                    "instructions_per_frame": instructions,
                    "mhz": round(instructions * rate / INSTRUCTIONS_PER_CYCLE / 1e6, 1),
                    "instructions_per_cycle": INSTRUCTIONS_PER_CYCLE,
                    "weight_bytes_per_second": round(bytes_per_second),
                    "fits_qspi": bytes_per_second <= QSPI_BYTES_PER_SECOND,
                }
            )
    return found
