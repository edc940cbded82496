"""The command: python3 -m compiler CHECKPOINT -o DIR."""

from __future__ import annotations

from .command import end_silently

if __name__ == "__main__":
    end_silently()

import argparse
import contextlib
import hashlib
import platform
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

try:
    from .budget import parse_budget
    from .calibrate import read_mels
    from .checkpoint import Checkpoint, read_checkpoint
    from .compile import compile_network
    from .config import Config, Overrides
    from .cuda import parse_tuning
    from .emit import Options
    from .errors import CompileError, printable
    from .fold import fold
    from .formats import FORMATS, format_of
    from .isa import BARE_TARGETS, TARGETS
    from .names import check_name
    from .network import Network, read_network, with_edges
    from .nvrtc import ARCHITECTURES
    from .report import to_json, to_text
    from .speech import calibration_mels
    from .triton import BATCH, STREAMS
    from .wheel import check_module_name
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"vocosc: error: Python package {missing.name} is missing: use .venv/bin/python, which make sets up, or "
        "pip install -r requirements.txt"
    ) from None

# The machine that compiles, unless --target names another.
NATIVE_TARGET = {"x86_64": "x86-64", "aarch64": "aarch64"}.get(platform.machine(), "portable")
EMULATED, EMULATED_WITHOUT_FPU = 30, 200  # instructions of a fused multiply-add, by count: vocosc_fma.h
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def main() -> int:
    """Runs the command; returns its exit code."""
    try:
        return _run()
    except _EndedBySignal as ended:
        # What was written halfway is gone. Now the signal ends the program as it would have.
        _complain(f"ended by {signal.Signals(ended.number).name}")
        sys.stdout = sys.stderr = None  # so that Python does not flush them again
        signal.signal(ended.number, signal.SIG_DFL)
        signal.raise_signal(ended.number)
        return 128 + ended.number


