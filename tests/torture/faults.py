"""Faults in the field: flipped bits, lost power, and a day of streams in compressed time."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np

from tests import builds
from tests.objects import TINY, Vocoder, build_c, run_c, some_mel

SIZES: dict[str, dict[str, Any]] = {"tiny": TINY, "uneven": {**TINY, "dim": 19, "num_layers": 2}}


def power(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """At every call boundary of an utterance a snapshot goes to a file, memory is lost, and comes back from there."""
    rng = random.Random(f"power {seed} {case}")
    precision = rng.choice(["f32", "f16", "w8", "w8a8"])
    sizes = SIZES[rng.choice(list(SIZES))]
    vocoder = Vocoder(builds.library(builds.checkpoint(sizes), "tiny", "--chunk", 8, "--precision", precision), "tiny")
    mel = some_mel(rng.randrange(20, 120), sizes["n_mels"], seed=rng.randrange(1000))
    splits: list[int] = []
    while sum(splits) < len(mel):
        splits.append(min(rng.randrange(1, 9), len(mel) - sum(splits)))
    stream = vocoder.stream()
    expected = vocoder.continue_decode(stream, mel, splits).tobytes() + vocoder.flush(stream).tobytes()
    file = folder / "snapshot"
    stream, start, audio = vocoder.stream(), 0, []
    for frames in splits:
        file.write_bytes(stream.tobytes())
        lost = np.full(stream.size + 64, 0xA5, np.uint8)
        at = 4 * rng.randrange(16)  # another address
        stream = lost[at : at + stream.size]
        stream[:] = np.frombuffer(file.read_bytes(), np.uint8)
        vocoder._scratch[:] = rng.randrange(256)
        audio.append(vocoder.decode_chunk(stream, mel[start : start + frames]).tobytes())
        start += frames
    found = b"".join(audio) + vocoder.flush(stream).tobytes()
    assert found == expected, f"{precision}, {splits}"
    return {"utterances": 1, "restores": len(splits)}


def day(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """A thousand streams, decoded, flushed, reset, copied at random for a million chunks; none drifts or grows."""
    chunks = 1_000_000
    directory = builds.library(builds.checkpoint(TINY), "tiny", "--chunk", 4, make=())
    flags = ["-O2", f"-DBLOCKS={TINY['num_layers']}"]
    program = build_c("test_day.c", folder / "build", directory, "tiny", flags=flags)
    printed = run_c(program, chunks, seed * 1009 + case)
    (streams,) = re.findall(r"(\d+) streams", printed)
    return {"chunks": chunks, "streams": int(streams)}


def flips(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Random bits of state, scratch, weights and tables, flipped in a running decode."""
    raise NotImplementedError
