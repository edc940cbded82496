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
        """The batches still to come."""
        return self.data.training_loader(self.trainer.lightning_module.steps, self.last_batch)

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
        new.replace(self.folder / LAST)


def fit(config: Path, folder: Path) -> None:
    """Begin a run. Raises ConfigurationError if the configuration is bad, or the folder holds a run already."""
    if (folder / LAST).exists():
        raise ConfigurationError(f"{folder / LAST}: is there already: resume that run, or choose another folder")
    configuration = read_configuration(config)
    model, data = _build(configuration, config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIGURATION).write_text(config.read_text())
    _run(configuration, model, data, folder, None)


def resume(folder: Path) -> None:
    """Go on with a run from its last checkpoint. Raises ConfigurationError if there is none."""
    for name in (CONFIGURATION, LAST):
        if not (folder / name).exists():
            raise ConfigurationError(f"{folder / name}: no such file: nothing to resume")
    configuration = read_configuration(folder / CONFIGURATION)
    model, data = _build(configuration, folder / CONFIGURATION)
    _run(configuration, model, data, folder, folder / LAST)


def _build(configuration: Configuration, path: Path) -> tuple[Vocoder, SpeechData]:
    def section(name: str, kind: Any, values: Mapping[str, Any]) -> Any:
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            # Python names the argument that is unknown or missing
            raise ConfigurationError(f"{path}: section {name}: {str(error).split('__init__() ')[-1]}") from None

    return section("model", Vocoder, configuration.model), section("data", SpeechData, configuration.data)


def _run(configuration: Configuration, model: Vocoder, data: SpeechData, folder: Path, last: Path | None) -> None:
    settings = dict(configuration.trainer)
    model.run_folder, model.total_steps = folder, int(settings.pop("max_steps"))
    validate_every, save_every = int(settings.pop("validate_every")), int(settings.pop("save_every"))
    threads = settings.pop("threads", None)
    if threads:
        torch.set_num_threads(int(threads))
    saving = Saving(folder, save_every)
    # Said of every loader that keeps no state. Ours needs none: it begins where the model stands.
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch")
    shown = settings.get("enable_progress_bar", True)
    bars = [TQDMProgressBar(refresh_rate=1 if sys.stdout.isatty() else 500)] if shown else []
    try:
        trainer = _trainer(settings, validate_every, [saving, *bars])
    except (TypeError, ValueError, MisconfigurationException) as error:
        reason = str(error).split("__init__() ")[-1].splitlines()[0]
        raise ConfigurationError(f"{folder / CONFIGURATION}: section trainer: {reason}") from None
    try:
        trainer.fit(model, datamodule=Speech(data, model.total_steps), ckpt_path=last, weights_only=False)
    except StoppedError:
        print(f"\ntrain: stopped and saved at step {model.steps}: python -m train resume {folder}", file=sys.stderr)
        return
    finally:
        saving.restore_signals()
    saving.save(trainer)


def _trainer(settings: Mapping[str, Any], validate_every: int, callbacks: list[lightning.Callback]) -> Any:
    return lightning.Trainer(
        **{"accelerator": "auto", "devices": 1, **settings},
        logger=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        max_epochs=-1,  # the data has no end: the model says when to stop
        val_check_interval=validate_every,
        check_val_every_n_epoch=None,
        callbacks=callbacks,
    )
