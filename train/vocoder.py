"""The training of a decoder: losses, optimisers and validation, as a Lightning module."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.nn import functional
from torch.optim import AdamW

from compiler.checkpoint import read_checkpoint
from compiler.errors import CompileError
from train.audio import write_wav
from train.discriminators import Discriminators
from train.losses import (
    LogMel,
    MultiScaleMel,
    MultiScaleStft,
    PhaseSlopes,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from train.model import Decoder, Shape, build_decoder
from train.rounding import ROUNDINGS

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the steps; all in steps but `gamma`, a factor a step.

    It rises to its full height over `warm_up`, falls by `gamma` each step, and, over the last `decay`, along half a
    cosine to nothing. The last phase begins `decay` before the end, or when the run's folder holds a file `finish`.
    """

    gamma: float = 0.999996
    warm_up: int = 0
    decay: int = 0

    def factor(self, step: int, decay_from: int) -> float:
        """Of the learning rate, for the step of that number (from 0)."""
        rise = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        fall = 1.0
        if self.decay and step >= decay_from:
            fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - decay_from) / self.decay))
        return float(rise * self.gamma**step * fall)


FEATURE = {
    **{"sample_rate": 16000, "n_fft": 1024, "win_length": 1024, "hop_length": 320, "n_mels": 80},
    **{"f_min": 0.0, "f_max": None, "causal": True, "pad_mode": "constant"},
}
VOCODER = {
    **{"input_channels": 80, "dim": 512, "mlp_ratio": 3.0, "kernel_size": 7, "dilation": 1, "norm": "weight_norm"},
    **{"causal": True, "pad_mode": "constant", "num_layers": 8, "layer_scale_init_value": 1e-6},
    "lookahead_frames": 0,
}
LAMBDAS = {"mel_loss": 20.0, "adv_feat_loss": 2.0, "adv_gen_loss": 1.0, "phase_loss": 0.0, "group_delay_loss": 0.0}


