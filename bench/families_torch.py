"""Times PyTorch on a symmetric Vocos, the whole utterance and in chunks.

    python -m bench.families_torch TENSORS.npz MEL.npy THREADS RUNS WORK CHUNK:CONTEXT,...

A chunk is decoded the usual way to stream what cannot: with CONTEXT frames on both sides, as if it were an utterance,
and the audio of these is thrown away. Prints one JSON object; the audio goes to WORK.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional


class Vocos:
    """The decoder, with padding `center`."""

    def __init__(self, tensors: dict[str, torch.Tensor], hop: int) -> None:
        self.tensors, self.hop = tensors, hop
        self.layers = sum(name.endswith(".gamma") for name in tensors)
        self.n_fft = len(tensors["head.out.bias"]) - 2
        self.window = torch.hann_window(self.n_fft)

    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel [frames, mels] to audio [(frames - 1) * hop]."""
        t = self.tensors

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)

        x = functional.conv1d(mel.T[None], t["backbone.embed.weight"], t["backbone.embed.bias"], padding=3)
        x = norm(x.transpose(1, 2), "backbone.norm").transpose(1, 2)
        for i in range(self.layers):
            block = f"backbone.convnext.{i}."
            weight, bias = t[block + "dwconv.weight"], t[block + "dwconv.bias"]
            y = functional.conv1d(x, weight, bias, padding=3, groups=x.shape[1])
            y = norm(y.transpose(1, 2), block + "norm")
            y = functional.gelu(functional.linear(y, t[block + "pwconv1.weight"], t[block + "pwconv1.bias"]))
            y = t[block + "gamma"] * functional.linear(y, t[block + "pwconv2.weight"], t[block + "pwconv2.bias"])
            x = x + y.transpose(1, 2)
        x = functional.linear(
            norm(x.transpose(1, 2), "backbone.final_layer_norm"), t["head.out.weight"], t["head.out.bias"]
        )
        magnitude, phase = x.transpose(1, 2).chunk(2, dim=1)
        magnitude = torch.clip(torch.exp(magnitude), max=1e2)
        spectrum = torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
        return torch.istft(spectrum, self.n_fft, self.hop, self.n_fft, self.window, center=True)[0]

    def in_chunks(self, mel: torch.Tensor, chunk: int, context: int) -> torch.Tensor:
        """The same, piece by piece, with seams."""
        parts, frames = [], len(mel)
        for start in range(0, frames, chunk):
            end = min(start + chunk, frames)
            first, last = max(0, start - context), min(frames, end + context)
            audio = self.decode(mel[first:last])
            parts.append(audio[(start - first) * self.hop : (min(end, frames - 1) - first) * self.hop])
        return torch.cat(parts)


def median_ms(action: Callable[[], torch.Tensor], runs: int) -> float:
    """The median time of a call, the first one aside."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def main() -> None:
    """Prints the rows."""
    tensors, mel_path, threads, runs, work, ways = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with np.load(tensors) as data:
        hop = int(data["hop"])
        model = Vocos({name: torch.from_numpy(data[name]) for name in data.files if name != "hop"}, hop)
    mel = torch.from_numpy(np.load(mel_path))
    rows = []
    with torch.inference_mode():
        for way in ["whole", *ways.split(",")]:
            chunk, context = (len(mel), 0) if way == "whole" else map(int, way.split(":"))
            audio = Path(work, f"pytorch-{way.replace(':', '-')}.npy")
            np.save(audio, model.in_chunks(mel, chunk, context).numpy())
            total = median_ms(lambda c=chunk, o=context: model.in_chunks(mel, c, o), int(runs))  # type: ignore[misc]
            rows.append({"chunk": chunk, "context": context, "total_ms": total, "audio": str(audio)})
    print(json.dumps({"version": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
