"""Plans the whole memory map from the schedule: every size, stride and offset of state and scratch, before anything is
written.

Scratch buffers live only through some of the decode's steps; buffers whose lives do not meet share the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .arithmetic import PANEL
from .config import Config
from .errors import CompileError
from .fft import RealFft, plan_real_fft
from .formats import FORMATS, Format
from .isa import ManyRows
from .mel import framing
from .network import Network
from .steps import QUANTISED, Step, steps_of
from .synthesis import cover, is_divided, trim

ROWS = ("layer_norm", "depthwise_conv")  # the operations on rows of one width
LINE = 64  # bytes
MAX_SCRATCH = (1 << 29) - 1024  # floats: bytes of an int32, on CPUs of 32 bits, too
MAX_CHUNK = 4096  # frames: 82 s at 50 Hz; scratch grows with it
MAX_ROWS = 16384  # frames of all streams of a call


@dataclass(frozen=True)
class Buffer:
    """A scratch buffer: `floats` at `offset` (in floats), alive from step `first` to step `last`."""

    name: str
    layout: str
    floats: int
    first: int
    last: int
    offset: int = 0


@dataclass(frozen=True)
class Area:
    """A part of what a stream keeps between calls, or of a GPU's memory: `floats` at `offset` (in floats)."""

    name: str
    layout: str
    floats: int
    offset: int


@dataclass(frozen=True)
class Kernel:
    """A matrix product as its tiles see it, for all operations of this shape; strides in elements between rows."""

    name: str
    format: Format
    inputs: int
    outputs: int
    x_stride: int
    y_stride: int
    epilogue: str
    is_conv: bool  # its rows overlap: windows of the mel, as long as they are floats

    @property
    def panels(self) -> int:
        """Panels of 16 outputs."""
        return padded(self.outputs) // PANEL

    def fits(self, columns: int) -> bool:
        """Whether it has work for a tile of so many outputs."""
        return columns <= self.panels * PANEL


@dataclass(frozen=True)
class Plan:
    """All sizes, in floats unless named otherwise. Strides are from one frame's row to the next."""

    network: Network
    precision: str
    layers: Format  # of the precision, as the instruction set has its rows
    chunks: tuple[int, ...]
    max_frames: int  # of a stream in a call
    streams: int  # of a call, where each has max_frames
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]
    dim: int  # channels of the rows that are convolved and normalised
    dim_stride: int
    left: int  # frames that each convolution keeps for the next call: all that it sees but one
    widths: dict[str, int]  # channels, by buffer
    strides: dict[str, int]  # by buffer
    fft: RealFft
    scratch: tuple[Buffer, ...]
    scratch_floats: int
    state: tuple[Area, ...]
    baked: bool  # whether the weights are in the object; else a stream holds their address

    config: Config  # the network's: of the front end and of the transform
    bins: int  # of the spectrum
    overlap_floats: int  # samples of the overlap-add that later frames still add to
    state_floats: int
    state_bytes: int  # of the stream struct
    mel_state_bytes: int  # of the analysis stream struct
    macs_per_frame: int  # multiply-adds of the products and convolutions, without padding
    lookahead: int  # frames: the right contexts of the convolutions, added up
    trim: int  # samples at both ends of the overlap-add that are no audio
    cover: int  # frames that add to a sample, at most

    @property
    def max_rows(self) -> int:
        """Frames of all streams of a call, at most."""
        return self.max_frames * self.streams

    @property
    def receptive_field(self) -> int:
        """Frames that a sample depends on: a stream that was fed the last so many goes on with another's very bits."""
        return sum(op.left + op.right for op in self.network.operations) + self.cover

    @property
    def counts_frames(self) -> bool:
        """Whether a stream counts frames, because not every call gives a hop of samples for each."""
        return self.lookahead > 0 or self.is_divided

    @property
    def is_divided(self) -> bool:
        """Whether the overlap-add is divided by its envelope."""
        return is_divided(self.config)

    @property
    def tail(self) -> int:
        """The samples that flush gives, at most."""
        return self.lookahead * self.config.hop_length + self.overlap_floats - self.trim


