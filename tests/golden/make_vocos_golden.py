#!/usr/bin/env python3
"""Makes the golden data of the models that look ahead: decodes random weights with the vocos package, in float64.

    apt-get install python3-torch python3-torchaudio python3-yaml
    pip download vocos==0.1.0 --no-deps && unzip vocos-0.1.0-py3-none-any.whl -d VOCOS
    PYTHONPATH=VOCOS /usr/bin/python3 tests/golden/make_vocos_golden.py

Writes vocos_NAME.mel.npy, [80 frames, features] in float32, and vocos_NAME.audio64.npy, in float64: the audio of the
mel's first T frames, for each T of FRAMES, one utterance after the other. vocos_NAME.json has the sizes.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests import make_vocos  # noqa: E402

FRAMES = (1, 2, 3, 4, 9, 80)


def stub(name: str, **members: Any) -> None:
    """An empty module: what the package imports and this program does not use."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


def golden_mel(frames: int, features: int, seed: int) -> "np.ndarray[Any, Any]":
    """Features that wander smoothly, and jump now and then."""
    random = np.random.RandomState(seed)
    phase = random.uniform(0, 2 * np.pi, features) + np.arange(frames)[:, None] * random.uniform(0.05, 0.9, features)
    return (np.sin(phase) * 2 - 1 + 0.5 * random.standard_normal((frames, features))).astype(np.float32)


def main() -> None:
    """Makes all sets."""
    stub("scipy", signal=None)
    stub("encodec", EncodecModel=None)
    stub("huggingface_hub", hf_hub_download=None)
    import torch  # noqa: PLC0415
    from vocos.heads import ISTFTHead  # noqa: PLC0415
    from vocos.models import VocosBackbone  # noqa: PLC0415

    for path in sorted(HERE.glob("vocos_*.json")):
        sizes = json.loads(path.read_text())
        state = {name: torch.from_numpy(value).double() for name, value in make_vocos.tensors(sizes).items()}
        config = make_vocos.config(sizes)
        backbone = VocosBackbone(**config["backbone"]["init_args"]).double().eval()
        head = ISTFTHead(**config["head"]["init_args"]).double().eval()
        backbone.load_state_dict(part(state, "backbone."))
        head.load_state_dict(part(state, "head."), strict=False)
        head.istft.window = torch.hann_window(sizes["n_fft"], dtype=torch.float64)
        mel = golden_mel(max(FRAMES), sizes["n_mels"], sizes["seed"])
        chosen = {"bandwidth_id": torch.tensor([sizes["bandwidth_id"]])} if sizes["bandwidths"] else {}
        audio = []
        for frames in FRAMES:
            if sizes["padding"] == "center" and frames == 1:  # no sample is left, which torch.istft calls an error
                continue
            x = torch.from_numpy(mel[:frames].T[None].astype(np.float64))
            with torch.no_grad():
                audio.append(head(backbone(x, **chosen))[0].numpy())
        np.save(path.with_suffix(".mel.npy"), mel)
        np.save(path.with_suffix(".audio64.npy"), np.concatenate(audio))
        print(path.stem, [len(one) for one in audio], float(np.abs(np.concatenate(audio)).max()))


def part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
