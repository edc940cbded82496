"""What the first machine with a GPU has to tell, in one run: `python3 -m bench.gpu_day --help`, README.md here.

Steps, of cases. Each step writes WORK/steps/NAME.json after every case, so that a run that was cut off goes on where it
was; what failed is tried again. Needs no more than numpy, jinja2, clang-format and a C compiler beside the driver; what
else it finds (compute-sanitizer, nvidia-smi, a PyTorch with CUDA, matplotlib) it uses.
"""

import argparse
import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.__main__ import positive_list
from bench.gpu import (
    NO_GPU_EXIT,
    NO_GRAPH,
    NO_OVERLAP,
    ONE_GRAPH,
    RESIDENT,
    SINGLE_KERNEL,
    TENSOR,
    Case,
    compile_program,
    compile_with,
    driver_release,
    measure,
    measure_pytorch,
    no_gpu,
    result_file,
)
from bench.peers import ROOT, PeerError, compile_object, last_line, read_report
from bench.report import aligned, this_machine
from compiler.cuda import PROCESSORS
from compiler.nvrtc import Nvrtc

Cases = Iterator[tuple[str, Callable[[], dict[str, Any]]]]
WAYS = {
    "graph": 0,
    "one graph": ONE_GRAPH,
    "no overlap": NO_OVERLAP,
    "no graph": NO_GRAPH,
    "single kernel": SINGLE_KERNEL,
}
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
USUAL = 5  # frames of the chunk that variants are compared at
MICRO = ROOT / "bench" / "gpu_micro.cu"
MACHINE = ROOT / "templates" / "cuda" / "vocosc_cuda_machine.h"
RESIDENT_CHIPS = (9, 10)  # compute capabilities with 227 KB of shared memory a block
CASE_SECONDS = 240  # after which a program is given up


@dataclass(frozen=True)
class Variant:
    """A build: the compiler's options, and how far its audio must be from the CPU's, in dB, at least."""

    options: tuple[str, ...]
    least_db: float = 95.0
    precision: str = "f16"
    chunks: tuple[int, ...] = (1, 5, 10)
    streams: int = 1  # of a call: one, or as many as --batch says

    @property
    def tuning(self) -> str:
        """That of the kernels."""
        return self.options[1] if self.options[:1] == ("--gpu-tune",) else ""

    @property
    def words(self) -> list[str]:
        """The options of --target cuda."""
        return ["--target", "cuda", "--batch", "{batch}" if self.streams > 1 else "1", *self.options]


# One stream, each tuning on and off; images of the chip's own architecture, and of the oldest (which it runs as PTX).
VARIANTS = {
    "plain": Variant(()),
    "early": Variant(("--gpu-tune", "early")),
    "half": Variant(("--gpu-tune", "half"), least_db=50.0),
    "early-half": Variant(("--gpu-tune", "early,half"), least_db=50.0),
    "data": Variant(("--gpu-tune", "data")),
    "resident": Variant(("--gpu-tune", "resident")),
    "data-resident": Variant(("--gpu-tune", "data,resident")),
    "fitted": Variant(("--gpu-tune", "processors={processors}")),
    "oldest": Variant(("--gpu", "80")),
    "f32": Variant((), least_db=100.0, precision="f32"),
    "many": Variant((), chunks=(5,), streams=128),
    "tensor": Variant(("--gpu-tune", "tensor"), chunks=(5,), streams=128),
    # The CPU's int8 weights, which the other ways have as halves.
    "tensor-w8": Variant(("--gpu-tune", "tensor"), least_db=25.0, precision="w8", chunks=(5,), streams=128),
    "many-half": Variant(("--gpu-tune", "half"), least_db=50.0, chunks=(5,), streams=128),
}


