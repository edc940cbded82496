"""Packs a built model as a Python wheel: the shared library, made of the very object, and the module that calls it."""

from __future__ import annotations

import base64
import hashlib
import json
import keyword
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from . import VERSION
from .emit import RUNTIME
from .errors import CompileError

ARCHITECTURES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}  # readelf's names
OLDEST_GLIBC = (2, 17)  # of manylinux2014, the oldest that today's pip and numpy serve
GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2"}
MODULE = RUNTIME / "python"


def check_module_name(name: str) -> None:
    """Raises CompileError unless a module and a distribution can bear this name."""
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in ("numpy", "pip"):
        raise CompileError(f"--name {name}: --wheel makes a Python module of it, and Python has a {name} of its own")
    if not re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name):
        raise CompileError(
            f"--name {name}: --wheel makes a Python package of it: letters, digits, and single _ between them"
        )


def write_wheel(directory: Path, name: str, report: dict[str, Any], weights: bytes) -> Path:
    """Writes NAME-VERSION-py3-none-PLATFORM.whl beside the library; a pure function of what goes into it.

    `directory` holds libNAME.so, NAME.h and, if they are not baked, the weights; `report` is NAME.json's.
    """
    library = directory / f"lib{name}.so"
    sizes = _macros((directory / f"{name}.h").read_text(), name)
    state = hashlib.sha256(weights + f"{report['precision']} {sizes['STATE_FLOATS']}".encode()).hexdigest()[:32]
    model = {"report": report, "sizes": sizes, "state": state}
    files = {
        "__init__.py": (MODULE / "vocosc_module.py").read_bytes(),
        "__init__.pyi": (MODULE / "vocosc_module.pyi").read_bytes(),
        "py.typed": b"",
        library.name: library.read_bytes(),
    }
    if not report["baked"]:
        files[f"{name}_weights.bin"] = weights
    digest = hashlib.sha256(json.dumps(model).encode())
    for data in files.values():
        digest.update(hashlib.sha256(data).digest())
    version = f"{VERSION}+m{digest.hexdigest()[:8]}"
    files["model.json"] = json.dumps({"version": version, **model}, indent=1).encode()

    tags = [f"py3-none-{platform}" for platform in platforms(library)]
    info = f"{name}-{version}.dist-info"
    archive = {f"{name}/{file}": data for file, data in files.items()}
    archive[f"{info}/METADATA"] = _metadata(name, version, report).encode()
    archive[f"{info}/WHEEL"] = "".join(
        f"{line}\n"
        for line in (
            "Wheel-Version: 1.0",
            f"Generator: vocosc {VERSION}",
            "Root-Is-Purelib: false",
            *(f"Tag: {tag}" for tag in tags),
        )
    ).encode()
    archive[f"{info}/RECORD"] = _record(archive, f"{info}/RECORD").encode()
    path = directory / f"{name}-{version}-py3-none-{'.'.join(platforms(library))}.whl"
    with zipfile.ZipFile(path, "w") as file:
        for entry, data in archive.items():
            member = zipfile.ZipInfo(entry)  # of 1980
            member.external_attr = (0o755 if entry.endswith(".so") else 0o644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, data, compresslevel=1)  # weights hardly shrink
    return path


def platforms(library: Path) -> list[str]:
    """The platform tags that a shared library of Linux may bear, by the C library that it asks for."""
    listing = _readelf("-h", "-d", "-V", str(library))
    machine = re.search(r"^ *Machine: +(.*?) *$", listing, re.MULTILINE)
    if machine is None or machine[1] not in ARCHITECTURES:
        raise CompileError(f"--wheel: {library.name} is not for Linux on x86-64 or AArch64, as wheels are")
    architecture = ARCHITECTURES[machine[1]]
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", listing))
    if not needed <= GLIBC:
        return [f"linux_{architecture}"]  # needs libraries that only this machine is known to have
    versions = [(int(a), int(b)) for a, b in re.findall(r"Name: GLIBC_(\d+)\.(\d+)", listing)]
    major, minor = max([OLDEST_GLIBC, *versions])
    tags = [f"manylinux_{major}_{minor}_{architecture}"]
    return [*tags, f"manylinux2014_{architecture}"] if (major, minor) == OLDEST_GLIBC else tags


def _readelf(*arguments: str) -> str:
    command, environment = ["readelf", "-W", *arguments], {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    except FileNotFoundError:
        raise CompileError("readelf: not found; apt-get install binutils") from None
    except subprocess.CalledProcessError as error:
        raise CompileError(f"readelf: {error.stderr.strip() or 'failed'}") from None


def _macros(header: str, name: str) -> dict[str, int | float | str]:
    """The header's sizes and texts, without their prefix."""
    header = re.sub(r"\s*\\\n\s*", " ", header)  # clang-format breaks long lines
    found = re.findall(
        rf'^#define {name.upper()}_([A-Z0-9_]+) (?:\(?(-?[0-9.e+-]+?)f?\)?|"(.*)")(?: .*)?$', header, re.MULTILINE
    )
    return {
        key: text if not number else int(number) if number.lstrip("-").isdigit() else float(number)
        for key, number, text in found
    }


def _metadata(name: str, version: str, report: dict[str, Any]) -> str:
    model = report["model"]
    summary = (
        f"A streaming vocoder: {model['n_mels']} mels to {model['sample_rate']} Hz, weights in {report['precision']}; "
        f"compiled by {report['generator']}"
    )
    lines = (
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {summary}",
        "Requires-Python: >=3.10",
        "Requires-Dist: numpy>=1.22",
        "Description-Content-Type: text/markdown",
    )
    text = (MODULE / "README.md").read_text()
    return "".join(f"{line}\n" for line in lines) + "\n" + re.sub(r"\bdemo\b", name, text)


def _record(archive: dict[str, bytes], own: str) -> str:
    """Every file with its hash and size, as installers check them."""

    def row(entry: str, data: bytes) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return f"{entry},sha256={digest},{len(data)}\n"

    return "".join(row(entry, data) for entry, data in archive.items()) + f"{own},,\n"
