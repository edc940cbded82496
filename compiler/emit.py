"""Writes the specialised sources: a pure function of the packed model, the plan and the options.

templates/ and runtime/ hold real C under the prefix `vocosc`, which becomes the model's name in file names and in
identifiers that begin with it. Lines that begin with //% and expressions in ${} are Jinja's. clang-format has the last
word on what comes out.
"""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clang_format
import jinja2
import numpy as np
from numpy.typing import NDArray

from . import VERSION
from .arithmetic import CONSTANTS, PANEL, POLYNOMIALS
from .arrange import by_vectors, conv_channels, gelu_by_vectors, small_halves
from .cuda import Device
from .formats import FORMATS, Format, Table
from .golden import golden_frames, golden_mel
from .isa import BARE_TARGETS, ISAS, LIBS, Isa, fetch_of, isas_of
from .mel import LEAST_POWER, Mel, describe, filterbank, framing, hann
from .network import MAX_MAGNITUDE, NORM_EPSILON, SMALLEST_NORMALISED
from .nvrtc import Image, images_bytes
from .pack import input_limits
from .plan import Kernel, Plan, padded
from .synthesis import steady_envelope, synthesis_window
from .weights import BYTE_ORDER_MARK, MAGIC, Weights, crc32_tables
from .weights import VERSION as WEIGHTS_VERSION

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "templates").is_dir() else HERE.parent  # installed, or in the tree
TEMPLATES, RUNTIME = ROOT / "templates", ROOT / "runtime"
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
    check: bool = False  # NAME_check, and a checksum in each stream
    edges: str = ""  # the number format of embedding and head, where it is not the one that the precision says
    calibration: str = ""  # sha256 of the log-mels that integer weights are rounded for
    gpus: tuple[int, ...] = ()  # architectures, with --target cuda; `target` then names the CPU's part
    batch: int = 1  # streams of a call on a GPU
    tuning: str = ""  # of its kernels, as --gpu-tune has it
    streams: int = 1  # of a call of decode_batch on the CPU
    overrides: str = ""  # of what the checkpoint says, as they are typed

    @property
    def isas(self) -> tuple[Isa, ...]:
        """The instruction sets of the target, the best last."""
        return (LIBS,) if self.link == "libs" else isas_of(self.target)

    @property
    def is_wasm(self) -> bool:
        """Whether it is for a browser."""
        return self.target == "wasm"

    @property
    def baked(self) -> bool:
        """Whether the weights are in the object."""
        return self.weights != "blob"

    @property
    def bit_exact(self) -> bool:
        """Whether the kernels are our own, so that the self-test's hash is known."""
        return self.link == "none"

    @property
    def text(self) -> str:
        """The options as they are typed, but for the name and the chunk sizes."""
        edges = f" --edges {self.edges}" if self.edges else ""
        cuda = f"cuda --gpu {','.join(map(str, self.gpus))} --batch {self.batch}"
        cuda += f" --gpu-tune {self.tuning}" if self.tuning else ""
        return (
            f"--precision {self.precision}{edges} --target {cuda if self.gpus else self.target} --link {self.link} "
            f"--weights {self.weights}{' --no-libc' if self.no_libc else ''}"
            f"{' --check' if self.check else ''}"
            f"{f' --streams {self.streams}' if self.streams > 1 else ''}"
            f"{f' {self.overrides}' if self.overrides else ''}"
            f"{f' --calibrate (sha256 {self.calibration})' if self.calibration else ''}"
        )


def isas_of_build(plan: Plan, options: Options) -> list[Isa]:
    """The instruction sets that a build has, the best last."""
    formats = [kernel.format for kernel in plan.kernels]
    return [isa for isa in options.isas if not isa.many_rows or isa.many_rows.are_among(formats, plan.max_rows)]


KERNELS = "cuda_kernels.cu"
_BUILD = "0123456789abcdef"  # until the build's hash is known


