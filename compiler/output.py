"""The output folder: what a compilation writes takes the place of what an earlier one wrote, as a whole or not at all.

Everything is written and built in a hidden folder inside the output folder, on the same file system whatever the output
folder is (a link, a mount point). Then the earlier compilation's files, of which NAME.sha256 is the list, go into that
folder too, and the new ones come out of it. What fails midway is undone; what was killed midway, the next compilation
undoes. Files that no compilation wrote stay where they are.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from .errors import CompileError

_LONGEST_LIST = 1 << 20  # bytes of NAME.sha256
_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


@contextmanager
def replacing(output: Path, name: str) -> Iterator[Path]:
    """A folder to write and to build in. At the end of the block all that is in it comes into the output folder.

    What the last compilation under this name wrote there is gone then. If the block, or the replacement, raises, the
    output folder is as it was; if there was none, there is none.
    """
    folder = Path(os.path.realpath(output))
    if folder.exists() and not folder.is_dir():
        raise CompileError(f"{output}: is a file; -o names a directory")
    made = _make(folder)
    work = folder / f".{name}.compiling"
    lock = None
    try:
        lock = _claim(work, output)
        _undo(folder, work)
        new = work / "new"
        new.mkdir()
        yield new
        _write_list(new, name)
        _replace(folder, work, name)
        made = []
    finally:
        if lock is not None:
            shutil.rmtree(work)
            os.close(lock)
        _remove_empty(reversed(made))


def _make(folder: Path) -> list[Path]:
    """Makes a folder and those above it; returns the ones that were missing, the uppermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    for path in missing:
        path.mkdir(exist_ok=True)
    return missing


def _claim(work: Path, output: Path) -> int:
    """Makes the folder to work in, or takes over a dead compilation's, and locks it: the lock's descriptor."""
    while True:
        work.mkdir(exist_ok=True)
        lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise CompileError(f"{output}: another compilation is writing there; wait for it") from None
        except OSError:
            return lock  # a file system without locks
        try:
            if os.path.samestat(os.fstat(lock), work.stat()):
                return lock
        except FileNotFoundError:
            pass
        os.close(lock)  # its owner was just done with it


def _write_list(new: Path, name: str) -> None:
    """NAME.sha256: every file that was written, in the format of sha256sum."""
    lines = []
    for path in _files(new):
        with (new / path).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path}\n")
    (new / f"{name}.sha256").write_text("".join(lines))


def _files(folder: Path) -> list[str]:
    """Every file below a folder, by its path there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def _earlier(folder: Path, name: str) -> set[str]:
    """What an earlier compilation under this name wrote, or a makefile built from that: paths, whether there or not."""
    found = {name, f"{name}.o", f"lib{name}.a", f"lib{name}.so", "network/all.o"}
    try:
        with (folder / f"{name}.sha256").open("rb") as file:
            lines = file.read(_LONGEST_LIST).decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        path = PurePosixPath(line[66:])
        if path.parts and not path.is_absolute() and ".." not in path.parts and "\0" not in line:
            found.add(str(path))
    return found | set(_objects(found))


def _objects(paths: Iterable[str]) -> Iterator[str]:
    """What the makefile makes of sources, beside them."""
    for path in paths:
        if path.endswith((".c", ".S")):
            yield from (path[:-2] + suffix for suffix in (".o", ".su", ".ci"))


def _replace(folder: Path, work: Path, name: str) -> None:
    """Moves the earlier files out of the output folder, and the new ones in. Signals that end the program wait."""
    new = _files(work / "new")
    gone = _earlier(folder, name) | set(new) | set(_objects(new))
    gone = {path for path in gone if os.path.lexists(folder / path)}
    for path in sorted(gone):
        if (folder / path).is_dir() and not (folder / path).is_symlink():
            raise CompileError(f"{folder / path}: is a folder where a file is to go; remove it, or choose another -o")
    for path in set(new) & gone:
        _keep_private(folder / path, work / "new" / path)
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        (work / "list").write_text("\n".join(new))
        journal = (work / "list").replace(work / "journal")  # whole, or not there
        for path in sorted(gone):
            _move(folder / path, work / "old" / path)
        for path in new:
            _move(work / "new" / path, folder / path)
        journal.unlink()
        _remove_empty((folder / path).parent for path in gone)
    except BaseException:
        _undo(folder, work)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _keep_private(old: Path, new: Path) -> None:
    """What others may do with a file, they may do with the one in its place, and no more."""
    if old.is_file():
        allowed = old.stat().st_mode & 0o077 | 0o700
        new.chmod(new.stat().st_mode & 0o777 & allowed)


def _undo(folder: Path, work: Path) -> None:
    """The output folder as it was before a replacement that did not come to its end; nothing of it is left."""
    journal = work / "journal"
    if journal.exists():
        paths = journal.read_text().split("\n")
        for path in paths:
            if not os.path.lexists(work / "new" / path):
                (folder / path).unlink(missing_ok=True)
        for path in _files(work / "old"):
            _move(work / "old" / path, folder / path)
        journal.unlink()
        _remove_empty((folder / path).parent for path in paths)
    for part in ("new", "old"):
        shutil.rmtree(work / part, ignore_errors=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    for path in folders:
        with suppress(OSError):  # it is not empty, or gone already
            path.rmdir()


def _move(source: Path, target: Path) -> None:
    """Renames a file, in place of another; by a copy where a folder in between is on another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.partial")
        shutil.copy2(source, partial, follow_symlinks=False)
        partial.replace(target)
        source.unlink()
