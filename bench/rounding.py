"""Where int4's error comes from: `python -m bench.rounding CHECKPOINT`; a minute for the demo model. See NOTES.md.

The network's weights are rounded as the compiler rounds them, in some of its products, and nothing else: it runs in
float64, with rows that stay as they are. Prints the audio's dB from the unrounded network's, on the sentences that
judge: their mean, and each.
"""

import argparse
import wave
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from bench.metrics import snr_db
from compiler import quantise
from compiler.calibrate import calibrate
from compiler.checkpoint import read_checkpoint
from compiler.fold import fold
from compiler.forward import decode
from compiler.mel import log_mel
from compiler.network import Network, Operation, read_network
from compiler.quantise import Moments
from compiler.speech import FOLDER, calibration_mels

Fed = Mapping[str, Moments]
Change = Callable[[Operation], Operation]


def int8(product: Operation, fed: Fed) -> Operation:
    """A product with its weights rounded to int8, for what it is fed with, if that is known."""
    found = quantise.quantise(product, fed.get(product.name))
    return _with(product, found.weights * found.scale, found.bias)


def int4(product: Operation, fed: Fed, group: int = quantise.GROUP, bits: int = 4) -> Operation:
    """Likewise to int4, or to so many bits, in groups of so many inputs."""
    most = 2 ** (bits - 1)
    with mock.patch.multiple(quantise, GROUP=group, LEAST_INT4=-most, LARGEST_INT4=most - 1):
        found = quantise.quantise4(product, fed.get(product.name))
    every = np.repeat(found.group_scales, group, axis=0)[: len(found.weights)]
    return _with(product, found.weights * every * found.scale, found.bias)


def _with(product: Operation, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Operation:
    return replace(product, tensors={**product.tensors, "weight": np.asarray(weight, np.float32), "bias": bias})


def block_of(operation: Operation) -> int:
    """The number of its block, or -1 for embedding and head."""
    name, _, rest = operation.name.partition("_")
    return int(name.removeprefix("block")) if rest and name.startswith("block") else -1


def trials(network: Network, fed: Fed) -> Iterator[tuple[str, Change]]:
    """What is tried, and what becomes of each product in it."""
    count = 1 + max(map(block_of, network.operations))
    every, edges = range(count), [-1]

    def only(blocks: Collection[int], change: Change) -> Change:
        return lambda operation: change(operation) if block_of(operation) in blocks else operation

    def fours(group: int = quantise.GROUP, known: Fed = fed, bits: int = 4) -> Change:
        return lambda operation: int4(operation, known, group, bits)

    def eights(operation: Operation) -> Operation:
        return int8(operation, fed)

    yield "w4: blocks in int4, embedding and head in int8", lambda o: only(every, fours())(only(edges, eights)(o))
    yield "embedding and head alone, int8", only(edges, eights)
    yield "blocks alone, int8", only(every, eights)
    for group in (8, 16, 32, 64, 128):
        yield f"blocks alone, groups of {group}", only(every, fours(group))
        yield f"blocks alone, groups of {group}, not calibrated", only(every, fours(group, {}))
    for bits in (5, 6):
        yield f"blocks alone, {bits} bits", only(every, fours(bits=bits))
    for block in every:
        yield f"block {block} alone", only([block], fours())
    for block in every:
        yield f"blocks 0 to {block}", only(range(block + 1), fours())


def distances(network: Network, change: Change, mels: Sequence[NDArray[np.float32]]) -> list[float]:
    """dB of each log-mel's audio, once the network's products are changed, from what it was."""
    changed = replace(network, operations=tuple(change(o) if o.is_product else o for o in network.operations))
    return [snr_db(decode(network, mel), decode(changed, mel)) for mel in mels]


def judging_mels(network: Network) -> list[NDArray[np.float32]]:
    """The log-mels of the sentences that judge."""
    mels = []
    for path in sorted(FOLDER.glob("*.wav")):
        with wave.open(str(path)) as file:
            audio = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        assert network.config.mel is not None, "speech has log-mels"
        mels.append(np.asarray(log_mel(network.config, network.config.mel, audio), np.float32))
    return mels


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="dB of the audio with some of the weights rounded")
    parser.add_argument("checkpoint", type=Path)
    network = fold(read_network(read_checkpoint(parser.parse_args().checkpoint), {}))
    mels = judging_mels(network)
    fed = calibrate(network, calibration_mels(network.config), "w4")
    for what, change in trials(network, fed):
        found = distances(network, change, mels)
        print(f"{what:50} {np.mean(found):5.1f}  {' '.join(f'{value:5.1f}' for value in found)}", flush=True)


if __name__ == "__main__":
    main()
