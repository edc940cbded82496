"""Files of 250 KB that would take minutes or gigabytes: read as the compiler reads them, in 2 seconds and 512 MB."""

import subprocess
import sys
from pathlib import Path

from tests.objects import ROOT

SIZE = 250_000
LIMITED = """
import resource, sys
from pathlib import Path
from compiler.calibrate import read_mels
from compiler.checkpoint import read_checkpoint
from compiler.errors import CompileError
from compiler.network import read_network
from compiler.yaml_config import read_yaml
memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (512 << 20)
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
def read(path):
    if path.suffix == ".yaml":
        read_yaml(path)
    elif path.suffix == ".npy":
        read_mels([path], 5)
    else:
        read_network(read_checkpoint(path), {"hop_length": 4})
for path in map(Path, sys.argv[1:]):
    seconds = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.RLIM_INFINITY))
    try:
        read(path)
        print("it was read", flush=True)
    except CompileError as error:
        print(error, flush=True)
"""


def defused(*paths: Path, largest: int = 300_000) -> list[str]:
    """What reading says of each of some files, a line each, within 2 seconds of the CPU and 512 MB."""
    assert all(path.stat().st_size < largest for path in paths)
    command = [sys.executable, "-c", LIMITED, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = done.stdout.splitlines()
    at = paths[min(len(lines), len(paths) - 1)]
    assert (done.returncode, done.stderr) == (0, ""), f"{at}: {done.returncode} {done.stderr[-500:]}"
    assert len(lines) == len(paths) and max(map(len, lines)) < 1000 and "MemoryError" not in done.stdout
    return lines
