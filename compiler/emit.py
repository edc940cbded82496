"""Writes the specialised sources: a pure function of the packed model, the plan and the options.

Templates (templates/) and hand-written runtime files (runtime/) are real C with the prefix `vocosc`; the prefix becomes
the model's name in text and file names alike. Lines that begin with //% and expressions in ${} are Jinja's.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from compiler import VERSION
from compiler.cuda import Device
from compiler.golden import golden_mel
from compiler.isa import Isa, fetch_of, isas_of
from compiler.mel import filterbank, hann
from compiler.nvrtc import Image, images_bytes
from compiler.pack import INT8, WEIGHTS, Table, limits
from compiler.plan import PANEL, Plan
from compiler.weights import BYTE_ORDER_MARK, MAGIC, Weights, crc32_table
from compiler.weights import VERSION as WEIGHTS_VERSION

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 120


@dataclass(frozen=True)
class Options:
    """What the user asked for, beside the checkpoint and the chunk sizes."""

    name: str = "vocos"
    precision: str = "f32"
    target: str = "x86-64"
    link: str = "none"  # or "libs": OpenBLAS and FFTW3
    weights: str = "incbin"  # or "c", or "blob": in a file of their own
    no_libc: bool = False
    calibration: str = ""  # sha256 of the log-mels that int8 weights are rounded for
    gpus: tuple[int, ...] = ()  # architectures, with --target cuda; `target` then names the CPU's part
    batch: int = 1  # streams of a call on a GPU

    @property
    def isas(self) -> tuple[Isa, ...]:
        """The instruction sets that our own kernels are compiled for."""
        return () if self.link == "libs" else isas_of(self.target)

    @property
    def baked(self) -> bool:
        """Whether the weights are in the object."""
        return self.weights != "blob"

    @property
    def bit_exact(self) -> bool:
        """Whether the kernels are our own, so that the self-test's hash is known."""
        return self.link == "none"

    @property
    def isa_names(self) -> tuple[str, ...]:
        """The targets of the build, as the runtime names them."""
        return ("libs",) if self.link == "libs" else tuple(isa.name for isa in self.isas)

    @property
    def text(self) -> str:
        """The options as they are typed, but for the name and the chunk sizes."""
        cuda = f"cuda --gpu {','.join(map(str, self.gpus))} --batch {self.batch}"
        return (
            f"--precision {self.precision} --target {cuda if self.gpus else self.target} --link {self.link} "
            f"--weights {self.weights}{' --no-libc' if self.no_libc else ''}"
            f"{f' --calibrate (sha256 {self.calibration})' if self.calibration else ''}"
        )


