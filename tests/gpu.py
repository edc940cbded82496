"""A model's CUDA kernels on the host: compiled against the shim (tests/cuda), launched one after the other."""

import ctypes
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.cuda import PARAMETER_JOBS, parse_tuning, plan_device
from compiler.cuda_libs import add_libraries
from compiler.emit import KERNELS, Options, emit_kernels
from compiler.network import Network
from compiler.nvrtc import Nvrtc
from compiler.plan import plan
from tests import builds
from tests.objects import ROOT, TINY, Floats, folded, run_ok, source
from tests.ptx import Site, Translator

SHIM = ROOT / "tests" / "cuda"
DRIVER_HEADER = source(ROOT / "runtime", "vocosc_cuda_driver.h")
COMPILE = (
    "g++",
    "-std=c++17",
    "-O1",
    "-march=native",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fPIC",
    "-U_FORTIFY_SOURCE",
)
WARNINGS = ("-Wall", "-Wextra", "-Werror")
ALIGNMENT = 256
GUARD = 1024  # bytes before and behind a buffer
GUARD_BYTE = 0xFF  # NaN: what is read there spoils the audio
CALL_BYTES = 40
JOB_BYTES = 24

# Sizes that no lane, warp or shard divides; transforms of other radices, and of odd length.
SHAPES = {
    "tiny": TINY,
    "one_tap": {**TINY, "kernel_size": 1, "n_fft": 45, "hop_length": 45, "num_layers": 2},
    "no_multiples": {
        **{"sample_rate": 8000, "n_fft": 60, "hop_length": 25, "n_mels": 7, "dim": 19, "mlp_ratio": 1.95},
        **{"kernel_size": 4, "num_layers": 2, "seed": 5},
    },
    "wide": {
        **{"sample_rate": 8000, "n_fft": 75, "hop_length": 20, "n_mels": 10, "dim": 602, "mlp_ratio": 5.5},
        **{"kernel_size": 3, "num_layers": 1, "seed": 9},
    },
}


def kernel_sources(
    model: Path | Network,
    name: str,
    chunks: Sequence[int],
    precision: str = "f32",
    batch: int = 1,
    *,
    link: str = "none",
    tuning: str = "",
    parameter_jobs: int = PARAMETER_JOBS,
) -> Any:
    """The plan, the device's plan and the CUDA sources (name to text) of a checkpoint, or of a folded network."""
    network = folded(model) if isinstance(model, Path) else model
    layout = plan(network, chunks, precision, libraries=link == "libs")
    device = plan_device(layout, batch, parse_tuning(tuning), parameter_jobs=parameter_jobs)
    if link == "libs" or device.tuning.tensor:
        device = add_libraries(device, layout)
    options = Options(name=name, precision=precision, gpus=(80,), batch=batch)
    files = emit_kernels(layout, device, "0" * 64, options)
    return layout, device, {file: data.decode() for file, data in files.items()}


def build_shim(files: Mapping[str, str], name: str) -> Path:
    """A shared library of the kernels, with shim_launch, from the CUDA sources (name to text)."""

    def make(build: Path) -> None:
        for file, text in files.items():
            (build / file).write_text(text)
        _build(build / f"{name}_{KERNELS}", f"{name.upper()}_CUDA_MACHINE_H", build / "shim.so")

    return builds.once(("shim", name, sorted(files.items())), make) / "shim.so"


def build_ptx(files: Mapping[str, str], name: str, architecture: int) -> tuple[Path, list[Site]]:
    """The same from the PTX that NVRTC makes of the sources; and where the code can be broken."""
    return build_translated(Nvrtc().compile(f"{name}_{KERNELS}", files, architecture, is_ptx=True).code)


def build_translated(code: bytes) -> tuple[Path, list[Site]]:
    """The same from PTX."""
    translated = Translator(code.rstrip(b"\0").decode())

    def make(build: Path) -> None:
        (build / "kernels.cpp").write_text(translated.text)
        run_ok([*COMPILE, "-w", "-I", SHIM, "-shared", "-o", build / "shim.so", build / "kernels.cpp", _shim()])

    return builds.once(("ptx", translated.text), make) / "shim.so", translated.sites


def build_faults() -> Path:
    """The faulty kernels, with shim_launch."""
    source = SHIM / "faults.cu"
    return builds.once("faults", lambda build: _build(source, "VOCOSC_CUDA_MACHINE_H", build / "shim.so")) / "shim.so"


