"""Fuzzes the checkpoint reader: whatever a file holds, all that may come out is a model or a CompileError.

    python3 -m tests.fuzz.checkpoint --runs 10000 --seed 1 [CORPUS...]
    python3 -m tests.fuzz.checkpoint_atheris [options of libFuzzer] CORPUS

An input's first byte says what the others are: a whole file; a pickle, which gets a good container; the text of a
safetensors header; an ONNX file; or the config.yaml beside a good pytorch_model.bin. The first command mutates inputs
by a fixed recipe. The second needs atheris (pip install atheris), which looks which mutations reach new code.
"""

from __future__ import annotations

import argparse
import json
import pickletools
import random
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from compiler.checkpoint import read_checkpoint
from compiler.errors import CompileError
from compiler.fold import fold
from compiler.network import read_network
from compiler.plan import plan
from tests import make_checkpoint, make_vocos
from tests.objects import GOLDEN, TINY

SECONDS = 20  # of the CPU, for one input: a watchdog, far above what any takes
MEGABYTES = 700  # that the reader may take: four times the file and 256, and what it reads before it knows
MOST_BYTES = 1 << 16  # of an input
WHOLE_FILE, PICKLE, SAFETENSORS, ONNX, YAML = range(5)


class TookTooLongError(BaseException):
    """No Exception, so that no handler of the reader's takes it."""


def watch() -> None:
    """Makes an exception of an input that takes too long."""

    def ring(_signal: int, _frame: Any) -> None:
        raise TookTooLongError

    signal.signal(signal.SIGPROF, ring)


class Target:
    """The code under test, with the parts of a good checkpoint around an input."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fuzzed.ckpt"
        state = make_checkpoint.tensors(TINY, int(TINY["seed"]))
        self.seeds: list[bytes] = []
        self.storages: list[make_checkpoint.Storage] = []
        for hparams in ("dataclass", "dict"):
            for layout in ("plain", "transposed", "shared"):
                views = make_checkpoint.laid_out(state, "float32", layout)
                pickler = make_checkpoint.Pickler()
                pickle = pickler.dump(make_checkpoint.lightning(TINY, views, hparams))
                # One storage for each tensor, and one that holds them all in the first one's place
                self.storages = pickler.storages + self.storages[len(pickler.storages) :]
                self.seeds.append(bytes([PICKLE]) + pickle)
        make_checkpoint.write_checkpoint(self.path, TINY)
        self.seeds.append(bytes([WHOLE_FILE]) + self.path.read_bytes())
        hyper_parameters = json.dumps(make_checkpoint.hyper_parameters(TINY))
        make_checkpoint.write_safetensors(self.path, state, metadata={"hyper_parameters": hyper_parameters})
        data = self.path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        self.tensors = data[8 + length :]
        self.seeds.append(bytes([SAFETENSORS]) + data[8 : 8 + length])
        for file in sorted(GOLDEN.glob("vocos_opset*.onnx")):
            model = onnx.load(file)
            onnx.helper.set_model_props(model, {"sample_rate": "8000", "hop_length": "4"})
            self.seeds.append(bytes([ONNX]) + model.SerializeToString())
        self.vocos = make_vocos.write_folder(folder / "vocos", make_vocos.TINY)
        self.seeds.append(bytes([YAML]) + (self.vocos / "config.yaml").read_bytes())
        self.most_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + MEGABYTES * 1024

    def __call__(self, data: bytes) -> bool:
        """Reads an input; returns whether it is a model. Anything but a CompileError, or that, is a finding."""
        kind, rest = data[:1], data[1:]
        path = self.path
        if kind == bytes([PICKLE]):
            make_checkpoint.write_zip(self.path, rest, self.storages)
        elif kind == bytes([SAFETENSORS]):
            self.path.write_bytes(struct.pack("<Q", len(rest)) + rest + self.tensors)
        elif kind == bytes([ONNX]):
            path = self.path.with_suffix(".onnx")
            path.write_bytes(rest)
        elif kind == bytes([YAML]):
            path = self.vocos
            (path / "config.yaml").write_bytes(rest)
        else:
            self.path.write_bytes(rest)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            plan(fold(read_network(read_checkpoint(path), {})), [1])
        except CompileError as error:
            text = str(error)
            assert "\n" not in text and text.isprintable() and len(text) < 1000, repr(text)
            return False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert used <= self.most_memory, f"{used >> 10} MB of memory"
        return True


# ---- mutations by a fixed recipe ---------------------------------------------------------------


def _opcodes(pickle: bytes) -> list[bytes]:
    """A good pickle cut into its instructions."""
    starts = [position for _, _, position in pickletools.genops(pickle) if position is not None]
    return [pickle[start:end] for start, end in zip(starts, [*starts[1:], len(pickle)], strict=True)]


class Mutator:
    """Makes inputs of seeds, by the instructions of their pickles and by bytes."""

    def __init__(self, good: list[bytes], others: list[bytes], seed: int) -> None:
        self.random = random.Random(seed)
        self.seeds = good + others
        self.pickles = [_opcodes(data[1:]) for data in good if data[:1] == bytes([PICKLE])]

    def __call__(self) -> bytes:
        """The next input."""
        pick = self.random
        if pick.random() < 0.5:
            opcodes = list(pick.choice(self.pickles))
            for _ in range(pick.choice((1, 1, 2, 4, 8))):
                self._mutate(opcodes, lambda: pick.choice(pick.choice(self.pickles)))
            return bytes([PICKLE]) + b"".join(opcodes)
        data = list(pick.choice(self.seeds))
        for _ in range(pick.choice((1, 1, 2, 4, 16))):
            self._mutate(data, lambda: pick.choice((0, 1, 0x7F, 0x80, 0xFF, pick.randrange(256))))
        return bytes(data[:MOST_BYTES])

    def _mutate(self, parts: list[Any], new: Callable[[], Any]) -> None:
        """Changes, removes, adds, repeats or moves some of the parts."""
        pick = self.random
        at, other = pick.randrange(len(parts) + 1), pick.randrange(len(parts) + 1)
        length = pick.choice((1, 1, 1, 2, 4, 16))
        match pick.randrange(6):
            case 0 | 1:
                parts[at : at + 1] = [new()]
            case 2:
                del parts[at : at + length]
            case 3:
                parts[at:at] = [new() for _ in range(length)]
            case 4:
                parts[at:at] = parts[other : other + length]
            case 5 if len(parts) < 4096:
                parts[at:at] = parts[at : at + length] * pick.choice((2, 10, 100))


def _corpus(folders: list[Path]) -> list[bytes]:
    return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("corpus", type=Path, nargs="*", help="folders of inputs, or one input")
    arguments = parser.parse_args()
    watch()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        models = sum(map(target, target.seeds))
        assert models == len(target.seeds), "the seeds are models"
        kept = _corpus(arguments.corpus)
        for data in kept:
            models += target(data)
        mutate = Mutator(target.seeds, kept, arguments.seed)
        for run in range(arguments.runs):
            data = mutate()
            try:
                models += target(data)
            except BaseException:
                Path("crash-checkpoint").write_bytes(data)
                print(f"run {run} of seed {arguments.seed}: see crash-checkpoint", file=sys.stderr)
                raise
    print(f"{arguments.runs} runs, {len(kept)} kept inputs, {models} models: nothing found")


if __name__ == "__main__":
    main()
