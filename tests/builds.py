"""Checkpoints, and what is compiled from them: made once a session, by whichever process needs it first.

What these functions return is shared, also between the processes that pytest-xdist runs: nobody writes there. A test of
the command itself, of what it writes and where, runs it into a folder of its own (tests/objects.py).
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.make_checkpoint import write_checkpoint
from tests.objects import compile_model, compile_sources, config, make_library

SMALL = 8 << 20  # bytes of a checkpoint, a file or a folder, whose object computes in no time, however it is built

_folder: Path


def share(folder: Path) -> None:
    """Names the session's folder, the same one for all of its processes."""
    global _folder  # noqa: PLW0603
    _folder = folder
    folder.mkdir(parents=True, exist_ok=True)


def once(what: object, make: Callable[[Path], object]) -> Path:
    """The folder that `make`, given its path, fills; `what` tells it from all others. What failed once fails again."""
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:20]
    folder, work, failure = (_folder / f"{key}{suffix}" for suffix in ("", ".work", ".failure"))
    with (_folder / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if failure.exists():
            raise AssertionError(failure.read_text())
        if not folder.exists():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                make(work)
            except Exception as error:
                failure.write_text(str(error))
                raise
            work.rename(folder)
    return folder


def checkpoint(sizes: str | Mapping[str, Any], seed: int | None = None) -> Path:
    """A checkpoint of a golden set's configuration, or of these sizes; of its own seed, or another."""
    values = config(sizes) if isinstance(sizes, str) else dict(sizes)
    seed = values["seed"] if seed is None else seed
    name = sizes if isinstance(sizes, str) else "model"

    def write(folder: Path) -> None:
        write_checkpoint(folder / f"{name}.ckpt", values, seed=seed)

    return once(("checkpoint", name, sorted(values.items()), seed), write) / f"{name}.ckpt"


def model(source: Path, name: str, *options: object, light: bool = False) -> Path:
    """The directory of a checkpoint compiled as a user compiles it: object, library, report, sources, tool."""
    what = ("model", _contents(source, name, *options), light)
    return once(what, lambda out: compile_model(source, out, name, *options, light=light))


def sources(source: Path, name: str, *options: object) -> Path:
    """The directory of a checkpoint's sources alone, and the report."""
    return once(
        ("sources", _contents(source, name, *options)), lambda out: compile_sources(source, out, name, *options)
    )


def lightly(source: Path) -> str:
    """Compiler flags for tests of what is computed, not of the object as it ships."""
    size = sum(path.stat().st_size for path in (source, *source.rglob("*")) if path.is_file())
    return f"EXTRA_CFLAGS={'-O0' if size < SMALL else '-O1'}"


def library(source: Path, name: str, *options: object, make: Sequence[str] | None = None) -> Path:
    """The directory of a checkpoint's sources, and the library that their makefile makes with these variables; built
    lightly, if there are none."""
    make = [lightly(source)] if make is None else make

    def build(out: Path) -> None:
        compile_sources(source, out, name, *options)
        make_library(out, name, *make)

    return once(("library", _contents(source, name, *options), tuple(make)), build)


def _contents(*parts: object) -> list[str]:
    """Files and folders by what they hold, for their paths differ from process to process."""
    found: list[str] = []
    for part in parts:
        files = sorted(part.iterdir()) if isinstance(part, Path) and part.is_dir() else [part]
        found += [hashlib.sha256(f.read_bytes()).hexdigest() if isinstance(f, Path) else str(f) for f in files]
    return found
