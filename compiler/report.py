"""The report: what the object takes and does, as a table for people and as NAME.json for machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from . import VERSION
from .accuracy import Accuracy
from .build import Measured
from .cuda import Device
from .emit import Options, isas_of_build
from .formats import Table
from .isa import Isa
from .mel import describe, framing
from .microcontrollers import INSTRUCTIONS_PER_CYCLE, QSPI_BYTES_PER_SECOND, estimates
from .nvrtc import Image
from .plan import Plan

# Config's attributes that are keys of `model`.
SIZES = ("sample_rate", "n_fft", "hop_length", "n_mels", "dim", "hidden", "kernel_size", "num_layers")


def report(
    plan: Plan,
    tables: Sequence[Table],
    checkpoint_sha256: str,
    options: Options,
    *,
    measured: Measured | None = None,
    accuracy: Accuracy | None = None,
    device: Device | None = None,
    images: Sequence[Image] = (),
) -> dict[str, Any]:
    """The report's figures; bytes, unless a key says otherwise. What only a build can tell is null until then."""
    config = plan.config
    weight_bytes = sum(table.data.nbytes for table in tables)
    steps = [*(step.name for step in plan.steps), "output"]
    chunk_seconds = {chunk: chunk * config.hop_length / config.sample_rate for chunk in plan.chunks}
    return {
        "name": options.name,
        "generator": f"vocosc {VERSION}",
        "checkpoint_sha256": checkpoint_sha256,
        "precision": options.precision,
        "targets": [isa.name for isa in isas_of_build(plan, options)],
        "link": options.link,
        "baked": options.baked,
        "model": {key: getattr(config, key) for key in SIZES},
        "mel": _mel(plan),
        **({"bandwidth_id": config.bandwidth_id} if config.bandwidths else {}),
        **({"codebooks": config.codebooks} if config.codebooks else {}),
        "max_frames": plan.max_frames,
        "streams": plan.streams,
        **_latency(plan),
        "receptive_field_frames": plan.receptive_field,
        "flash_bytes": measured.flash_bytes if measured else None,
        "flash_bytes_estimate": _flash_estimate(plan, weight_bytes, options),
        "weight_bytes": weight_bytes,
        "state_bytes": plan.state_bytes,
        "mel_state_bytes": plan.mel_state_bytes,
        "scratch_bytes": 4 * plan.scratch_floats,
        "stack_bytes": measured.stack_bytes if measured else None,
        "stack_bytes_bound": _stack_bound(plan, options),
        "accuracy": dataclasses.asdict(accuracy) if accuracy else None,
        "macs_per_frame": plan.macs_per_frame,
        "microcontrollers": estimates(plan, options.target, weight_bytes) if options.link == "none" else [],
        "chunks": {
            str(chunk): {
                "macs_per_second": round(plan.macs_per_frame * chunk / seconds),
                "weight_bytes_per_frame": round(weight_bytes / chunk),
                "weight_bytes_per_second": round(weight_bytes / seconds),
                "buffering_ms": 1000 * seconds,
            }
            for chunk, seconds in chunk_seconds.items()
        },
        "scratch": [
            {
                "name": b.name,
                "offset_bytes": 4 * b.offset,
                "bytes": 4 * b.floats,
                "from": steps[b.first],
                "to": steps[b.last],
            }
            for b in plan.scratch
        ],
        "tables": [{"name": table.name, "bytes": table.data.nbytes, "layout": table.layout} for table in tables],
        **({"cuda": _cuda(device, images)} if device else {}),
    }


def _mel(plan: Plan) -> dict[str, Any] | None:
    """What the model's log-mel is; null for a model of other features."""
    config = plan.config
    if config.mel is None:
        return None
    return {
        "text": describe(config),
        "sample_rate": config.sample_rate,
        "n_fft": config.n_fft,
        "hop_length": config.hop_length,
        "n_mels": config.n_mels,
        "f_min": config.f_min,
        "f_max": config.f_max,
        **dataclasses.asdict(config.mel),
        "tail_frames": framing(config).tail,
    }


def _mel_text(figures: dict[str, Any]) -> list[str]:
    mel = figures["mel"]
    if mel is None:
        return [f"takes {figures['model']['n_mels']} features a frame, no mel"]
    assumed = f"; the checkpoint does not tell, so assumed: {', '.join(mel['assumed'])}" if mel["assumed"] else ""
    return [f"mel: {mel['text']}{assumed}"]