def padded(count: int) -> int:
    """Rounded up to whole panels."""
    return -(-count // PANEL) * PANEL


def row_stride(width: int) -> int:
    """Rows a power of two apart collide in the cache; one panel more keeps them apart."""
    return padded(width) + PANEL


def plan(
    network: Network,
    chunks: Sequence[int],
    precision: str = "f32",
    *,
    baked: bool = True,
    libraries: bool = False,
    wide_rows: bool = False,
    check: bool = False,
    streams: int = 1,
    many_rows: ManyRows | None = None,
) -> Plan:
    """Plans a model for the chunk sizes (frames per call) that its user means to decode. The largest is the limit.

    A call for several streams takes as many frames of each of `streams`, or fewer of more of them. An instruction set
    may have products of its own for `many_rows`.
    """
    for chunk in chunks:
        if not 1 <= chunk <= MAX_CHUNK:
            raise CompileError(f"--chunk {chunk}: a chunk has 1 to {MAX_CHUNK} frames")
    if not 1 <= streams <= MAX_ROWS // max(chunks):
        raise CompileError(
            f"--streams {streams}: with chunks of {max(chunks)}, a call has 1 to {MAX_ROWS // max(chunks)} streams"
        )
    frames, config = max(chunks), network.config
    dim = _only({op.inputs for op in network.operations if op.kind in ROWS}, "widths of normalised rows")
    fft = plan_real_fft(config.n_fft)
    steps, layers = steps_of(network, precision), FORMATS[precision]
    if wide_rows:
        steps = tuple(replace(step, format=step.format and step.format.with_wide_rows()) for step in steps)
        layers = layers.with_wide_rows()
    lookahead = sum(operation.right for operation in network.operations)
    counters = 8 if lookahead or is_divided(config) else 0
    if len(fft.passes) % 2 == 1 and not libraries:  # our passes go to and fro between two buffers, and end in the first
        steps = tuple(replace(step, x="spectrum") if step.kind == "overlap_add" else step for step in steps)
    widths, state = _widths(network), _state(network)
    state_floats = max(1, sum(part.floats for part in state))  # C has no empty array
    formats = [step.format for step in steps if step.is_product and step.format]
    in_lines = many_rows is not None and many_rows.are_among(formats, frames * streams)
    strides = _strides(widths, fft, steps, in_lines=in_lines)
    placed = _place(_buffers(network, steps, strides, frames * streams, layers, jobs=streams > 1))
    scratch_floats = max(buffer.offset + padded(buffer.floats) for buffer in placed)
    if scratch_floats > MAX_SCRATCH:
        raise CompileError(
            f"--chunk {frames}: a call would take {4 * scratch_floats / 1e9:.1f} GB of scratch, more than the "
            f"{4 * MAX_SCRATCH / 1e9:.1f} that can be addressed: give fewer frames"
        )
    return Plan(
        network=network,
        precision=precision,
        layers=layers,
        chunks=tuple(sorted(set(chunks))),
        max_frames=frames,
        streams=streams,
        steps=steps,
        kernels=_kernels(steps, strides),
        dim=dim,
        dim_stride=row_stride(dim),
        left=_only({op.taps - 1 for op in network.operations if op.kind.endswith("conv")}, "contexts of convolutions"),
        widths=widths,
        strides=strides,
        fft=fft,
        scratch=tuple(placed),
        scratch_floats=scratch_floats,
        state=state,
        baked=baked,
        config=config,
        bins=config.n_fft // 2 + 1,
        overlap_floats=config.n_fft - config.hop_length,
        state_floats=state_floats,
        # Two words, the weights' address where they are not baked in, a checksum, counters, values; three words and the
        # window
        state_bytes=(8 if baked else 16) + 4 * check + counters + 4 * state_floats,
        mel_state_bytes=12 + 4 * (framing(config).history + framing(config).span),
        macs_per_frame=sum(operation.macs for operation in network.operations),
        lookahead=lookahead,
        trim=trim(config),
        cover=cover(config),
    )


def _only(values: set[int], what: str) -> int:
    """The one value that the kernels are written for."""
    if len(values) != 1:
        raise CompileError(f"{what}: {', '.join(map(str, sorted(values))) or 'none'}; the kernels want one")
    return values.pop()


def _widths(network: Network) -> dict[str, int]:
    widths: dict[str, int] = {}
    for operation in network.operations[:-1]:  # the last one's output is the caller's
        widths[operation.y] = max(widths.get(operation.y, 0), operation.outputs)
    return widths


def _strides(widths: dict[str, int], fft: RealFft, steps: Sequence[Step], *, in_lines: bool) -> dict[str, int]:
    strides = {name: row_stride(width) for name, width in widths.items()}
    samples = padded(2 * fft.complex_length)
    strides |= {"spectrum": max(2 * padded(widths["spectrum"]), samples), "samples": samples}
    quantised = [
        step.operation.taps * step.operation.inputs for step in steps if step.is_product and step.x == QUANTISED
    ]
    if quantised:
        stride = row_stride(max(quantised))  # in elements
        # An odd number of lines: rows of bytes then begin at lines, and keep apart in the cache.
        strides[QUANTISED] = LINE * (-(-stride // LINE) | 1) if in_lines else stride
    return strides


def _kernels(steps: Sequence[Step], strides: dict[str, int]) -> tuple[Kernel, ...]:
    found: dict[str, Kernel] = {}
    for step in steps:
        operation = step.operation
        if not step.is_product or step.format is None:
            continue
        is_conv = operation.kind == "conv" and step.x != QUANTISED
        kernel = Kernel(
            name=operation.kernel,
            format=step.format,
            inputs=operation.taps * operation.inputs,
            outputs=operation.outputs,
            x_stride=operation.inputs if is_conv else strides[step.x],
            y_stride=strides[step.y],
            epilogue=operation.epilogue,
            is_conv=is_conv,
        )
        if found.setdefault(kernel.name, kernel) != kernel:
            raise CompileError(f"{operation.name}: differs in shape from the other products named {kernel.name}")
    return tuple(found.values())


def _state(network: Network) -> tuple[Area, ...]:
    """The frames before a call that its convolutions see, and the overlap."""
    found: list[Area] = []

    def put(name: str, layout: str, floats: int) -> None:
        found.append(Area(name, layout, floats, found[-1].offset + found[-1].floats if found else 0))

    for operation in network.operations:
        if operation.kind.endswith("conv"):
            channels = operation.inputs if operation.x == "mel" else padded(operation.inputs)
            kept = operation.taps - 1
            put(operation.name, f"[{kept}][{channels}], frames of {operation.x}", kept * channels)
    config = network.config
    put("overlap", "[n_fft - hop]", config.n_fft - config.hop_length)
    return tuple(found)


def _buffers(
    network: Network, steps: Sequence[Step], strides: dict[str, int], frames: int, layers: Format, *, jobs: bool
) -> list[Buffer]:
    """All scratch buffers for so many frames, of all streams together, not yet placed."""

    def alive(*names: str) -> tuple[int, int]:
        touching = [i for i, step in enumerate(steps) if {step.x, step.y, step.operation.y} & set(names)]
        return min(touching), max(touching)

    convs = [i for i, step in enumerate(steps) if step.operation.kind == "conv"]
    windows = max(steps[i].operation.taps * steps[i].operation.inputs for i in convs)
    buffers = [Buffer("mel_windows", "[streams][left + frames][mels]", windows * frames, min(convs), max(convs))]
    names = [name for name in strides if name != QUANTISED]
    buffers += [Buffer(name, "[frames][channels]", frames * strides[name], *alive(name)) for name in names]
    end = len(steps)
    window = network.config.n_fft if framing(network.config).start else 0  # mirrored at the end of the audio
    buffers += [
        Buffer("audio", "[frames][hop], for int16", frames * network.config.hop_length, *(end - 1, end)),
        Buffer("analysis", "two spectra and a window, for log-mel", 2 * strides["spectrum"] + window, 0, 0),
    ]
    if network.config.codebooks:
        floats = frames * network.config.n_mels
        buffers.append(Buffer("features", "[frames][features], for decode_codes", floats, 0, max(convs)))
    if jobs:  # a job and a count of samples for each stream, and room to align them
        buffers.append(Buffer("jobs", "[streams], for int16", 8 * frames + 2, 0, end))
    if QUANTISED in strides:
        used = [step.format for step in steps if step.is_product and step.format and step.x == QUANTISED]
        row_floats = strides[QUANTISED] * max(found.row_bytes for found in used) // 4
        row_types = " or ".join(sorted({found.row_type for found in used}))
        scale_floats = max(found.scale_floats for found in used)
        buffers += [
            Buffer(QUANTISED, f"[frames][channels] in {row_types}", frames * row_floats, *alive(QUANTISED)),
            Buffer("row_scales", "[frames]", scale_floats * frames, *alive(QUANTISED)),
        ]
    return buffers


def _place(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Places the largest first, each at the lowest offset that no buffer alive at the same time covers."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: -b.floats):
        # The analysis is a call of its own: it may lie over anything.
        rivals = [
            b
            for b in placed
            if b.first <= buffer.last and buffer.first <= b.last and "analysis" not in (b.name, buffer.name)
        ]
        offset = 0
        for rival in sorted(rivals, key=lambda b: b.offset):
            if offset + padded(buffer.floats) <= rival.offset:
                break
            offset = max(offset, rival.offset + padded(rival.floats))
        placed.append(replace(buffer, offset=offset))
    return [next(b for b in placed if b.name == buffer.name) for buffer in buffers]