def emit_kernels(plan: Plan, device: Device, checkpoint_sha256: str, options: Options) -> dict[str, bytes]:
    """The CUDA sources, NAME_cuda_kernels.cu and its headers: name to bytes."""
    network = TEMPLATES / "network"
    parts = sorted((TEMPLATES / "cuda").glob("*.*"))
    sources = [
        *(part for part in parts if device.library_steps or "library" not in part.name),
        RUNTIME / "cuda" / "vocosc_cuda_call.h",
        network / "vocosc_vector.h",
        network / "vocosc_vector_math.h",
    ]
    values = {**_values(plan, options), "device": device, "enlarged": frozenset()}
    rendered = dict(_render(source, options.name, values) for source in sources)
    files = _format({name: text.encode() for name, text in rendered.items()})
    head = banner("", checkpoint_sha256, plan, options).encode()
    return {name: head + text for name, text in files.items()}


def emit(
    plan: Plan,
    tables: Sequence[Table],
    weights: Weights,
    checkpoint_sha256: str,
    options: Options,
    *,
    device: Device | None = None,
    images: Sequence[Image] = (),
) -> dict[str, bytes]:
    """All files of the output directory that are not built, by their path in it.

    What one links stands on top; the sources are in network/ and tool/. A device comes with its kernels' images.
    """
    name = options.name
    limits = input_limits(plan.network, tables)
    isas = [isa.for_build(plan.max_rows, has_integers=bool(limits)) for isa in isas_of_build(plan, options)]
    weight_bytes = sum(table.data.nbytes for table in tables)
    if options.is_wasm:
        top = [RUNTIME / "vocosc.h", *sorted((TEMPLATES / "wasm").iterdir())]
    else:
        top = [
            RUNTIME / "vocosc.h",
            RUNTIME / "vocosc.hpp",
            TEMPLATES / "vocosc.mk",
            *sorted(RUNTIME.glob("vocosc_team_pthread.[ch]")),
        ]
    network = _network_sources(plan, options)
    if device is not None:
        top.append(RUNTIME / "cuda" / "vocosc_cuda.h")
        host = sorted((RUNTIME / "cuda").glob("*.[chS]"))
        network += [path for path in host if path not in top and (device.needs_libraries or "libs" not in path.name)]
    tool = [] if options.is_wasm else sorted((RUNTIME / "tool").glob("*.[ch]"))

    def objects(folder: str, sources: Iterable[Path], suffix: str = ".c") -> list[str]:
        return [f"{folder}{rename(path.stem, name)}.o" for path in sources if path.suffix == suffix]

    values: dict[str, Any] = {
        **_values(plan, options),
        "weights": weights,
        "weights_magic": [f"'{letter}'" for letter in MAGIC.decode()],
        "weights_version": WEIGHTS_VERSION,
        "byte_order_mark": BYTE_ORDER_MARK,
        "architecture": np.frombuffer(weights.architecture, np.uint8),
        "crc32_tables": np.array(crc32_tables(), np.uint32),
        "build": _BUILD,
        "generator": f"vocosc {VERSION}",
        "sha256": checkpoint_sha256,
        "device": device,
        "images": images,
        "images_bytes": len(images_bytes(images)),
        "isas": isas,
        "all_isas": ISAS,
        "bare_targets": BARE_TARGETS,
        "x86_isas": [isa for isa in isas if isa.cpu],
        "limits": limits,
        "by_vectors": by_vectors(plan, tables, isas),
        "conv_channels": conv_channels(plan, isas[-1]),
        "small_halves": small_halves(plan, isas)[0],
        "enlarged": small_halves(plan, isas)[1],
        "gelu_by_vectors": gelu_by_vectors(plan, tables, isas),
        "tables": tables,
        "weight_bytes": weight_bytes,
        "fetch": fetch_of(weight_bytes),
        "code": [
            *objects("network/", network),
            *(f"network/{name}_network_{isa.name}.o" for isa in isas if isa.lanes),
            *([f"network/{name}_weights.o"] if options.weights == "c" else []),
        ],
        "data": objects("network/", network, ".S"),
        "tool": objects("tool/", tool) + objects("", top),
        "headers": " ".join(rename(path.name, name) for path in top if ".h" in path.suffix and "team" not in path.name),
        "shares": " ".join(
            [
                *(f"{name}_team_pthread.{suffix}" for suffix in "ch"),
                *([] if options.baked else [f"{name}_weights.bin"]),
            ]
        ),
        "libraries": " ".join(
            [
                *(["-lopenblas", "-lfftw3f"] if options.link == "libs" else []),
                *(["-ldl"] if device else []),
                *("-lpthread", "-lm"),
            ]
        ),
    }
    files: dict[str, bytes] = {}

    def put(source: Path, folder: str, rename: str = "", **more: Any) -> None:
        file, text = _render(source, name, {**values, **more})
        file = folder + (f"{name}_{rename}" if rename else file)
        files[file] = text.encode()

    for folder, sources in (("", top), ("network/", network), ("tool/", tool)):
        for source in sources:
            put(source, folder)
    for isa in (isa for isa in isas if isa.lanes):
        put(TEMPLATES / "network/vocosc_network_isa.c", "network/", f"network_{isa.name}.c", isa=isa)
        more = next((other for other in isas if other.base == isa.name), None)
        put(TEMPLATES / "network/vocosc_tiles.h", "network/", f"tiles_{isa.name}.h", isa=isa, more=more)
    files = _format(files)
    if options.weights == "c":
        put(TEMPLATES / "network/vocosc_weights.c", "network/")  # of megabytes: never formatted
    files = {file: banner(file, checkpoint_sha256, plan, options).encode() + text for file, text in files.items()}
    if options.weights != "c":
        files[f"{'network/' if options.baked else ''}{name}_weights.bin"] = weights.file
    if device is not None:
        kernels = emit_kernels(plan, device, checkpoint_sha256, options)
        files |= {f"network/{file}": data for file, data in kernels.items()}
        files[f"network/{name}_cuda_images.bin"] = images_bytes(images)
        files[f"network/{name}_cuda_weights.bin"] = device.weights
    _tie(files, f"{name}.h", f"network/{name}.c")
    return dict(sorted(files.items()))


