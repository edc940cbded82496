"""Builds the emitted sources with the C compiler, and measures what only a build can tell."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .emit import Options
from .errors import CompileError
from .isa import BARE_TARGETS

TOOLS = ("cc", "ar", "objcopy", "size")
CROSS = "aarch64-linux-gnu-"
# They know the numbers that relaxed instructions have had since they are a standard.
WASM_CLANGS = (19, 20, 21, 18, 17, 16)
WASM_PACKAGES = f"clang-{WASM_CLANGS[0]} lld-{WASM_CLANGS[0]}"
RED_ZONE = 128  # of x86-64: what a function that calls none may use below its frame, which the compiler does not count


@dataclass(frozen=True)
class Measured:
    """What only a build can tell."""

    flash_bytes: int
    stack_bytes: int


def build(directory: Path, options: Options) -> Measured:
    """Builds NAME.o, libNAME.a and, but for microcontrollers, the host tool, in `directory`; measures the object.

    Where this machine can run it, the object has passed its self-test then.
    """
    name = options.name
    tools = tools_of(options.target)
    if options.is_wasm:
        return _build_wasm(directory, name, tools)
    cross = any(command[0].startswith(CROSS) for command in tools.values())
    is_bare = options.target in BARE_TARGETS
    packages = f"gcc-{CROSS[:-1]} libc6-dev-arm64-cross" if cross else "gcc libc6-dev binutils"
    if is_bare:
        packages = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
    _insist_on(tools, packages)
    _make(directory, name, f"lib{name}.a", tools)
    flash = flash_bytes(directory / f"{name}.o", *tools["size"])
    stack = stack_bytes(directory, name)
    if stack > 0 and not cross and not is_bare and platform.machine() == "x86_64":
        stack += RED_ZONE
    measured = Measured(flash_bytes=flash, stack_bytes=stack)
    _state(directory / f"{name}.h", name, measured)
    if not is_bare:
        _make(directory, name, name, tools)
        _selftest(directory / name)
    for pattern in ("*.su", "*.ci", "network/*.su", "network/*.ci", "network/*.o", "tool/*.o", "*_team_pthread.o"):
        for path in directory.glob(pattern):
            path.unlink()
    return measured


def _build_wasm(directory: Path, name: str, tools: dict[str, list[str]]) -> Measured:
    """Builds NAME.wasm and NAME_relaxed.wasm. Where Node.js is here, both have passed the self-test then."""
    _insist_on(tools, WASM_PACKAGES)
    _make(directory, name, f"{name}.o", tools)
    for module in (f"{name}.wasm", f"{name}_relaxed.wasm"):
        _make(directory, name, module, tools)
        _selftest_wasm(directory, name, module)
    for path in directory.glob("network/*.o"):
        path.unlink()
    measured = Measured(flash_bytes=(directory / f"{name}.wasm").stat().st_size, stack_bytes=0)
    _state(directory / f"{name}.h", name, measured)
    return measured


def _insist_on(tools: dict[str, list[str]], packages: str) -> None:
    """Raises CompileError unless make and the tools are there."""
    for tool in ("make", *(command[0] for command in tools.values())):
        if shutil.which(tool) is None:
            raise CompileError(f"{tool}: not found; apt-get install {packages} make, or use --sources-only")


def build_shared(directory: Path, options: Options) -> None:
    """Links libNAME.so from what `build` has left in `directory`."""
    _make(directory, options.name, f"lib{options.name}.so", tools_of(options.target))


def build_backend(directory: Path, options: Options, library: Path, source: Path) -> None:
    """Links `library`, a backend of Triton's, from its C++ source and from what `build` has left in `directory`."""
    cross = tools_of(options.target)["cc"][0].startswith(CROSS)
    compiler = [f"{CROSS}g++"] if cross else shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if shutil.which(compiler[0]) is None:
        raise CompileError(f"{compiler[0]}: not found; apt-get install {compiler[0] if cross else 'g++'}")
    flags = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wconversion", "-iquote", "."]
    # What the server lacks shows when it loads this.
    link = ["-shared", f"-Wl,--version-script={source.with_suffix('.map')}", "-Wl,-z,now", "-Wl,-z,noexecstack"]
    link += ["-Wl,--build-id=none"]
    libraries = [f"lib{options.name}.a", *(["-ldl", "-lpthread"] if options.gpus else [])]
    done = _run([*compiler, *flags, *link, "-o", library, source, *libraries], directory)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise CompileError(f"building {library.name} failed: {lines[0] if lines else 'no message'}")


def tools_of(target: str) -> dict[str, list[str]]:
    """The commands that build for a target.

    Debian's cross compiler's, where the target is another machine; else the usual ones, or those that the variables
    CC, AR, OBJCOPY and SIZE name.
    """
    if target == "wasm":
        version = next(
            (v for v in WASM_CLANGS if shutil.which(f"clang-{v}") and shutil.which(f"wasm-ld-{v}")), WASM_CLANGS[0]
        )
        return {"cc": [f"clang-{version}"], "ld": [f"wasm-ld-{version}"]}
    cross = CROSS if target.startswith("aarch64") and platform.machine() != "aarch64" else ""
    if target in BARE_TARGETS:
        cross = "arm-none-eabi-"
    if cross:
        return {tool: [cross + ("gcc" if tool == "cc" else tool)] for tool in TOOLS}
    return {tool: shlex.split(os.environ.get(tool.upper(), "")) or [tool] for tool in TOOLS}


