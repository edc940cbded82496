"""Machine code as NVIDIA's disassembler shows it: what the assembler made of the kernels."""

import re
import shutil
import struct
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.objects import run_ok

LOCAL = ("LDL", "STL")  # loads and stores of a thread's own memory, which is slow: spilled registers


@dataclass(frozen=True)
class Instruction:
    """Its operation with all its suffixes, the registers that it sets, and those that it reads."""

    operation: str
    sets: frozenset[str]
    reads: frozenset[str]


def disassembler() -> str | None:
    """The program: that of the Python package, or one on the PATH."""
    packaged = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/nvdisasm"))
    return str(packaged[-1]) if packaged else shutil.which("nvdisasm")


def disassemble(cubin: bytes, folder: Path) -> dict[str, list[Instruction]]:
    """Each kernel's instructions, in the order of the text."""
    path, program = folder / "code.cubin", disassembler()
    assert program is not None
    path.write_bytes(cubin)
    text = subprocess.run([program, "-c", path], capture_output=True, text=True, check=True).stdout
    kernels: dict[str, list[Instruction]] = {}
    found: list[Instruction] = []
    for line in text.splitlines():
        section = re.match(r"\.text\.(\w+):", line)
        if section:
            found = kernels.setdefault(section[1], [])
        code = re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d\s+)?(\S+)\s*(.*?);", line)
        if code:
            found.append(_instruction(code[1], code[2]))
    return kernels


def registers(cubin: bytes, folder: Path) -> dict[str, int]:
    """Each kernel's registers, from the file's own notes: section .nv.info, records 04 2f 08 00, symbol, count."""
    path, notes = folder / "code.cubin", folder / "notes"
    path.write_bytes(cubin)
    run_ok(["objcopy", "-I", "elf64-little", f"--dump-section=.nv.info={notes}", path, folder / "ignored"])
    names = dict(re.findall(r"^\s*(\d+): .* (\w+)$", run_ok(["readelf", "-sW", path]), re.MULTILINE))
    found, data, at = {}, notes.read_bytes(), 0
    while at < len(data):
        kind, attribute, size = data[at], data[at + 1], int.from_bytes(data[at + 2 : at + 4], "little")
        if (kind, attribute) == (4, 0x2F):
            symbol, count = struct.unpack_from("<II", data, at + 4)
            found[names[str(symbol)]] = count
        at += 4 + (size if kind == 4 else 0)
    return found


def _instruction(operation: str, operands: str) -> Instruction:
    parts = operands.split(",")
    stores = operation.startswith(("ST", "RED", "BAR", "BRA", "EXIT"))
    count = {"128": 4, "64": 2}.get(operation.rsplit(".", maxsplit=1)[-1], 1) if operation.startswith("LD") else 1
    first = re.match(r"\s*R(\d+)\b", parts[0]) if not stores else None
    sets = {f"R{int(first[1]) + i}" for i in range(count)} if first else set()
    reads = set()
    for register, wide in re.findall(r"\bR(\d+)(\.64)?", ",".join(parts[0 if stores or not first else 1 :])):
        reads |= {f"R{register}"} | ({f"R{int(register) + 1}"} if wide else set())
    return Instruction(operation, frozenset(sets), frozenset(reads))


def wide_loads_before_any_use(code: list[Instruction], end: str) -> tuple[int, int]:
    """Loads of 16 bytes in front of the first `end`: before something read what was loaded, and after it."""
    loaded: set[str] = set()
    used, counts = False, [0, 0]
    for one in code:
        if one.operation.startswith(end):
            break
        used = used or bool(one.reads & loaded)
        loaded -= one.sets
        if one.operation.startswith("LDG"):
            loaded |= one.sets
            counts[used] += ".128" in one.operation
    return counts[0], counts[1]
