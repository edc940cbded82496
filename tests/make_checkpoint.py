#!/usr/bin/env python3
"""Write a Streaming Vocos checkpoint with known, reproducible weights; needs numpy, not PyTorch.

The file is a PyTorch zip container with the layout of a Lightning checkpoint of the reference
model: the tensors under ``state_dict``, the hyper-parameters as pickled dataclasses of a module
that is not installed, and, with ``--baggage``, what a training run leaves beside them. The
weights come from numpy.random.RandomState (a frozen generator): one seed, one set of bits.
"""

import argparse
import hashlib
import json
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# name -> (storage class, bytes of an element, safetensors' name)
DTYPES = {
    "float32": ("FloatStorage", 4, "F32"),
    "float16": ("HalfStorage", 2, "F16"),
    "bfloat16": ("BFloat16Storage", 2, "BF16"),
    "float64": ("DoubleStorage", 8, "F64"),
    "int64": ("LongStorage", 8, "I64"),
}
LAYOUTS = ("plain", "transposed", "shared")


# ---- what is in the model ----------------------------------------------------------------------


def tensors(config: Mapping[str, Any], seed: int) -> "OrderedDict[str, Array]":
    """The decoder's state_dict as float32 arrays, in the reference's key order."""
    rng = np.random.RandomState(seed)
    dim, mels, kernel = config["dim"], config["n_mels"], config["kernel_size"]
    hidden, n_fft = int(config["mlp_ratio"] * dim), config["n_fft"]
    state: OrderedDict[str, Array] = OrderedDict()

    def normal(std: float, *shape: int, mean: float = 0.0) -> Array:
        return (mean + std * rng.standard_normal(shape)).astype(np.float32)

    def conv(prefix: str, out_channels: int, in_channels: int) -> None:
        v = normal(0.3, out_channels, in_channels, kernel)
        # g differs from ||v||, so that a reader which ignores the weight norm is caught
        g = normal(0.15, out_channels, 1, 1, mean=1.0) * (in_channels**0.5 * 0.05 if in_channels > 1 else 1.0)
        state[prefix + ".bias"] = normal(0.1, out_channels)
        state[prefix + ".weight_g"], state[prefix + ".weight_v"] = g.astype(np.float32), v

    def norm(prefix: str) -> None:
        state[prefix + ".weight"] = normal(0.2, dim, mean=1.0)
        state[prefix + ".bias"] = normal(0.1, dim)

    conv("decoder.0.embed.conv.conv", dim, mels)
    norm("decoder.0.norm")
    for i in range(config["num_layers"]):
        block = f"decoder.0.convnext.{i}"
        state[block + ".gamma"] = normal(0.15, dim, mean=0.3)
        conv(block + ".dwconv.conv.conv", dim, 1)
        norm(block + ".norm")
        state[block + ".pwconv1.weight"] = normal(1.2 / dim**0.5, hidden, dim)
        state[block + ".pwconv1.bias"] = normal(0.3, hidden)
        state[block + ".pwconv2.weight"] = normal(1.0 / hidden**0.5, dim, hidden)
        state[block + ".pwconv2.bias"] = normal(0.1, dim)
    norm("decoder.0.final_layer_norm")
    bins = n_fft // 2 + 1
    magnitude = normal(1.0 / dim**0.5, bins, dim)
    phase = normal(config.get("phase_std", 4.0) / dim**0.5, bins, dim)
    state["decoder.1.out.weight"] = np.concatenate([magnitude, phase])
    state["decoder.1.out.bias"] = np.concatenate(
        [normal(0.7, bins, mean=config.get("log_mag_mean", -1.0)), normal(1.0, bins)]
    )
    state["decoder.1.istft.overlap_add.deconv.weight"] = np.eye(n_fft, dtype=np.float32)[:, None, :]
    return state


def with_new_norm_keys(state: Mapping[str, Array]) -> "OrderedDict[str, Array]":
    """The same tensors under the names that newer PyTorch gives to a weight-norm pair."""
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return OrderedDict(
        (".".join([*key.split(".")[:-1], new.get(key.split(".")[-1], key.split(".")[-1])]), value)
        for key, value in state.items()
    )


