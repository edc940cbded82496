"""Writes models in the formats of gemelo-ai/vocos with known, reproducible weights; needs numpy, not PyTorch.

A folder as on a model hub (config.yaml and pytorch_model.bin), safetensors, or a Lightning checkpoint. Weights come
from numpy.random.RandomState (a frozen generator): one seed, one set of bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tests import make_checkpoint

Array = NDArray[Any]

TINY: dict[str, Any] = {
    **{"sample_rate": 8000, "n_fft": 16, "hop_length": 4, "n_mels": 5, "dim": 6, "hidden": 12, "num_layers": 2},
    **{"padding": "center", "mel": {}, "backbone": {}, "bandwidths": 0, "seed": 1},
}
"""The least model. `mel` and `backbone` are more of the init_args; `bandwidths` are rows of AdaLayerNorm's tables."""


def tensors(sizes: Mapping[str, Any]) -> OrderedDict[str, Array]:
    """The decoder's weights, under the names that the vocos package gives them."""
    random = np.random.RandomState(sizes["seed"])
    dim, hidden, bins = sizes["dim"], sizes["hidden"], sizes["n_fft"] // 2 + 1
    state: OrderedDict[str, Array] = OrderedDict()

    def normal(name: str, deviation: float, *shape: int, mean: float = 0.0) -> None:
        state[name] = (mean + deviation * random.standard_normal(shape)).astype(np.float32)

    def norm(name: str) -> None:
        if sizes["bandwidths"] and name != "backbone.final_layer_norm":
            normal(name + ".scale.weight", 0.2, sizes["bandwidths"], dim, mean=1.0)
            normal(name + ".shift.weight", 0.2, sizes["bandwidths"], dim)
        else:
            normal(name + ".weight", 0.2, dim, mean=1.0)
            normal(name + ".bias", 0.2, dim)

    normal("backbone.embed.weight", (7 * sizes["n_mels"]) ** -0.5, dim, sizes["n_mels"], 7)
    normal("backbone.embed.bias", 0.1, dim)
    norm("backbone.norm")
    for i in range(sizes["num_layers"]):
        block = f"backbone.convnext.{i}"
        normal(block + ".gamma", 0.15, dim, mean=0.3)
        normal(block + ".dwconv.weight", 7**-0.5, dim, 1, 7)
        normal(block + ".dwconv.bias", 0.1, dim)
        norm(block + ".norm")
        normal(block + ".pwconv1.weight", 1.2 / dim**0.5, hidden, dim)
        normal(block + ".pwconv1.bias", 0.3, hidden)
        normal(block + ".pwconv2.weight", hidden**-0.5, dim, hidden)
        normal(block + ".pwconv2.bias", 0.1, dim)
    norm("backbone.final_layer_norm")
    normal("head.out.weight", dim**-0.5, 2 * bins, dim)
    normal("head.out.bias", 0.7, 2 * bins)
    return state


def config(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that stands beside the weights."""
    rate, n_fft, hop = sizes["sample_rate"], sizes["n_fft"], sizes["hop_length"]
    backbone = {"input_channels": sizes["n_mels"], "dim": sizes["dim"], "intermediate_dim": sizes["hidden"]}
    backbone |= {"num_layers": sizes["num_layers"], **sizes["backbone"]}
    if sizes["bandwidths"]:
        backbone["adanorm_num_embeddings"] = sizes["bandwidths"]
        rates = [1.5 * 2**i for i in range(sizes["bandwidths"])]
        features = {"encodec_model": "encodec_24khz", "bandwidths": rates}
        extractor = "vocos.feature_extractors.EncodecFeatures"
    else:
        features = {"sample_rate": rate, "n_fft": n_fft, "hop_length": hop, "n_mels": sizes["n_mels"]}
        features |= {"padding": sizes["padding"], **sizes["mel"]}
        extractor = "vocos.feature_extractors.MelSpectrogramFeatures"
    head = {"dim": sizes["dim"], "n_fft": n_fft, "hop_length": hop, "padding": sizes["padding"]}
    return {
        "feature_extractor": {"class_path": extractor, "init_args": features},
        "backbone": {"class_path": "vocos.models.VocosBackbone", "init_args": backbone},
        "head": {"class_path": "vocos.heads.ISTFTHead", "init_args": head},
    }


def extras(sizes: Mapping[str, Any]) -> dict[str, Array]:
    """What a file holds beside the decoder."""
    n_fft = sizes["n_fft"]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    return {"feature_extractor.mel_spec.spectrogram.window": window, "head.istft.window": window}


def write_folder(
    folder: Path, sizes: Mapping[str, Any], file: str = "pytorch_model.bin", more: Mapping[str, Array] | None = None
) -> Path:
    """Write a model's folder; the file is of the kind that its suffix names. `more` tensors go into it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(sizes)))
    write_file(folder / file, {**tensors(sizes), **extras(sizes), **(more or {})})
    return folder


def write_file(path: Path, state: Mapping[str, Array]) -> Path:
    """Write the tensors alone: .safetensors, .ckpt (Lightning's, with a discriminator) or .bin."""
    if path.suffix == ".safetensors":
        make_checkpoint.write_safetensors(path, state)
        return path
    views = make_checkpoint.laid_out(state, "float32", "plain")
    if path.suffix == ".ckpt":
        views["multiperioddisc.discriminators.0.convs.0.bias"] = make_checkpoint.plain_tensor(np.zeros(3, np.float32))
        root = {"epoch": 1, "state_dict": views, "hyper_parameters": {"initial_learning_rate": 5e-4}}
        make_checkpoint.write_container(path, root)
    else:
        make_checkpoint.write_container(path, views)
    return path
