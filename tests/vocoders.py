"""The compiled models that many tests run on, by name; and the decorators that say on which."""

from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests import aarch64, builds
from tests.objects import TINY, Separate, Vocoder, every

HERE = ("small", "odd")
EMULATED = every(("small-aarch64", "odd-aarch64"), ("odd-aarch64",))
# Every precision for plain C, x86-64 and AArch64, and each way to bake the weights: a model of which no size is a
# multiple of a vector.
UNEVEN = {**TINY, "dim": 19}
SHIPPED = (
    "portable f32 --no-libc",
    "portable w8",
    "x86-64 f32 --weights blob",
    "x86-64 w8a8",
    "aarch64 f16 --no-libc",
    "aarch64-dotprod w8a8",
    # The kernels of the others are in these, or in test_precisions and test_aarch64
    *every(("x86-64 f16 --no-libc", "x86-64 w8", "x86-64 w4"), ()),
    *every(("portable f16 --weights c", "portable w8a8", "portable w4"), ()),
    *every(("aarch64 f32", "aarch64 w8", "aarch64 w8a8", "aarch64 w4", "aarch64-dotprod w8", "aarch64-dotprod w4"), ()),
)
CHUNKS = {"small": "5,16", "odd": "3,16", "full": "1,5"}

# Without a decorator, `vocoder` is `small` and `odd` on this CPU.
emulated = pytest.mark.parametrize("vocoder", EMULATED, indirect=True)
everywhere = pytest.mark.parametrize("vocoder", [*HERE, *EMULATED], indirect=True)
every_object = pytest.mark.parametrize(
    "vocoder", [*HERE, *EMULATED, *SHIPPED], indirect=True, ids=lambda name: name.replace(" ", "_")
)
every_build = pytest.mark.parametrize("vocoder", SHIPPED, indirect=True, ids=lambda name: name.replace(" ", "_"))


def directory(name: str) -> Path:
    """Where a golden set's model, or a build of the uneven one, is compiled."""
    if name in SHIPPED:
        target, precision, *options = name.split()
        options = ["--chunk", "1,3", "--target", target, "--precision", precision, *options]
        return builds.model(builds.checkpoint(UNEVEN), "tiny", *options)
    name, _, target = name.partition("-")
    options = ["--target", target] if target else []
    compiled = builds.library if name == "full" else builds.model  # whose tool nobody asks for
    return compiled(builds.checkpoint(name), name, "--chunk", CHUNKS[name], *options)


class Vocoders:
    """Loads each model once a process."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.get = cache(self._load)

    def _load(self, name: str) -> Vocoder:
        prefix = "tiny" if name in SHIPPED else name.partition("-")[0]
        if "aarch64" in name:
            if aarch64.MISSING:
                pytest.skip(aarch64.MISSING)
            cpu = "max" if name.startswith("aarch64-dotprod") else aarch64.BASELINE
            vocoder = aarch64.Emulated(directory(name), prefix, cpu)
            self.stack.callback(vocoder.close)
            return vocoder
        return (Separate if "blob" in name else Vocoder)(directory(name), prefix)
