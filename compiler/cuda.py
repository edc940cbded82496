"""Plans and packs the model for a GPU: kernels and their grids, device memory, and the weights in the order of reading.

A matrix product is cut into shards of outputs, one a thread block, about as many as a large chip has multiprocessors.
A shard's outputs come in `groups` of `columns`; a group's inputs are split over `splits` warps, 256 each, of which a
lane has eight: four in each half of the 256. So a thread has one or two loads of 16 bytes an output, and a warp's loads
are in one piece. See templates/cuda/vocosc_cuda_layout.cuh, which reads all this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .formats.f16 import half_scales
from .mel import hann
from .network import Network as Folded
from .network import Operation as Product
from .plan import Plan

MAX_BATCH = 128  # the first kernel's parameter holds the jobs: 3 KB of the 4 KB that every driver takes
PROCESSORS = 132  # multiprocessors of the chip that grids are cut for (H100, H200); others take them in turn
LANES = 32
LANE_INPUTS = 8
MAX_COLUMNS = 4  # outputs of a lane: times the rows they must not be more than the lanes, which share their sums
MAX_ROWS = 8  # frames of a pass
MAX_ROWS_WIDE = 4  # in a wide model, of more threads a block than these: a thread then has 64 to 96 registers
WIDE_THREADS = 512
MAX_TILES = 8  # of streams: with the shards, as many thread blocks as a large chip holds at a time
MAX_THREADS = 1024
SHARED_BYTES = 48 * 1024  # of a thread block, without asking the driver for more
MOST_SHARED_BYTES = 96 * 1024  # asked for: all of these chips have it
SYNTHESIS_THREADS = 512
SINGLE_THREADS = 256  # of the single kernel, or what its steps need: with more, a thread's registers spill
FLUSH_THREADS = 256
LIBRARY_THREADS = 128  # of the kernels between the libraries' steps
WARP_INPUTS = LANES * LANE_INPUTS


@dataclass(frozen=True)
class Shards:
    """How a matrix product is cut. `inputs` and `outputs` are those of the table, padded."""

    inputs: int
    outputs: int
    columns: int
    groups: int
    splits: int
    shards: int

    @property
    def width(self) -> int:
        """Outputs of a shard."""
        return self.columns * self.groups

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return LANES * self.groups * self.splits

    @property
    def padded(self) -> int:
        """Outputs of all shards."""
        return self.width * self.shards


@dataclass(frozen=True)
class Start:
    """The kernel before the blocks: channels of a thread block, its threads, thread blocks; one more keeps the mels."""

    width: int
    threads: int
    shards: int


@dataclass(frozen=True)
class Launch:
    """One kernel of a chunk."""

    step: str
    grid: tuple[int, int, int]
    block: int
    overlaps_previous: bool
    shared_bytes: int = 0  # beside the kernel's own arrays


@dataclass(frozen=True)
class LibraryStep:
    """A step that a library does. x and y are offsets in scratch, in floats, as the strides; weights in bytes.

    product, by cuBLAS: y [rows][outputs] += x [rows][inputs] times the table [inputs][outputs].
    transform, by cuFFT: of each row of x [rows][BINS][re, im] the inverse, to y [rows][N_FFT].
    """

    step: str
    inputs: int = 0
    outputs: int = 0
    x: int = 0
    x_stride: int = 0
    weights: int = 0
    y: int = 0
    y_stride: int = 0


@dataclass(frozen=True)
class Area:
    """A scratch buffer at `offset`, in floats."""

    name: str
    layout: str
    floats: int
    offset: int


@dataclass(frozen=True)
class DeviceTable:
    """A table in the GPU's weights, at `offset` in bytes."""

    name: str
    layout: str
    offset: int
    data: NDArray[Any]


