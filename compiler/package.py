"""What lets other build systems find a model: NAMEConfig.cmake, NAME.pc, and the versions of libNAME.so's symbols.

The templates have CMake's and pkg-config's ${}, so what is put into them is written @so@.
"""

from __future__ import annotations

import hashlib

from . import VERSION
from .emit import TEMPLATES, Options, banner, fill, rename
from .plan import Plan


def package(plan: Plan, checkpoint_sha256: str, options: Options) -> dict[str, bytes]:
    """The files, by name."""
    config = plan.config
    libraries = ["-lopenblas", "-lfftw3f", "-lm"] if options.link == "libs" else []
    libraries += ["-ldl", "-lpthread"] if options.gpus else []
    values = {
        "abi": _abi(plan, options),
        "version": VERSION,
        "minor_version": VERSION.rpartition(".")[0],
        "description": f"A streaming vocoder, {config.n_mels} mels to {config.sample_rate} Hz, in {options.precision}",
        "libraries": " ".join(libraries),
        "cmake_libraries": ";".join(flag.removeprefix("-l") for flag in libraries),
    }

    files = {}
    for path in sorted((TEMPLATES / "package").iterdir()):
        name = rename(path.name, options.name)
        text = fill(path, options.name, values)
        files[name] = (banner(name, checkpoint_sha256, plan, options) + text).encode()
    return files


def _abi(plan: Plan, options: Options) -> str:
    """Eight hexadecimal digits for all that a program is built with: the version, the sizes, what init takes."""
    config = plan.config
    sizes = (plan.state_bytes, plan.mel_state_bytes, plan.scratch_floats, plan.max_frames, plan.streams)
    model = (config.n_mels, config.hop_length, config.n_fft, config.sample_rate)
    parts = (VERSION.rpartition(".")[0], *sizes, *model, options.baked, bool(options.gpus), options.bit_exact)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
