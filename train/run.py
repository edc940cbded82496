"""A training run: a folder with its configuration, its last checkpoint, a log in JSON lines, and validation audio."""

import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from train.configuration import Configuration, ConfigurationError, read_configuration
from train.data import SpeechData
from train.vocoder import Vocoder

CONFIGURATION = "config.yaml"
LAST = "last.ckpt"


class Speech(lightning.LightningDataModule):  # type: ignore[misc,unused-ignore]
    """The data as the trainer wants it: from the batch at which the model stands."""

    def __init__(self, data: SpeechData, last_batch: int) -> None:
        super().__init__()
        self.data, self.last_batch = data, last_batch
        self.validation_names = list(data.validation)

    def train_dataloader(self) -> Any:
        """The batches still to come, of this process."""
        steps = self.trainer.lightning_module.steps
        return self.data.training_loader(steps, self.last_batch, self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Any:
        """One loader a folder."""
        return self.data.validation_loaders()


class StoppedError(Exception):
    """A signal stopped the run, which was saved."""


class Saving(lightning.Callback):  # type: ignore[misc,unused-ignore]
    """Saves the run every so many steps; a run that is cut off while saving keeps the checkpoint before.

    Ctrl-C and SIGTERM end the step under way, save and raise StoppedError; a second one kills, as it would have.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self.signals: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.stopping = False

    def on_train_start(self, trainer: Any, model: Any) -> None:
        """From here on signals stop the run in order."""
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                signal.signal(number, self._stop)

    def restore_signals(self) -> None:
        """Signals do again what they did before the run."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.signals.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        self.stopping = True
        signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, batch: Any, index: int) -> None:
        """Save, if it is time."""
        # All ranks must save together
        stopping = trainer.strategy.reduce_boolean_decision(self.stopping, all=False)
        if stopping or model.steps % self.every == 0:
            self.save(trainer)
        if stopping:
            raise StoppedError

    def save(self, trainer: Any) -> None:
        """Save now."""
        new = self.folder / f"{LAST}.new"
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            new.replace(self.folder / LAST)


def fit(configuration: Configuration, folder: Path) -> None:
    """Begin a run. Raises ConfigurationError if the configuration is bad, or the folder holds a run already."""
    if (folder / LAST).exists():
        raise ConfigurationError(f"{folder / LAST}: is there already: resume that run, or choose another folder")
    model, data = _build(configuration)
    if configuration.init_from:
        model.start_from(Path(configuration.init_from))
    _run(configuration, model, data, folder, None)


def resume(folder: Path, configuration: Configuration | None = None, checkpoint: Path | None = None) -> None:
    """Go on with a run from its last checkpoint, or with a changed configuration, or from another checkpoint.

    Raises ConfigurationError if there is none.
    """
    checkpoint = checkpoint or folder / LAST
    for path in (*(() if configuration else (folder / CONFIGURATION,)), checkpoint):
        if not path.exists():
            raise ConfigurationError(f"{path}: no such file: nothing to resume")
    configuration = configuration or read_configuration(folder / CONFIGURATION)
    model, data = _build(configuration)
    _run(configuration, model, data, folder, checkpoint)


def _build(configuration: Configuration) -> tuple[Vocoder, SpeechData]:
    def section(name: str, kind: Any, values: Mapping[str, Any]) -> Any:
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            # Python names the argument that is unknown or missing
            raise ConfigurationError(f"section {name}: {str(error).split('__init__() ')[-1]}") from None

    return section("model", Vocoder, configuration.model), section("data", SpeechData, configuration.data)


def _run(configuration: Configuration, model: Vocoder, data: SpeechData, folder: Path, last: Path | None) -> None:
    settings = dict(configuration.trainer)
    model.run_folder, model.total_steps = folder, int(settings.pop("max_steps"))
    validate_every, save_every = int(settings.pop("validate_every")), int(settings.pop("save_every"))
    threads = settings.pop("threads", None)
    if threads:
        torch.set_num_threads(int(threads))
    loggers = _loggers(settings.pop("logger", None), folder)
    saving = Saving(folder, save_every)
    # Said of every loader that keeps no state. Ours needs none: it begins where the model stands.
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch")
    shown = settings.get("enable_progress_bar", True)
    bars = [TQDMProgressBar(refresh_rate=1 if sys.stdout.isatty() else 500)] if shown else []
    try:
        trainer = _trainer(settings, validate_every, loggers, [saving, *bars])
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigurationError(f"section trainer: {str(error).split('__init__() ')[-1].splitlines()[0]}") from None
    if trainer.is_global_zero:
        for note in configuration.notes:
            print(f"train: {note}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIGURATION).write_text(configuration.text())
    try:
        trainer.fit(model, datamodule=Speech(data, model.total_steps), ckpt_path=last, weights_only=False)
    except StoppedError:
        print(f"\ntrain: stopped and saved at step {model.steps}: python -m train resume {folder}", file=sys.stderr)
        return
    finally:
        saving.restore_signals()
    saving.save(trainer)


def _loggers(wanted: Any, folder: Path) -> list[Logger]:
    """`tensorboard`, `wandb`, a list of them, or a class of Lightning's with arguments, as the reference says it."""
    loggers: list[Logger] = []
    for item in wanted if isinstance(wanted, list) else [wanted] if wanted else []:
        name, arguments = item, {}
        if isinstance(item, Mapping):
            name, arguments = item.get("class_path", "wandb"), dict(item.get("init_args") or {})
            arguments |= {key: value for key, value in item.items() if key not in ("class_path", "init_args")}
        kind = str(name).split(".")[-1].lower().removesuffix("logger")
        try:
            if kind == "tensorboard":
                loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
            elif kind == "wandb":
                loggers.append(WandbLogger(**{"save_dir": folder, **arguments}))
            else:
                raise ConfigurationError(f"section trainer: logger: {name}: not known; tensorboard and wandb are")
        except ModuleNotFoundError as missing:
            raise ConfigurationError(f"section trainer: logger: {name}: {missing}".splitlines()[0]) from None
    return loggers


def _trainer(
    settings: Mapping[str, Any], validate_every: int, loggers: list[Logger], callbacks: list[lightning.Callback]
) -> Any:
    chosen = {"accelerator": "auto", "devices": 1, **settings}
    if str(chosen["devices"]) not in ("1", "0,") and chosen.get("strategy", "auto") == "auto":
        # A step that draws its discriminators leaves the others without gradients
        chosen["strategy"] = "ddp_find_unused_parameters_true"
    return lightning.Trainer(
        **chosen,
        logger=loggers,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        max_epochs=-1,  # the data has no end: the model says when to stop
        val_check_interval=validate_every,
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,
        callbacks=callbacks,
    )
