"""What the machine allows: `limits.c`, compiled and run, and what follows for a peer's time."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Cost, PeerError, last_line

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=fast", "-pthread")


@dataclass(frozen=True)
class Limits:
    """Of so many threads together: multiply-adds by instruction set in GFLOP/s, reading by size of buffer in GB/s."""

    threads: int
    fma_gflops: Mapping[str, float]
    read_gbytes: Mapping[int, float]

    @property
    def peak_gflops(self) -> float:
        """Of the best instruction set."""
        return max(self.fma_gflops.values())

    def bytes_ms(self, cost: Cost) -> float:
        """The least time to read the weights once."""
        return 1e-6 * cost.weight_bytes / self.read_gbytes[cost.weight_bytes]

    def frame_ms(self, cost: Cost) -> float:
        """The least time for a frame's arithmetic."""
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
    return Limits(
        first.threads,
        {isa: max(value, second.fma_gflops[isa]) for isa, value in first.fma_gflops.items()},
        {size: max(value, second.read_gbytes[size]) for size, value in first.read_gbytes.items()},
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
    return Limits(int(data["threads"]), dict(data["fma_gflops"]), read)
