"""The second way for a GPU, --link libs: matrix products by cuBLAS and inverse transforms by cuFFT.

For whole utterances and large batches, and as the oracle of our own kernels, which the build has as well. Beside their
tables there are plain matrices, so it takes twice the weights' memory. The kernels between the libraries' steps are in
templates/cuda/vocosc_cuda_library_steps.cuh.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cuda import LIBRARY_THREADS, Area, Device, DeviceTable, Launch, LibraryStep, round_up
from .network import Network as Folded
from .network import Operation as Product
from .plan import Plan


def add_libraries(device: Device, plan: Plan, folded: Folded) -> Device:
    """The device with the steps, tables and buffers that the libraries need."""
    config = plan.config
    rows = device.batch * plan.max_frames
    windows = config.kernel_size * config.n_mels
    areas = {area.name: area for area in device.scratch}
    for name, layout, floats in (
        ("WINDOWS", "[rows][TAPS * MELS]", rows * windows),
        ("NORMALISED", "[rows][DIM_STRIDE]", rows * device.dim_stride),
        ("HEAD", "[rows][log-magnitude, phase][BINS]", rows * 2 * plan.bins),
        ("COMPLEX", "[rows][BINS][re, im]", rows * 2 * plan.bins),
        ("SAMPLES", "[rows][N_FFT]", rows * config.n_fft),
    ):
        last = list(areas.values())[-1]
        areas[name] = Area(name, layout, floats, round_up(last.offset + last.floats, 64))
    tables = {table.name: table for table in device.tables}

    def put(name: str, product: Product) -> LibraryStep:
        parts = (("bias", "[outputs]", product.bias), ("matrix", "[inputs][outputs]", product.weight))
        for suffix, layout, data in parts:
            end = list(tables.values())[-1]
            offset = round_up(end.offset + end.data.nbytes, 256)
            tables[f"{name}_{suffix}"] = DeviceTable(f"{name}_{suffix}", layout, offset, data.astype(np.float32))
        inputs, outputs = product.weight.shape
        return LibraryStep("product", inputs=inputs, outputs=outputs, weights=tables[f"{name}_matrix"].offset)

    def step(product: LibraryStep, x: str, x_stride: int, y: str, y_stride: int) -> LibraryStep:
        return replace(product, x=areas[x].offset, x_stride=x_stride, y=areas[y].offset, y_stride=y_stride)

    def row_kernel(name: str) -> Launch:
        return Launch(name, (rows, 1, 1), LIBRARY_THREADS, False)

    start = next(launch for launch in device.launches if launch.step == "start")
    dim, hidden = device.dim_stride, device.hidden_stride
    steps: list[Launch | LibraryStep] = [
        row_kernel("windows"),
        step(put("embed", folded.embed), "WINDOWS", windows, "EMBEDDED", dim),
        start,
    ]
    for i, block in enumerate(folded.blocks):
        steps += [
            row_kernel(f"norm_{i}"),
            step(put(f"expand_{i}", block.expand), "NORMALISED", dim, "HIDDEN", hidden),
            row_kernel(f"gelu_{i}"),
            step(put(f"contract_{i}", block.contract), "HIDDEN", hidden, "RESIDUAL", dim),
        ]
        if i + 1 < config.num_layers:
            grid = (device.start.shards, device.tiles, 1)
            steps.append(Launch(f"convolve_{i + 1}", grid, device.start.threads, False))
    head = Product(
        np.concatenate([folded.magnitude.weight, folded.phase.weight], axis=1),
        np.concatenate([folded.magnitude.bias, folded.phase.bias]),
    )
    steps += [
        row_kernel("last_norm"),
        step(put("head", head), "NORMALISED", dim, "HEAD", 2 * plan.bins),
        row_kernel("spectrum"),
        LibraryStep("transform", x=areas["COMPLEX"].offset, y=areas["SAMPLES"].offset),
        Launch("overlap", (device.batch, 1, 1), LIBRARY_THREADS, False),
    ]
    last_area, last_table = list(areas.values())[-1], list(tables.values())[-1]
    return replace(
        device,
        scratch=tuple(areas.values()),
        scratch_bytes=round_up(4 * (last_area.offset + last_area.floats), 256),
        tables=tuple(tables.values()),
        weight_bytes=round_up(last_table.offset + last_table.data.nbytes, 256),
        library_steps=tuple(steps),
    )