def hyper_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of the reference model, as plain dicts."""
    rate, n_fft, hop = config["sample_rate"], config["n_fft"], config["hop_length"]
    return {
        "sample_rate": rate,
        "encoder_dim": 512,
        "vocoder_feature_args": {
            "sample_rate": rate,
            "n_fft": n_fft,
            "win_length": n_fft,
            "hop_length": hop,
            "n_mels": config["n_mels"],
            "f_min": 0.0,
            "f_max": None,
            "causal": True,
            "pad_mode": "constant",
        },
        "vocoder_args": {
            "input_channels": config["n_mels"],
            "dim": config["dim"],
            "mlp_ratio": config["mlp_ratio"],
            "kernel_size": config["kernel_size"],
            "dilation": 1,
            "norm": "weight_norm",
            "causal": True,
            "pad_mode": "constant",
            "num_layers": config["num_layers"],
            "layer_scale_init_value": 1e-6,
        },
        "istft_head_args": {"dim": config["dim"], "n_fft": n_fft, "hop_length": hop},
        "lambdas": {"mel_loss": 20.0, "adv_feat_loss": 2.0, "adv_gen_loss": 1.0},
        "learning_rate": 1e-4,
        "lr_betas": [0.8, 0.99],
        "lr_sch_gamma": 0.999996,
        "decoder_pretrained": False,
        "decoder_path": None,
    }


def as_dataclasses(groups: Mapping[str, Any]) -> dict[str, Any]:
    """The same hyper-parameters as instances of the reference's own dataclasses."""
    classes = {
        "vocoder_feature_args": "VocoderFeatureArgs",
        "vocoder_args": "VocosVocoderArgs",
        "istft_head_args": "ISTFTHeadArgs",
        "lambdas": "Lambdas",
    }
    return {
        key: New(Global("src.components.data_classes", classes[key]), state=value) if key in classes else value
        for key, value in groups.items()
    }


# ---- pickle ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Global:
    """A class or function, by name."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """What pickle writes as REDUCE: a call of ``function``, then, when given, items and a state."""

    function: Any
    args: tuple[Any, ...] = ()
    items: Mapping[Any, Any] | None = None
    state: Any = None


@dataclass(frozen=True)
class New:
    """What pickle writes as NEWOBJ and BUILD: an instance made without calling its class."""

    cls: Global
    args: tuple[Any, ...] = ()
    items: Mapping[Any, Any] | None = None
    state: Any = None


@dataclass(eq=False)
class Storage:
    """The flat buffer behind one or more tensors. ``zeros`` stands for that many zero elements, held nowhere."""

    dtype: str
    data: bytes = b""
    zeros: int = 0

    @property
    def length(self) -> int:
        """Elements."""
        return self.zeros + len(self.data) // DTYPES[self.dtype][1]


@dataclass(eq=False)
class Tensor:
    """A strided view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def encoded(array: Array, dtype: str) -> bytes:
    """The little-endian bytes of ``array`` in C order as ``dtype``, rounded to nearest even."""
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(array).astype(np.dtype(dtype).newbyteorder("<")).tobytes()


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def plain_tensor(array: Array, dtype: str = "float32") -> Tensor:
    """A contiguous tensor with a storage of its own."""
    return Tensor(Storage(dtype, encoded(array, dtype)), 0, array.shape, c_strides(array.shape))


def laid_out(state: Mapping[str, Array], dtype: str, layout: str) -> "OrderedDict[str, Any]":
    """The state_dict as tensors: ``plain``, ``transposed`` (reversed strides) or ``shared`` (one storage, offsets)."""
    if layout == "plain":
        return OrderedDict((key, plain_tensor(value, dtype)) for key, value in state.items())
    if layout == "transposed":
        return OrderedDict(
            (
                key,
                Tensor(Storage(dtype, encoded(value.T, dtype)), 0, value.shape, c_strides(value.T.shape)[::-1]),
            )
            for key, value in state.items()
        )
    storage = Storage(dtype, b"".join(encoded(value, dtype) for value in state.values()))
    views: OrderedDict[str, Any] = OrderedDict()
    offset = 0
    for key, value in state.items():
        views[key] = Tensor(storage, offset, value.shape, c_strides(value.shape))
        offset += value.size
    return views


