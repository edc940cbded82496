"""The command: python3 -m compiler CHECKPOINT -o DIR."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    from compiler.accuracy import measure
    from compiler.budget import check_budget, parse_budget
    from compiler.build import build_object, build_tool
    from compiler.calibrate import calibrate, read_mels
    from compiler.checkpoint import read_checkpoint
    from compiler.cuda import plan_device
    from compiler.cuda_libs import add_libraries
    from compiler.emit import KERNELS, Options, emit, emit_kernels
    from compiler.errors import CompileError
    from compiler.fold import fold
    from compiler.golden import golden_hash
    from compiler.isa import TARGETS
    from compiler.model import build_model
    from compiler.nvrtc import ARCHITECTURES, Image, compile_images
    from compiler.pack import INT8, WEIGHTS, pack
    from compiler.plan import PANEL, plan
    from compiler.report import report, to_json, to_text
    from compiler.weights import build_weights
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"vocosc: error: Python package {missing.name} is missing: use .venv/bin/python, which make sets up, or "
        "pip install -r requirements.txt"
    ) from None

# The machine that compiles, unless --target names another.
NATIVE_TARGET = {"x86_64": "x86-64", "aarch64": "aarch64"}.get(platform.machine(), "portable")
OVERRIDES = {"sample_rate": int, "hop_length": int, "n_fft": int, "f_min": float, "f_max": float}


def main() -> int:
    """Runs the command; returns its exit code."""
    arguments = _parser().parse_args()
    try:
        _compile(arguments)
    except CompileError as error:
        print(f"vocosc: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        print("vocosc: error: standard output: closed before the report was written", file=sys.stderr)
        sys.stdout = None  # so that Python does not flush it again
        return 1
    except OSError as error:
        print(f"vocosc: error: {error.filename or arguments.output}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m compiler", description="Compiles a Streaming Vocos checkpoint into one static object."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=".ckpt, .pt, .bin or .safetensors")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory to write")
    parser.add_argument("--name", default="vocos", help="prefix of files and symbols (default: vocos)")
    parser.add_argument("--chunk", default="5", metavar="N[,N...]", help="frames per call; the largest is the limit")
    parser.add_argument("--precision", default="f32", choices=list(WEIGHTS), help="of the weights (default: f32)")
    parser.add_argument("--calibrate", nargs="+", type=Path, metavar="MEL", help="w8, w8a8: round for these log-mels")
    parser.add_argument(
        "--target",
        default=NATIVE_TARGET,
        choices=[*TARGETS, "cuda"],
        help="default: this machine's CPU; cuda: that and NVIDIA's GPUs in one object",
    )
    parser.add_argument(
        "--gpu",
        default=",".join(map(str, ARCHITECTURES)),
        metavar="N[,N...]",
        help="with --target cuda: architectures (90 is sm_90) to compile for; later ones take PTX",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="with --target cuda: streams of a call")
    parser.add_argument(
        "--link",
        default="none",
        choices=["none", "libs"],
        help="libs: over OpenBLAS and FFTW3; a GPU, cuBLAS and cuFFT",
    )
    parser.add_argument(
        "--weights",
        default="incbin",
        choices=["incbin", "c", "blob"],
        help="how to bake them; blob: in a file of their own (default: incbin)",
    )
    parser.add_argument("--no-libc", action="store_true", help="bring memcpy, memset and memmove along")
    parser.add_argument("--sources-only", action="store_true", help="write the sources and the report, build nothing")
    parser.add_argument("--report", action="store_true", help="print what it will take, and build and write nothing")
    parser.add_argument("--json", action="store_true", help="with --report: as JSON")
    parser.add_argument(
        "--budget", metavar="flash=4M,ram=256K", help="fail if it takes more; also state, scratch, stack"
    )
    for name, kind in OVERRIDES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="in place of what the checkpoint says")
    return parser


def _compile(arguments: argparse.Namespace) -> None:
    budget = parse_budget(arguments.budget) if arguments.budget is not None else {}
    chunks = _chunks(arguments.chunk)
    options = _options(arguments)
    overrides = {name: getattr(arguments, name) for name in OVERRIDES if getattr(arguments, name) is not None}
    checkpoint = read_checkpoint(arguments.checkpoint)
    model = build_model(checkpoint, overrides)
    layout = plan(model.config, chunks, options.precision, baked=options.baked)
    folded = fold(model)
    fed = None
    if arguments.calibrate:
        log_mels = read_mels(arguments.calibrate, model.config.n_mels)
        fed = calibrate(folded, log_mels)
        digest = hashlib.sha256(b"".join(log_mel.tobytes() for log_mel in log_mels)).hexdigest()
        options = dataclasses.replace(options, calibration=digest)
    tables = pack(folded, options.precision, panel=0 if options.link == "libs" else PANEL, fed=fed)
    device = plan_device(layout, folded, options.batch, options.precision) if options.gpus else None
    if device and options.link == "libs":
        device = add_libraries(device, layout, folded)

    figures = functools.partial(report, layout, tables, checkpoint.sha256, options, device=device)
    planned = figures()
    if arguments.report:
        print(to_json(planned) if arguments.json else to_text(planned), end="" if arguments.json else "\n")
    check_budget(budget, planned, will_build=not (arguments.report or arguments.sources_only))
    if arguments.report:
        return
    golden = golden_hash(layout, tables, options.precision) if options.bit_exact else 0
    weights = build_weights(layout, tables, options.precision, golden)
    images: Sequence[Image] = ()
    if device is not None:
        kernels = emit_kernels(layout, device, checkpoint.sha256, options)
        texts = {name: text.decode() for name, text in kernels.items()}
        images = compile_images(f"{options.name}_{KERNELS}", texts, options.gpus)
    figures = functools.partial(figures, images=images)
    sources = functools.partial(emit, layout, tables, weights, checkpoint.sha256, options, device=device, images=images)

    output: Path = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists() and not output.is_dir():
        raise CompileError(f"{output}: is a file; -o names a directory")
    # Everything is written and built in a directory beside, so that a failure leaves no half of it.
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        work = Path(name)
        _write(work, sources())
        built = figures()
        if not arguments.sources_only:
            measured = build_object(work, options.name, options.target)
            check_budget(budget, figures(measured=measured))
            _write(work, sources(measured=measured))
            build_tool(work, options.name, options.target)
            built = figures(measured=measured, accuracy=measure(work / options.name, folded))
        _write(work, {f"{options.name}.json": to_json(built).encode()})
        output.mkdir(exist_ok=True)
        for path in sorted(work.iterdir()):
            path.replace(output / path.name)
    print(to_text(built))
    print(f"\nwritten to {output}")


def _options(arguments: argparse.Namespace) -> Options:
    """The options, as far as they can be checked without the checkpoint."""
    is_cuda = arguments.target == "cuda"
    options = Options(
        name=_name(arguments.name),
        precision=arguments.precision,
        target=NATIVE_TARGET if is_cuda else arguments.target,
        link=arguments.link,
        weights=arguments.weights,
        no_libc=arguments.no_libc,
        gpus=_gpus(arguments.gpu) if is_cuda else (),
        batch=arguments.batch,
    )
    if is_cuda and options.weights != "incbin":
        raise CompileError("--target cuda: works with --weights incbin only")
    if options.link == "libs" and options.precision != "f32":
        raise CompileError(f"--link libs: works with --precision f32 only, not {options.precision}")
    if options.link == "libs" and not (options.baked and not options.no_libc):
        raise CompileError("--link libs: works with neither --weights blob nor --no-libc")
    if arguments.calibrate and options.precision not in INT8:
        raise CompileError(f"--calibrate: only --precision w8 and w8a8 round by it, not {options.precision}")
    if arguments.json and not arguments.report:
        raise CompileError("--json: goes with --report; NAME.json is written in any case")
    if arguments.output is None and not arguments.report:
        raise CompileError("-o DIR: say where to write, or ask for a --report")
    return options


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise CompileError(f"--name {name}: must be a C identifier, as it begins every symbol")
    return name


def _chunks(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise CompileError(f"--chunk {text}: give numbers of frames, such as 5 or 1,5,10") from None


def _gpus(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{2,3}(,\d{2,3})*", text):
        raise CompileError(f"--gpu {text}: give architectures, such as 90 or 80,90: 10 * major + minor version")
    return tuple(sorted(set(map(int, text.split(",")))))


def _write(directory: Path, files: dict[str, bytes]) -> None:
    """Writes what is not there already: what make has built from a file need not be built again."""
    for name, data in files.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