class Day:
    """The run: what was asked for, and the steps' results."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work: Path = args.work.resolve()
        self.steps = self.work / "steps"
        self.steps.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._end = time.monotonic() + 60 * args.minutes
        self.given = {name: Path(path).resolve() for name, _, path in (text.partition("=") for text in args.objects)}
        self.variants = {name: VARIANTS[name] for name in args.variants}
        if args.chunks:
            self.variants = {name: replace(one, chunks=tuple(args.chunks)) for name, one in self.variants.items()}

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return bool(time.monotonic() > self._end)

    def found(self, step: str) -> dict[str, Any]:
        """A step's cases so far."""
        path = self.steps / f"{step}.json"
        data: dict[str, Any] = json.loads(path.read_text())["cases"] if path.exists() else {}
        return data

    def run(self, step: str, cases: Cases, workers: int = 1) -> None:
        """Runs the cases that are not done, and writes the step's file after each."""
        found = self.found(step)
        wanted = [(key, case) for key, case in cases if key not in found or "error" in found[key]]

        def one(case: tuple[str, Callable[[], dict[str, Any]]]) -> None:
            if self.is_over:
                return
            print(f"{step}: {case[0]}", file=sys.stderr, flush=True)
            start = time.monotonic()
            try:
                result = case[1]()
            except (PeerError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                result = {"error": str(error) or type(error).__name__}
            with self._lock:
                found[case[0]] = {**result, "seconds": round(time.monotonic() - start, 1)}
                data = json.dumps({"step": step, "cases": found}, indent=1, allow_nan=False)
                (self.steps / f"{step}.json").write_text(data + "\n")

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, wanted))

    def directory(self, variant: str) -> Path:
        """Where its object is. Raises PeerError if there is none."""
        path = self.given.get(variant, self.work / "objects" / variant)
        if not list(path.glob("*.json")):
            raise PeerError(f"{variant} was not built")
        return path


def program(day: Day, source: str, variant: str, *flags: object) -> Path:
    """A C program of the bench or of the tests, compiled for a variant."""
    return compile_with(ROOT / source, day.directory(variant), day.work, f"{Path(source).stem}_{variant}", *flags)


def run_program(words: Sequence[object], extra: Mapping[str, str] | None = None) -> str:
    """What a program says. Raises PeerError if it fails, or takes too long."""
    line = [str(word) for word in words]
    environment = {**os.environ, **(extra or {})}
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=CASE_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{Path(line[0]).name}: no end after {CASE_SECONDS} s") from None
    if done.returncode == NO_GPU_EXIT:
        raise PeerError(last_line(done.stdout))
    if done.returncode != 0:
        bad = [text for text in done.stdout.splitlines() if text.startswith("FAIL")]
        raise PeerError(f"{Path(line[0]).name}: {(bad or [last_line(done.stderr or done.stdout)])[0]}")
    return done.stdout


def ask_gpu() -> tuple[int, int, str]:
    """The first GPU's architecture, its multiprocessors and its name."""
    name = ctypes.create_string_buffer(128)
    driver, values = ctypes.CDLL("libcuda.so.1"), [ctypes.c_int() for _ in range(3)]
    for attribute, value in zip((75, 76, 16), values, strict=True):  # CU_DEVICE_ATTRIBUTE_...
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
    driver.cuDeviceGetName(name, 127, 0)
    return 10 * values[0].value + values[1].value, values[2].value, name.value.decode()


# ---- steps ----


def build(day: Day, name: str, variant: Variant) -> dict[str, Any]:
    """One variant."""
    words = [word.format(processors=day.args.processors, batch=day.args.batch) for word in variant.words]
    gpu = [] if "--gpu" in variant.options else ["--gpu", str(day.args.gpu)]
    directory = day.work / "objects" / name
    more = [*words, *gpu]
    compile_object(sys.executable, day.args.checkpoint, directory, variant.chunks, variant.precision, more=more)
    cuda = read_report(directory)["cuda"]
    return {"options": more, "images": cuda["images"], "scratch_bytes": cuda["scratch_bytes"]}


