"""The golden chunk of the self-test: what the object decodes it to, bit for bit, computed here in numpy.

The object's arithmetic has one order on every target (see templates/network/vocosc_network.h), so its output can be
told without a build. This is that arithmetic a second time, for all frames at once; the tests hold the two against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arithmetic import Floats, exp, fma, gelu, layer_norm, sincos
from .errors import CompileError
from .fft import RealFft
from .formats import Table, format_of
from .interpret import Rows, Watch, decode
from .network import MAX_MAGNITUDE, NORM_EPSILON, SMALLEST_NORMALISED, Operation
from .pack import input_limits
from .plan import Plan
from .steps import normalised_products
from .synthesis import envelope, is_divided, synthesis_window, trim


def golden_mel(n_mels: int) -> Floats:
    """The frame of log-mel that the self-test decodes: noise between -8 and 0, in steps that any text can state."""
    state, values = 1, []
    for _ in range(n_mels):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append((state >> 54) / 128 - 8)
    return np.array(values, np.float32)


def golden_frames(plan: Plan) -> int:
    """As many golden frames as a convolution sees: with fewer, some weights would meet nothing but silence."""
    return max(operation.taps for operation in plan.network.operations)


def golden_hash(plan: Plan, tables: Sequence[Table]) -> int:
    """FNV-1a, over the words of the audio of the golden frames and then of what flush gives.

    Raises CompileError if these tables decode to what is no number.
    """
    mel = np.tile(golden_mel(plan.config.n_mels), (golden_frames(plan), 1))
    writers: dict[str, Operation] = {}

    def look(operation: Operation, x: Rows) -> None:
        if not np.isfinite(x).all():
            raise CompileError(f"{writers[operation.x].source}: in {plan.precision} these tensors decode to infinities")
        writers[operation.y] = operation

    with np.errstate(all="ignore"):
        audio = exact_decode(plan, tables, mel, look)
    value = 14695981039346656037
    for word in audio.view(np.uint32).tolist():
        value = (value ^ word) * 1099511628211 % 2**64
    return int(value)


def exact_decode(plan: Plan, tables: Sequence[Table], mel: Floats, watch: Watch | None = None) -> Floats:
    """The audio of log-mel [frames, mels], what flush gives included, as the object gives it. See `decode`."""
    return np.asarray(decode(plan.network, mel, _Exact(plan, tables), watch), np.float32)


class _Exact:
    """See compiler/interpret.py. Rows are padded to whole panels with zeros, as the kernels' are."""

    def __init__(self, plan: Plan, tables: Sequence[Table]) -> None:
        self.plan = plan
        self.tables = {table.name: table for table in tables}
        self.limits = input_limits(plan.network, tables)
        self.normalised = normalised_products(plan.steps)
        self.norms = {step.name for step in plan.steps if step.kind == "layer_norm"}

    def product(self, operation: Operation, x: Rows) -> Rows:
        chosen, kernel = format_of(operation, self.plan.precision), operation.kernel
        is_normalised = operation.name in self.normalised
        return chosen.multiply(self.tables[operation.name], x, self.limits.get(kernel, 0), is_normalised)

    def depthwise_conv(self, operation: Operation, windows: Rows) -> Rows:
        bias, *taps = self.tables[operation.name].data
        value = np.broadcast_to(bias, windows[:, 0].shape)
        for tap, weight in enumerate(taps):
            value = fma(windows[:, tap], weight, value)
        return value

    def layer_norm(self, operation: Operation, x: Rows) -> Rows:
        rows = layer_norm(x, operation.inputs, NORM_EPSILON)
        if operation.tensors:
            return fma(rows, *self.tables[operation.name].data)
        tiny = np.abs(rows) < np.float32(SMALLEST_NORMALISED)
        return np.where(tiny, np.float32(0), rows) if operation.name in self.norms else rows

    def epilogue(self, name: str, sums: Rows, y: Rows | None) -> Rows:
        match name:
            case "gelu":
                return gelu(sums)
            case "exp":
                return np.minimum(exp(sums), np.float32(MAX_MAGNITUDE))
            case "add" | "polar":
                assert y is not None, "the schedule writes y before"
                if name == "add":
                    return np.asarray(y + sums)
                sine, cosine = sincos(sums)
                return np.stack([y * cosine, y * sine])
            case _:
                return sums

    def inverse_rfft(self, spectrum: Rows) -> Rows:
        re, im = spectrum[:, :, : self.plan.bins]
        return _inverse_real_fft(self.plan.fft, re, im)

    def overlap_add(self, frames: Rows) -> Rows:
        config, hop, kept = self.plan.config, self.plan.config.hop_length, self.plan.overlap_floats
        window = synthesis_window(config)
        overlap, audio = np.zeros(kept, np.float32), []
        for frame in frames:
            total = frame * window
            total[:kept] = fma(frame[:kept], window[:kept], overlap)
            audio.append(total[:hop])
            overlap = total[hop:]
        found = np.concatenate([*audio, overlap])
        if is_divided(config):
            cut = slice(trim(config), len(found) - trim(config))
            found = found[cut] / envelope(window, hop, len(frames))[cut]
        return found


