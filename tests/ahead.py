"""Small models that look ahead, or whose overlap-add is divided, and the truth of each: tests ask for them by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from compiler.checkpoint import read_checkpoint
from compiler.config import Overrides
from compiler.fold import fold
from compiler.network import Network, read_network
from tests import builds, make_checkpoint, make_vocos
from tests.objects import Floats, Separate, Vocoder, config, every, golden, some_mel
from tests.reference import Array, Reference, VocosReference

BAR = 110.0  # dB from float64, of weights in float32
SHORT = (1, 2, 3, 4, 5, 7, 8, 11)  # frames: both ends of an utterance at once
GOLDEN = ("vocos_center", "vocos_same", "vocos_encodec")

STREAMING = {
    **{"sample_rate": 8000, "n_fft": 96, "hop_length": 32, "n_mels": 20, "dim": 40, "mlp_ratio": 2.0},
    **{"kernel_size": 7, "num_layers": 2, "phase_std": 1.0, "seed": 31},
}


@dataclass(frozen=True)
class Case:
    """A model: where its checkpoint comes from, and what it must give."""

    sizes: dict[str, Any]
    lookahead: tuple[int, ...]
    is_streaming: bool = False

    @property
    def checkpoint(self) -> Path:
        if not self.is_streaming:
            key = ("vocos", sorted(self.sizes.items(), key=str))
            return builds.once(key, lambda out: make_vocos.write_folder(out, self.sizes))
        return builds.once(("streaming", sorted(self.sizes.items(), key=str)), self._write_streaming) / "model.ckpt"

    def _write_streaming(self, out: Path) -> None:
        hyper = make_checkpoint.hyper_parameters(self.sizes)
        hyper["vocoder_args"]["lookahead_frames"] = self.sizes["lookahead_frames"]
        state = make_checkpoint.laid_out(make_checkpoint.tensors(self.sizes, self.sizes["seed"]), "float32", "plain")
        make_checkpoint.write_container(out / "model.ckpt", {"state_dict": state, "hyper_parameters": hyper})

    @property
    def overrides(self) -> Overrides:
        return {"bandwidth_id": self.sizes["bandwidth_id"]} if self.sizes.get("bandwidths") else {}

    @property
    def options(self) -> tuple[object, ...]:
        return tuple(word for name, value in self.overrides.items() for word in (f"--{name.replace('_', '-')}", value))

    @property
    def network(self) -> Network:
        return fold(read_network(read_checkpoint(self.checkpoint), self.overrides))

    def truth(self, mel: Floats) -> Array:
        """All of an utterance's audio."""
        sizes = {**self.sizes, "lookahead": list(self.lookahead)}
        if self.is_streaming:
            return Reference(make_checkpoint.tensors(sizes, sizes["seed"]), sizes).overlap_add(mel)
        return VocosReference(make_vocos.tensors(sizes), sizes).decode(mel)


def of_package(name: str) -> Case:
    sizes = config(name)
    return Case(sizes, (3,) * (sizes["num_layers"] + 1))


CASES = {
    **{name: of_package(name) for name in GOLDEN},
    # thewh1teagle/vocos: convolutions that are causal but for a budget of look-ahead
    "budget": Case({**config("vocos_same"), "backbone": {"causal": True, "lookahead_frames": 5}}, (3, 2, 0)),
    "list": Case({**config("vocos_center"), "backbone": {"lookahead_frames": [0, 6, 1, 2]}}, (0, 6, 1, 2)),
    "divided": Case({**config("vocos_same"), "backbone": {"causal": True, "lookahead_frames": 0}}, (0, 0, 0)),
    "least": Case({**make_vocos.TINY, "num_layers": 1, "backbone": {"lookahead_frames": [1, 2]}}, (1, 2)),
    "streaming": Case({**STREAMING, "lookahead_frames": 4}, (3, 1, 0), is_streaming=True),
    "streaming_list": Case({**STREAMING, "lookahead_frames": [1, 0, 5]}, (1, 0, 5), is_streaming=True),
}


def largest_chunk(name: str) -> int:
    return 16 if name == "vocos_same" else every(16, 5)


@cache
def vocoder_of(name: str, *options: object) -> Vocoder:
    case = CASES[name]
    chunk = every(largest_chunk(name), 2) if options else largest_chunk(name)
    folder = builds.library(case.checkpoint, "ahead", "--chunk", chunk, *case.options, *options)
    return (Separate if "blob" in options else Vocoder)(folder, "ahead")


def mel_of(name: str, frames: int) -> Floats:
    found = golden(name, "mel")[:frames] if name in GOLDEN else some_mel(frames, CASES[name].sizes["n_mels"]) / 3
    return np.asarray(found, np.float32)
