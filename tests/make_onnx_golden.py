#!/usr/bin/env python3
"""Makes tests/golden/vocos_*.onnx: a tiny model of the vocos package, exported by PyTorch as its users do it.

    pip download --no-deps --no-build-isolation vocos==0.1.0 -d build && unzip -o build/vocos-0.1.0-*.whl -d build/vocos
    PYTHONPATH=build/vocos /usr/bin/python3 -m tests.make_onnx_golden       # with Debian's python3-torch, 1.13

The weights are make_vocos's. Opset 13 writes layer norms out, 17 has an operation for them.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

from tests import make_vocos

GOLDEN = Path(__file__).parent / "golden"
OPSETS = (13, 17)


def stub(name: str, *names: str) -> None:
    """An empty module in the place of one that the package imports and the decoder does not need."""
    module = types.ModuleType(name)
    for attribute in names:
        setattr(module, attribute, None)
    sys.modules.setdefault(name, module)


def export(path: Path, sizes: dict[str, Any], opset: int, **options: Any) -> None:
    """Export a model of these sizes, with outputs mag, x and y."""
    stub("scipy")
    stub("encodec", "EncodecModel")
    stub("huggingface_hub", "hf_hub_download")
    import torch  # noqa: PLC0415
    from vocos.heads import ISTFTHead  # noqa: PLC0415
    from vocos.models import VocosBackbone  # noqa: PLC0415

    config = make_vocos.config(sizes)

    class Export(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """The decoder up to the spectrum."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = VocosBackbone(**config["backbone"]["init_args"])
            self.head = ISTFTHead(**config["head"]["init_args"])

        def forward(self, mels: Any) -> Any:
            """Mels (1, mels, frames) to magnitudes and the phases' cosines and sines."""
            magnitude, phase = self.head.out(self.backbone(mels)).transpose(1, 2).chunk(2, dim=1)
            return torch.clip(torch.exp(magnitude), max=1e2), torch.cos(phase), torch.sin(phase)

    model = Export().eval()
    state = {name: torch.from_numpy(tensor) for name, tensor in make_vocos.tensors(sizes).items()}
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and missing.missing_keys == ["head.istft.window"]
    mels = torch.zeros(1, sizes["n_mels"], 20)
    axes = {"mels": {2: "time"}, "mag": {2: "time"}, "x": {2: "time"}, "y": {2: "time"}}
    torch.onnx.export(
        model,
        (mels,),
        str(path),
        input_names=["mels"],
        output_names=["mag", "x", "y"],
        dynamic_axes=axes,
        opset_version=opset,
        **options,
    )


if __name__ == "__main__":
    for number in OPSETS:
        export(GOLDEN / f"vocos_opset{number}.onnx", make_vocos.TINY, number)
