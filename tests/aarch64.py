"""Programs for AArch64, and compiled models that run there: by Debian's cross compiler and qemu-user."""

import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import builds
from tests.objects import ROOT, Vocoder, build_c

STAND_INS = ROOT / "tests" / "stand_ins"
CROSS = "aarch64-linux-gnu-"
GCC = f"{CROSS}gcc"
QEMU = "qemu-aarch64"
BASELINE = "cortex-a53"  # the first AArch64: any object but those of aarch64-dotprod must run on it

MISSING = "" if shutil.which(GCC) and shutil.which(QEMU) else f"no {GCC} or no {QEMU} here: .ci/setup test"


def build_cross(
    program: str,
    build: Path,
    directory: Path,
    name: str,
    *,
    flags: Iterable[object] = (),
    inputs: Iterable[Path] | None = None,
    isa: str | None = None,
) -> Path:
    """As build_c, for AArch64; stand-ins take the place of the libraries that Debian has no cross packages of."""
    build.mkdir(parents=True, exist_ok=True)
    (build / "libcmocka.a").write_bytes(b"!<arch>\n")  # an empty archive: all is in the header
    flags = ("-O2", *flags, "-I", STAND_INS, "-L", build)
    return build_c(program, build, directory, name, isa=isa, flags=flags, inputs=inputs, compiler=(GCC, "-static"))


class Emulated(Vocoder):
    """A compiled model whose calls tests/c/serve.c makes in a process of qemu's, until it is closed."""

    def __init__(self, directory: Path, name: str, cpu: str = BASELINE) -> None:
        build = builds.once(("serve", directory), lambda out: build_cross("serve.c", out, directory, name))
        self.command = [QEMU, "-cpu", cpu]
        self.process = subprocess.Popen([*self.command, build / "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._describe(directory, name)

    def call(self, function: str, *arguments: NDArray[Any] | int | None) -> int:
        to, back = self.process.stdin, self.process.stdout
        assert to is not None and back is not None
        to.write(struct.pack("<32si", function.encode(), len(arguments)))
        arrays = []
        for argument in arguments:
            if argument is None:
                to.write(struct.pack("<i", -2))
            elif isinstance(argument, int):
                to.write(struct.pack("<ii", -1, argument))
            else:
                assert argument.flags.c_contiguous
                to.write(struct.pack("<i", argument.nbytes) + argument.tobytes())
                arrays.append(argument)
        to.flush()
        answer = back.read(4)
        assert len(answer) == 4, f"{function}: the process ended, with {self.process.wait()}"
        for array in arrays:
            array.ravel()[:] = np.frombuffer(back.read(array.nbytes), array.dtype).reshape(-1)
        return int(struct.unpack("<i", answer)[0])

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()