def _build(source: Path, machine: str, library: Path) -> None:
    """Builds kernels with the shim in the place of the machine's header, which has the include guard `machine`."""
    run_ok(
        [
            *(*COMPILE, *WARNINGS, "-Wno-unknown-pragmas"),
            *(f"-D{machine}", "-include", SHIM / "shim.h", "-I", source.parent, "-I", ROOT / "templates" / "cuda"),
            *("-shared", "-o", library, "-x", "c++", source, "-x", "none", _shim()),
        ]
    )


def _shim() -> Path:
    """What runs the kernels: an object that all of them are linked with."""

    def make(build: Path) -> None:
        run_ok([*COMPILE, *WARNINGS, "-c", "-o", build / "shim.o", SHIM / "shim.cpp"])

    return builds.once("shim.o", make) / "shim.o"


class Buffer:
    """Aligned memory with guards around it: `bytes` is the memory."""

    def __init__(self, size: int, fill: int = 0, offset: int = 0) -> None:
        self._all = np.full(size + 2 * GUARD + ALIGNMENT, GUARD_BYTE, np.uint8)
        start = GUARD + -(self._all.ctypes.data + GUARD) % ALIGNMENT + offset
        self.bytes: NDArray[np.uint8] = self._all[start : start + size]
        self.bytes[:] = fill
        self.address = self.bytes.ctypes.data
        self._start, self._end = start, start + size

    @property
    def floats(self) -> Floats:
        return self.bytes.view(np.float32)

    def check(self, what: str) -> None:
        """Nothing was written outside."""
        assert (self._all[: self._start] == GUARD_BYTE).all(), f"written in front of {what}"
        assert (self._all[self._end :] == GUARD_BYTE).all(), f"written behind {what}"


Job = tuple[Buffer | None, Buffer, int]  # mel, audio, slot


class Resident:
    """The resident kernel, which runs in a thread, and the host's side of its mailbox.

    What the host writes there before a call's number can be seen from the block's fence on; so much does the shim ask.
    """

    LOOK, FENCE, TELL = range(3)
    NUMBER, END = slice(36, 40), np.full(CALL_BYTES + JOB_BYTES, 0xFF, np.uint8)  # a call of -1 jobs

    def __init__(self, gpu: "Gpu") -> None:
        frames = gpu.plan.max_frames
        self.taken = CALL_BYTES + JOB_BYTES + 4 * frames * gpu.mels  # bytes: the call and its mel
        self.answered = slice(self.taken + 128, self.taken + 132)
        self.memory = Buffer(self.answered.stop + 4 * frames * gpu.hop)
        self.audio = self.memory.bytes[self.answered.stop :].view(np.float32)
        self._library, self._number, self._looks = gpu.library, 2**32 - 3, 0
        self._calls: queue.Queue[NDArray[np.uint8]] = queue.Queue()
        self._call = self.END
        self._answers: queue.Queue[str] = queue.Queue()
        self._function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(self._asked)
        self._is_rung = False
        first = gpu.call([], 0)
        first[CALL_BYTES : CALL_BYTES + 8].view(np.uint64)[:] = self.memory.address
        first[self.NUMBER].view(np.uint32)[:] = self._number
        self._thread = threading.Thread(target=self._run, args=(gpu, first), daemon=True)

    def start(self) -> None:
        """Starts it; it has answered the first call, of nothing."""
        self._library.shim_set_host(self._function)
        self._thread.start()
        self._await()

    def decode(self, call: NDArray[np.uint8], mel: Floats) -> None:
        """One call, answered; the mel and the audio are in the mailbox."""
        data = np.zeros(self.taken, np.uint8)
        data[: call.size] = call
        data[call.size :].view(np.float32)[: mel.size] = mel
        self._ring(data)
        self._await()

    def stop(self) -> None:
        """Ends it, if it runs."""
        self._ring(np.resize(self.END, self.taken))
        self._thread.join(timeout=300)
        assert not self._thread.is_alive()
        self._library.shim_set_host(None)

    def _ring(self, data: NDArray[np.uint8]) -> None:
        self._number = (self._number + 1) % 2**32
        data[self.NUMBER].view(np.uint32)[:] = self._number
        self._calls.put(data)

    def _await(self) -> None:
        said = self._answers.get(timeout=300)
        assert said == str(self._number), said

    def _run(self, gpu: "Gpu", first: NDArray[np.uint8]) -> None:
        try:
            gpu.launch(gpu.device.resident, first, blocks=gpu.blocks)
            self._answers.put("the end")
        except AssertionError as error:
            self._answers.put(str(error))

    def _asked(self, request: int) -> int:
        """The host's part, for the shim; 1 if the block looks again and again, and does not see that it is called."""
        memory = self.memory.bytes
        if request == self.LOOK:
            self._looks += 1
            if self._is_rung or self._looks % 3:  # there is nothing new yet
                return int(self._is_rung and self._looks > 30)
            self._looks, self._is_rung = 0, True
            self._call = self._calls.get()
            memory[: self.taken] = 0xFF
            memory[self.NUMBER] = self._call[self.NUMBER]
        elif request == self.FENCE:
            memory[: self.taken] = self._call
        else:
            self._looks, self._is_rung = 0, False
            number = memory[self.answered].view(np.uint32)[0]
            self._answers.put(str(number) if request == self.TELL else "an answer that orders nothing")
        return 0


