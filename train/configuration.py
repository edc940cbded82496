"""Configurations of training: YAML files with the sections model, data and trainer. Needs PyYAML alone.

The reference's own files are read, too: what lies in `class_path` and `init_args` is unwrapped, its data section
becomes ours, and names that nothing here needs are set aside and noted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SECTIONS = ("model", "data", "trainer")
TRAINER = {"max_steps": 1_000_000, "validate_every": 5000, "save_every": 1000}
"""What the section trainer holds if it says nothing, in steps."""

_SET_ASIDE = {
    "": {"seed_everything", "ignore_warnings", "test_after_fit", "git_commit_before_fit", "validate_every_n_steps"},
    "model": {"encoder_dim"},
    "data": {"pin_memory", "code_hop_size", "sampling_rate", "split", "init_args"},
    "trainer": {
        *("max_epochs", "min_epochs", "min_steps", "num_sanity_val_steps", "check_val_every_n_epoch"),
        *("val_check_interval", "reload_dataloaders_every_n_epochs", "callbacks", "enable_checkpointing"),
        *("use_distributed_sampler", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"),
    },
}
"""The reference's names that nothing here needs, by section."""


class ConfigurationError(Exception):
    """What is wrong with a configuration, and where; one line."""


@dataclass(frozen=True)
class Configuration:
    """The three sections. `trainer` has max_steps, validate_every and save_every, perhaps threads and logger; the rest
    of it are arguments of Lightning's Trainer. `notes` says what was set aside. `init_from` is a checkpoint to start
    from.
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    trainer: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    init_from: str | None = None

    def text(self) -> str:
        """YAML that reads as this configuration."""
        return str(yaml.safe_dump({name: dict(getattr(self, name)) for name in SECTIONS}, sort_keys=False))


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """YAML 1.1, but for numbers such as 1e-6, which it takes for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_configuration(*paths: Path, overrides: Iterable[tuple[str, str]] = ()) -> Configuration:
    """Read and check files, the later ones over the earlier ones, then the overrides: dotted name and YAML value.

    Raises ConfigurationError, or OSError if there is no such file.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _over(merged, _unwrapped(_sections(path)))
    for name, text in overrides:
        value = yaml.load(text, _Loader)
        for part in reversed([part for part in name.split(".") if part != "init_args"]):
            value = {part: value}
        merged = _over(merged, _unwrapped(value))
    where = ", ".join(map(str, paths))
    if not set(SECTIONS) <= set(merged) <= {*SECTIONS, *_SET_ASIDE[""]}:
        raise ConfigurationError(f"{where}: expected the sections {', '.join(SECTIONS)}, and no other")
    for name in SECTIONS:
        if not isinstance(merged[name], dict):
            raise ConfigurationError(f"{where}: section {name}: expected names and values")
    return _translated(merged)


def _sections(path: Path) -> dict[str, Any]:
    try:
        sections = yaml.load(path.read_text(), _Loader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(sections, dict):
        raise ConfigurationError(f"{path}: expected the sections {', '.join(SECTIONS)}, and no other")
    return sections


def _unwrapped(value: Any) -> Any:
    """Without `class_path`; what `init_args` held lies where they lay. A logger says its class, and keeps it."""
    if not isinstance(value, dict):
        return value
    inner = {name: item if name == "logger" else _unwrapped(item) for name, item in value.items()}
    if "class_path" in inner:
        return _over(
            {k: v for k, v in inner.items() if k not in ("class_path", "init_args")}, inner.get("init_args") or {}
        )
    return inner


def _over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{name: _over(below.get(name), value) for name, value in above.items()}}
    return above


def _translated(merged: dict[str, Any]) -> Configuration:
    notes = [name for name in merged if name in _SET_ASIDE[""]]
    sections: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        notes += [f"{section}.{name}" for name in merged[section] if name in _SET_ASIDE[section]]
        sections[section] = {k: v for k, v in merged[section].items() if k not in _SET_ASIDE[section]}
    model, data, trainer = (sections[name] for name in SECTIONS)
    pretrained, path = model.pop("decoder_pretrained", False), model.pop("decoder_path", None)
    if "data_dir" in data:
        folder = data.pop("data_dir")
        data.setdefault("train", {"speech": {"folder": folder}})
        data.setdefault("validation", {"speech": {"folder": folder, "limit": 16}})
    if "segment_size" in data:
        data["segment_length"] = data.pop("segment_size")
    steps = trainer.get("max_steps")
    if steps is None or steps < 0:
        trainer.pop("max_steps", None)
    notes = [f"{', '.join(notes)}: set aside, nothing here needs them"] if notes else []
    return Configuration(model, data, {**TRAINER, **trainer}, tuple(notes), path if pretrained else None)


def without_overrides(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """A command line without its `--SECTION.NAME VALUE` and `--SECTION.NAME=VALUE`; and these, as pairs.

    Raises ConfigurationError if a value is missing.
    """
    others: list[str] = []
    pairs: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, given, value = argument.partition("=")
        if not re.fullmatch(rf"--({'|'.join(SECTIONS)})(\.\w+)+", name):
            others.append(argument)
            continue
        if not given:
            if not rest:
                raise ConfigurationError(f"{name}: a value is missing")
            value = rest.pop(0)
        pairs.append((name.removeprefix("--"), value))
    return others, pairs
