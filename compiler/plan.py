"""Plans the whole memory map: every size, stride and offset of state and scratch, before anything is written.

Scratch buffers live only through some of the decode's steps; buffers whose lives do not meet share the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.errors import CompileError
from compiler.fft import RealFft, plan_real_fft
from compiler.model import Config

PANEL = 16  # outputs in a panel of weights, and virtual lanes of a reduction
MAX_CHUNK = 4096  # frames: 82 s at 50 Hz; scratch grows with it

STEPS = ("embed", "norm", "conv", "expand", "contract", "final norm", "head", "inverse FFT", "overlap-add", "output")


@dataclass(frozen=True)
class Buffer:
    """A scratch buffer: `floats` at `offset` (in floats), alive from step `first` to step `last` of STEPS."""

    name: str
    layout: str
    floats: int
    first: int
    last: int
    offset: int = 0


@dataclass(frozen=True)
class Plan:
    """All sizes, in floats unless named otherwise. Strides are between frames."""

    config: Config
    chunks: tuple[int, ...]
    max_frames: int
    dim_padded: int
    dim_stride: int
    hidden_padded: int
    hidden_stride: int
    bins: int
    bins_padded: int
    spectrum_stride: int
    quantised_stride: int  # in int16 or bytes
    fft: RealFft
    scratch: tuple[Buffer, ...]
    scratch_floats: int
    mel_history_floats: int
    history_floats: int
    overlap_floats: int
    baked: bool  # whether the weights are in the object; else a stream holds their address

    @property
    def context(self) -> int:
        """Frames of left context of each convolution."""
        return self.config.kernel_size - 1

    @property
    def state_bytes(self) -> int:
        """Of the stream struct: two words and the three arrays (C has no empty array: one float at least).

        Where the weights are not baked in, their address adds 8.
        """
        arrays = (self.mel_history_floats, self.history_floats, self.overlap_floats)
        return (8 if self.baked else 16) + 4 * sum(max(1, floats) for floats in arrays)

    @property
    def mel_state_bytes(self) -> int:
        """Of the analysis stream struct: three words and the window."""
        return 12 + 4 * self.config.n_fft

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of the matrix products and convolutions for one frame, without padding."""
        c = self.config
        block = c.kernel_size * c.dim + 2 * c.dim * c.hidden
        return c.kernel_size * c.n_mels * c.dim + c.num_layers * block + c.dim * 2 * self.bins


def padded(count: int) -> int:
    """Rounded up to whole panels."""
    return -(-count // PANEL) * PANEL


def plan(config: Config, chunks: Sequence[int], precision: str = "f32", *, baked: bool = True) -> Plan:
    """Plans a model for the chunk sizes (frames per call) that its user means to decode. The largest is the limit."""
    for chunk in chunks:
        if not 1 <= chunk <= MAX_CHUNK:
            raise CompileError(f"--chunk {chunk}: a chunk has 1 to {MAX_CHUNK} frames")
    frames = max(chunks)
    fft = plan_real_fft(config.n_fft)
    bins = config.n_fft // 2 + 1
    context = config.kernel_size - 1
    # Rows a power of two apart collide in the cache; one panel more keeps them apart.
    dim_stride = padded(config.dim) + PANEL
    hidden_stride = padded(config.hidden) + PANEL
    bins_padded = padded(bins)
    spectrum_stride = max(2 * bins_padded, padded(2 * fft.complex_length))
    fft_floats = padded(2 * fft.complex_length)
    step = {name: index for index, name in enumerate(STEPS)}
    buffers = [
        Buffer("MEL_WINDOW", "[streams][context + frames][mels]", (context + 1) * frames * config.n_mels, 0, 0),
        Buffer("RESIDUAL", "[frames][dim]", frames * dim_stride, step["norm"], step["final norm"]),
        Buffer("NORMALISED", "[frames][dim]", frames * dim_stride, 0, step["head"]),
        Buffer("HIDDEN", "[frames][hidden]", frames * hidden_stride, step["expand"], step["contract"]),
        Buffer("SPECTRUM", "[frames][re, im][bins]", frames * spectrum_stride, step["head"], step["overlap-add"]),
        Buffer("FFT", "[frames][re, im][length]", frames * fft_floats, step["inverse FFT"], step["overlap-add"]),
        Buffer("AUDIO", "[frames][hop], for int16", frames * config.hop_length, step["overlap-add"], step["output"]),
        Buffer("ANALYSIS", "two spectra, for log-mel", 2 * spectrum_stride, 0, 0),
    ]
    quantised_stride = padded(max(config.dim, config.hidden)) + PANEL
    if precision == "w8":
        floats = frames * quantised_stride // 2
        buffers += [
            Buffer("QUANTISED", "[frames][dim or hidden] in int16", floats, step["conv"], step["contract"]),
            Buffer("ROW_SCALES", "[frames]", frames, step["conv"], step["contract"]),
        ]
    if precision == "w8a8":
        floats = frames * quantised_stride // 4
        buffers += [
            Buffer("QUANTISED", "[frames][dim or hidden] in bytes", floats, step["conv"], step["contract"]),
            Buffer("ROW_SCALES", "[frames][scale, zero]", 2 * frames, step["conv"], step["contract"]),
        ]
    placed = _place(buffers)
    return Plan(
        config=config,
        chunks=tuple(sorted(set(chunks))),
        max_frames=frames,
        dim_padded=padded(config.dim),
        dim_stride=dim_stride,
        hidden_padded=padded(config.hidden),
        hidden_stride=hidden_stride,
        bins=bins,
        bins_padded=bins_padded,
        spectrum_stride=spectrum_stride,
        quantised_stride=quantised_stride,
        fft=fft,
        scratch=tuple(placed),
        scratch_floats=max(buffer.offset + padded(buffer.floats) for buffer in placed),
        mel_history_floats=context * config.n_mels,
        history_floats=config.num_layers * context * padded(config.dim),
        overlap_floats=config.n_fft - config.hop_length,
        baked=baked,
    )


def _place(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Places the largest first, each at the lowest offset that no buffer alive at the same time covers."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: -b.floats):
        # The analysis is a call of its own: it may lie over anything.
        rivals = [
            b
            for b in placed
            if b.first <= buffer.last and buffer.first <= b.last and "ANALYSIS" not in (b.name, buffer.name)
        ]
        offset = 0
        for rival in sorted(rivals, key=lambda b: b.offset):
            if offset + padded(buffer.floats) <= rival.offset:
                break
            offset = max(offset, rival.offset + padded(rival.floats))
        placed.append(Buffer(buffer.name, buffer.layout, buffer.floats, buffer.first, buffer.last, offset))
    return [next(b for b in placed if b.name == buffer.name) for buffer in buffers]