class Gpu:
    """A checkpoint's kernels, and the memory that a host would give them; `slots` streams at silence."""

    def __init__(
        self, model: Path | Network, name: str, chunks: Sequence[int], *, ptx: int = 0, **options: Any
    ) -> None:
        self.slots: int = options.pop("slots", options.get("batch", 1))
        self.plan, self.device, files = kernel_sources(model, name, chunks, **options)
        self.shim, self.sites = build_ptx(files, name, ptx) if ptx else (build_shim(files, name), [])
        self.name = name
        self.library = ctypes.CDLL(str(self.shim))
        self.library.shim_try_launch.restype = ctypes.c_char_p
        self.hop, self.mels = self.plan.config.hop_length, self.plan.config.n_mels
        self.weights = Buffer(self.device.weight_bytes)
        self.weights.bytes[:] = np.frombuffer(self.device.weights, np.uint8)
        self.state = Buffer(self.slots * self.device.state_bytes)
        self.scratch = Buffer(self.device.scratch_bytes)
        self.launches = self.device.launches  # those of the chain, or of another way
        self.frames = [0] * self.slots  # that each stream has seen, counted as far as it matters
        self.order = 0
        self.blocks = 0  # of the single kernel, if that is to run instead of the chain
        self.is_poisoned = not self.device.tuning.data  # the scratch, before every call
        self.overlaps = False  # whether scratch, but for the call, is NaN until all threads of a kernel wait
        self.is_weak = False  # whether its blocks then see each other's writes only as the memory model warrants
        self.is_resident = False  # whether it stays from call to call, until a stream is reset
        self._resident: Resident | None = None

    def reset(self, slot: int | None = None) -> None:
        """One slot, or all, to silence."""
        self.stop()
        size = self.device.state_bytes
        part = slice(None) if slot is None else slice(slot * size, (slot + 1) * size)
        self.state.bytes[part] = 0
        for one in range(self.slots) if slot is None else [slot]:
            self.frames[one] = 0

    def samples_out(self, frames: int) -> int:
        """The samples that are out once so many frames have been seen."""
        return max(0, int((frames - self.plan.lookahead) * self.hop - self.plan.trim))

    def call(self, jobs: Sequence[Job], frames: int, flushed: int | None = None, first: int = 0) -> NDArray[np.uint8]:
        """A call's parameter, with jobs from `first` on; in a flush so many frames have been run behind the end."""
        parameter = np.zeros(CALL_BYTES + JOB_BYTES * min(self.device.batch, self.device.parameter_jobs), np.uint8)
        parameter[:24].view(np.uint64)[:] = [self.weights.address, self.state.address, self.scratch.address]
        parameter[24:36].view(np.int32)[:] = [len(jobs), frames, first]
        for i, (mel, audio, slot) in enumerate(jobs[first : first + self.device.parameter_jobs]):
            job = parameter[CALL_BYTES + i * JOB_BYTES :][:JOB_BYTES]
            job[:16].view(np.uint64)[:] = [mel.address if mel else 0, audio.address]
            job[16:20].view(np.int32)[:] = slot
            seen, end = self.frames[slot] + (flushed or 0), 0xFFFF if flushed is None else self.frames[slot]
            job[20:24].view(np.uint16)[:] = [seen, end]
        return parameter

    def launch(
        self, launch: Any, parameter: NDArray[np.uint8], hooks: Sequence[Callable[[], None]] = (), blocks: int = 0
    ) -> None:
        """Runs one kernel; with `blocks`, cooperatively in so many."""
        step = f"{self.name}_{launch.step}"
        assert launch.grid[2] == 1
        self.library.shim_set_shared_bytes(ctypes.c_size_t(launch.shared_bytes))
        functions = [ctypes.CFUNCTYPE(None)(hook) for hook in hooks]
        error = self.library.shim_try_launch(
            ctypes.c_char_p(step.encode()),
            ctypes.cast(getattr(self.library, step), ctypes.c_void_p),
            ctypes.c_void_p(parameter.ctypes.data),
            *(ctypes.c_int(n) for n in (blocks or launch.grid[0], launch.grid[1], launch.block)),
            ctypes.c_uint(self.order),
            ctypes.c_int(blocks > 0),
            *(functions if functions else (None, None)),
        )
        assert error is None, error.decode()

    def run(self, jobs: Sequence[Job], frames: int, flushed: int | None = None) -> None:
        """All kernels of a call."""
        most = self.device.parameter_jobs
        parameter = self.call(jobs, frames, flushed, max(0, len(jobs) - 1) // most * most)
        self.allow(jobs)
        if self.is_resident:
            self._decode_resident(parameter, jobs)
            return
        if self.is_poisoned:
            self.scratch.bytes[:] = 0xFF  # NaN; and as good a number for flags as any
        for first in range(0, len(jobs) - most, most):
            self.launch(self.launches[0], self.call(jobs, frames, flushed, first))
        if self.blocks:
            if self.device.gathers_call:
                self.launch(self.launches[0], parameter)
            self._share()
            self.launch(self.device.single, parameter, blocks=self.blocks)
            return
        for launch in self.launches:
            self.launch(launch, parameter, self._hooks() if self.overlaps and launch.overlaps_previous else ())

    def _share(self, *more: Buffer) -> None:
        """Says which memory is weakly ordered: if any, what blocks hand over, and more."""
        self.library.shim_share(None, ctypes.c_size_t(0))
        for memory in (self.scratch, self.state, *more) if self.is_weak else ():
            self.library.shim_share(ctypes.c_void_p(memory.address), ctypes.c_size_t(memory.bytes.size))

    def _decode_resident(self, parameter: NDArray[np.uint8], jobs: Sequence[Job]) -> None:
        """A call through the mailbox of the resident kernel, which is started if it does not run."""
        if self._resident is None:
            self.scratch.bytes[:] = 0
            self._resident = Resident(self)
            self._share(self._resident.memory)
            self.allow(jobs)
            self._resident.start()
        self.allow(jobs)
        ((mel, audio, _),) = jobs
        addresses = parameter[CALL_BYTES : CALL_BYTES + 16].view(np.uint64)
        addresses[:] = [self.scratch.address + parameter.size if mel else 0, self._resident.audio.ctypes.data]
        try:
            self._resident.decode(parameter, mel.floats if mel else np.zeros(0, np.float32))
        except AssertionError:
            self.stop()
            raise
        audio.floats[:] = self._resident.audio[: audio.floats.size]

    def stop(self) -> None:
        """Ends the resident kernel, if it runs."""
        if self._resident is not None:
            resident, self._resident = self._resident, None
            resident.stop()
            resident.memory.check("the mailbox")

    def _hooks(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """As if the kernel before had not finished until all threads wait for it."""
        part = self.scratch.bytes[self.device.scratch[0].offset * 4 :]
        kept = np.zeros_like(part)

        def hide() -> None:
            kept[:] = part
            part[:] = 0xFF

        def show() -> None:
            part[:] = kept

        return hide, show

    def mutate(self, site: int) -> None:
        """Breaks the translated PTX there: the number, from 1 on, of one of `sites`; 0: nowhere."""
        self.library.shim_set_mutant(ctypes.c_int(site))

    def allow(self, jobs: Sequence[Job]) -> None:
        """Kernels from PTX may touch the buffers of a call, and nothing else."""
        self.library.shim_allow(None, ctypes.c_size_t(0))
        for buffer in (
            self.weights,
            self.state,
            self.scratch,
            *([self._resident.memory] if self._resident else []),
            *(buffer for job in jobs for buffer in job[:2] if buffer),
        ):
            self.library.shim_allow(ctypes.c_void_p(buffer.address), ctypes.c_size_t(buffer.bytes.size))

    def decode_chunk(self, mels: Sequence[Floats], slots: Sequence[int]) -> list[Floats]:
        """One call for some streams: a chunk of log-mel each, and the samples that it completes.

        Mel and audio are aligned to 4 bytes only.
        """
        frames = len(mels[0])
        jobs: list[tuple[Buffer, Buffer, int]] = []
        for mel, slot in zip(mels, slots, strict=True):
            source = Buffer(mel.size * 4, offset=4)
            source.floats[:] = mel.ravel()
            seen = self.frames[slot]
            samples = self.samples_out(seen + frames) - self.samples_out(seen)
            jobs.append((source, Buffer(samples * 4, 0xFF, offset=4), slot))
        self.run(jobs, frames)
        for i, (source, audio, _) in enumerate(jobs):
            source.check(f"mel {i}")
            audio.check(f"audio {i}")
        for buffer, what in ((self.weights, "weights"), (self.state, "state"), (self.scratch, "scratch")):
            buffer.check(what)
        assert self.weights.bytes.tobytes() == self.device.weights, "the weights were written"
        for slot in slots:
            self.frames[slot] = min(self.frames[slot] + frames, self.plan.lookahead + self.plan.cover)
        return [audio.floats.copy() for _, audio, _ in jobs]

    def decode(self, mel: Floats, chunks: Iterable[int] | int | None = None, slot: int = 0) -> Floats:
        """An utterance from silence, split into chunks of those sizes (as long as they last, then the largest)."""
        self.reset(slot)
        return self.continue_decode(mel, chunks, slot)

    def continue_decode(self, mel: Floats, chunks: Iterable[int] | int | None = None, slot: int = 0) -> Floats:
        size = chunks if isinstance(chunks, int) else self.plan.max_frames
        sizes = iter(()) if chunks is None or isinstance(chunks, int) else iter(chunks)
        parts, start = [np.zeros(0, np.float32)], 0
        while start < len(mel):
            end = start + next(sizes, size)
            parts += self.decode_chunk([mel[start:end]], [slot])
            start = end
        return np.concatenate(parts)

    def utterance(self, mel: Floats, chunks: Iterable[int] | int | None = None, slot: int = 0) -> Floats:
        """All of its audio."""
        return np.concatenate([self.decode(mel, chunks, slot), *self.flush([slot])])

    def flush(self, slots: Sequence[int]) -> list[Floats]:
        """The rest of some streams, which have frames, and are reset: the layers run dry, and then the overlap."""
        parts: list[list[Floats]] = [[] for _ in slots]
        size = self.plan.max_frames
        for flushed in range(0, self.plan.lookahead, size):
            frames, seen = min(size, self.plan.lookahead - flushed), [self.frames[slot] + flushed for slot in slots]
            self._collect(
                parts, slots, [self.samples_out(n + frames) - self.samples_out(n) for n in seen], frames, flushed
            )
        skipped = [max(0, self.plan.trim - self.frames[slot] * self.hop) for slot in slots]
        self._collect(parts, slots, [self.plan.overlap_floats - self.plan.trim - n for n in skipped], 0, 0)
        for slot in slots:
            self.reset(slot)
        return [np.concatenate(found) for found in parts]

    def _collect(
        self, parts: list[list[Floats]], slots: Sequence[int], counts: Sequence[int], frames: int, flushed: int
    ) -> None:
        """Adds to each stream's parts what it has behind its end: so many frames, or, of none, the overlap."""
        jobs = [(None, Buffer(max(0, n) * 4, 0xFF, offset=4), slot) for n, slot in zip(counts, slots, strict=True)]
        if frames:
            self.run(jobs, frames, flushed)
        else:
            self.stop()
            self.allow(jobs)
            for first in range(0, len(jobs), self.device.parameter_jobs):
                part = jobs[first : first + self.device.parameter_jobs]
                self.launch(self.device.flush, self.call(part, 0, 0))
        for found, (_, to, _) in zip(parts, jobs, strict=True):
            to.check("the rest")
            found.append(to.floats.copy())


def run_fault(library: Path, kernel: str, *, together: bool = False, order: int = 0) -> tuple[list[float], str]:
    """Runs one of the faulty kernels, in two blocks of 64 threads: what it wrote, and what the shim says.

    The blocks run one after the other, or together, over weakly ordered memory.
    """
    shim = ctypes.CDLL(str(library))
    shim.shim_try_launch.restype = ctypes.c_char_p
    memory = np.zeros(130, np.float32)  # the results, and two flags
    parameter = np.array([memory.ctypes.data, memory.ctypes.data + 128 * 4], np.uint64)
    shim.shim_share(None, ctypes.c_size_t(0))
    shim.shim_share(ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(memory.nbytes))
    function = ctypes.cast(getattr(shim, kernel), ctypes.c_void_p)
    sizes = (2, 1, 64, order, int(together))
    error = shim.shim_try_launch(kernel.encode(), function, ctypes.c_void_p(parameter.ctypes.data), *sizes, None, None)
    return memory[:128].tolist(), (error or b"").decode()
