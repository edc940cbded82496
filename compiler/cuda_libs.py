"""The second way for a GPU: matrix products of all rows at once, with kernels between them.

With --link libs the products are cuBLAS's and the inverse transforms cuFFT's: for whole utterances and large batches,
and as the oracle of our own kernels, which the build has as well. With --gpu-tune tensor the products are kernels for
tensor cores; those of w8's blocks take int8, rounded to nearest. Beside the tables of the first way there are other
ones, so it takes twice the weights' memory. The kernels in between are in templates/cuda/vocosc_cuda_library_steps.cuh,
the products in vocosc_cuda_tensor.cuh.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda import ALIGNMENT, LIBRARY_THREADS, Device, Launch, add_table, areas, round_up
from .errors import CompileError
from .formats.f16 import half_scales
from .formats.format import LARGEST_INPUT
from .formats.integers import largest_sum_of
from .network import Operation
from .plan import Plan
from .quantise import quantise

TENSOR_TILE = (64, 64, 32)  # outputs and rows of a thread block, and inputs at a time: vocosc_cuda_tensor.cuh


def fragments(weight: NDArray[Any], kind: type[np.float16 | np.int8]) -> NDArray[Any]:
    """Weights [inputs][outputs] in the order of a warp's registers: [16 outputs][16 or 32 inputs][lane][16 bytes].

    A lane has two inputs (of int8, four) of output lane / 4, the same of the output 8 further on, and both of these for
    inputs 8 (16) further on.
    """
    inputs, outputs = weight.shape
    padded = np.zeros((round_up(inputs, TENSOR_TILE[2]), round_up(outputs, TENSOR_TILE[0])), kind)
    padded[:inputs, :outputs] = weight
    together = 4 // padded.itemsize
    # inputs: steps, halves of these, lanes, those that lie together; outputs: tiles of 16, halves of these, lanes
    parts = padded.reshape(padded.shape[0] // (8 * together), 2, 4, together, padded.shape[1] // 16, 2, 8)
    return np.ascontiguousarray(parts.transpose(4, 0, 6, 2, 1, 5, 3))


def tensor_table(product: Operation, is_integer: bool) -> tuple[int, NDArray[np.float32], NDArray[Any]]:
    """Of int8 the largest |input|, in int16, for which no sum overflows; header [biases, scales][outputs]; weights."""
    if is_integer:
        rounded = quantise(product)
        limit = min(LARGEST_INPUT, (2**31 - 1) // max(1, largest_sum_of(product, rounded.weights)))
        return limit, np.concatenate([rounded.bias, rounded.scale]), fragments(rounded.weights, np.int8)
    scale = half_scales(product)
    return 0, np.concatenate([product.bias, scale]), fragments(product.weight / scale, np.float16)


def add_libraries(device: Device, plan: Plan) -> Device:
    """The device with the steps, tables and buffers that the libraries, or tensor cores, need."""
    is_tensor = device.tuning.tensor
    rows = device.batch * plan.max_frames
    if is_tensor and not device.is_half:
        raise CompileError("--gpu-tune tensor: its weights are halves: not with --precision f32")
    dim, hidden = device.strides["DIM"], device.strides["HIDDEN"]
    windows, bins = (plan.left + 1) * plan.config.n_mels, 2 * plan.bins
    buffers = [
        ("windows", "[rows][TAPS * MELS]", rows * windows),
        ("normalised", "[rows][DIM_STRIDE]", rows * dim),
        ("head", "[rows][log-magnitude, phase][BINS]", rows * bins),
    ]
    if not is_tensor:
        buffers.append(("complex", "[rows][BINS][re, im]", rows * bins))
        buffers.append(("samples", "[rows][N_FFT]", rows * plan.config.n_fft))
    integer_stride = round_up(max(device.widths["DIM"], device.widths["HIDDEN"]), TENSOR_TILE[2])
    if is_tensor and plan.precision == "w8":
        buffers.append(("integers", "[rows][high bytes, low bytes]", rows * 2 * integer_stride // 4))
        buffers.append(("integer_scales", "[rows]", rows))
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
    steps = list(device.launches[: -len(device.steps)])

    def row_kernel(name: str) -> None:
        steps.append(Launch(name, (rows, 1, 1), LIBRARY_THREADS))

    for step, launch in zip(device.steps, device.launches[len(steps) :], strict=True):
        if step.products:
            weight, bias = (np.concatenate([op.tensors[key] for op in step.products], -1) for key in ("weight", "bias"))
            inputs, outputs = weight.shape
            row_kernel(f"before_{step.name}")
            product = replace(rows_of[step.kernel], inputs=inputs, outputs=outputs)
            if is_tensor:
                is_integer = plan.precision == "w8" and not step.products[0].is_precise
                joined = replace(step.products[0], tensors={"weight": weight, "bias": bias})
                limit, header, matrix = tensor_table(joined, is_integer)
                layout = f"[biases, scales][outputs]; {matrix.dtype} in the order of a warp's registers"
                add_table(tables, f"{step.name}_matrix", layout, header, matrix)
                grid = (-(-outputs // TENSOR_TILE[0]), -(-rows // TENSOR_TILE[1]), 1)
                name = f"product_{step.name}"
                steps.append(replace(product, step=name, grid=grid, block=LIBRARY_THREADS, limit=limit))
            else:
                table = add_table(tables, f"{step.name}_matrix", "[outputs] biases; [inputs][outputs]", bias, weight)
                steps.append(replace(product, weights=table.offset + round_up(bias.nbytes, ALIGNMENT)))
        if step.kernel == "start":
            steps.append(launch)
        elif step.conv:
            grid = (device.start.shards, device.tiles, 1)
            steps.append(Launch(step.conv.name, grid, device.start.threads))
        elif step.kernel == "head":
            row_kernel("spectrum")
        elif step.kernel == "synthesis" and is_tensor:
            steps.append(launch)
        elif step.kernel == "synthesis":
            steps.append(Launch("transform", x=places["complex"], y=places["samples"]))
            steps.append(Launch("overlap", (device.batch, 1, 1), LIBRARY_THREADS))
    return replace(
        device, scratch=scratch, tables=tuple(tables), library_steps=tuple(steps), integer_stride=integer_stride
    )
