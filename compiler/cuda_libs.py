"""The second way for a GPU, --link libs: matrix products by cuBLAS and inverse transforms by cuFFT.

For whole utterances and large batches, and as the oracle of our own kernels, which the build has as well. Beside their
tables there are plain matrices, so it takes twice the weights' memory. The kernels between the libraries' steps are in
templates/cuda/vocosc_cuda_library_steps.cuh.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cuda import ALIGNMENT, LIBRARY_THREADS, Device, Launch, add_table, areas, round_up
from .plan import Plan


def add_libraries(device: Device, plan: Plan) -> Device:
    """The device with the steps, tables and buffers that the libraries need."""
    rows = device.batch * plan.max_frames
    dim, hidden = device.strides["DIM"], device.strides["HIDDEN"]
    windows, bins = (plan.left + 1) * plan.config.n_mels, 2 * plan.bins
    buffers = (
        ("windows", "[rows][TAPS * MELS]", rows * windows),
        ("normalised", "[rows][DIM_STRIDE]", rows * dim),
        ("head", "[rows][log-magnitude, phase][BINS]", rows * bins),
        ("complex", "[rows][BINS][re, im]", rows * bins),
        ("samples", "[rows][N_FFT]", rows * plan.config.n_fft),
    )
    scratch = areas(device.scratch, ALIGNMENT // 4, buffers)
    places = {area.name: area.offset for area in scratch}
    # Of each kernel's product: where its rows of inputs and of outputs are, and their strides
    rows_of = {
        "embed": Launch("product", x=places["windows"], x_stride=windows, y=places["embedded"], y_stride=dim),
        "expand": Launch("product", x=places["normalised"], x_stride=dim, y=places["hidden"], y_stride=hidden),
        "contract": Launch("product", x=places["hidden"], x_stride=hidden, y=places["residual"], y_stride=dim),
        "head": Launch("product", x=places["normalised"], x_stride=dim, y=places["head"], y_stride=bins),
    }
    tables = list(device.tables)
    steps: list[Launch] = []

    def row_kernel(name: str) -> None:
        steps.append(Launch(name, (rows, 1, 1), LIBRARY_THREADS))

    for step, launch in zip(device.steps, device.launches, strict=True):
        if step.products:
            weight, bias = (np.concatenate([op.tensors[key] for op in step.products], -1) for key in ("weight", "bias"))
            table = add_table(tables, f"{step.name}_matrix", "[outputs] biases; [inputs][outputs]", bias, weight)
            row_kernel(f"before_{step.name}")
            inputs, outputs = weight.shape
            matrix = table.offset + round_up(bias.nbytes, ALIGNMENT)
            steps.append(replace(rows_of[step.kernel], inputs=inputs, outputs=outputs, weights=matrix))
        if step.kernel == "start":
            steps.append(launch)
        elif step.conv:
            grid = (device.start.shards, device.tiles, 1)
            steps.append(Launch(step.conv.name, grid, device.start.threads))
        elif step.kernel == "head":
            row_kernel("spectrum")
        elif step.kernel == "synthesis":
            steps.append(Launch("transform", x=places["complex"], y=places["samples"]))
            steps.append(Launch("overlap", (device.batch, 1, 1), LIBRARY_THREADS))
    return replace(device, scratch=scratch, tables=tuple(tables), library_steps=tuple(steps))
