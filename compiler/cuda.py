"""Plans and packs the model for a GPU: kernels and their grids, device memory, and the weights in the order of reading.

A matrix product is cut into shards of outputs, one per thread block, about as many as a large chip has multiprocessors.
A shard's outputs come in `groups` of `columns`; a group's inputs are split over `splits` warps, 256 each, of which a
lane has eight: four in each half of the 256. So a thread has one or two loads of 16 bytes per output, and a warp's
loads are contiguous. See templates/cuda/vocosc_cuda_layout.cuh, which reads all this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_steps import Step, fuse, loops
from .errors import CompileError
from .formats.f16 import half_scales
from .network import Operation
from .plan import Area, Plan
from .synthesis import steady_envelope, synthesis_window

MAX_BATCH = 16384
PARAMETER_JOBS = 128  # 24 bytes each, in the 4 KB of a kernel's parameter; of more streams they are in memory
PROCESSORS = 132  # of the chip that grids are cut for, if not told otherwise (H100, H200); others take them in turn
LANES = 32
LANE_INPUTS = 8
COLUMNS = 4  # outputs of a lane, as a rule
MAX_COLUMNS = 6  # where that saves warps
MAX_ROWS = 8  # frames of a pass: times the columns they must not be more than the lanes, which share their sums
MAX_WARPS = 12  # of a thread block, for 168 registers a thread, if a group has no more
WIDE_ROWS = 4  # if it has: a thread then has 64 to 128 registers
DATA_ROWS = 5  # at most, of a single kernel by data, which holds on to all that it looks at: with more it spills
DATA_ROWS_FLOATS = 4  # where floats are the weights, and threads have no 255 registers
DATA_BINS = 10  # of a thread, likewise
MAX_TILES = 8  # of streams: with the shards, as many thread blocks as a large chip holds at a time
MAX_THREADS = 1024
SHARED_BYTES = 48 * 1024  # of a thread block, without asking the driver for more
MOST_SHARED_BYTES = 96 * 1024  # asked for: all of these chips have it
RESIDENT_BYTES = 227 * 1024  # of a block that holds weights: what an H100, H200 or B200 has
SYNTHESIS_THREADS = 512
SINGLE_THREADS = 256  # of the single kernel, or what its steps need: with more, a thread has fewer registers
FLUSH_THREADS = 256
CALL_THREADS = 128  # of the kernel that puts jobs into memory
LIBRARY_THREADS = 128  # of the kernels between the libraries' steps
WARP_INPUTS = LANES * LANE_INPUTS
MOST_DATA_ROWS = 128  # frames of a call that the single kernel hands over by the data: as much memory as their layers
ALIGNMENT = 256  # bytes, of tables, scratch and slots


@dataclass(frozen=True)
class Tuning:
    """What a GPU has to judge. Of these the first two leave the audio's bits alone."""

    early: bool = False  # a kernel lets the next one start before it waits itself, not after
    processors: int = PROCESSORS  # multiprocessors that grids are cut for
    half: bool = False  # `hidden` is kept in halves: less to read, and 60 dB from what floats give
    tensor: bool = False  # a second way, by tensor cores, for many rows: see cuda_libs
    data: bool = False  # the single kernel hands over by the data, each word of which says that it is there; no flags
    resident: bool = False  # a further way: the single kernel stays, with the weights in shared memory


def parse_tuning(text: str) -> Tuning:
    """Of --gpu-tune: words, and processors=N, with commas between. Raises CompileError."""
    found = Tuning()
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        if name == "processors" and value.isdecimal() and int(value) > 0:
            found = replace(found, processors=int(value))
        elif name in ("early", "half", "data", "tensor", "resident") and not value:
            found = replace(found, **{name: True})
        else:
            raise CompileError(f"--gpu-tune {word}: there are early, half, data, tensor, resident and processors=N")
    if found.half and found.data:
        raise CompileError("--gpu-tune half,data: what hands over by words cannot by halves")
    return found


@dataclass(frozen=True)
class Shards:
    """How a step is cut among thread blocks. `inputs` and `outputs` are those of the table, padded."""

    inputs: int
    outputs: int
    columns: int
    groups: int
    splits: int
    shards: int
    parts: int = 1  # products that are multiplied as one: an equal share of each shard's outputs is of each

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

    @property
    def held_inputs(self) -> int:
        """Weights of a shard."""
        return self.width * self.splits * WARP_INPUTS