def _tie(files: dict[str, bytes], *tied: str) -> None:
    """Puts a hash of all files into the header and into the source of its functions: see NAME_TIED in the header."""
    lines = (f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in sorted(files.items()))
    build = hashlib.sha256("".join(lines).encode()).hexdigest()[: len(_BUILD)]
    for name in tied:
        files[name] = files[name].replace(_BUILD.encode(), build.encode())


def _network_sources(plan: Plan, options: Options) -> list[Path]:
    """The object's sources, but for those that there are one of for each instruction set."""
    network = TEMPLATES / "network"
    found = [RUNTIME / name for name in ("vocosc.c", "vocosc_memory.h", "vocosc_target.c", "vocosc_target.h")]
    found += [network / name for name in ("vocosc_model.h", "vocosc_tables.c", "vocosc_values.h")]
    if plan.counts_frames:
        found.append(network / "vocosc_output.h")
    if options.no_libc:
        found.append(RUNTIME / "vocosc_memory.c")
    if options.weights == "incbin":
        found.append(network / "vocosc_weights.S")
    if options.weights == "incbin" or options.gpus:
        found.append(network / "vocosc_branches.h")
    if options.link == "libs":
        return [*found, TEMPLATES / "libs/vocosc_network_libs.c"]
    names = ["chunk", "epilogues", "fft", "fma", "network", "steps", "vector", "vector_math"]
    formats = [kernel.format for kernel in plan.kernels]
    names += [
        f"format_{name}" for name in sorted({name for found in formats for name in (found.name, *found.includes)})
    ]
    for isa in isas_of_build(plan, options):
        names += [*([f"vector_{isa.name}"] if isa.lanes else []), *isa.headers]
    return [*found, *(network / f"vocosc_{name}.h" for name in dict.fromkeys(names))]