@dataclass(frozen=True)
class Measured:
    """What only a build can tell."""

    flash_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class MatrixProduct:
    """A matrix product of the network, as the tiles see it; strides in floats between frames."""

    name: str
    text: str
    inputs: int
    x_stride: int
    y_stride: int
    weights: str  # f32, f16, int8, or int8a8: int8 whose inputs are bytes

    @property
    def is_int8(self) -> bool:
        """Whether integers are multiplied: int8 weights, with rows of int16 or of bytes."""
        return self.weights in ("int8", "int8a8")

    @property
    def has_bytes(self) -> bool:
        """Whether the rows are bytes, each row with a zero of its own."""
        return self.weights == "int8a8"

    @property
    def weight_type(self) -> str:
        """The C type of the table's elements."""
        return {"f32": "float", "f16": "uint16_t"}.get(self.weights, "int8_t")

    @property
    def x_type(self) -> str:
        """The C type of the inputs."""
        return {"int8": "int16_t", "int8a8": "uint8_t"}.get(self.weights, "float")

    @property
    def load(self) -> str:
        """The function that loads a vector of weights."""
        return {"f32": "vec_load", "f16": "vec_load_half"}.get(self.weights, "vec_load_int8")

    @property
    def float_elements(self) -> int:
        """Elements in the place of a float."""
        return {"f32": 1, "f16": 2}.get(self.weights, 4)

    @property
    def header(self) -> int:
        """Elements in front of a panel's weights: biases, but for float scales, for bytes the sums of weights."""
        rows = 3 if self.has_bytes else 1 if self.weights == "f32" else 2
        return rows * PANEL * self.float_elements

    @property
    def padded_inputs(self) -> int:
        """The inputs that have weights: int8 ones come in fours."""
        return -(-self.inputs // 4) * 4 if self.is_int8 else self.inputs

    @property
    def neighbours(self) -> int:
        """An output's weights that lie side by side."""
        return {"int8": 2, "int8a8": 4}.get(self.weights, 1)

    @property
    def panel(self) -> int:
        """Elements of a panel."""
        return self.header + self.padded_inputs * PANEL


KERNELS = "cuda_kernels.cu"


def emit_kernels(plan: Plan, device: Device, checkpoint_sha256: str, options: Options) -> dict[str, bytes]:
    """The CUDA sources, NAME_cuda_kernels.cu and its headers: name to bytes."""
    values = {
        "options": options,
        "plan": plan,
        "config": plan.config,
        "fft": plan.fft,
        "device": device,
        "silent_mel": f"{np.log(1e-5):.9g}",
    }
    cuda = ROOT / "templates" / "cuda"
    parts = [part for part in sorted(cuda.glob("*.cuh")) if device.library_steps or "library" not in part.name]
    sources = [
        *parts,
        cuda / "vocosc_cuda_call.h",
        cuda / "vocosc_cuda_kernels.cu",
        cuda / "vocosc_cuda_machine.h",
        ROOT / "runtime" / "vocosc_vector.h",
        ROOT / "runtime" / "vocosc_vector_cuda.h",
        ROOT / "runtime" / "vocosc_vector_math.h",
    ]
    banner = _banner("", checkpoint_sha256, plan, options)
    files = dict(_render(source, options.name, values) for source in sources)
    return {name: (banner + text).encode() for name, text in files.items()}


def emit(
    plan: Plan,
    tables: Sequence[Table],
    weights: Weights,
    checkpoint_sha256: str,
    options: Options,
    *,
    measured: Measured | None = None,
    device: Device | None = None,
    images: Sequence[Image] = (),
) -> dict[str, bytes]:
    """All files of the output directory that are not built: name to bytes. A device comes with its kernels' images."""
    config = plan.config
    files: dict[str, bytes] = {}
    tool_sources = sorted((ROOT / "runtime" / "tool").glob("*.[ch]"))
    team_sources = sorted((ROOT / "runtime").glob("vocosc_team_pthread.[ch]"))
    tool_objects = [
        f"{_rename(path.stem, options.name)}.o" for path in tool_sources + team_sources if path.suffix == ".c"
    ]
    window = hann(config.n_fft)
    weight_bytes = sum(table.data.nbytes for table in tables)
    values: dict[str, Any] = {
        "generator": f"vocosc {VERSION}",
        "sha256": checkpoint_sha256,
        "options": options,
        "measured": measured,
        "device": device,
        "images": images,
        "images_bytes": len(images_bytes(images)),
        "plan": plan,
        "PANEL": PANEL,
        "config": config,
        "fft": plan.fft,
        "fft_stride": -(-2 * plan.fft.complex_length // PANEL) * PANEL,
        "isa_names": options.isa_names,
        "precision": options.precision,
        "is_int8": options.precision in INT8,
        "limits": limits(tables),
        "products": matrix_products(plan, options.precision),
        "tables": tables,
        "weight_bytes": weight_bytes,
        "fetch": fetch_of(weight_bytes),
        "weights": weights,
        "weights_magic": [f"'{letter}'" for letter in MAGIC.decode()],
        "weights_version": WEIGHTS_VERSION,
        "byte_order_mark": BYTE_ORDER_MARK,
        "architecture": np.frombuffer(weights.architecture, np.uint8),
        "crc32_table": np.array(crc32_table(), np.uint32),
        "golden_mel": golden_mel(config.n_mels) if options.bit_exact else None,
        "silent_mel": f"{np.log(1e-5):.9g}",
        "filterbank": filterbank(config),
        "synthesis_window": (window / config.n_fft).astype(np.float32),
        "analysis_window": (window * (0.5 if plan.fft.is_even else 1)).astype(np.float32),
        "last_panel_mask": (np.arange(PANEL) < (config.dim - 1) % PANEL + 1).astype(np.float32),
        "objects": [f"{options.name}_network_{name}.o" for name in options.isa_names],
        "tool_objects": tool_objects,
        "weights_source": f"{options.name}_weights.{'S' if options.weights == 'incbin' else 'c'}"
        if options.baked
        else "",
        "weights_data": f"{options.name}_weights.bin" if options.weights == "incbin" else "",
        "libraries": " ".join(
            [
                *(["-lopenblas", "-lfftw3f"] if options.link == "libs" else []),
                *(["-ldl"] if device else []),
                *("-lpthread", "-lm"),
            ]
        ),
    }

    def put(source: Path, **more: Any) -> None:
        name, text = _render(source, options.name, {**values, **more})
        files[name] = (_banner(name, checkpoint_sha256, plan, options) + text).encode()

    templates = ROOT / "templates"
    runtime = ROOT / "runtime"
    shared = ["vocosc_model.h", "vocosc_tables.c", "vocosc.mk"]
    if options.baked:
        shared.append(f"vocosc_weights.{'S' if options.weights == 'incbin' else 'c'}")
    for name in shared:
        put(templates / name)
    put(templates / "vocosc_blocks.h")
    if options.link == "libs":
        put(runtime / "vocosc_network_libs.c")
    else:
        put(templates / "vocosc_fft.h")
        for name in ("vocosc_network.c", "vocosc_vector.h", "vocosc_vector_math.h"):
            put(runtime / name)
        for isa in options.isas:
            put(runtime / f"vocosc_vector_{isa.name}.h")
            put(templates / "vocosc_tiles.h", isa=isa.for_frames(plan.max_frames))
            files[f"{options.name}_tiles_{isa.name}.h"] = files.pop(f"{options.name}_tiles.h")
    for path in [runtime / name for name in ("vocosc.c", "vocosc_network.h", "vocosc_target.c")]:
        put(path)
    if options.no_libc:
        put(runtime / "vocosc_memory.c")
    for path in tool_sources + team_sources:
        put(path)
    # The public header stands alone: the sizes are part of it.
    put(runtime / "vocosc.h")
    _, sizes = _render(templates / "vocosc_sizes.h", options.name, values)
    _insert(files, f"{options.name}.h", f"{options.name}_sizes.h", sizes)
    if options.weights != "c":
        files[f"{options.name}_weights.bin"] = weights.file
    if device is not None:
        names = ["vocosc_cuda.c", "vocosc_cuda.h", "vocosc_cuda_driver.h"]
        for name in [*names, *(["vocosc_cuda_libs.c", "vocosc_cuda_libs.h"] if device.library_steps else [])]:
            put(runtime / name)
        for name in ("vocosc_cuda_data.S", "vocosc_cuda_model.h", "vocosc_cuda_tables.c"):
            put(templates / "cuda" / name)
        _, sizes = _render(templates / "cuda" / "vocosc_cuda_sizes.h", options.name, values)
        _insert(files, f"{options.name}_cuda.h", f"{options.name}_cuda_sizes.h", sizes)
        files.update(emit_kernels(plan, device, checkpoint_sha256, options))
        files[f"{options.name}_cuda_images.bin"] = images_bytes(images)
        files[f"{options.name}_cuda_weights.bin"] = device.weights
    return dict(sorted(files.items()))


def _insert(files: dict[str, bytes], header: str, included: str, text: str) -> None:
    """Puts a text in the place of the line that includes it."""
    files[header] = files[header].decode().replace(f'#include "{included}"\n', text).encode()


def matrix_products(plan: Plan, precision: str) -> list[MatrixProduct]:
    """The network's matrix products, in the order of their use."""
    config = plan.config
    mel, dim, hidden, spectrum = config.n_mels, plan.dim_stride, plan.hidden_stride, plan.spectrum_stride
    edges, blocks = WEIGHTS[precision]
    rows = [
        ("embed", "The embedding's convolution, of overlapping rows", config.kernel_size * mel, mel, dim, edges),
        ("expand", "A block's first layer and GELU", config.dim, dim, hidden, blocks),
        ("contract", "A block's second layer, onto the residual", config.hidden, hidden, dim, blocks),
        ("magnitude", "The head's log-magnitudes and exp", config.dim, dim, spectrum, edges),
        ("phase", "The head's phases, and from both the spectrum", config.dim, dim, spectrum, edges),
    ]
    if precision in INT8:
        rows = [(*row[:3], plan.quantised_stride, *row[4:]) if row[5] == blocks else row for row in rows]
    return [MatrixProduct(*row) for row in rows]


def _banner(name: str, sha256: str, plan: Plan, options: Options) -> str:
    lines = [
        f"Generated by vocosc {VERSION}: do not edit.",
        f"Checkpoint: sha256 {sha256}",
        f"Options: --name {options.name} --chunk {','.join(map(str, plan.chunks))} {options.text}",
    ]
    if name.endswith(".mk"):
        return "".join(f"# {line}\n" for line in lines) + "\n"
    return "/*\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


def _rename(text: str, name: str) -> str:
    return re.sub("VOCOSC", name.upper(), re.sub("vocosc", name, text))


def _render(source: Path, name: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """The file's name and text under the model's prefix."""
    text = _rename(source.read_text(), name)
    if source.is_relative_to(ROOT / "templates"):
        text = _environment().from_string(_jinja(text)).render(values)
    return _rename(source.name, name), _align_comments(text)


def _jinja(text: str) -> str:
    """Lines that begin with //% as Jinja's own."""
    return re.sub(r"^ *//%(-?) (.*)$", r"<%\1 \2 %>", text, flags=re.MULTILINE)


def _align_comments(text: str) -> str:
    """Aligns the comments behind the code of neighbouring lines: the name's length may have moved them."""
    lines = text.split("\n")
    matches = [re.fullmatch(r"( *[^ /*].*?) +(/\* .* \*/)", line) for line in lines]
    start = 0
    for is_comment, run in itertools.groupby(matches, key=bool):
        count = len(list(run))
        if is_comment:
            width = max(len(match[1]) for match in matches[start : start + count] if match)
            for i in range(start, start + count):
                match = matches[i]
                assert match is not None
                lines[i] = f"{match[1]:<{width}} {match[2]}"
        start += count
    return "\n".join(lines)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="${",
        variable_end_string="}",
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda name: _jinja((ROOT / "templates" / name).read_text())),
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(
        float32=_float32,
        c_numbers=_c_numbers,
        chomp=lambda text: text.rstrip("\n"),
        table_length=lambda values: max(1, values.size),
        weight_offset=_weight_offset,
        header_offset=_header_offset,
        row_offset=_row_offset,
    )
    return environment


def _weight_offset(product: MatrixProduct, output: int) -> str:
    """Where the weights of a tile's output begin, as an offset to add: other panels are a whole panel further."""
    return _offset((output // PANEL, f"{product.name.upper()}_PANEL"), (output % PANEL * product.neighbours, ""))


def _header_offset(product: MatrixProduct, output: int, more: int = 0) -> str:
    """Where an output's bias stands, counted in floats, as an offset to add."""
    return _offset((output // PANEL, f"{product.name.upper()}_PANEL_FLOATS"), (output % PANEL + more, ""))


def _row_offset(product: MatrixProduct, row: int, stride: str, more: int = 0) -> str:
    """Where a row of inputs or outputs begins, or `more` behind that, as an offset to add."""
    return _offset((row, f"{product.name.upper()}_{stride}"), (more, ""))


def _offset(*terms: tuple[int, str]) -> str:
    """The sum of some counts of a unit, each, as C that is to be added: ` + 2 * PANEL + 8`, or nothing."""
    words = ["" if not n else str(n) if not unit else unit if n == 1 else f"{n} * {unit}" for n, unit in terms]
    return "".join(f" + {word}" for word in words if word)


def _float32(value: float) -> str:
    """A C literal of exactly this float32."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f" if "." in mantissa else f"{mantissa}p{exponent}f"


def _c_numbers(values: NDArray[Any]) -> str:
    if values.dtype != np.float32:
        return _wrapped(map(str, values.ravel().tolist()))
    return _wrapped(map(_float32, values.ravel().tolist() or [0.0]))


def _wrapped(items: Any) -> str:
    lines, line = [], ""
    for item in items:
        if len(line) + len(item) + 2 > COLUMNS:
            lines.append(line)
            line = ""
        line += f"{' ' if line else '  '}{item},"
    return "\n".join([*lines, line])