def _latency(plan: Plan) -> dict[str, Any]:
    """By how much audio lags that which its mel is of, in frames, samples and ms: what is waited for, and why."""
    config = plan.config
    ahead = plan.lookahead * config.hop_length
    parts = {"": ahead + plan.overlap_floats, "lookahead_": ahead, "overlap_": plan.overlap_floats}
    found: dict[str, Any] = {"padding": config.padding, "tail_samples": plan.tail}
    for part, samples in parts.items():
        frames = samples / config.hop_length
        found[f"latency_{part}frames"] = int(frames) if frames == int(frames) else round(frames, 6)
        found[f"latency_{part}samples"] = samples
        found[f"latency_{part}ms"] = round(1000 * samples / config.sample_rate, 6)
    return found


def _cuda(device: Device, images: Sequence[Image]) -> dict[str, Any]:
    return {
        "batch": device.batch,
        "weights": device.weights_text,
        "weight_bytes": device.weight_bytes,
        "state_bytes": device.state_bytes,
        "scratch_bytes": device.scratch_bytes,
        "launches": [
            {"step": launch.step, "blocks": launch.grid[0] * launch.grid[1], "threads": launch.block}
            for launch in device.launches
        ],
        "single_kernel": {"blocks": device.single.grid[0], "threads": device.single.block},
        "images": [
            {
                "architecture": image.architecture,
                "kind": "ptx" if image.is_ptx else "cubin",
                "bytes": len(image.code),
                "least_driver": image.least_driver,
                "needs": f"driver of {image.driver_text} or later",
                "most_registers": max((kernel.registers for kernel in image.kernels), default=None),
                "spilled_bytes": sum(kernel.spilled for kernel in image.kernels) if image.kernels else None,
            }
            for image in images
        ],
    }


def to_json(figures: dict[str, Any]) -> str:
    """NAME.json's text."""
    return json.dumps(figures, indent=2) + "\n"


def to_text(figures: dict[str, Any]) -> str:
    """The memory map, for the terminal."""
    model = figures["model"]
    lines = [
        f"{figures['name']}: {model['n_mels']} mels, dim {model['dim']}, {model['num_layers']} blocks of "
        f"{model['hidden']}, kernel {model['kernel_size']}, n_fft {model['n_fft']}, hop {model['hop_length']}, "
        f"{model['sample_rate']} Hz; {figures['macs_per_frame'] / 1e6:.2f} M multiply-adds a frame",
        *_mel_text(figures),
        f"latency {figures['latency_ms']:.1f} ms: {figures['latency_lookahead_frames']} frames of look-ahead "
        f"({figures['latency_lookahead_ms']:.1f} ms), overlap {figures['latency_overlap_samples']} samples "
        f"({figures['latency_overlap_ms']:.1f} ms)",
        "",
        *_memory(figures),
        *([_accuracy(figures["accuracy"])] if figures["accuracy"] else []),
        "",
        *_work(figures),
        *_microcontrollers(figures["microcontrollers"]),
        "",
        f"  {'scratch':<12} {'offset':>10} {'bytes':>10}  alive",
        *(
            f"  {b['name']:<12} {b['offset_bytes']:>10} {b['bytes']:>10}  {b['from']} .. {b['to']}"
            for b in figures["scratch"]
        ),
        *_cuda_text(figures.get("cuda")),
    ]
    return "\n".join(lines)


def _accuracy(accuracy: dict[str, Any]) -> str:
    text = f"dB     to {accuracy['against']}, on {accuracy['frames']} frames of speech"
    return f"  {'accuracy':<12} {accuracy['snr_db']:>10.1f} {text}"


def _cuda_text(cuda: dict[str, Any] | None) -> list[str]:
    if cuda is None:
        return []
    images = [
        f"  {'PTX of compute' if image['kind'] == 'ptx' else 'cubin of sm'}_{image['architecture']}: {image['needs']}"
        + ("" if image["kind"] == "ptx" else f"; {image['most_registers']} registers, {image['spilled_bytes']} spilled")
        for image in cuda["images"]
    ]
    return [
        "",
        f"on a GPU, {len(cuda['launches'])} kernels a call, which has up to {cuda['batch']} streams; weights are "
        f"{cuda['weights']}:",
        f"  {'weights':<12} {cuda['weight_bytes']:>10} bytes  shared by all streams",
        f"  {'state':<12} {cuda['state_bytes']:>10} bytes  each stream",
        f"  {'scratch':<12} {cuda['scratch_bytes']:>10} bytes  each call under way",
        *images,
    ]