@dataclass(frozen=True)
class Launch:
    """A kernel's launch or, without threads, what a library does. x and y are offsets in scratch, in floats.

    With inputs, by cuBLAS: y [rows][outputs] += x [rows][inputs] times the matrix at `weights`, in bytes.
    Without, by cuFFT: of each row of x [rows][BINS][re, im] the inverse transform, to y [rows][N_FFT].
    """

    step: str
    grid: tuple[int, int, int] = (0, 0, 0)
    block: int = 0
    overlaps_previous: bool = False
    shared_bytes: int = 0  # beside the kernel's own arrays

    inputs: int = 0
    outputs: int = 0
    x: int = 0
    x_stride: int = 0
    weights: int = 0
    y: int = 0
    y_stride: int = 0
    limit: int = 0  # of a product of int8: of |x|, as int16


@dataclass(frozen=True)
class DeviceTable:
    """A table in the GPU's weights, at `offset` in bytes."""

    name: str
    layout: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Device:
    """The model on a GPU."""

    steps: tuple[Step, ...]
    batch: int
    is_half: bool
    tuning: Tuning
    rights: tuple[int, ...]  # frames that each depthwise convolution sees ahead
    lags: tuple[int, ...]  # by how many its input is behind the mel
    rows: int  # frames that a thread block takes at a time
    passes: int
    tile_jobs: int
    tiles: int
    widths: dict[str, int]  # channels of a frame's row, by name
    products: dict[str, Shards]  # by kernel
    start: Shards  # channels of `start`, whose columns are those of a block; one block more keeps the mels
    fft_frames: int
    synthesis_table_floats: int
    synthesis_overlap_floats: int
    synthesis_shared_bytes: int
    slot: tuple[Area, ...]  # the state of a stream
    scratch: tuple[Area, ...]
    tables: tuple[DeviceTable, ...]
    launches: tuple[Launch, ...]  # one for each step, behind one that puts many jobs into memory
    single: Launch  # all steps in one kernel: its grid is what can be of use, at most one block per multiprocessor
    resident: Launch | None  # the same for as many calls as come; its weights are in shared memory
    held_start: int  # where, in floats
    flush: Launch

    parameter_jobs: int  # of a call, as many as a kernel's parameter holds
    alignment: int = ALIGNMENT
    synthesis_threads: int = SYNTHESIS_THREADS
    library_threads: int = LIBRARY_THREADS
    integer_stride: int = 0  # bytes of a plane of a row of integers
    library_steps: tuple[Launch, ...] = ()  # instead of the launches, if libraries or tensor cores are to do the work

    @property
    def gathers_call(self) -> bool:
        """Whether the jobs of a call are too many for a parameter, so that a kernel puts them into memory first."""
        return self.batch > self.parameter_jobs

    @property
    def ways(self) -> dict[str, tuple[Launch, ...]]:
        """The steps of a call, by each way of this build, and of a flush."""
        found = {
            "launches": self.launches,
            "single_launch": (*self.launches[: -len(self.steps)], self.single),
            "flush_launch": (self.flush,),
            "resident_launch": (self.resident,) if self.resident else (),
            "library_steps": self.library_steps,
        }
        return {name: steps for name, steps in found.items() if steps}

    @property
    def needs_libraries(self) -> bool:
        """Whether cuBLAS and cuFFT do some of the library steps."""
        return any(step.block == 0 for step in self.library_steps)

    @property
    def loops(self) -> list[tuple[Sequence[Step], int]]:
        """The steps as runs of alike ones."""
        return loops(self.steps)

    @property
    def strides(self) -> dict[str, int]:
        """Values from one frame's row to the next: whole float4, or as many bytes of halves."""
        return {name: round_up(width, 4) for name, width in self.widths.items()}

    def rows_of(self, buffer: str) -> int:
        """Floats of a part of the scratch memory."""
        return next(area.floats for area in self.scratch if area.name == buffer)

    @property
    def weights_text(self) -> str:
        """What the weights are."""
        return "halves" if self.is_half else "floats"

    @property
    def weights(self) -> bytes:
        """All tables, one after the other."""
        return b"".join(table.data for table in self.tables)

    @property
    def weight_bytes(self) -> int:
        """Of all tables."""
        return sum(len(table.data) for table in self.tables)

    @property
    def state_bytes(self) -> int:
        """Of a slot."""
        return _bytes_of(self.slot)

    @property
    def value_bytes(self) -> int:
        """Of these what the kernels use: the host's count comes last."""
        overlap = next(area for area in self.slot if area.name == "overlap")
        return 4 * (overlap.offset + overlap.floats)

    @property
    def scratch_bytes(self) -> int:
        """Of the scratch memory."""
        return _bytes_of(self.scratch)


