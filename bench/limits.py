"""What the machine allows: `limits.c`, compiled and run, and what follows for a peer's time."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.peers import Cost, PeerError, last_line

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=fast", "-pthread")

Key = TypeVar("Key")


@dataclass(frozen=True)
class Limits:
    """Of so many threads together: reading by size of buffer in GB/s, multiply-adds by instruction set.

    These are two operations each, in billions a second: in float, of int16 and of bytes. A CPU that `limits.c` has no
    integer instruction for has no peaks of integers.
    """

    threads: int
    fma_gflops: Mapping[str, float]
    read_gbytes: Mapping[int, float]
    int16_gops: Mapping[str, float] = field(default_factory=dict)
    int8_gops: Mapping[str, float] = field(default_factory=dict)

    @property
    def peak_gflops(self) -> float:
        """In float, of the best instruction set."""
        return max(self.fma_gflops.values())

    def bytes_ms(self, cost: Cost) -> float:
        """The least time to read the weights once."""
        return 1e-6 * cost.weight_bytes / self.read_gbytes[cost.weight_bytes]

    def frame_ms(self, cost: Cost) -> float:
        """The least time for a frame's arithmetic, each product at the peak of its type; without one it is free."""
        floats = cost.macs_per_frame - cost.int16_macs - cost.int8_macs
        peaks = [(floats, self.fma_gflops), (cost.int16_macs, self.int16_gops), (cost.int8_macs, self.int8_gops)]
        return sum(2e-6 * macs / max(peak.values()) for macs, peak in peaks if peak)

    def fma_ms(self, cost: Cost) -> float:
        """The least time for a frame's arithmetic, were it all in float."""
        return 2e-6 * cost.macs_per_frame / self.peak_gflops

    def call_ms(self, cost: Cost, frames: int) -> float:
        """The least time of a call: its weights read once, or its arithmetic at the peak, whichever takes longer.

        The activations count for nothing: they stay in the cache.
        """
        return max(self.bytes_ms(cost), self.frame_ms(cost) * frames)

    def run_ms(self, cost: Cost, frames: int, chunk: int) -> float:
        """The least time of a run: `frames` in calls of `chunk`, and one for what is left over."""
        calls, rest = divmod(frames, chunk)
        return calls * self.call_ms(cost, chunk) + (self.call_ms(cost, rest) if rest else 0)


def best_of(first: Limits, second: Limits) -> Limits:
    """Two measurements of the same as one: what was ever reached."""

    def better(a: Mapping[Key, float], b: Mapping[Key, float]) -> dict[Key, float]:
        return {key: max(value, b[key]) for key, value in a.items()}

    return Limits(
        first.threads,
        better(first.fma_gflops, second.fma_gflops),
        better(first.read_gbytes, second.read_gbytes),
        better(first.int16_gops, second.int16_gops),
        better(first.int8_gops, second.int8_gops),
    )


def compile_limits(work: Path) -> Path:
    """The program, compiled. Raises PeerError."""
    program = work / "limits"
    try:
        done = subprocess.run(["gcc", *FLAGS, SOURCE, "-o", program], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"gcc: {error}") from None
    if done.returncode != 0:
        raise PeerError(f"gcc cannot compile {SOURCE.name}: {last_line(done.stderr)}")
    return program


def measure_limits(program: Path, threads: int, sizes: Sequence[int]) -> Limits:
    """Measure with so many threads, reading buffers of these sizes in bytes: some seconds. Raises PeerError."""
    line = [str(program), str(threads), *map(str, sizes)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerError(f"{' '.join(line)}: {last_line(done.stderr)}")
    data = json.loads(done.stdout)
    read = {int(size): float(value) for size, value in data["read_gbytes"].items()}
    return Limits(data["threads"], data["fma_gflops"], read, data["int16_gops"], data["int8_gops"])