def build_cases(day: Day) -> Cases:
    """Compiles every variant for this chip."""
    for name, variant in day.variants.items():
        if name in day.given:
            continue

        yield name, partial(build, day, name, variant)


def parity(day: Day, name: str, variant: Variant, extra: Mapping[str, str]) -> dict[str, Any]:
    """One variant's audio against the CPU's."""
    built = program(day, "tests/c/on_gpu.c", name)
    lines = run_program([built, variant.least_db, day.args.repeats], extra).splitlines()
    return {"checks": len(lines) - 1, "lines": [line for line in lines if "chunks of 5" in line]}


def parity_cases(day: Day) -> Cases:
    """Every variant's audio against the CPU's, by every way; and by PTX where there is machine code."""
    for name, variant in day.variants.items():
        for image in ("machine code", "PTX"):
            yield f"{name}, {image}", partial(parity, day, name, variant, {"GPU_PTX": "1"} if image == "PTX" else {})


def timing(day: Day, variant: str, case: Case, *, is_ptx: bool = False) -> dict[str, Any]:
    """One case of gpu.c."""
    program = compile_program(day.directory(variant), day.work, variant)
    return measure(program, case, day.args.warmup, day.args.runs, {"GPU_PTX": "1"} if is_ptx else None)


def latency_cases(day: Day) -> Cases:
    """One stream: every variant by every way; for the plain one every chunk size, memory, cold caches, and PTX."""
    ones = [name for name, variant in day.variants.items() if variant.streams == 1]
    for name in ones:
        resident = {"resident": RESIDENT} if "resident" in name else {}
        for way, flags in {**WAYS, **resident}.items():
            yield f"{name}, {way}", partial(timing, day, name, Case(USUAL, flags=flags))
        for memory in ("pinned", "host") if resident else ():
            case = Case(USUAL, flags=RESIDENT, memory=memory)
            yield f"{name}, {case.label()}", partial(timing, day, name, case)
    for name in ones[:1]:
        for way in ("graph", "single kernel"):
            for chunk in (chunk for chunk in (1, 10) if chunk in day.variants[name].chunks):
                case = Case(chunk, flags=WAYS[way])
                yield f"{name}, {way}, chunk {chunk}", partial(timing, day, name, case)
        for case in (Case(USUAL, cache="cold"), Case(USUAL, memory="pinned"), Case(USUAL, memory="host")):
            yield f"{name}, {case.label()}", partial(timing, day, name, case)
        yield f"{name}, PTX", partial(timing, day, name, Case(USUAL), is_ptx=True)


def stream_cases(day: Day) -> Cases:
    """1 to 10 000 streams, in calls of as many as the build takes."""
    for name in (name for name, variant in day.variants.items() if variant.streams > 1):
        for streams in day.args.streams:
            for way in ("tensor cores",) if "tensor" in name else ("graph", "single kernel"):
                case = Case(USUAL, streams, flags={**WAYS, "tensor cores": TENSOR}[way])
                yield f"{name}, {way}, {streams} streams", partial(timing, day, name, case)


def micro_cases(day: Day) -> Cases:
    """The hand-overs that the design chooses between: gpu_micro.c."""

    def run() -> dict[str, Any]:
        code = day.work / "gpu_micro.code"
        files = {MICRO.name: MICRO.read_text(), MACHINE.name: MACHINE.read_text()}
        code.write_bytes(Nvrtc().compile(MICRO.name, files, day.args.gpu).code)
        built = compile_with(MICRO.with_suffix(".c"), None, day.work, "gpu_micro")
        data: dict[str, Any] = json.loads(run_program([built, code, day.args.rounds]))
        return data

    yield "hops", run