@dataclass
class Pickler:
    """Writes pickle protocol 2, as ``torch.save`` does, and collects the storages that it meets."""

    out: bytearray = field(default_factory=lambda: bytearray(b"\x80\x02"))
    storages: list[Storage] = field(default_factory=list)

    def dump(self, value: Any) -> bytes:
        """The pickle of ``value``."""
        self.write(value)
        self.out += b"."
        return bytes(self.out)

    def write(self, value: Any) -> None:
        """Append the opcodes that push ``value``."""
        out = self.out
        match value:
            case None:
                out += b"N"
            case bool():
                out += b"\x88" if value else b"\x89"
            case int() if -(2**31) <= value < 2**31:
                out += struct.pack("<ci", b"J", value)
            case int():
                data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                out += struct.pack("<cB", b"\x8a", len(data)) + data
            case float():
                out += struct.pack(">cd", b"G", value)
            case str():
                data = value.encode()
                out += struct.pack("<cI", b"X", len(data)) + data
            case tuple():
                self.many(b"(", value, b"t")
            case list():
                self.many(b"](", value, b"e")
            case OrderedDict():
                self.write(Call(Global("collections", "OrderedDict"), items=value))
            case dict():
                out += b"}"
                self.set_items(value)
            case Global():
                out += f"c{value.module}\n{value.name}\n".encode()
            case Call():
                self.write(value.function)
                self.write(value.args)
                out += b"R"
                self.fill(value.items, value.state)
            case New():
                self.write(value.cls)
                self.write(value.args)
                out += b"\x81"
                self.fill(value.items, value.state)
            case Storage():
                if value not in self.storages:
                    self.storages.append(value)
                key = str(self.storages.index(value))
                self.write(("storage", Global("torch", DTYPES[value.dtype][0]), key, "cpu", value.length))
                out += b"Q"
            case Tensor():
                args: tuple[Any, ...] = (value.storage, value.offset, value.shape, value.strides, False, OrderedDict())
                self.write(Call(Global("torch._utils", "_rebuild_tensor_v2"), args))
            case _:
                raise TypeError(f"cannot pickle {value!r}")

    def many(self, start: bytes, values: Sequence[Any], end: bytes) -> None:
        """Append ``values`` between two opcodes."""
        self.out += start
        for value in values:
            self.write(value)
        self.out += end

    def set_items(self, items: Mapping[Any, Any]) -> None:
        """Append the items of the mapping on the top of the stack."""
        self.many(b"(", [part for item in items.items() for part in item], b"u")

    def fill(self, items: Mapping[Any, Any] | None, state: Any) -> None:
        """Append items and state of the object on the top of the stack."""
        if items is not None:
            self.set_items(items)
        if state is not None:
            self.write(state)
            self.out += b"b"


# ---- files -------------------------------------------------------------------------------------


