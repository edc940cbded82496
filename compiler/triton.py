"""A model repository for Triton Inference Server: its configuration, and the sources of a backend over the object.

The templates have the model's prefix, as all have; what is put into them is written @so@. A name that is the same for
all models, such as a metric's, stands there as @generator@_streams.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .emit import TEMPLATES, Options, banner, fill, rename
from .plan import Plan

FOLDER = "triton"  # of the sources, in the output folder
STREAMS, BATCH = 16, 64  # of a call, on the CPU and on a GPU, unless the user says
REQUEST_FRAMES = 256  # of a request, at most
MAX_STREAMS = 1024  # open at a time, in an instance
CANDIDATES = 16384  # sequences that the server lets through, so that the backend can refuse them
IDLE_MICROSECONDS = 10_000_000


def library_name(name: str) -> str:
    """The backend's library, as the server looks for it."""
    return f"libtriton_vocosc_{name}.so"


def backend(plan: Plan, sha256: str, options: Options) -> dict[str, bytes]:
    """The sources of the backend, and the configuration, by their paths in the output folder."""
    config = plan.config
    values = {
        "generator": "vocosc",
        "description": f"Streaming vocoder: {config.n_mels} mels to {config.sample_rate} Hz, in {options.precision}.",
        "batch": max(plan.streams, options.batch),
        "kind": "KIND_GPU" if options.gpus else "KIND_CPU",
        "mels": config.n_mels,
        "hop": config.hop_length,
        "sample_rate": config.sample_rate,
        "samples_text": f"{config.hop_length} a frame, and {plan.tail} more with END"
        if not plan.counts_frames
        else "those that are complete; with END the rest",
        "state_bytes": plan.state_bytes,
        "replay_frames": plan.receptive_field,
        "request_frames": max(REQUEST_FRAMES, plan.receptive_field, plan.max_frames),
        "max_streams": MAX_STREAMS,
        "candidates": CANDIDATES,
        "idle_microseconds": IDLE_MICROSECONDS,
        "sha256": sha256,
        "precision": options.precision,
    }

    files = {}
    for path in sorted((TEMPLATES / FOLDER).iterdir()):
        name = rename(path.name, options.name)
        text = fill(path, options.name, values)
        files[f"{FOLDER}/{name}"] = (banner(name, sha256, plan, options) + text).encode()
    return files


def write_repository(directory: Path, model: Path, name: str) -> None:
    """The model's folder of the repository, out of the output folder, in which the backend has been built."""
    (model / "1").mkdir()
    shutil.copy(directory / FOLDER / "config.pbtxt", model / "config.pbtxt")
    shutil.copy(directory / FOLDER / library_name(name), model / "1" / library_name(name))
    shutil.copy(directory / f"{name}.json", model / f"{name}.json")
