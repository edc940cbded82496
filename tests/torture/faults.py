"""Faults in the field: flipped bits, lost power, and a day of streams in compressed time."""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.formats import FORMATS
from tests import builds
from tests.objects import TINY, Floats, Vocoder, build_c, copy_programs, run_c, run_ok, some_mel, weights_file
from tests.reference import snr_db

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


# ---- flipped bits ----

FLIPS = 2000  # of a case
LOUD = 60.0  # dB: a change below that is heard by nobody
Bytes = NDArray[np.uint8]
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(size: int, *, behind: bool) -> Bytes:
    """Memory whose end, or whose beginning, is the edge of a page that faults."""
    page = mmap.PAGESIZE
    inside = -(-size // page) * page
    pages = np.frombuffer(mmap.mmap(-1, inside + 2 * page), np.uint8)
    for edge in (0, page + inside):
        assert _libc.mprotect(ctypes.c_void_p(pages.ctypes.data + edge), ctypes.c_size_t(page), 0) == 0
    start = page + (inside - size if behind else 0)
    return pages[start : start + size]


def read_only_data(library: Path) -> Bytes:
    """The loaded library's tables and weights, made writable."""
    listing = run_ok(["readelf", "-S", "-W", library])
    (found,) = re.findall(r"\] \.rodata +PROGBITS +(\w+) \w+ (\w+)", listing)
    address, size = (int(word, 16) for word in found)
    lines = Path("/proc/self/maps").read_text().splitlines()
    base = min(int(line.split("-")[0], 16) for line in lines if str(library) in line)
    first = (base + address) & -mmap.PAGESIZE
    length = ctypes.c_size_t(base + address + size - first)
    assert _libc.mprotect(ctypes.c_void_p(first), length, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(base + address))


class Patient:
    """A model in memory with guards around it, whose decode is interrupted between two of its steps."""

    def __init__(self, directory: Path, folder: Path, *, behind: bool) -> None:
        library = folder / "tiny.so"
        program = copy_programs(folder / "c", "tiny") / "flips.c"
        whole = ["-Wl,--whole-archive", directory / "libtiny.a", "-Wl,--no-whole-archive"]
        run_ok(["cc", "-shared", "-fPIC", "-O1", "-I", directory, "-o", library, program, *whole])
        self.library = ctypes.CDLL(str(library))
        self.sizes = json.loads((directory / "tiny.json").read_text())
        model = self.sizes["model"]
        self.mels, self.hop, self.frames = model["n_mels"], model["hop_length"], self.sizes["max_frames"]
        self.tables = read_only_data(library)
        self.stream = guarded(self.sizes["state_bytes"], behind=behind)
        self.scratch = guarded(self.sizes["scratch_bytes"], behind=behind)
        self.mel = guarded(4 * self.frames * self.mels, behind=behind).view(np.float32)
        self.audio = guarded(4 * self.frames * self.hop, behind=behind).view(np.float32)

    def call(self, function: str, *arguments: Any) -> int:
        """NAME_function; arrays are passed as pointers."""
        values = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments]
        return int(getattr(self.library, f"tiny_{function}")(*values))

    def decode(self, mel: Floats, at: int, memory: Bytes, byte: int, bit: int) -> tuple[int, Floats]:
        """By a team of two; at barrier `at` of it a bit of a memory is flipped."""
        self.mel[: mel.size] = mel.ravel()
        self.audio[:] = np.nan
        where = ctypes.c_void_p(memory.ctypes.data + byte)
        status = self.call("flip", self.stream, self.scratch, self.mel, len(mel), self.audio, at, where, bit)
        return status, self.audio[: len(mel) * self.hop].copy()


def flips(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Random bits of state, scratch, weights and tables, each flipped between two steps of a decode.

    Whatever comes of it stays in bounds, which pages around every array watch. A flip is masked (the same bits come
    out), faint (LOUD or more below the audio), audible, no number, or refused with a status; with what was flipped in
    weights or tables still there, the self-test finds it or not. Flipped back, after a reset, all is as it was.
    """
    rng = random.Random(f"flips {seed} {case}")
    precision, target = rng.choice(list(FORMATS)), rng.choice(["portable", "portable", "x86-64"])
    sizes = SIZES[rng.choice(list(SIZES))]
    directory = builds.library(
        builds.checkpoint(sizes), "tiny", "--chunk", 4, "--precision", precision, "--target", target
    )
    patient = Patient(directory, folder, behind=bool(case % 2))
    mel = some_mel(12, patient.mels, seed=case)

    def utterance(call: int, at: int, memory: Bytes, byte: int, bit: int) -> tuple[int, Floats]:
        """The flip is in one of its calls."""
        parts, worst = [], 0
        for number, start in enumerate(range(0, len(mel), patient.frames)):
            when = at if number == call else -1
            status, audio = patient.decode(mel[start : start + patient.frames], when, memory, byte, bit)
            parts.append(audio)
            worst = min(worst, status)
        return worst, np.concatenate(parts)

    assert patient.call("init", patient.stream) == 0
    _, expected = utterance(-1, -1, patient.scratch, 0, 0)
    steps, calls = patient.call("flip_barriers"), -(-len(mel) // patient.frames)
    assert steps > 10
    file = weights_file(directory, "tiny")
    assert file is not None
    at = patient.tables.tobytes().find(file.read_bytes())
    assert at >= 0
    size = file.stat().st_size
    apart = np.concatenate([patient.tables[:at], patient.tables[at + size :]]).size
    places = {"state": patient.stream.size, "scratch": patient.scratch.size, "weights": size, "tables": apart}
    counts: dict[str, dict[str, int]] = {name: {} for name in places}
    for _ in range(FLIPS):
        place = rng.choice(list(places))
        byte, bit = rng.randrange(places[place]), 1 << rng.randrange(8)
        memory = {"state": patient.stream, "scratch": patient.scratch}.get(place, patient.tables)
        byte += at if place == "weights" else size if place == "tables" and byte >= at else 0
        assert patient.call("init", patient.stream) == 0
        status, audio = utterance(rng.randrange(calls), rng.randrange(steps), memory, byte, bit)
        if status < 0:
            outcome = "refused"
        elif audio.tobytes() == expected.tobytes():
            outcome = "masked"
        else:
            is_finite = bool(np.isfinite(audio).all())
            outcome = "no number" if not is_finite else "faint" if snr_db(expected, audio) >= LOUD else "audible"
        lasting = place in ("weights", "tables")
        if lasting and status >= 0:
            caught = patient.call("init", patient.stream) != 0
            caught = caught or patient.call("selftest", patient.stream, patient.scratch) != 0
            outcome += ", found by the self-test" if caught else ", not found by the self-test"
        counts[place][outcome] = counts[place].get(outcome, 0) + 1
        if lasting:
            memory[byte] ^= bit
        assert patient.call("init", patient.stream) == 0
        assert patient.call("selftest", patient.stream, patient.scratch) == 0, "it does not recover"
    return {
        "flips": FLIPS,
        "flips_by_precision": {precision: FLIPS},
        **{f"in_{place}": n for place, n in counts.items()},
    }