def write_container(path: Path, root: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Write ``root`` as ``torch.save`` would: a zip of one pickle and one entry a storage."""
    pickler = Pickler()
    data = pickler.dump(root)
    write_zip(path, data, pickler.storages, compression)


def write_zip(path: Path, pickle: bytes, storages: Sequence[Storage], compression: int = zipfile.ZIP_STORED) -> None:
    """Write the zip container around the bytes of a pickle."""
    name = path.stem
    chunk = bytes(1 << 20)

    def entry(key: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(f"{name}/{key}")  # the fixed date of 1980: the same input gives the same bytes
        info.compress_type = compression
        return info

    with zipfile.ZipFile(path, "w") as file:
        file.writestr(entry("data.pkl"), pickle)
        file.writestr(entry("byteorder"), "little")
        for key, storage in enumerate(storages):
            info = entry(f"data/{key}")
            left = storage.zeros * DTYPES[storage.dtype][1]
            info.file_size = left + len(storage.data)
            with file.open(info, "w") as stream:
                while left > 0:
                    left -= stream.write(chunk[: min(left, len(chunk))])
                stream.write(storage.data)
        file.writestr(entry("version"), "3\n")
        # Newer PyTorch adds a hash of the contents
        file.writestr(entry(".data/serialization_id"), hashlib.sha256(pickle).hexdigest()[:40])


def write_safetensors(
    path: Path, state: Mapping[str, Array], dtype: str = "float32", metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file: eight bytes of length, a JSON header, the tensors."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts, offset = [], 0
    for key, value in state.items():
        parts.append(encoded(value, dtype))
        end = offset + len(parts[-1])
        header[key] = {"dtype": DTYPES[dtype][2], "shape": list(value.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(parts)


def lightning(config: Mapping[str, Any], state: Mapping[str, Any], hparams: str = "dataclass") -> dict[str, Any]:
    """The root of a Lightning checkpoint around a state_dict; ``hparams`` is dataclass, dict or none."""
    root: dict[str, Any] = {
        "epoch": 3,
        "global_step": 4242,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    if hparams != "none":
        groups = hyper_parameters(config)
        root["hparams_name"] = "kwargs"
        root["hyper_parameters"] = as_dataclasses(groups) if hparams == "dataclass" else groups
    return root


def add_baggage(root: dict[str, Any], elements: int) -> None:
    """Add what a training run leaves behind: a discriminator and optimiser moments of ``elements`` zeros each."""

    def zeros(shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        return Tensor(Storage(dtype, zeros=int(np.prod(shape))), 0, shape, c_strides(shape))

    for i in range(4):
        root["state_dict"][f"discriminator.discriminators.{i}.conv_post.weight"] = zeros((elements,))
    root["state_dict"]["discriminator.num_batches_tracked"] = zeros((), "int64")
    moments = {"step": plain_tensor(np.float32(4242.0) * np.ones(())), "exp_avg": zeros((elements,))}
    root["optimizer_states"] = [{"state": {0: moments}, "param_groups": [{"lr": 1e-4, "betas": [0.8, 0.99]}]}]


def write_checkpoint(
    path: Path,
    config: Mapping[str, Any],
    *,
    seed: int | None = None,
    dtype: str = "float32",
    hparams: str = "dataclass",
    norm_keys: str = "old",
    layout: str = "plain",
    baggage: int = 0,
    bare: bool = False,
) -> None:
    """Write a checkpoint of ``config`` to ``path``; a suffix of ``.safetensors`` chooses that format.

    ``seed``: of the weights, the configuration's own by default. ``dtype``: float32, float16, bfloat16, float64.
    ``hparams``: dataclass, dict or none. ``norm_keys``: old (weight_g) or new (parametrizations). ``layout``: one of
    LAYOUTS. ``baggage``: elements of each tensor of discriminator and optimiser, 0 for none of them. ``bare``: the
    state_dict alone, without Lightning's wrapping.
    """
    state = tensors(config, config["seed"] if seed is None else seed)
    if norm_keys == "new":
        state = with_new_norm_keys(state)
    if path.suffix == ".safetensors":
        write_safetensors(path, state, dtype)
        return
    views = laid_out(state, dtype, layout)
    if bare:
        write_container(path, views)
        return
    root = lightning(config, views, hparams)
    if baggage:
        add_baggage(root, baggage)
    write_container(path, root)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="JSON: see tests/golden/*.json")
    parser.add_argument("out", type=Path, help=".ckpt, .pt, .bin or .safetensors")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16", "float64"])
    parser.add_argument("--hparams", default="dataclass", choices=["dataclass", "dict", "none"])
    parser.add_argument("--norm-keys", default="old", choices=["old", "new"])
    parser.add_argument("--layout", default="plain", choices=LAYOUTS)
    parser.add_argument(
        "--baggage", type=int, nargs="?", default=0, const=1 << 18, help="elements of each tensor that is not wanted"
    )
    parser.add_argument("--bare", action="store_true", help="the state_dict alone")
    arguments = parser.parse_args()
    write_checkpoint(
        arguments.out,
        json.loads(arguments.config.read_text()),
        seed=arguments.seed,
        dtype=arguments.dtype,
        hparams=arguments.hparams,
        norm_keys=arguments.norm_keys,
        layout=arguments.layout,
        baggage=arguments.baggage,
        bare=arguments.bare,
    )


if __name__ == "__main__":
    main()
