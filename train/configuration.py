"""Configurations of training: YAML files with the sections model, data and trainer. Needs PyYAML alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SECTIONS = ("model", "data", "trainer")
TRAINER = ("max_steps", "validate_every", "save_every")


class ConfigurationError(Exception):
    """What is wrong with a configuration, and where; one line."""


@dataclass(frozen=True)
class Configuration:
    """The three sections. `trainer` has max_steps, validate_every and save_every, perhaps threads; the rest of it
    are arguments of Lightning's Trainer.
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    trainer: Mapping[str, Any]


def read_configuration(path: Path) -> Configuration:
    """Read and check a file. Raises ConfigurationError, or OSError if there is none."""
    try:
        sections = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(sections, dict) or set(sections) != set(SECTIONS):
        raise ConfigurationError(f"{path}: expected the sections {', '.join(SECTIONS)}, and no other")
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ConfigurationError(f"{path}: section {name}: expected names and values")
    missing = [name for name in TRAINER if name not in sections["trainer"]]
    if missing:
        raise ConfigurationError(f"{path}: section trainer: {', '.join(missing)} missing")
    return Configuration(**sections)
