"""Builds the emitted sources with the C compiler, and measures what only a build can tell."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .emit import Options
from .errors import CompileError

TOOLS = ("cc", "ar", "objcopy", "size")
CROSS = "aarch64-linux-gnu-"
RED_ZONE = 128  # of x86-64: what a function that calls none may use below its frame, which the compiler does not count


@dataclass(frozen=True)
class Measured:
    """What only a build can tell."""

    flash_bytes: int
    stack_bytes: int


def build(directory: Path, options: Options) -> Measured:
    """Builds NAME.o, libNAME.a and the host tool from the sources in `directory`, and measures the object."""
    name, target = options.name, options.target
    tools = {tool: _tool(tool, target) for tool in TOOLS}
    cross = any(tool.startswith(CROSS) for tool in tools.values())
    packages = f"gcc-{CROSS[:-1]} libc6-dev-arm64-cross" if cross else "gcc libc6-dev binutils"
    for tool in ("make", *tools.values()):
        if shutil.which(tool) is None:
            raise CompileError(f"{tool}: not found; apt-get install {packages} make, or use --sources-only")
    _make(directory, name, f"lib{name}.a", tools["cc"])
    flash = flash_bytes(directory / f"{name}.o", tools["size"])
    stack = stack_bytes(directory, name)
    if stack > 0 and not cross and platform.machine() == "x86_64":
        stack += RED_ZONE
    measured = Measured(flash_bytes=flash, stack_bytes=stack)
    _state(directory / f"{name}.h", name, measured)
    _make(directory, name, name, tools["cc"])
    for pattern in ("*.su", "*.ci", "network/*.su", "network/*.ci", "network/*.o", "tool/*.o", "*_team_pthread.o"):
        for path in directory.glob(pattern):
            path.unlink()
    return measured


def build_shared(directory: Path, options: Options) -> None:
    """Links libNAME.so from what `build` has left in `directory`."""
    _make(directory, options.name, f"lib{options.name}.so", _tool("cc", options.target))


def _state(header: Path, name: str, measured: Measured) -> None:
    """Puts what was measured into the header's two lines for it: the object does not depend on them, the tool does."""
    text = header.read_text()
    for macro, value in (("FLASH_BYTES", measured.flash_bytes), ("STACK_BYTES", measured.stack_bytes)):
        text = text.replace(f"#define {name.upper()}_{macro} 0 ", f"#define {name.upper()}_{macro} {value} ")
    header.write_text(text)


def _tool(name: str, target: str) -> str:
    """The tool that NAME.mk uses for a target: Debian's cross compiler's where this machine is no AArch64 itself."""
    if not target.startswith("aarch64") or platform.machine() == "aarch64":
        return name
    return CROSS + ("gcc" if name == "cc" else name)


def _make(directory: Path, name: str, goal: str, compiler: str) -> None:
    jobs = len(os.sched_getaffinity(0))
    graph = ["EXTRA_CFLAGS=-fcallgraph-info=su"] if _is_gcc(compiler) else []
    command = ["make", "-s", f"-j{jobs}", "-f", f"{name}.mk", goal, *graph]
    environment = {**os.environ, "CCACHE_DISABLE": "1"}  # which would keep objects without their call graphs
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise CompileError(
            f"building {goal} failed: {lines[0] if lines else 'no message'} (command: {' '.join(command)})"
        )


def _is_gcc(compiler: str) -> bool:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return "Free Software Foundation" in version


def flash_bytes(path: Path, tool: str) -> int:
    """Code and read-only data of an object, in bytes."""
    listing = subprocess.run([tool, "-A", path.name], cwd=path.parent, capture_output=True, text=True, check=True)
    sections = re.findall(r"^(\.(?:text|rodata|data\.rel\.ro)\S*)\s+(\d+)", listing.stdout, re.MULTILINE)
    return sum(int(size) for _, size in sections)


def stack_bytes(directory: Path, name: str) -> int:
    """The deepest chain of calls, by the compiler's call graphs (gcc -fcallgraph-info=su); 0 if there are none."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for path in sorted(directory.glob("network/*.ci")):
        text = path.read_text()

        def node(title: str, unit: str = path.stem) -> str:
            """Functions that are local to a source (`source.c:name`) are others in each compilation of it."""
            return f"{unit}:{title}" if ":" in title else title

        for title, label in re.findall(r'node: \{ title: "([^"]+)" label: "([^"]*)"', text):
            size = re.search(r"(\d+) bytes \(([\w,]+)", label)
            if size and size[2] == "dynamic":  # where it is bounded, it is the alignment of wide vectors
                raise CompileError(f"the object's function {title} takes stack without a bound")
            if size:
                frames[node(title)] = int(size[1])
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(node(source), set()).add(node(target))

    def depth(function: str, above: tuple[str, ...] = ()) -> int:
        if function in above:
            raise CompileError(f"the object's call graph has a cycle at {function}: no bound on the stack")
        deepest = max((depth(callee, (*above, function)) for callee in calls.get(function, ())), default=0)
        return frames.get(function, 0) + deepest

    return max((depth(function) for function in frames if function.startswith(f"{name}_")), default=0)