def power_cases(day: Day) -> Cases:
    """What the GPU draws, in watts, at rest and at work."""

    def draw(name: str | None, streams: int) -> dict[str, Any]:
        query = ["nvidia-smi", "--query-gpu=power.draw,clocks.sm", "--format=csv,noheader,nounits", "-lms", "100"]
        with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as sampler:
            try:
                if name is None:
                    time.sleep(day.args.warmup * 2e-3)
                result = {} if name is None else timing(day, name, Case(USUAL, streams))
            finally:
                sampler.terminate()
            text = sampler.stdout.read() if sampler.stdout else ""
        rows = [[float(value) for value in line.split(",")] for line in text.splitlines() if line.count(",") == 1]
        if not rows:
            raise PeerError("nvidia-smi says nothing of the power")
        late = rows[len(rows) // 2 :]
        means = {key: round(sum(row[i] for row in late) / len(late), 1) for i, key in enumerate(("watts", "mhz"))}
        return {**means, **({"wall_us": result["wall_us"]} if result else {})}

    if shutil.which("nvidia-smi") is None:
        return
    yield "at rest", partial(draw, None, 0)
    for name, variant in day.variants.items():
        if name in ("plain", "many"):
            streams = min(day.args.batch * 8, max(day.args.streams)) if variant.streams > 1 else 1
            yield f"{name}, {streams} streams", partial(draw, name, streams)


def pytorch_cases(day: Day) -> Cases:
    """The reference in PyTorch on the same GPU."""

    def run() -> dict[str, Any]:
        missing: dict[str, str] = {}
        args = argparse.Namespace(**{**vars(day.args), "work": day.work, "chunks": [1, 5, 10]})
        args.chunks = [
            chunk for chunk in args.chunks if chunk <= int(read_report(day.directory("plain"))["max_frames"])
        ]
        chunks, facts = measure_pytorch(args, day.directory("plain"), missing)
        if missing:
            raise PeerError("; ".join(missing.values()))
        return {"facts": facts, "chunks": {str(chunk): summary for chunk, summary in chunks.items()}}

    yield "pytorch", run


def sanitize(day: Day, tool: str) -> dict[str, Any]:
    """One of its tools."""
    small = day.given.get("sanitized", day.work / "objects" / "sanitized")
    if not list(small.glob("*.json")):
        more = ["--target", "cuda", "--batch", "2", "--gpu", str(day.args.gpu)]
        compile_object(sys.executable, day.args.small, small, (1, 4), "f32", more=more)
    built = compile_with(ROOT / "tests" / "c" / "on_gpu.c", small, day.work, "on_gpu_sanitized")
    return {"says": last_line(run_program(["compute-sanitizer", "--tool", tool, "--error-exitcode", 9, built, 60, 1]))}


def sanitizer_cases(day: Day) -> Cases:
    """compute-sanitizer over the smallest model there is, by every way."""
    if shutil.which("compute-sanitizer") is None:
        return
    for tool in TOOLS:
        yield tool, partial(sanitize, day, tool)


def fault_cases(day: Day) -> Cases:
    """A full memory, and an address of nobody's: what only a real GPU does. Last, as it loses the context."""
    for name in [*list(day.variants)[:1], *(name for name in day.variants if name == "resident")]:

        def check(name: str = name) -> dict[str, Any]:
            lines = run_program([program(day, "tests/c/on_gpu.c", name), 0, "faults"]).splitlines()
            return {"lines": lines}

        yield name, check


STEPS: dict[str, Callable[[Day], Cases]] = {
    "build": build_cases,
    "latency": latency_cases,
    "micro": micro_cases,
    "parity": parity_cases,
    "streams": stream_cases,
    "pytorch": pytorch_cases,
    "power": power_cases,
    "sanitizer": sanitizer_cases,
    "faults": fault_cases,
}
BUILD = "build"  # the step that needs no GPU


# ---- what comes of it ----


def verdicts(day: Day) -> list[tuple[str, str, float | None]]:
    """The bars: text, bar, and what was measured."""
    latency, streams = day.found("latency"), day.found("streams")
    timed = {key: case["wall_us"] for key, case in {**latency, **streams}.items() if "wall_us" in case}

    def best(chunk: int) -> dict[str, float]:
        fitting = [wall for key, wall in timed.items() if key in latency and latency[key]["chunk"] == chunk]
        return min(fitting, key=lambda wall: float(wall["median"]), default={})

    five, one = best(USUAL), best(1)
    many = [case["wall_us"]["max"] for case in streams.values() if case.get("streams") == 10000]
    staying = [wall for key, wall in timed.items() if key.endswith(", resident")]
    hops = day.found("micro").get("hops", {})
    resident = min((wall["median"] for wall in staying), default=None)
    doorbell = resident - hops["doorbell_us"] if resident and "doorbell_us" in hops else None
    ratio = five["p99"] / five["median"] if five else None
    failed = sum("error" in case for step in STEPS for case in day.found(step).values())
    return [
        ("chunk 5, us", "<= 40", five.get("median")),
        ("chunk 1, us", "<= 35", one.get("median")),
        ("chunk 5, p99 / median", "<= 1.5", ratio),
        ("chunk 5, resident, us", "<= 25", resident),
        ("the same but for the doorbell's round trip, us", "", doorbell),
        ("10 000 streams, longest round, ms", "<= 100", 1e-3 * min(many) if many else None),
        ("cases that failed", "<= 0", float(failed)),
    ]


def summary(day: Day) -> str:
    """All results as text."""
    lines = [["case", "median us", "p99", "max", "by events", "queueing", "dB"]]
    for step in ("latency", "streams"):
        for key, case in sorted(
            day.found(step).items(), key=lambda item: item[1].get("wall_us", {}).get("median", 1e9)
        ):
            if "error" in case:
                lines.append([key, case["error"][:60], "", "", "", "", ""])
                continue
            wall = case["wall_us"]
            numbers = [wall["median"], wall["p99"], wall["max"], case["event_us"]["median"], case["queue_us"]["median"]]
            lines.append([key, *(f"{number:.1f}" for number in [*numbers, case["snr_db"]])])
    others = [
        f"{step}: {key}: {json.dumps({k: v for k, v in case.items() if k not in ('lines', 'cuda', 'facts')})}"
        for step in STEPS
        if step not in ("latency", "streams")
        for key, case in day.found(step).items()
    ]
    bars = [["bar", "", "measured"]]
    for text, bar, measured in verdicts(day):
        bars.append([text, bar, "not measured" if measured is None else f"{measured:.2f}"])
    return "\n\n".join([aligned(lines), "\n".join(others), aligned(bars)]) + "\n"


def draw_chart(day: Day, path: Path) -> bool:
    """Draws the variants' times, and streams against time; False where matplotlib is missing."""
    try:
        mpl = importlib.import_module("matplotlib")
        mpl.use("Agg")
        plt: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return False
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    timed = [(key, case["wall_us"]) for key, case in day.found("latency").items() if case.get("chunk") == USUAL]
    timed.sort(key=lambda item: -float(item[1]["median"]))
    left.barh([key for key, _ in timed], [wall["median"] for _, wall in timed], color="#1d8a7a")
    left.plot([wall["p99"] for _, wall in timed], range(len(timed)), "|", color="#333333", label="p99")
    left.set_xlabel(f"microseconds a chunk of {USUAL}, one stream")
    rows = [case for case in day.found("streams").values() if "wall_us" in case]
    for label in ("tensor", "single_kernel", "graph"):
        points = sorted((row["streams"], row["wall_us"]["median"]) for row in rows if row[label])
        rows = [row for row in rows if not row[label]]
        right.plot(*zip(*points, strict=True), "o-", label=label.replace("_", " ")) if points else None
    right.set(xscale="log", yscale="log", xlabel="streams", ylabel="microseconds a round")
    right.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.gpu_day", description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--small", type=Path, required=True, metavar="CKPT", help="a small model, for compute-sanitizer"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "gpu-day", help="(%(default)s)")
    parser.add_argument("--results", type=Path, help="write gpu-day-CHIP.json and .png into this directory")
    parser.add_argument("--minutes", type=float, default=25.0, help="begin no case after these (%(default)s)")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=list(STEPS), help="(%(default)s)")
    parser.add_argument("--variants", type=lambda text: text.split(","), default=list(VARIANTS), help="(%(default)s)")
    parser.add_argument("--objects", nargs="*", default=[], metavar="VARIANT=DIR", help="built already")
    parser.add_argument("--gpu", type=int, help="the chip's architecture (that of the GPU here, or 90)")
    parser.add_argument("--processors", type=int, help="its multiprocessors (likewise, or 132)")
    parser.add_argument("--streams", type=positive_list, default=[1, 10, 100, 1000, 3000, 10000], metavar="N,N")
    parser.add_argument("--chunks", type=positive_list, metavar="N,N", help="of every variant, 5 among them")
    parser.add_argument("--batch", type=int, default=128, help="streams of a call, for many (%(default)s)")
    parser.add_argument("--warmup", type=int, default=1000, help="milliseconds of untimed rounds (%(default)s)")
    parser.add_argument("--runs", type=int, default=2000, help="timed rounds a case (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10000, help="of a micro-benchmark (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of the parity's decodes (%(default)s)")
    parser.add_argument("--torch-python", default=sys.executable, help="the Python that has PyTorch with CUDA")
    parser.add_argument("--compiler-python", default=sys.executable, help="the Python that runs the compiler")
    parser.add_argument("--date", help="to note in the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the steps; returns 0, or 1 if a case failed."""
    args, reason = arguments(argv), no_gpu()
    found = (90, PROCESSORS, "") if reason else ask_gpu()
    args.gpu, args.processors = args.gpu or found[0], args.processors or found[1]
    if args.processors == PROCESSORS:
        args.variants = [name for name in args.variants if name != "fitted"]  # as plain is
    if args.gpu // 10 not in RESIDENT_CHIPS or (found[2] and found[1] <= PROCESSORS - 2):
        args.variants = [name for name in args.variants if "resident" not in name]  # too little shared memory
    if reason and args.steps != [BUILD]:
        print(f"gpu-day: no GPU: {reason}; nothing was measured (--steps {BUILD} needs none)")
        return 0
    day = Day(args)
    for step in args.steps:
        day.run(step, STEPS[step](day), workers=min(8, os.cpu_count() or 1) if step == BUILD else 1)
    if reason:
        return int(any("error" in case for case in day.found(BUILD).values()))
    chip = found[2]
    text = summary(day)
    data = {
        "date": args.date,
        "chip": chip,
        "driver": driver_release(),
        "host": this_machine(),
        "steps": {step: day.found(step) for step in STEPS},
        "bars": [{"text": text, "bar": bar, "measured": measured} for text, bar, measured in verdicts(day)],
    }
    results = args.results or day.work
    results.mkdir(parents=True, exist_ok=True)
    name = result_file(chip).replace("gpu-", "gpu-day-", 1)
    (results / name).write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    (results / name).with_suffix(".txt").write_text(text)
    drawn = draw_chart(day, (results / name).with_suffix(".png"))
    print(f"{chip}, driver {data['driver'] or 'unknown'}\n\n{text}\n{results / name}{'' if drawn else ' (no chart)'}")
    left = [f"{step}: {key}" for step in args.steps for key, _ in STEPS[step](day) if key not in day.found(step)]
    if left:
        print(f"the time was up before {len(left)} cases; the same command goes on: {left[0]}, ...")
    return int(any("error" in case for step in args.steps for case in day.found(step).values()))


if __name__ == "__main__":
    sys.exit(main())