@dataclass(frozen=True)
class Device:
    """The model on a GPU. Strides, slot offsets and scratch offsets in floats, the rest as named."""

    batch: int
    is_half: bool
    rows: int
    passes: int
    tile_jobs: int
    tiles: int
    mels_stride: int
    dim_stride: int
    hidden_stride: int
    bins_stride: int
    products: dict[str, Shards]
    start: Start
    fft_frames: int
    synthesis_table_floats: int
    synthesis_overlap_floats: int
    synthesis_shared_bytes: int
    slot_mel_history: int
    slot_history: int
    slot_overlap: int
    state_bytes: int
    scratch: tuple[Area, ...]
    scratch_bytes: int
    tables: tuple[DeviceTable, ...]
    weight_bytes: int
    launches: tuple[Launch, ...]
    single: Launch  # all steps in one kernel: its grid is what can be of use, at most a block a multiprocessor
    flush: Launch

    synthesis_threads: int = SYNTHESIS_THREADS
    flush_threads: int = FLUSH_THREADS
    library_threads: int = LIBRARY_THREADS
    library_steps: tuple[Launch | LibraryStep, ...] = ()  # instead of the launches, if libraries are to do the work

    @property
    def shards(self) -> int:
        """Of the blocks' second layer, to name a number."""
        return self.products["contract"].shards

    @property
    def layer_bytes(self) -> int:
        """From a table of one block to that of the next."""
        offsets = {table.name: table.offset for table in self.tables}
        return offsets.get("conv_1", offsets["conv_0"]) - offsets["conv_0"]

    @property
    def weights_text(self) -> str:
        """What the weights are."""
        return "halves" if self.is_half else "floats"

    @property
    def weights(self) -> bytes:
        """All tables at their offsets, little-endian."""
        blob = bytearray(self.weight_bytes)
        for table in self.tables:
            data = table.data.astype(table.data.dtype.newbyteorder("<")).tobytes()
            blob[table.offset : table.offset + len(data)] = data
        return bytes(blob)