# ---- inverse FFT ----


def _turned(x: Floats) -> Floats:
    """i x, of [real and imaginary part, ...]."""
    return np.stack([-x[1], x[0]])


def _butterfly(x: Sequence[Floats]) -> list[Floats]:
    """As the template vocosc_fft.h has them, inverse; each of `x` is [real and imaginary part, ...]."""
    if len(x) == 1:
        return list(x)
    if len(x) == 2:
        return [x[0] + x[1], x[0] - x[1]]
    if len(x) == 3:
        both = x[1] + x[2]
        mid, turn = fma(both, np.float32(-0.5), x[0]), _turned((x[1] - x[2]) * np.float32(0.8660254037844386))
        return [x[0] + both, mid + turn, mid - turn]
    if len(x) == 4:
        even, even_turn, odd, odd_turn = x[0] + x[2], x[0] - x[2], x[1] + x[3], _turned(x[1] - x[3])
        return [even + odd, even_turn + odd_turn, even - odd, even_turn - odd_turn]
    cos_72, cos_144 = np.float32(0.30901699437494745), np.float32(-0.8090169943749475)
    sin_72, sin_144 = np.float32(0.9510565162951535), np.float32(0.5877852522924731)
    near, far, near_turn, far_turn = x[1] + x[4], x[2] + x[3], x[1] - x[4], x[2] - x[3]
    mid1, mid2 = fma(near, cos_72, fma(far, cos_144, x[0])), fma(near, cos_144, fma(far, cos_72, x[0]))
    turn1 = _turned(fma(near_turn, sin_72, far_turn * sin_144))
    turn2 = _turned(fma(near_turn, sin_144, far_turn * -sin_72))
    return [x[0] + near + far, mid1 + turn1, mid2 + turn2, mid2 - turn2, mid1 - turn1]


def _inverse_real_fft(fft: RealFft, re: Floats, im: Floats) -> Floats:
    """Spectra (frames, bins) to samples (frames, n_fft), without the factor 1 / n_fft."""
    length = fft.complex_length
    x = np.zeros((2, len(re), length), np.float32)
    if fft.is_even:
        x[0, :, 0], x[1, :, 0] = re[:, 0] + re[:, length], re[:, 0] - re[:, length]
        bins = np.arange(1, length)
        sum_r, sum_i = re[:, bins] + re[:, length - bins], im[:, bins] - im[:, length - bins]
        difference_r, difference_i = re[:, bins] - re[:, length - bins], im[:, bins] + im[:, length - bins]
        c, s = fft.half_cosines[bins], fft.half_sines[bins]
        x[0, :, 1:] = fma(-difference_i, c, fma(-difference_r, s, sum_r))
        x[1, :, 1:] = fma(difference_r, c, fma(-difference_i, s, sum_i))
    else:
        x[0, :, 0] = re[:, 0]
        bins = np.arange(1, re.shape[1])
        x[0][:, bins], x[1][:, bins] = re[:, bins], im[:, bins]
        x[0][:, length - bins], x[1][:, length - bins] = re[:, bins], -im[:, bins]
    for step in fft.passes:
        inputs = x.reshape(2, len(re), step.radix, step.groups, step.columns)
        outputs = _butterfly([inputs[:, :, j] for j in range(step.radix)])
        y = np.zeros((2, len(re), step.groups, step.radix, step.columns), np.float32)
        for k, output in enumerate(outputs):
            y[:, :, :, k] = output
            if step.groups > 1 and k > 0:
                first = step.twiddles + (k - 1) * step.groups
                c, s = (turns[first : first + step.groups, None] for turns in (fft.cosines, fft.sines))
                y[:, :, :, k] = fma(output[0], c, -(output[1] * s)), fma(output[0], s, output[1] * c)
        x = y.reshape(2, len(re), length)
    return x[0] if not fft.is_even else np.ascontiguousarray(x.transpose(1, 2, 0)).reshape(len(re), -1)