def _state(header: Path, name: str, measured: Measured) -> None:
    """Puts what was measured into the header's two lines for it: the object does not depend on them, the tool does."""
    text, status = header.read_text(), header.stat()
    for macro, value in (("FLASH_BYTES", measured.flash_bytes), ("STACK_BYTES", measured.stack_bytes)):
        text = text.replace(f"#define {name.upper()}_{macro} 0 ", f"#define {name.upper()}_{macro} {value} ")
    header.write_text(text)
    os.utime(header, ns=(status.st_atime_ns, status.st_mtime_ns))  # the object is not out of date


def _make(directory: Path, name: str, goal: str, tools: dict[str, list[str]]) -> None:
    jobs = len(os.sched_getaffinity(0))
    graph = ["EXTRA_CFLAGS=-fcallgraph-info=su"] if is_gcc(tools["cc"]) else ["EXTRA_CFLAGS="]
    variables = {tool.upper(): shlex.join(tools[tool]) for tool in tools if tool != "size"}
    # CFLAGS from outside are added to the makefile's own. A $ in them is no variable of make's.
    variables["CFLAGS"] = os.environ.get("CFLAGS", "").replace("\n", " ")
    words = [f"{variable}={text.replace('$', '$$')}" for variable, text in variables.items()]
    command = ["make", "-s", f"-j{jobs}", "-f", f"{name}.mk", goal, *graph]
    done = _run([*command, *words], directory)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise CompileError(
            f"building {goal} failed: {lines[0] if lines else 'no message'} (command: {' '.join(command)})"
        )
    made = directory / goal
    if made.is_symlink() or not made.is_file() or made.stat().st_size == 0:
        raise CompileError(f"building {goal} made no such file (command: {' '.join(command)})")


def _environment() -> dict[str, str]:
    """The environment of the tools, less what would have a say in what they build."""
    ours = {"MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKEFILES", "MAKELEVEL", "MAKEOVERRIDES", "MAKE"}
    ours |= {"CFLAGS", "CPPFLAGS", "EXTRA_CFLAGS", "TARGET_CFLAGS", "TOOL_CFLAGS", "TOOL_LDFLAGS", "BRANCH_CFLAGS"}
    ours |= {"CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH", "DEPENDENCIES_OUTPUT"}
    ours |= {"SUNPRO_DEPENDENCIES", "CCC_OVERRIDE_OPTIONS", "CC", "AR", "OBJCOPY", "SIZE", "OWN_CFLAGS"}
    kept = {variable: text for variable, text in os.environ.items() if variable not in ours}
    # ccache would keep objects without their call graphs
    return {**kept, "LC_ALL": "C", "CCACHE_DISABLE": "1"}


def _run(command: Sequence[str | Path], directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command; it and whatever it started are gone when this returns or raises."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        cwd=directory,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _selftest(tool: Path) -> None:
    """Lets the host tool run the object's self-test on every instruction set of this CPU. Raises CompileError."""
    try:
        done = _run([tool, "selftest"], tool.parent)
    except OSError:
        return  # built for another machine
    if done.returncode not in (0, -signal.SIGILL):  # a CPU without what the target is said to have tells nothing
        text = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise CompileError(
            f"the object that was built fails its self-test, and is not written: {text} (another C compiler, CC=..., "
            "or fewer CFLAGS may help)"
        )


_WASM_SELFTEST = """
import {{ load }} from "./{name}.mjs";
import {{ readFileSync }} from "node:fs";
const wasm = readFileSync("{module}");
if (WebAssembly.validate(wasm)) {{
  const {{ hash, expected }} = (await load({{ wasm }})).golden();
  if (hash !== expected) throw new Error("its audio has the hash " + hash + ", not " + expected);
}}
"""


def _selftest_wasm(directory: Path, name: str, module: str) -> None:
    """Lets Node.js, where it is here, run the self-test of a module that it knows the instructions of."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        return
    loader, script = directory / f"{name}.mjs", directory / "selftest.mjs"
    loader.write_bytes((directory / f"{name}.js").read_bytes())
    script.write_text(_WASM_SELFTEST.format(name=name, module=module))
    try:
        done = _run([node, script.name], directory)
    finally:
        loader.unlink()
        script.unlink()
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "Error: " in line] or done.stderr.splitlines()
        raise CompileError(f"{module} fails its self-test, and is not written: {lines[0] if lines else 'no message'}")


def is_gcc(compiler: Sequence[str]) -> bool:
    """Whether a command is GCC."""
    return "Free Software Foundation" in _output([*compiler, "--version"])


def first_line(command: Sequence[str]) -> str:
    """Of what a command prints: of `cc --version`, which compiler it is."""
    return next(iter(_output(command).splitlines()), "unknown")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout


def flash_bytes(path: Path, *tool: str) -> int:
    """Code and read-only data of an object, in bytes."""
    listing = subprocess.run([*tool, "-A", path.name], cwd=path.parent, capture_output=True, text=True, check=True)
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