def plan_device(plan: Plan, batch: int, tuning: Tuning = Tuning(), *, parameter_jobs: int = PARAMETER_JOBS) -> Device:
    """Plans and packs a model for calls of up to `batch` streams. The weights are float for f32, else halves.

    Raises CompileError for what the kernels cannot run.
    """
    if not 1 <= batch <= MAX_BATCH:
        raise CompileError(f"--batch {batch}: a call has 1 to {MAX_BATCH} streams")
    config, left, is_half = plan.config, plan.left, plan.precision != "f32"
    rights = [operation.right for operation in plan.network.operations if operation.kind.endswith("conv")]
    steps = fuse(plan.network)
    products = _products(steps, tuning.processors)
    hidden = next(op.outputs for step in steps for op in step.products if "hidden" in step.writes)
    widths = {"MELS": config.n_mels, "DIM": plan.dim, "HIDDEN": hidden, "BINS": plan.bins}
    mels, dim = round_up(config.n_mels, 4), round_up(plan.dim, 4)
    most_warps = max(product.threads for product in products.values()) // LANES
    rows = min(plan.max_frames, MAX_ROWS, LANES // max(product.columns for product in products.values()))
    rows = min(rows, WIDE_ROWS) if most_warps > MAX_WARPS else rows
    if tuning.data:
        rows = min(rows, DATA_ROWS if is_half or LANES * most_warps <= SINGLE_THREADS else DATA_ROWS_FLOATS)
    rows = min(rows, SHARED_BYTES * 3 // 4 // (4 * dim), SHARED_BYTES * 3 // 4 // (4 * mels) - left)
    if rows < 1:
        raise CompileError("--target cuda: too wide a layer for the shared memory of a thread block")
    width = products["contract"].width
    warps = min(MAX_THREADS // LANES, max(rows, -(-width * rows // LANES)))
    start = Shards(0, plan.dim, width, 1, warps, -(-plan.dim // width))
    if tuning.data and batch * plan.max_frames > MOST_DATA_ROWS:
        raise CompileError(f"--gpu-tune data: not for calls of more than {MOST_DATA_ROWS} frames in all")
    if tuning.resident and batch > 1:
        raise CompileError("--gpu-tune resident: for calls of one stream, --batch 1")
    tile_jobs = -(-batch // min(batch, MAX_TILES))
    tiles = -(-batch // tile_jobs)
    most_blocks = max(start.shards + 1, batch, *(product.shards for product in products.values()))

    tables = _tables(plan, steps, products, is_half)
    table_floats = sum(len(table.data) for table in tables if table.name in _fft_tables(plan)) // 4
    overlap_floats = round_up(plan.overlap_floats, 4)
    fft_floats = 4 * plan.fft.complex_length  # of a frame: two complex buffers
    room = MOST_SHARED_BYTES // 4 - table_floats - overlap_floats
    if room < fft_floats:
        raise CompileError(f"--target cuda: n_fft {config.n_fft} is too long for the shared memory of a thread block")
    fft_frames = min(plan.max_frames, room // fft_floats)
    if tuning.data:
        fft_frames = min(fft_frames, max(1, DATA_BINS * SINGLE_THREADS // plan.fft.complex_length))
    synthesis_shared_bytes = 4 * (table_floats + overlap_floats + fft_frames * fft_floats)
    windows = (left + rows) * width + LANES * most_warps  # and the warps' sums
    most_floats = round_up(max(rows * dim, (left + rows) * mels) + windows, 4)

    sizes = {kernel: (cut.shards, tiles, cut.threads, 0) for kernel, cut in products.items()}
    sizes["start"] = (start.shards + 1, tiles, start.threads, 0)
    sizes["synthesis"] = (batch, 1, SYNTHESIS_THREADS, synthesis_shared_bytes)

    single_threads = max(SINGLE_THREADS, start.threads, LANES * most_warps)
    held = sum(products[step.kernel].held_inputs for step in steps if step.products) * (2 if is_half else 4)
    resident_bytes = max(synthesis_shared_bytes, 4 * most_floats + held)
    if tuning.resident and resident_bytes > RESIDENT_BYTES:
        needs = f"{resident_bytes / 1024:.0f} KB of shared memory for {tuning.processors} multiprocessors' weights"
        raise CompileError(f"--gpu-tune resident: a thread block needs {needs}; it has {RESIDENT_BYTES // 1024}")

    single = Launch(
        "chunk", (most_blocks, 1, 1), single_threads, shared_bytes=max(synthesis_shared_bytes, 4 * most_floats)
    )
    resident = Launch("resident", (most_blocks + 1, 1, 1), single_threads, shared_bytes=resident_bytes)
    gathering = [Launch("call", (1, 1, 1), CALL_THREADS)] if batch > parameter_jobs else []

    def launch(step: Step, overlaps_previous: bool) -> Launch:
        shards, tiles, threads, shared_bytes = sizes[step.kernel]
        return Launch(step.name, (shards, tiles, 1), threads, overlaps_previous, shared_bytes)

    return Device(
        steps=steps,
        batch=batch,
        is_half=is_half,
        tuning=tuning,
        rights=tuple(rights[1:]),
        lags=tuple(sum(rights[:i]) for i in range(1, len(rights))),
        rows=rows,
        passes=-(-plan.max_frames // rows),
        tile_jobs=tile_jobs,
        tiles=tiles,
        widths=widths,
        products=products,
        start=start,
        fft_frames=fft_frames,
        synthesis_table_floats=table_floats,
        synthesis_overlap_floats=overlap_floats,
        synthesis_shared_bytes=synthesis_shared_bytes,
        slot=areas([], 1, _state(plan)),
        scratch=_scratch(steps, plan, batch, most_blocks + tuning.resident, tuning),
        tables=tables,
        launches=(*gathering, *(launch(step, i + len(gathering) > 1) for i, step in enumerate(steps))),
        single=single,
        resident=resident if tuning.resident else None,
        held_start=most_floats,
        flush=Launch("flush", (min(batch, parameter_jobs), 1, 1), FLUSH_THREADS),
        parameter_jobs=parameter_jobs,
    )


def round_up(count: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-count // unit) * unit


def _products(steps: Sequence[Step], processors: int) -> dict[str, Shards]:
    """How the products of each kernel are cut: all alike."""
    found: dict[str, Shards] = {}
    for step in steps:
        for first in step.products[:1]:
            # What multiplies `hidden` reads its padding, too: zeros.
            outputs = round_up(first.outputs, 4) if "hidden" in step.writes else first.outputs
            cut = _cut(step.name, first.taps * round_up(first.inputs, 4), outputs, len(step.products), processors)
            if found.setdefault(step.kernel, cut) != cut:
                raise CompileError(f"--target cuda: {step.name}: differs in shape from what {step.kernel} does before")
    return found


def _cut(name: str, inputs: int, outputs: int, parts: int, processors: int) -> Shards:
    """Cuts a product: a shard for each multiprocessor or, where a thread block cannot be as large, some for each.

    With two parts, an output is two: first come the shard's groups of the one, then the other's.
    """
    splits = -(-inputs // WARP_INPUTS)
    warps = parts * splits  # of a group
    if warps > MAX_THREADS // LANES:
        raise CompileError(f"--target cuda: {name}, {inputs} x {outputs}, is too large for a thread block")
    most_groups, most_columns = max(1, MAX_WARPS // warps), MAX_COLUMNS if warps <= MAX_WARPS else COLUMNS
    turns = -(-outputs // (processors * most_groups * most_columns))
    wanted = -(-outputs // (processors * turns))
    groups = min(-(-wanted // COLUMNS), most_groups)
    columns = -(-wanted // groups)
    return Shards(inputs, outputs, columns, groups * parts, splits, -(-outputs // (columns * groups)), parts)


# ---- memory ----


Buffer = tuple[str, str, int]  # name, layout, floats


def areas(found: Iterable[Area], unit: int, buffers: Iterable[Buffer], start: int = 0) -> tuple[Area, ...]:
    """Some areas and, behind them, those of some buffers, at multiples of a unit of floats, the first at `start`."""
    placed = list(found)
    for name, layout, floats in buffers:
        end = placed[-1].offset + placed[-1].floats if placed else start
        placed.append(Area(name, layout, floats, round_up(end, unit)))
    return tuple(placed)


def _bytes_of(placed: Sequence[Area]) -> int:
    return round_up(4 * (placed[-1].offset + placed[-1].floats), ALIGNMENT)


def _state(plan: Plan) -> list[Buffer]:
    """What a stream keeps between calls: the frames that its convolutions see, and the overlap."""
    convs = [operation for operation in plan.network.operations if operation.kind.endswith("conv")]
    kept = [(op.name, f"[LEFT][{op.inputs}], frames of {op.x}", plan.left * op.inputs) for op in convs]
    frames = [("frames", "[1], which the host counts: in snapshots alone", 1)] if plan.counts_frames else []
    return [*kept, ("overlap", "[OVERLAP]", plan.overlap_floats), *frames]


def _scratch(steps: Sequence[Step], plan: Plan, batch: int, most_blocks: int, tuning: Tuning) -> tuple[Area, ...]:
    """The buffers between the steps, behind a copy of the call, or mailbox; last what the single kernel hands over."""
    buffers: dict[str, Buffer] = {}
    rows = batch * plan.max_frames
    first = 40 + 24 * batch + (4 * rows * plan.config.n_mels if tuning.resident else 0)
    for step in steps:
        for operation, name in zip(step.operations, step.writes, strict=True):
            stride = round_up(operation.outputs, 4)
            parts, text = (2, "[re, im]") if operation.epilogue == "polar" else (1, "")
            buffers[name] = (name, f"[rows]{text}[{stride}]", rows * parts * stride)
    kept = [buffer for name, buffer in buffers.items() if name not in ("rows", "audio")]
    flags = ("flags", "[thread blocks of the single kernel], uint32", most_blocks)
    kept.append(flags)
    if tuning.data:
        sizes = {name: floats for name, _, floats in kept}
        layers = sum(step.kernel == "contract" for step in steps)
        once = 2 * sizes["embedded"] + sizes["spectrum"]
        floats = round_up(once + layers * (sizes["convolved"] + sizes["hidden"]), ALIGNMENT // 4)
        kept.append(("data", "[two calls][what is handed over]", 2 * floats))
    return areas([], ALIGNMENT // 4, kept, round_up(first, ALIGNMENT) // 4)


# ---- tables ----


def add_table(found: list[DeviceTable], name: str, layout: str, *parts: NDArray[Any]) -> DeviceTable:
    """Adds a table of some parts, little-endian, each from a multiple of the alignment on."""
    little = [part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts]
    data = b"".join(part + bytes(-len(part) % ALIGNMENT) for part in little)
    found.append(DeviceTable(name, layout, found[-1].offset + len(found[-1].data) if found else 0, data))
    return found[-1]


def _tables(plan: Plan, steps: Sequence[Step], products: dict[str, Shards], is_half: bool) -> tuple[DeviceTable, ...]:
    found: list[DeviceTable] = []
    for step in steps:
        if step.products:
            cut = products[step.kernel]
            header, weights = pack_product(cut, joined(step, cut), is_half)
            names = zip(("shards", "groups", "splits", "columns"), weights.shape, strict=False)
            shape = ", ".join(f"{what}: {count}" for what, count in names)
            layout = f"[bias, scale][outputs: {cut.padded}]; [{shape}][inputs: {WARP_INPUTS}] in "
            add_table(found, step.name, layout + ("half" if is_half else "float"), header, weights)
        if step.norm:
            rows = np.stack([step.norm.tensors["scale"], step.norm.tensors["shift"]])
            add_table(found, step.norm.name, "[scale, shift][DIM]", rows)
        if step.conv:
            add_table(found, step.conv.name, "[bias, taps][DIM]", np.stack([step.conv.bias, *step.conv.weight]))
    for name, values in _fft_tables(plan).items():
        add_table(found, name, f"[{values.size}], as on the CPU", values)
    return tuple(found)


def _fft_tables(plan: Plan) -> dict[str, NDArray[np.float32]]:
    return {
        "twiddle_cosines": plan.fft.cosines,
        "twiddle_sines": plan.fft.sines,
        "half_cosines": plan.fft.half_cosines,
        "half_sines": plan.fft.half_sines,
        "synthesis_window": synthesis_window(plan.config),
        **({"envelope": steady_envelope(plan.config)} if plan.is_divided else {}),
    }


def joined(step: Step, cut: Shards) -> Operation:
    """A step's products as one: a shard has some outputs of the first and then the same ones of the second.

    The inputs of each tap are padded to whole float4.
    """
    width = cut.width // cut.parts

    def shards(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if cut.parts == 1:
            return values
        padded = np.zeros((*values.shape[:-1], cut.shards * width), np.float32)
        padded[..., : values.shape[-1]] = values
        return padded.reshape(*values.shape[:-1], cut.shards, width)

    first = step.products[0]
    parts = {key: [shards(product.tensors[key]) for product in step.products] for key in ("weight", "bias")}
    weight, bias = (np.concatenate(parts[key], axis=-1) for key in ("weight", "bias"))
    taps = weight.reshape(first.taps, first.inputs, -1)
    taps = np.pad(taps, ((0, 0), (0, -first.inputs % 4), (0, 0)))
    return replace(first, tensors={"weight": taps.reshape(cut.inputs, -1), "bias": bias.ravel()})


def pack_product(cut: Shards, product: Operation, is_half: bool) -> tuple[NDArray[np.float32], NDArray[Any]]:
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