def plan_device(plan: Plan, folded: Folded, batch: int, precision: str) -> Device:
    """Plans and packs a model for calls of up to `batch` streams. The weights are float for f32, else halves."""
    if not 1 <= batch <= MAX_BATCH:
        raise CompileError(f"--batch {batch}: a call has 1 to {MAX_BATCH} streams")
    config = plan.config
    mels, dim, hidden, bins = (round_up(n, 4) for n in (config.n_mels, config.dim, config.hidden, plan.bins))
    products = {
        "embed": _cut("the embedding", config.kernel_size * mels, config.dim),
        "expand": _cut("a block's first layer", dim, hidden),
        "contract": _cut("a block's second layer", hidden, config.dim),
        "head": _cut("the head", dim, plan.bins, pairs=True),
    }
    is_wide = max(product.threads for product in products.values()) > WIDE_THREADS
    rows = min(plan.max_frames, MAX_ROWS_WIDE if is_wide else MAX_ROWS)
    rows = min(rows, SHARED_BYTES * 3 // 4 // (4 * dim), SHARED_BYTES * 3 // 4 // (4 * mels) - plan.context)
    if rows < 1:
        raise CompileError("--target cuda: too wide a layer for the shared memory of a thread block")
    width = -(-config.dim // PROCESSORS)
    start = Start(width, min(MAX_THREADS, round_up(max(LANES * rows, width * rows), LANES)), -(-config.dim // width))
    tiles = min(batch, MAX_TILES)
    tile_jobs = -(-batch // tiles)
    tiles = -(-batch // tile_jobs)

    slot_mel_history = 0
    slot_history = slot_mel_history + plan.context * config.n_mels
    slot_overlap = slot_history + config.num_layers * plan.context * config.dim
    all_rows = batch * plan.max_frames
    call_bytes = 32 + 24 * batch
    most_blocks = max(start.shards + 1, batch, *(product.shards for product in products.values()))
    scratch = _areas(
        call_bytes,
        [
            ("EMBEDDED", "[rows][DIM_STRIDE]", all_rows * dim),
            ("RESIDUAL", "[rows][DIM_STRIDE], x", all_rows * dim),
            ("CONVOLVED", "[rows][DIM_STRIDE]", all_rows * dim),
            ("HIDDEN", "[rows][HIDDEN_STRIDE]", all_rows * hidden),
            ("SPECTRUM", "[rows][re, im][BINS_STRIDE]", all_rows * 2 * bins),
            ("FLAGS", "[thread blocks of the single kernel], uint32", most_blocks),
        ],
    )
    tables = _tables(plan, folded, products, is_half=precision != "f32", mels_stride=mels)
    last = tables[-1]
    weight_bytes = round_up(last.offset + last.data.nbytes, 256)
    table_floats = (weight_bytes - next(table.offset for table in tables if table.name == "twiddle_cosines")) // 4
    overlap_floats = round_up(plan.overlap_floats, 4)
    fft_floats = 4 * plan.fft.complex_length  # of a frame: two complex buffers
    room = MOST_SHARED_BYTES // 4 - table_floats - overlap_floats
    if room < fft_floats:
        raise CompileError(f"--target cuda: n_fft {config.n_fft} is too long for the shared memory of a thread block")
    fft_frames = min(plan.max_frames, room // fft_floats)
    synthesis_shared_bytes = 4 * (table_floats + overlap_floats + fft_frames * fft_floats)
    most_warps = max(product.threads for product in products.values()) // LANES
    most_width = max(start.width, products["contract"].width)
    windows = (plan.context + rows) * most_width + LANES * most_warps  # of the convolution, and the warps' sums
    most_floats = max(rows * dim, (plan.context + rows) * mels) + windows
    return Device(
        batch=batch,
        is_half=precision != "f32",
        rows=rows,
        passes=-(-plan.max_frames // rows),
        tile_jobs=tile_jobs,
        tiles=tiles,
        mels_stride=mels,
        dim_stride=dim,
        hidden_stride=hidden,
        bins_stride=bins,
        products=products,
        start=start,
        fft_frames=fft_frames,
        synthesis_table_floats=table_floats,
        synthesis_overlap_floats=overlap_floats,
        synthesis_shared_bytes=synthesis_shared_bytes,
        slot_mel_history=slot_mel_history,
        slot_history=slot_history,
        slot_overlap=slot_overlap,
        state_bytes=round_up(4 * (slot_overlap + plan.overlap_floats), 256),
        scratch=scratch,
        scratch_bytes=round_up(4 * (scratch[-1].offset + scratch[-1].floats), 256),
        tables=tables,
        weight_bytes=weight_bytes,
        launches=_launches(
            config.num_layers, products, start, tiles=tiles, batch=batch, shared_bytes=synthesis_shared_bytes
        ),
        single=Launch(
            "chunk",
            (most_blocks, 1, 1),
            max(SINGLE_THREADS, start.threads, LANES * most_warps),
            False,
            max(synthesis_shared_bytes, 4 * most_floats),
        ),
        flush=Launch("flush", (batch, 1, 1), FLUSH_THREADS, False),
    )


def round_up(count: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-count // unit) * unit


def _cut(text: str, inputs: int, outputs: int, pairs: bool = False) -> Shards:
    """Cuts a product. With pairs, an output is two: the shard's first groups have the ones, its last the others."""
    splits = -(-inputs // WARP_INPUTS)
    wanted = -(-outputs // PROCESSORS)
    groups = -(-wanted // MAX_COLUMNS)
    columns = -(-wanted // groups)
    shards = -(-outputs // (columns * groups))
    found = Shards(inputs, outputs, columns, groups * (2 if pairs else 1), splits, shards)
    if found.threads > MAX_THREADS:
        raise CompileError(f"--target cuda: {text}, {inputs} x {outputs}, is too large for a thread block")
    return found


def _areas(call_bytes: int, buffers: Sequence[tuple[str, str, int]]) -> tuple[Area, ...]:
    found = []
    offset = round_up(call_bytes, 256) // 4
    for name, layout, floats in buffers:
        found.append(Area(name, layout, floats, offset))
        offset += round_up(floats, 64)
    return tuple(found)


def _launches(
    layers: int, products: dict[str, Shards], start: Start, *, tiles: int, batch: int, shared_bytes: int
) -> tuple[Launch, ...]:
    def product(step: str, name: str) -> Launch:
        return Launch(step, (products[name].shards, tiles, 1), products[name].threads, name != "embed")

    blocks = [product(f"{name}_{i}", name) for i in range(layers) for name in ("expand", "contract")]
    return (
        product("embed", "embed"),
        Launch("start", (start.shards + 1, tiles, 1), start.threads, False),
        *blocks,
        product("head", "head"),
        Launch("synthesis", (batch, 1, 1), SYNTHESIS_THREADS, True, shared_bytes),
    )


# ---- tables ----


def _tables(
    plan: Plan, folded: Folded, products: dict[str, Shards], *, is_half: bool, mels_stride: int
) -> tuple[DeviceTable, ...]:
    found: list[DeviceTable] = []

    def put(name: str, layout: str, data: NDArray[Any]) -> None:
        end = found[-1].offset + found[-1].data.nbytes if found else 0
        found.append(DeviceTable(name, layout, round_up(end, 256), data))

    def product(name: str, cut: Shards, matrix: Product) -> None:
        header, weights = pack_product(cut, matrix, is_half)
        put(name, f"[bias, scale][outputs: {cut.padded}]", header)
        shape = ", ".join(
            f"{what}: {count}"
            for what, count in zip(("shards", "groups", "splits", "columns"), weights.shape, strict=False)
        )
        put(f"{name}_weights", f"[{shape}][inputs: {WARP_INPUTS}] in {'half' if is_half else 'float'}", weights)

    config = folded.config
    taps = folded.embed.weight.reshape(config.kernel_size, config.n_mels, config.dim)
    taps = np.pad(taps, ((0, 0), (0, mels_stride - config.n_mels), (0, 0)))
    product("embed", products["embed"], Product(taps.reshape(-1, config.dim), folded.embed.bias))
    put("embed_norm", "[scale, shift][DIM]", folded.embed_norm)
    for i, block in enumerate(folded.blocks):
        put(f"conv_{i}", "[bias, taps][DIM]", block.conv)
        product(f"expand_{i}", products["expand"], block.expand)
        product(f"contract_{i}", products["contract"], block.contract)
    product("head", products["head"], _pairs(products["head"], folded.magnitude, folded.phase))
    fft = plan.fft
    for name, values in (
        ("twiddle_cosines", fft.cosines),
        ("twiddle_sines", fft.sines),
        ("half_cosines", fft.half_cosines),
        ("half_sines", fft.half_sines),
        ("synthesis_window", (hann(config.n_fft) / config.n_fft).astype(np.float32)),
    ):
        put(name, f"[{values.size}], as on the CPU", values)
    return tuple(found)


def _pairs(cut: Shards, first: Product, second: Product) -> Product:
    """Two products as one whose shards have some outputs of the first and then the same ones of the second."""
    width = cut.width // 2

    def shards(values: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.zeros((*values.shape[:-1], cut.shards * width), np.float32)
        padded[..., : values.shape[-1]] = values
        return padded.reshape(*values.shape[:-1], cut.shards, width)

    def join(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([shards(one), shards(two)], axis=-1).reshape(*one.shape[:-1], -1)

    return Product(join(first.weight, second.weight), join(first.bias, second.bias))


def pack_product(cut: Shards, product: Product, is_half: bool) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Header [bias, scale][outputs] and weights [shard][group][split][column][inputs], these in the lanes' order.

    Halves: [lane][half of the 256][4], a lane's 16 bytes in one piece. Floats: [half of the 256][lane][4].
    """
    inputs, outputs = product.weight.shape
    scale = half_scales(product) if is_half else np.ones(outputs, np.float32)
    header = np.zeros((2, cut.padded), np.float32)
    header[0, :outputs] = product.bias / scale
    header[1, :outputs] = scale
    weights = np.zeros((cut.splits * WARP_INPUTS, cut.padded), np.float32)
    weights[:inputs, :outputs] = product.weight / scale
    shape = (cut.splits, 2, LANES, LANE_INPUTS // 2, cut.shards, cut.groups, cut.columns)
    order = (4, 5, 0, 6, 2, 1, 3) if is_half else (4, 5, 0, 6, 1, 2, 3)
    packed = weights.reshape(shape).transpose(order).reshape(cut.shards, cut.groups, cut.splits, cut.columns, -1)
    packed = np.ascontiguousarray(packed)
    return header, packed.astype(np.float16).view(np.uint16) if is_half else packed