class _EndedBySignal(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _end(number: int, frame: object) -> None:
    """On the first signal that ends the program: those that follow wait until all is put away."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise _EndedBySignal(number)


def _run() -> int:
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as by nohup
            signal.signal(number, _end)
    try:
        try:
            words = sys.argv[1:]
            arguments = _parser().parse_words(words[1:] if words[:1] == ["compile"] else words)
        except SystemExit as end:
            _flush()
            return int(end.code or 0)
        try:
            text = _compile(arguments)
        except OSError as error:
            where = error.filename or arguments.output
            raise CompileError(f"{where}: {error.strerror}") from None
        print(text)
        _flush()
    except CompileError as error:
        _complain(str(error))
        return 1
    except BrokenPipeError:
        _complain("standard output: closed before everything was written")
        sys.stdout = None  # so that Python does not flush it again
        return 1
    except OSError as error:
        _complain(f"standard output: {error.strerror}")
        sys.stdout = None
        return 1
    return 0


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _warn(message: str) -> None:
    print(f"vocosc: warning: {printable(message)}", file=sys.stderr)


def _complain(message: str) -> None:
    """The one line of a failure. Where even that cannot be written, the exit code tells."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"vocosc: error: {printable(message)}", file=sys.stderr, flush=True)


def _whole(text: str) -> int:
    """A number of an option: digits of ASCII, no blanks, no underscores."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"invalid int value: {printable(text)!r}")
    return int(text)


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9A-Fa-f]{64}", text):
        raise argparse.ArgumentTypeError("give 64 hexadecimal digits, as sha256sum prints them")
    return text.lower()


def _decimal(text: str) -> float:
    if not re.fullmatch(r"[!-~]{1,40}", text) or "_" in text:
        raise argparse.ArgumentTypeError(f"invalid float value: {printable(text)!r}")
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid float value: {text!r}") from None


OVERRIDES: dict[
    str, tuple[Callable[[str], object], str]
] = {  # of what the checkpoint says: their types, and what --help says of them
    "sample_rate": (_whole, "in Hz, in place of what the checkpoint says, as the next five"),
    "hop_length": (_whole, "in samples"),
    "n_fft": (_whole, "in samples"),
    "f_min": (_decimal, "of the mel, in Hz"),
    "f_max": (_decimal, "of the mel, in Hz"),
    "padding": (str, "same or center: which samples of the overlap-add are the audio"),
    "mel": (str, "what the mel is, such as scale=htk,norm=none,power=1,floor=1e-5,power_floor=0,padding=same"),
    "bandwidth_id": (_whole, "of models with AdaLayerNorm: the bandwidth to compile for"),
}


class _Parser(argparse.ArgumentParser):
    """One that does not pass over a help that cannot be written, nor over `--name=--`."""

    def parse_words(self, words: list[str]) -> argparse.Namespace:
        """The options; argparse makes an empty list of an option's value that is --."""
        found = self.parse_args(words)
        for action in self._actions:
            if action.nargs is None and isinstance(getattr(found, action.dest, None), list):
                self.error(f"argument {'/'.join(action.option_strings) or action.metavar}: expected one argument")
        return found

    def error(self, message: str) -> NoReturn:
        """Ends the program with one line, whatever the arguments hold."""
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


def _parser() -> _Parser:
    parser = _Parser(
        prog="vocosc",
        usage="vocosc [compile] CHECKPOINT [-o DIR] [options]",
        description="Compiles a Streaming Vocos checkpoint into one static object.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a file or a folder")
    parser.add_argument(
        "--sha256", type=_digest, metavar="HEX", help="take the checkpoint only if it is this very file"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory to write (--wheel: default NAME)")
    parser.add_argument("--name", default="vocos", help="prefix of files and symbols (default: vocos)")
    parser.add_argument("--chunk", default="5", metavar="N[,N...]", help="frames per call; the largest is the limit")
    parser.add_argument("--precision", default="f32", choices=list(FORMATS), help="of the weights (default: f32)")
    parser.add_argument("--edges", choices=list(FORMATS), help="of the weights of embedding and head, if others")
    parser.add_argument(
        "--calibrate", nargs="*", type=Path, metavar="MEL", help="integers: round for these log-mels, or for speech"
    )
    parser.add_argument(
        "--target",
        default=NATIVE_TARGET,
        choices=[*TARGETS, "cuda"],
        help="default: this machine's CPU; cuda: that and NVIDIA's GPUs in one object",
    )
    parser.add_argument(
        "--gpu",
        metavar="N[,N...]",
        help="with --target cuda: architectures (90 is sm_90) to compile for; later ones take PTX "
        f"(default: {','.join(map(str, ARCHITECTURES))})",
    )
    parser.add_argument(
        "--streams", type=_whole, metavar="N", help=f"of a call of decode_batch (default: 1; --triton: {STREAMS})"
    )
    parser.add_argument("--batch", type=_whole, metavar="N", help="with --target cuda: streams of a call")
    parser.add_argument(
        "--gpu-tune",
        metavar="early,half,data,tensor,resident,processors=N",
        help="with --target cuda: kernels of another making, for a GPU to judge",
    )
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
    parser.add_argument(
        "--check", action="store_true", help="add NAME_check: whether a bit has flipped in stream or weights"
    )
    parser.add_argument("--wheel", action="store_true", help="add a Python wheel: a module NAME that needs only numpy")
    parser.add_argument(
        "--triton", type=Path, metavar="DIR", help="add the model to a repository of Triton's: DIR/NAME"
    )
    parser.add_argument("--sources-only", action="store_true", help="write the sources and the report, build nothing")
    parser.add_argument("--report", action="store_true", help="print what it will take, and build and write nothing")
    parser.add_argument("--json", action="store_true", help="with --report: as JSON")
    parser.add_argument(
        "--budget", metavar="flash=4M,ram=256K", help="fail if it takes more; also state, scratch, stack"
    )
    for name, (kind, text) in OVERRIDES.items():
        metavar = "N" if kind is _whole else "HZ" if kind is _decimal else "TEXT"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)
    return parser


def _compile(arguments: argparse.Namespace) -> str:
    """Compiles, or reports; returns what to print."""
    budget = parse_budget(arguments.budget) if arguments.budget is not None else {}
    chunks = _chunks(arguments.chunk)
    options = _options(arguments)
    overrides = _overrides(arguments)
    checkpoint = _checkpoint(arguments.checkpoint, arguments.sha256)
    network = fold(read_network(checkpoint, overrides))
    if options.edges:
        network = with_edges(network, options.edges)
    with contextlib.ExitStack() as stack:
        output = arguments.output
        if output is None and arguments.triton:  # only the repository is asked for
            output = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vocosc-")))
        figures = compile_network(
            network,
            checkpoint.sha256,
            chunks,
            options,
            None if arguments.report else output,
            log_mels=_log_mels(arguments, network.config),
            budget=budget,
            sources_only=arguments.sources_only,
            wheel=arguments.wheel,
            triton=arguments.triton,
        )
    if options.target == "portable":
        _warn(_emulation(network, options))
    if arguments.wheel and options.name == "vocos":
        _warn("--wheel: PyPI has a package vocos, too, and one replaces the other: give another --name")
    text = to_json(figures).rstrip("\n") if arguments.json else to_text(figures)
    if arguments.report:
        return text
    written = [arguments.output, arguments.triton / options.name if arguments.triton else None]
    places = " and ".join(printable(str(path)) for path in written if path is not None)
    return f"{text}\n\ncheckpoint sha256 {checkpoint.sha256}\nwritten to {places}"


def _overrides(arguments: argparse.Namespace) -> Overrides:
    """What the user says of the model, in place of the checkpoint."""
    return {name: getattr(arguments, name) for name in OVERRIDES if getattr(arguments, name) is not None}


def _checkpoint(path: Path, sha256: str | None) -> Checkpoint:
    """The checkpoint. If it has to be a certain one, a single file is not even read unless it is."""
    if sha256 is not None and path.is_file() and path.suffix != ".onnx":  # which may have its data beside it
        with path.open("rb") as file:
            _insist(path, hashlib.file_digest(file, "sha256").hexdigest(), sha256)
    checkpoint = read_checkpoint(path)
    _insist(path, checkpoint.sha256, sha256)
    return checkpoint


def _insist(path: Path, found: str, wanted: str | None) -> None:
    if wanted not in (None, found):
        raise CompileError(
            f"{path}: its sha256 is {found}, not the one given by --sha256: it is another file, or damaged"
        )


def _emulation(network: Network, options: Options) -> str:
    """What plain C costs a CPU that has no fused multiply-add."""
    products = (op for op in network.operations if op.is_product and format_of(op, options.precision).is_integer)
    floats = sum(op.macs for op in network.operations) - sum(op.macs for op in products)
    instructions = [f"{floats * each / 1e6:.0f} M" for each in (EMULATED, EMULATED_WITHOUT_FPU)]
    return (
        f"plain C: a CPU without a fused multiply-add emulates {floats / 1e6:.2f} M of them a frame, besides those of "
        f"functions such as GELU: {instructions[0]} instructions a frame, or {instructions[1]} without an FPU"
        + ("; --precision w8 --edges w16 leaves few" if floats > 100_000 else "")
    )


def _log_mels(arguments: argparse.Namespace, config: Config) -> list[Any]:
    """Those that integer weights are rounded for: the user's, or those of the speech that comes along; none, if nobody
    asks for it.
    """
    if arguments.calibrate:
        return read_mels(arguments.calibrate, config.n_mels)
    if arguments.calibrate is None and not FORMATS[arguments.precision].calibrates:
        return []
    mels = calibration_mels(config)
    if arguments.calibrate is not None and not mels:
        raise CompileError("--calibrate: the model takes other features than speech's log-mels: give files of them")
    return mels


def _options(arguments: argparse.Namespace) -> Options:
    """The options, as far as they can be checked without the checkpoint."""
    is_cuda = arguments.target == "cuda"
    options = Options(
        name=check_name(arguments.name),
        precision=arguments.precision,
        edges=arguments.edges or "",
        target=NATIVE_TARGET if is_cuda else arguments.target,
        link=arguments.link,
        weights=arguments.weights,
        no_libc=arguments.no_libc or arguments.target == "wasm",
        check=arguments.check,
        gpus=(ARCHITECTURES if arguments.gpu is None else _gpus(arguments.gpu)) if is_cuda else (),
        batch=(BATCH if arguments.triton and is_cuda else 1) if arguments.batch is None else arguments.batch,
        tuning=arguments.gpu_tune or "",
        overrides=" ".join(f"--{name.replace('_', '-')} {value}" for name, value in _overrides(arguments).items()),
        streams=(STREAMS if arguments.triton else 1) if arguments.streams is None else arguments.streams,
    )
    for option in ("gpu", "batch", "gpu_tune"):
        if getattr(arguments, option) is not None and not is_cuda:
            raise CompileError(f"--{option.replace('_', '-')}: goes with --target cuda")
    if is_cuda and options.weights != "incbin":
        raise CompileError("--target cuda: works with --weights incbin only")
    tuning = parse_tuning(options.tuning)
    if (options.link == "libs" or tuning.tensor) and tuning.half:
        raise CompileError("--gpu-tune half: works with neither --link libs nor tensor, as these take floats")
    if options.link == "libs" and tuning.tensor:
        raise CompileError("--gpu-tune tensor: does not work with --link libs")
    if options.edges and (is_cuda or options.link == "libs"):
        raise CompileError("--edges: works with neither --target cuda nor --link libs")
    if options.is_wasm and options.link == "libs":
        raise CompileError("--target wasm: does not work with --link libs")
    if options.link == "libs" and options.precision != "f32":
        raise CompileError(f"--link libs: works with --precision f32 only, not {options.precision}")
    if options.link == "libs" and not (options.baked and not options.no_libc):
        raise CompileError("--link libs: works with neither --weights blob nor --no-libc")
    if options.check and options.link == "libs":
        raise CompileError("--check: is not there with --link libs")
    if arguments.calibrate is not None and not FORMATS[options.precision].is_integer:
        integers = ", ".join(name for name, found in FORMATS.items() if found.is_integer)
        raise CompileError(f"--calibrate: only --precision {integers} are rounded by it, not {options.precision}")
    if arguments.json and not arguments.report:
        raise CompileError("--json: goes with --report; NAME.json is written in any case")
    if arguments.wheel:
        check_module_name(options.name)
        if options.is_wasm:
            raise CompileError("--wheel: is not for --target wasm, whose NAME.js is the module")
        if arguments.sources_only or arguments.report:
            raise CompileError("--wheel: works with neither --sources-only nor --report, as it takes a build")
        arguments.output = arguments.output or Path(options.name)
    if arguments.triton:
        _check_triton(arguments, options)
    elif arguments.output is None and not arguments.report:
        raise CompileError("-o DIR: say where to write, or ask for a --report")
    return options


def _check_triton(arguments: argparse.Namespace, options: Options) -> None:
    if arguments.sources_only or arguments.report:
        raise CompileError("--triton: works with neither --sources-only nor --report, as it takes a build")
    if options.target in BARE_TARGETS or options.is_wasm or options.link == "libs" or not options.baked:
        raise CompileError(
            "--triton: takes a target with an operating system, and neither --link libs nor --weights blob"
        )
    model = arguments.triton / options.name
    if arguments.output is not None and arguments.output.resolve() == model.resolve():
        raise CompileError(
            f"--triton {arguments.triton}: the model goes to {model}, which -o names, too: choose another -o"
        )


def _chunks(text: str) -> list[int]:
    if not re.fullmatch(r"-?[0-9]{1,18}(,-?[0-9]{1,18})*", text):
        raise CompileError(f"--chunk {text}: give numbers of frames, such as 5 or 1,5,10")
    return [int(part) for part in text.split(",")]


def _gpus(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{2,3}(,[0-9]{2,3})*", text):
        raise CompileError(f"--gpu {text}: give architectures, such as 90 or 80,90: 10 * major + minor version")
    return tuple(sorted(set(map(int, text.split(",")))))


def command() -> int:
    """The command, as the last thing that this process does."""
    try:
        return main()
    finally:
        for number in _ENDING:
            if signal.getsignal(number) is _end:
                signal.signal(number, signal.SIG_DFL)  # while Python ends, too


if __name__ == "__main__":
    sys.exit(command())
