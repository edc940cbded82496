#!/usr/bin/env python3
"""Makes tests/golden/mels.npz: log-mels of several families by torchaudio, for tests of the compiled front ends.

    /usr/bin/python3 -m tests.make_mel_golden        # Debian's python3-torch and python3-torchaudio, 1.13 and 0.13

As the feature extractors of the vocos package make them: MelSpectrogram, mirrored at both ends, log(max(mel, floor)).
In float64, of the float32 filters and window that torchaudio makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parent / "golden" / "mels.npz"

# By name: the model's sizes, `--mel` as it is typed, and the samples of the audio, some too few for a whole frame.
CASES: dict[str, dict[str, Any]] = {
    "mel_24khz": {
        "sizes": {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100},
        "mel": "scale=htk,norm=none,power=1,power_floor=0,floor=1e-7,padding=center",
        "samples": (2500, 513),
    },
    "mel_22khz": {
        "sizes": {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "f_min": 0.0, "f_max": 8000.0},
        "mel": "scale=slaney,norm=slaney,power=1,power_floor=0,floor=1e-7,padding=same",
        "samples": (2560, 2303, 385),
    },
    "mel_32khz": {  # a hop of half a window, centred: the mirror needs a sample more than frames overlap by
        "sizes": {"sample_rate": 32000, "n_fft": 2048, "hop_length": 1024, "n_mels": 128},
        "mel": "scale=htk,norm=none,power=1,power_floor=0,floor=1e-7,padding=center",
        "samples": (5000,),
    },
    "power": {
        "sizes": {"sample_rate": 8000, "n_fft": 240, "hop_length": 75, "n_mels": 21, "f_min": 60.0, "f_max": 3600.0},
        "mel": "scale=slaney,norm=none,power=2,power_floor=0,floor=1e-5,padding=center",
        "samples": (1000, 121),
    },
    "odd": {  # half a window is no multiple of two
        "sizes": {"sample_rate": 8000, "n_fft": 150, "hop_length": 60, "n_mels": 17},
        "mel": "scale=htk,norm=slaney,power=2,power_floor=0,floor=1e-9,padding=same",
        "samples": (700, 61),
    },
}


def audio(samples: int) -> NDArray[np.float32]:
    """Two tones, one that fades away, and noise; in 16 bits."""
    n = np.arange(samples)
    noise = 0.05 * np.random.RandomState(5).standard_normal(samples)
    wave = 0.3 * np.sin(0.11 * n) * np.exp(-n / 900) + 0.2 * np.sin(0.7 * n + 1) + noise
    return np.asarray(np.round(wave * 32767) / 32768, np.float32)


def options(text: str) -> dict[str, str]:
    """The parts of `--mel`."""
    return dict(part.split("=") for part in text.split(","))


def log_mel(case: dict[str, Any], samples: int) -> NDArray[np.float32]:
    """Log-mel (frames, mels) by torchaudio."""
    import torch  # noqa: PLC0415
    import torchaudio  # noqa: PLC0415

    sizes, mel = case["sizes"], options(case["mel"])
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=sizes["sample_rate"],
        n_fft=sizes["n_fft"],
        hop_length=sizes["hop_length"],
        n_mels=sizes["n_mels"],
        f_min=sizes.get("f_min", 0.0),
        f_max=sizes.get("f_max"),
        center=mel["padding"] == "center",
        power=int(mel["power"]),
        norm=None if mel["norm"] == "none" else mel["norm"],
        mel_scale=mel["scale"],
    ).double()
    wave = torch.from_numpy(audio(samples)).double()[None]
    if mel["padding"] == "same":
        pad = sizes["n_fft"] - sizes["hop_length"]
        wave = torch.nn.functional.pad(wave, (pad // 2, pad // 2), mode="reflect")
    found = torch.log(torch.clip(transform(wave), min=float(mel["floor"])))[0].T
    return np.asarray(found.numpy(), np.float32)


def main() -> None:
    """Run the command."""
    found = {f"{name}_{samples}": log_mel(case, samples) for name, case in CASES.items() for samples in case["samples"]}
    np.savez_compressed(GOLDEN, allow_pickle=False, **found)
    for name, frames in found.items():
        print(name, frames.shape, f"{frames.min():.2f} .. {frames.max():.2f}")


if __name__ == "__main__":
    main()