def filled(group: str, given: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, and the defaults of the others. Raises ValueError for a name that has no default."""
    unknown = ", ".join(name for name in given or {} if name not in defaults)
    if unknown:
        raise ValueError(f"{group}: {unknown}: not known; {', '.join(defaults)} are")
    return {**defaults, **(given or {})}


class Vocoder(lightning.LightningModule):  # type: ignore[misc,unused-ignore]
    """The section `model` of a configuration; its names are the reference's, and so are the defaults.

    `adversarial_from` is the step at which the discriminators join; None: never, the mel loss trains alone. For the
    first `head_start` steps of theirs they learn, and the decoder does not listen to them yet.
    `average` keeps a running mean of the weights over about 1 / (1 - average) steps, which is what validation hears
    and `export` takes; 0: none. `draw_losses` estimates the losses, a step from three of the mel loss's seven scales
    and from two discriminators, the next from others: less exact, and two to three times as fast on a CPU.
    `mixed_precision` lets the blocks and the discriminators multiply in bfloat16; all else stays in float32.
    `precision`, w8, w8a8 or w4, rounds the blocks' weights about as the compiler will;
    what is saved is not rounded.
    `total_steps` is told by the trainer section.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        vocoder_feature_args: Mapping[str, Any] | None = None,
        vocoder_args: Mapping[str, Any] | None = None,
        istft_head_args: Mapping[str, Any] | None = None,
        lambdas: Mapping[str, float] | None = None,
        learning_rate: float = 1e-4,
        lr_betas: tuple[float, float] = (0.8, 0.99),
        lr_sch_gamma: float = 0.999996,
        warm_up_steps: int = 0,
        decay_steps: int = 0,
        clip_gradient: float = 0.0,
        average: float = 0.0,
        adversarial_from: int | None = 0,
        discriminators: Mapping[str, Any] | None = None,
        head_start: int = 0,
        draw_losses: bool = False,
        mixed_precision: bool = False,
        precision: str | None = None,
        init_seed: int = 1,
    ) -> None:
        super().__init__()
        feature = filled("vocoder_feature_args", vocoder_feature_args, FEATURE | {"sample_rate": sample_rate})
        sizes = {"n_fft": feature["n_fft"], "hop_length": feature["hop_length"]}
        feature["win_length"] = sizes["n_fft"]
        vocoder = filled("vocoder_args", vocoder_args, VOCODER | {"input_channels": feature["n_mels"]})
        head = filled("istft_head_args", istft_head_args, {"dim": vocoder["dim"], **sizes})
        weights = filled("lambdas", lambdas, LAMBDAS)
        # In the checkpoint, all in full: the compiler reads the sizes from there
        self.save_hyperparameters(
            {
                "sample_rate": sample_rate,
                "vocoder_feature_args": feature,
                "vocoder_args": vocoder,
                "istft_head_args": head,
                "lambdas": weights,
                "learning_rate": learning_rate,
                "lr_betas": list(lr_betas),
                "lr_sch_gamma": lr_sch_gamma,
            }
        )
        self.automatic_optimization = False
        self.weights = weights
        self.learning_rate, self.betas = float(learning_rate), (float(lr_betas[0]), float(lr_betas[1]))
        self.schedule = Schedule(lr_sch_gamma, warm_up_steps, decay_steps)
        self.clip_gradient, self.average, self.adversarial_from = clip_gradient, average, adversarial_from
        self.head_start = head_start
        self.draw_losses, self.mixed_precision = draw_losses, mixed_precision
        self.run_folder: Path | None = None
        self.total_steps = 0
        self.steps = 0
        self.decay_from: int | None = None

        shape = Shape(
            mels=feature["n_mels"],
            dim=vocoder["dim"],
            hidden=int(vocoder["mlp_ratio"] * vocoder["dim"]),
            kernel_size=vocoder["kernel_size"],
            layers=vocoder["num_layers"],
            n_fft=feature["n_fft"],
            hop_length=feature["hop_length"],
            lookahead_frames=vocoder["lookahead_frames"],
        )
        same = (head["dim"], head["n_fft"], head["hop_length"]) == (shape.dim, shape.n_fft, shape.hop_length)
        if not same or vocoder["input_channels"] != shape.mels or not (feature["causal"] and vocoder["causal"]):
            raise ValueError("vocoder_args, istft_head_args and vocoder_feature_args must agree, and causal be true")
        torch.manual_seed(init_seed)
        self.decoder = Decoder(shape, vocoder["layer_scale_init_value"])
        if precision not in (None, *ROUNDINGS):
            raise ValueError(f"precision {precision}: not known; {', '.join(ROUNDINGS)} are")
        self.averaged: Decoder | None = None
        if average:
            self.averaged = Decoder(shape).requires_grad_(False)
            self.averaged.load_state_dict(self.decoder.state_dict())
        for decoder in filter(None, (self.decoder, self.averaged)):
            for block in decoder.backbone.convnext:
                block.rounding = ROUNDINGS[precision] if precision else None
        self.discriminators = Discriminators(**(discriminators or {})) if adversarial_from is not None else None
        self.log_mel = LogMel(sample_rate, shape.n_fft, shape.hop_length, shape.mels)
        self.mel_loss = MultiScaleMel(sample_rate)
        self.stft_loss = MultiScaleStft()
        self.phase_losses = nn.ModuleDict(
            {"phase": PhaseSlopes(PhaseSlopes.FRAMES), "group_delay": PhaseSlopes(PhaseSlopes.BINS)}
        )
        self.sample_rate, self.lag = sample_rate, shape.n_fft - shape.hop_length

    # ---- the model ----

    def start_from(self, path: Path) -> None:
        """Take the decoder's weights from a checkpoint of any kind that the compiler reads, executing nothing in it.

        It may have fewer blocks: those that it lacks come last, and add nothing at first (gamma is 0).
        Raises ValueError if it is of another shape, or holds no decoder.
        """
        try:
            checkpoint = read_checkpoint(path)
            given = build_decoder(checkpoint.tensors, self.decoder.shape.hop_length)
            given.shape = replace(given.shape, lookahead_frames=self.decoder.shape.lookahead_frames)
        except (CompileError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path}: {error}") from None
        layers = given.shape.layers
        if layers > self.decoder.shape.layers or replace(self.decoder.shape, layers=layers) != given.shape:
            raise ValueError(f"{path}: is {given.shape}, the configuration {self.decoder.shape}")
        self.decoder.load_state_dict(given.state_dict(), strict=False)
        for block in list(self.decoder.backbone.convnext)[layers:]:
            nn.init.zeros_(block.gamma)
        if self.averaged is not None:
            self.averaged.load_state_dict(self.decoder.state_dict())

    def best_decoder(self) -> Decoder:
        """The decoder to use: of averaged weights, where an average is kept."""
        return self.decoder if self.averaged is None else self.averaged

    def resynthesise(self, decoder: Decoder, audio: torch.Tensor) -> torch.Tensor:
        """[batch, samples] to mel and back, to as many samples, without the lag."""
        mel = self.log_mel(audio)
        decoder.reset()
        with self._mixed():
            hidden = decoder.backbone(mel, last=True)
        decoder.reset()
        whole = decoder.head.whole(hidden.float())
        return whole[:, self.lag : self.lag + audio.shape[-1]]

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision and self.training)

    # ---- training ----

    def configure_optimizers(self) -> list[AdamW]:
        """One for the decoder, one for the discriminators, if there are any."""
        trained: list[Any] = [self.decoder] if self.discriminators is None else [self.decoder, self.discriminators]
        return [
            AdamW(
                [p for p in part.parameters() if p.requires_grad], lr=self.learning_rate, betas=self.betas, fused=True
            )
            for part in trained
        ]

    def training_step(self, batch: torch.Tensor, index: int) -> None:
        """One step of the decoder, and before it, once they have joined, of the discriminators."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        self._finish_early()
        decay_from = self.total_steps - self.schedule.decay if self.decay_from is None else self.decay_from
        rate = self.learning_rate * self.schedule.factor(self.steps, decay_from)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        draw = self.steps if self.draw_losses else None
        audio = self.resynthesise(self.decoder, batch)
        joined = -1 if self.adversarial_from is None else self.steps - self.adversarial_from
        logged = {"lr": rate}
        if joined >= 0:
            assert self.discriminators is not None
            with self._mixed():
                real, fake = self.discriminators(batch, draw), self.discriminators(audio.detach(), draw)
            critics = discriminator_loss(real, fake)
            self._step(optimizers[1], critics)
            logged["disc"] = float(critics.detach())
        mel = self.mel_loss(audio, batch, draw)
        loss = self.weights["mel_loss"] * mel
        logged["mel"] = float(mel.detach())
        for name, measure in self.phase_losses.items():
            if self.weights[f"{name}_loss"]:
                found = measure(audio, batch)
                logged[name] = float(found.detach())
                loss = loss + self.weights[f"{name}_loss"] * found
        if joined >= self.head_start:
            assert self.discriminators is not None
            self.discriminators.requires_grad_(False)
            with self._mixed():
                fake = self.discriminators(audio, draw)
                with torch.no_grad():
                    real = self.discriminators(batch, draw)
            generator, feature = generator_loss(fake), feature_loss(real, fake)
            self.discriminators.requires_grad_(True)
            loss = loss + self.weights["adv_gen_loss"] * generator + self.weights["adv_feat_loss"] * feature
            logged.update(gen=float(generator.detach()), feat=float(feature.detach()))
        self._step(optimizers[0], loss)
        self._average()
        if self.steps % 50 == 0:
            with torch.no_grad():
                logged["stft"] = float(self.stft_loss(audio, batch))
                logged["wave"] = float(functional.l1_loss(audio, batch))
            self._log({"train": logged})
        self.log_dict({"mel": logged["mel"], "lr": rate}, prog_bar=True, logger=False)
        self.steps += 1
        last = self.total_steps if self.decay_from is None else self.decay_from + self.schedule.decay
        if self.steps >= last:
            self.trainer.should_stop = True

    def _step(self, optimizer: Any, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip_gradient:
            self.clip_gradients(optimizer, self.clip_gradient, "norm")
        optimizer.step()

    def _finish_early(self) -> None:
        told = self.decay_from is None and self.run_folder is not None and (self.run_folder / "finish").exists()
        # All ranks begin with the same step
        if self.decay_from is None and self.trainer.strategy.reduce_boolean_decision(told, all=False):
            self.decay_from = self.steps

    def _average(self) -> None:
        if self.averaged is None:
            return
        keep = min(self.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.decoder.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)

    # ---- validation ----

    def validation_step(self, batch: Mapping[str, Any], index: int, dataloader_idx: int = 0) -> None:
        """The mel distance of one whole file; the first of each folder is written as audio."""
        names = list(self.trainer.datamodule.validation_names)
        audio = batch["audio"]
        output = self.resynthesise(self.best_decoder(), audio)
        self.distances.setdefault(names[dataloader_idx], []).append(float(self.mel_loss(output, audio)))
        if index == 0 and self._writes():
            assert self.run_folder is not None
            folder = self.run_folder / "audio"
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{names[dataloader_idx]}_{batch['name'][0]}"
            for kind, samples in (("original", audio), (f"step{self.steps:07d}", output)):
                write_wav(folder / f"{name}.{kind}.wav", samples[0].cpu().numpy(), self.sample_rate)
            for logger in self.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_audio(name, output[0], self.steps, self.sample_rate)

    def on_validation_epoch_start(self) -> None:
        """Begin to collect."""
        self.distances: dict[str, list[float]] = {}

    def on_validation_epoch_end(self) -> None:
        """Write the means, by folder."""
        means = {name: sum(values) / len(values) for name, values in self.distances.items()}
        if not self.trainer.sanity_checking:
            self._log({"validation": means})

    def _writes(self) -> bool:
        """Whether this process keeps the run's log: of several ranks, the first."""
        return self.run_folder is not None and bool(self.trainer.is_global_zero)

    def _log(self, facts: Mapping[str, Mapping[str, float]]) -> None:
        """To log.jsonl, a line a call; to log.csv, a line a value; to Lightning's loggers."""
        if not self._writes():
            return
        assert self.run_folder is not None
        with (self.run_folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.steps, **facts}) + "\n")
        with (self.run_folder / "log.csv").open("a") as file:
            if file.tell() == 0:
                file.write("step,part,name,value\n")
            for part, values in facts.items():
                file.writelines(f"{self.steps},{part},{name},{value}\n" for name, value in values.items())
        for logger in self.loggers:
            flat = {f"{part}/{name}": value for part, values in facts.items() for name, value in values.items()}
            logger.log_metrics(flat, self.steps)

    # ---- what a checkpoint must hold beside the weights ----

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Where training stands."""
        checkpoint["training"] = {"steps": self.steps, "decay_from": self.decay_from}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Where training stood."""
        self.steps = checkpoint["training"]["steps"]
        self.decay_from = checkpoint["training"]["decay_from"]
