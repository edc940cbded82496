"""Compiles of every pair of options and models: each object tests itself, and is compared with the reference."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from compiler.formats import FORMATS
from tests import aarch64, make_checkpoint, make_vocos
from tests.objects import BASE, TINY, some_mel
from tests.reference import Reference, VocosReference, snr_db
from tests.torture.cover import Row, cover
from tests.torture.runs import compile_here, verified

_FAMILY = {**make_vocos.TINY, "seed": 7}
MODELS: dict[str, dict[str, Any]] = {
    "tiny": {**TINY},
    "uneven": {**TINY, "dim": 19},
    "base": {**BASE},
    "one-mel": {**BASE, "n_mels": 1, "kernel_size": 2},
    "kernel-1": {**BASE, "kernel_size": 1},
    "wide": {**BASE, "dim": 48, "mlp_ratio": 3.3},
    "deep": {**BASE, "num_layers": 6, "dim": 17},
    "hop-is-n_fft": {**BASE, "hop_length": 64},
    "odd-n_fft": {**BASE, "n_fft": 75, "hop_length": 30},
    "n_fft-2": {**BASE, "n_fft": 2, "hop_length": 1, "n_mels": 1},
    "long-window": {**BASE, "n_fft": 240, "hop_length": 60, "n_mels": 20},
    "center": {**_FAMILY},
    "same": {**_FAMILY, "padding": "same", "num_layers": 3, "dim": 20},
    "adanorm": {**_FAMILY, "bandwidths": 4},
}
DIMENSIONS = {
    "model": list(MODELS),
    "precision": list(FORMATS),
    "chunk": ["1", "2,5", "7", "16", "33,1"],
    "target": ["portable", "x86-64", *([] if aarch64.MISSING else ["aarch64", "aarch64-dotprod"])],
    "weights": ["incbin", "c", "blob"],
    "libc": ["", "--no-libc"],
    "compiler": ["cc", *(["clang"] if shutil.which("clang") else [])],
    "flags": [
        "",
        "-O0",
        "-O0 -g3 -Wundef",
        "-O0 -ffast-math",
        "-O1 -fstack-protector-all",
    ],  # mostly what is quick to build
    "calibrate": ["no", "yes"],
    "name": ["v", "Model_7", "vocosc", "a" * 64],
    "output": ["fresh", "over", "link", "shared"],
}
# The least that a random model of this size may come to, in dB from the float64 reference; what formats lose on small
# random models differs widely.
LEAST = {"f32": 85.0, "f16": 25.0, "w8": 10.0, "w8a8": 3.0}
FRAMES = 40


def row_of(case: int, seed: int) -> Row:
    """The case's options: cover after cover."""
    first, number = 0, 0
    while True:
        rows = cover(DIMENSIONS, seed * 1000 + number)
        if case < first + len(rows):
            return rows[case - first]
        first, number = first + len(rows), number + 1


def run(case: int, seed: int, folder: Path) -> dict[str, Any]:
    """Compiles a row, lets it test itself, decodes by it; returns what was seen."""
    row = row_of(case, seed)
    sizes = MODELS[row["model"]]
    is_family = "padding" in sizes
    source = folder / "model.ckpt"
    if is_family:
        source = make_vocos.write_folder(folder / "model", sizes)
    else:
        make_checkpoint.write_checkpoint(source, sizes)
    name, output = row["name"], folder / "out"
    options = ["--name", name, "--chunk", row["chunk"], "--precision", row["precision"], "--target", row["target"]]
    options += ["--weights", row["weights"], *([row["libc"]] if row["libc"] else [])]
    kind = ["--bandwidth-id", "1"] if sizes.get("bandwidths") else []
    options += kind
    calibrated = row["calibrate"] == "yes" and FORMATS[row["precision"]].is_integer
    if calibrated:
        np.save(folder / "calibration.npy", some_mel(60, sizes["n_mels"], seed=3))
        options += ["--calibrate", str(folder / "calibration.npy")]
    if row["output"] == "link":
        (folder / "behind").mkdir()
        output.symlink_to("behind")
    elif row["output"] in ("over", "shared"):
        older = name if row["output"] == "over" else f"other_{name[:50]}"
        compile_here(source, output, "--name", older, "--chunk", "3", "--sources-only", "--target", "portable", *kind)
        if row["output"] == "over":
            (output / f"{name}.o").write_bytes(b"stale")
    os.environ.update(CC=row["compiler"], CFLAGS=row["flags"])
    printed = compile_here(source, output, *options)
    assert printed.endswith(f"written to {output}\n")
    verified(output, name)

    emulator = ["qemu-aarch64", "-cpu", "max"] if "aarch64" in row["target"] else []
    tool = [*emulator, str(output / name)]
    tested = _run([*tool, "selftest"]).split()
    assert tested and set(tested[1::2]) == {"ok"}, tested
    mel = some_mel(FRAMES, sizes["n_mels"])
    np.save(folder / "mel.npy", mel)
    audio = []
    largest = max(map(int, row["chunk"].split(",")))
    for target, chunk in [*((target, largest) for target in tested[::2]), ("best", 1)]:
        command = ["decode", "--flush", "--target", target, "--chunk", str(chunk), "mel.npy", "audio.npy"]
        _run([*tool, *command], folder)
        audio.append(np.load(folder / "audio.npy").ravel())
        assert audio[-1].tobytes() == audio[0].tobytes(), f"{target}, chunks of {chunk}"
    if is_family:
        truth = VocosReference(make_vocos.tensors(sizes), {**sizes, "bandwidth_id": 1}).decode(mel)
    else:
        truth = Reference(make_checkpoint.tensors(sizes, sizes["seed"]), sizes).overlap_add(mel)
    assert audio[0].shape == truth.shape, f"{audio[0].shape} samples, the reference has {truth.shape}"
    snr = snr_db(truth, audio[0])
    assert snr >= LEAST.get(row["precision"], 3.0), f"{snr:.1f} dB from the reference"
    # Whatever else differs, this much decides the bits
    key = f"{row['model']} {row['precision']}{' calibrated' if calibrated else ''}"
    return {
        "compiled": 1,
        "instruction_sets": len(tested) // 2,
        "bits": {key: hashlib.sha256(audio[0].tobytes()).hexdigest()[:16]},
        "least_db": {row["precision"]: round(snr, 1)},
    }


def _run(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode} {done.stderr}"
    return done.stdout