def _memory(figures: dict[str, Any]) -> list[str]:
    rows = [
        ("flash", figures["flash_bytes"], "code and tables, read-only"),
        ("weights", figures["weight_bytes"], "of it" if figures["baked"] else "beside it, in a file of their own"),
        ("state", figures["state_bytes"], "each stream"),
        ("mel state", figures["mel_state_bytes"], "each analysis stream"),
        ("scratch", figures["scratch_bytes"], f"each call under way, up to {_call_text(figures)}"),
        ("stack", figures["stack_bytes"], "deepest call"),
    ]
    if figures["flash_bytes"] is None:
        text = "code and tables, read-only: an estimate, exact once built"
        rows[0] = ("flash", figures["flash_bytes_estimate"], text)
        rows[-1] = ("stack", figures["stack_bytes_bound"], "deepest call: a bound, exact once built")
    return [f"  {name:<12} {value:>10} bytes  {text}" for name, value, text in rows if value is not None]


def _microcontrollers(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    cycles, flash = f"MHz at {INSTRUCTIONS_PER_CYCLE:g} a cycle", f"{QSPI_BYTES_PER_SECOND / 1e6:.0f} MB/s"
    return [
        "",
        "  an estimate, from instructions that QEMU counted of other models; nothing was timed:",
        f"  {'core':<12} {'chunk':>5} {'instructions a frame':>21} {cycles:>17}  fits QSPI, {flash}",
        *(
            f"  {row['core']:<12} {row['chunk']:>5} {row['instructions_per_frame']:>21} {row['mhz']:>17}  "
            f"{'yes' if row['fits_qspi'] else 'no'}: {row['weight_bytes_per_second'] / 1e6:.1f} MB/s"
            for row in rows
        ),
    ]


def _work(figures: dict[str, Any]) -> list[str]:
    return [
        f"  {'chunk':<12} {'MACs/s':>12} {'weights read, bytes/s':>24} {'buffering':>14}",
        *(
            f"  {chunk:<12} {work['macs_per_second']:>12} {work['weight_bytes_per_second']:>24} "
            f"{work['buffering_ms']:>11.1f} ms"
            for chunk, work in figures["chunks"].items()
        ),
    ]


def _call_text(figures: dict[str, Any]) -> str:
    frames = f"{figures['max_frames']} frames"
    return frames if figures["streams"] == 1 else f"{figures['streams']} streams of {frames}"


def _stack_bound(plan: Plan, options: Options) -> int | None:
    """Before the build: what no call took more than in other models. GCC unrolls the loops of very small ones."""
    formats = [kernel.format for kernel in plan.kernels]
    kind = 2 if any(found.is_integer for found in formats) else int(any(found.weight_bytes == 2 for found in formats))
    bound = max((isa.stack_bytes[kind] for isa in isas_of_build(plan, options) if isa.lanes), default=None)
    is_tiny = min(plan.config.n_fft, plan.dim) < 64
    return bound * 3 // 2 if bound is not None and is_tiny else bound


def _flash_estimate(plan: Plan, weight_bytes: int, options: Options) -> int:
    """Before the build: the tables, and code of about the size that it had in other models, by heights of tile."""
    fft = plan.fft
    tables = 4 * (2 * plan.config.n_fft + 2 * fft.cosines.size + 2 * fft.half_cosines.size + 2 * plan.bins)
    isas = [isa for isa in isas_of_build(plan, options) if isa.lanes]
    code = sum(14_000 + round(isa.code_bytes * _heights(plan, isa)) for isa in isas)
    return (64 + weight_bytes if options.baked else 0) + tables + code + 9_000


def _heights(plan: Plan, isa: Isa) -> float:
    """The heights of tile that a build has, less those accumulators that are too wide for small products."""
    tiles = [tile for tile in isa.tiles if tile.rows <= plan.max_rows]
    every = [(k, t.rows * v, v * isa.lanes) for k in plan.kernels for t in tiles for v in t.widths(k.format)]
    emitted = sum(accumulators for kernel, accumulators, columns in every if kernel.fits(columns))
    return len(tiles) * emitted / max(1, sum(accumulators for _, accumulators, _ in every))
