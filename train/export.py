"""The decoder of a training checkpoint, alone and in half precision: what is shipped and compiled."""

from pathlib import Path

import torch


def export(checkpoint: Path, out: Path, dtype: str = "float16") -> None:
    """Write the decoder (averaged, where an average was kept) and the hyper-parameters in Lightning's layout."""
    source = torch.load(checkpoint, map_location="cpu", weights_only=True)
    prefix = "averaged." if any(name.startswith("averaged.") for name in source["state_dict"]) else "decoder."
    state = {
        "decoder." + name.removeprefix(prefix): tensor.to(getattr(torch, dtype))
        for name, tensor in source["state_dict"].items()
        # The overlap-add's identity is as large as the rest, and says nothing
        if name.startswith(prefix) and not name.endswith("overlap_add.deconv.weight")
    }
    if not state:
        raise ValueError(f"{checkpoint}: no decoder in it")
    torch.save(
        {
            "state_dict": state,
            "hyper_parameters": dict(source["hyper_parameters"]),
            "global_step": source["training"]["steps"],
            "pytorch-lightning_version": source["pytorch-lightning_version"],
        },
        out,
    )
