"""The compiler's command in a process that has it loaded already, and what must be true of a folder that it wrote."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from compiler import __main__ as compiler
from tests import objects


def command(*words: object) -> tuple[int, str, str]:
    """Runs the compiler's command here: its exit code, its standard output, and its standard error but for warnings."""
    code, out, errors = objects.compile_here(*words)
    lines = [line for line in errors.splitlines(keepends=True) if not line.startswith("vocosc: warning: ")]
    return code, out, "".join(lines)


def compile_here(*words: object) -> str:
    """Runs a command that must succeed; returns what it printed."""
    checkpoint, output, *options = words
    code, out, errors = command(checkpoint, "-o", output, *options)
    assert code == 0 and not errors, f"{' '.join(map(str, words))}: {code} {errors}"
    return out


def verified(folder: Path, *names: str) -> set[str]:
    """The files of a folder, which are those that the lists of these models name, byte for byte, and no others."""
    listed: dict[str, str] = {}
    for name in names:
        lines = (folder / f"{name}.sha256").read_text().splitlines()
        listed |= {line[66:]: line[:64] for line in lines}
        listed[f"{name}.sha256"] = ""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}
    ours = {path for path in found if not Path(path).name.startswith("other_") and "other_" not in Path(path).name}
    assert ours == set(listed), f"{sorted(ours ^ set(listed))[:5]}"
    for path, digest in listed.items():
        assert not digest or hashlib.sha256(found[path].read_bytes()).hexdigest() == digest, path
    return set(found)


@contextlib.contextmanager
def in_process(*words: object) -> Iterator[int]:
    """The command in a process of its own, with this one's modules: its number. It is over at the end."""
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        code = 70
        try:
            with tempfile.TemporaryFile("w+") as errors:
                os.dup2(errors.fileno(), 2)
                os.dup2(errors.fileno(), 1)
                sys.argv = ["vocosc", *map(str, words)]
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                code = compiler.main()
        finally:
            os._exit(code)
    try:
        yield process
    finally:
        for _ in range(3000):
            if os.waitpid(process, os.WNOHANG)[0]:
                break
            time.sleep(0.02)
        else:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise AssertionError("it goes on and on")