def _values(plan: Plan, options: Options) -> dict[str, Any]:
    """What templates of the CPU's and of a GPU's kernels take."""
    config, window = plan.config, hann(plan.config.n_fft)
    mel = config.mel or Mel()

    def formats(kind: str, of: tuple[str, ...] = ("depthwise_conv", "linear")) -> list[Format]:
        """The formats of the rows that steps of a kind write for operations of some kinds."""
        steps = [step for step in plan.steps if step.kind == kind and step.operation.kind in of]
        used = {step.format.name if step.format else "f32" for step in steps}
        return [found.get(name, FORMATS[name]) for name in FORMATS if name in used]

    found = {step.format.name: step.format for step in plan.steps if step.format}
    used = {kernel.format.name for kernel in plan.kernels}
    return {
        "options": options,
        "plan": plan,
        "config": config,
        "fft": plan.fft,
        "PANEL": PANEL,
        "constants": CONSTANTS,
        "polynomials": POLYNOMIALS,
        "vector_isas": [
            *(isa.name for isa in isas_of_build(plan, options) if isa.lanes),
            *(["cuda"] if options.gpus else []),
        ],
        "norm_epsilon": NORM_EPSILON,
        "smallest_normalised": np.float32(SMALLEST_NORMALISED).view(np.uint32),
        "max_magnitude": MAX_MAGNITUDE,
        "mel": mel,
        "framing": framing(config),
        "mel_text": describe(config),
        "power_floor": max(mel.power_floor, LEAST_POWER),
        "silent_mel": np.log(mel.floor),
        "layers": plan.layers,
        "formats": [found[name] for name in FORMATS if name in used],
        "norm_formats": formats("conv_norm"),
        "quantised_formats": formats("quantise"),
        "window_formats": formats("quantise", ("conv",)),
        "golden_mel": golden_mel(config.n_mels) if options.bit_exact else None,
        "golden_frames": golden_frames(plan),
        "filterbank": filterbank(config),
        "synthesis_window": synthesis_window(config),
        "envelope": steady_envelope(config) if plan.is_divided else None,
        "analysis_window": (window * (0.5 if plan.fft.is_even else 1)).astype(np.float32),
        "last_panel_mask": (np.arange(PANEL) < (plan.dim - 1) % PANEL + 1).astype(np.float32),
    }


def banner(name: str, sha256: str, plan: Plan, options: Options) -> str:
    """The comment that a file begins with: which compiler, checkpoint and options it comes from."""
    lines = [
        f"Generated by vocosc {VERSION}: do not edit.",
        f"Checkpoint: sha256 {sha256}",
        f"Options: --name {options.name} --chunk {','.join(map(str, plan.chunks))} {options.text}",
    ]
    if name.endswith((".mk", ".cmake", ".pc", ".pbtxt")):
        return "".join(f"# {line}\n" for line in lines) + "\n"
    fill = functools.partial(textwrap.fill, break_on_hyphens=False)
    wrapped = (fill(line, COLUMNS, initial_indent=" * ", subsequent_indent=" * ") for line in lines)
    return "/*\n" + "\n".join(wrapped) + "\n */\n"


def rename(text: str, name: str) -> str:
    """A source under the model's prefix. In one pass, of sources alone: no name is taken for a prefix."""
    return re.sub("vocosc|VOCOSC", lambda match: name if match[0].islower() else name.upper(), text)


def fill(source: Path, name: str, values: Mapping[str, object]) -> str:
    """A source under the model's prefix, in which what others would take for code of theirs is written @so@."""
    return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), rename(source.read_text(), name))


def _render(source: Path, name: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """The file's name and text under the model's prefix."""
    return rename(source.name, name), _template(source, name).render(values)


@functools.cache
def _template(source: Path, name: str) -> jinja2.Template:
    return _environment(name).from_string(_jinja(rename(source.read_text(), name)))


def _jinja(text: str) -> str:
    """Lines that begin with //% as Jinja's own."""
    return re.sub(r"^ *//%(-?) (.*)$", r"<%\1 \2 %>", text, flags=re.MULTILINE)


_formatted: dict[bytes, bytes] = {}
"""What clang-format made of a text: most of the texts of a second model in the same process are those of the first."""


def _format(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files, C and CUDA by clang-format."""
    program = Path(clang_format.__file__).parent / "data" / "bin" / "clang-format"
    sources = {name: text for name, text in files.items() if not name.endswith((".mk", ".S", ".js", ".ts"))}
    new = list({text for text in sources.values() if text not in _formatted})
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory, f"{i}.h") for i in range(len(new))]
        for path, text in zip(paths, new, strict=True):
            path.write_bytes(text)
        if new:
            subprocess.run([program, f"--style=file:{TEMPLATES / '.clang-format'}", "-i", *paths], check=True)
        _formatted.update({text: path.read_bytes() for path, text in zip(paths, new, strict=True)})
    return {**files, **{name: _formatted[text] for name, text in sources.items()}}


# ---- filters ----


@functools.cache
def _environment(name: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="${",
        variable_end_string="}",
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda file: _jinja(rename((TEMPLATES / file).read_text(), name))),
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(
        float32=_float32,
        literal=_literal,
        c_numbers=_c_numbers,
        js_numbers=_js_numbers,
        chomp=lambda text: text.rstrip("\n"),
        comment=_comment,
        padded=padded,
        prefix=lambda text, before: before + text,
        table_length=lambda values: max(1, values.size),
        weight_offset=_weight_offset,
        scale_offset=_scale_offset,
        header_offset=_header_offset,
        row_offset=_row_offset,
        wrap=" \\\n  ".join,
    )
    return environment


def _comment(text: str) -> str:
    """Paragraphs as lines of a comment in C."""
    fill = functools.partial(textwrap.fill, width=COLUMNS, initial_indent=" * ", subsequent_indent=" * ")
    return "\n *\n".join(map(fill, text.split("\n\n")))


def _weight_offset(product: Kernel, output: int) -> str:
    """Where the weights of a tile's output begin, as an offset to add: other panels are a whole panel further."""
    in_panel = output % PANEL * product.format.neighbours
    return _offset((output // PANEL, f"{product.name.upper()}_PANEL"), (in_panel, ""))


def _scale_offset(product: Kernel, output: int) -> str:
    """Where an output's scale of a group stands, as an offset to add."""
    return _offset((output // PANEL, f"{product.name.upper()}_PANEL"), (output % PANEL, ""))


def _header_offset(product: Kernel, output: int) -> str:
    """Where an output's bias stands, counted in floats, as an offset to add."""
    return _offset((output // PANEL, f"{product.name.upper()}_PANEL_FLOATS"), (output % PANEL, ""))


def _row_offset(product: Kernel, row: int, stride: str, more: int = 0) -> str:
    """Where a row of inputs or outputs begins, or `more` behind that, as an offset to add."""
    return _offset((row, f"{product.name.upper()}_{stride}"), (more, ""))


def _offset(*terms: tuple[int, str]) -> str:
    """The sum of some counts of a unit, each, as C that is to be added: ` + 2 * PANEL + 8`, or nothing."""
    words = ["" if not n else str(n) if not unit else unit if n == 1 else f"{n} * {unit}" for n, unit in terms]
    return "".join(f" + {word}" for word in words if word)


def _literal(value: str | float) -> str:
    """A float literal in C: the digits given, or those that tell a float32 from its neighbours."""
    text = value if isinstance(value, str) else str(np.float32(value))
    text += "f" if "." in text or "e" in text or "p" in text else ".0f"
    return f"({text})" if text.startswith("-") else text


def _float32(value: float) -> str:
    """A C literal of exactly this float32."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f" if "." in mantissa else f"{mantissa}p{exponent}f"


def _c_numbers(values: NDArray[Any]) -> str:
    items = map(_float32, values.ravel().tolist() or [0.0]) if values.dtype == np.float32 else map(str, values.ravel())
    return textwrap.fill(", ".join(items), COLUMNS, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _js_numbers(values: NDArray[Any]) -> str:
    return textwrap.fill(
        ", ".join(map(repr, values.ravel().tolist())), COLUMNS, initial_indent="  ", subsequent_indent="  "
    )
