"""Reads the config.yaml beside a checkpoint as data: dicts, lists and scalars, within a budget. Nothing is imported.

PyYAML does the reading. An anchor, by which a short file can stand for a huge one or for one without end, is refused,
as is every tag that is not YAML's own, and a file that is long or nested deeply.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .errors import CompileError, one_line

NAMES = ("config.yaml", "config.yml")
_MAX_BYTES = 256 << 10  # real ones have some two kilobytes
_MAX_EVENTS = 1 << 14  # real ones have a hundred
_MAX_DEPTH = 32
_MAX_SCALAR = 1000  # characters
_TAG = re.compile(r"!|tag:yaml\.org,2002:\w+")  # what a tag may be: YAML's own, or `!`, which means none


def find_config(folder: Path) -> Path | None:
    """The configuration in a folder; None where there is none. Raises CompileError where there are two.

    A training run keeps its checkpoints in a folder of that name, below the one with the configuration.
    """
    if folder.name == "checkpoints" and not any((folder / name).is_file() for name in NAMES):
        folder = folder.parent
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise CompileError(f"{folder}: holds both {NAMES[0]} and {NAMES[1]}: keep one")
    return found[0] if found else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, keys as text. Raises CompileError, naming the file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        return parse_yaml(data)
    except CompileError as error:
        raise CompileError(f"{path}: {error}") from error
    except OSError as error:
        raise CompileError(f"{path}: cannot read: {error.strerror or error}") from error


def parse_yaml(data: bytes) -> dict[str, Any]:
    """The mapping that YAML's text holds, keys as text. Raises CompileError."""
    if len(data) > _MAX_BYTES:
        raise CompileError(f"has more than {_MAX_BYTES >> 10} KB: too long for a configuration")
    try:
        _check(data)
        value = yaml.safe_load(data)
    except CompileError:
        raise
    except yaml.YAMLError as error:
        raise CompileError(f"is no YAML: {_first_line(error)}") from error
    except Exception as error:  # a date that is none, a number of too many digits, text that is no UTF-8
        raise CompileError(f"malformed YAML: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise CompileError("holds no mapping: expected feature_extractor, backbone and head")
    plain: dict[str, Any] = _plain(value)
    return plain


def _first_line(error: yaml.YAMLError) -> str:
    """What is wrong, and the line."""
    mark = getattr(error, "problem_mark", None)
    text = one_line(getattr(error, "problem", None) or str(error))
    return f"{text}, line {mark.line + 1}" if mark is not None else text


def _check(data: bytes) -> None:
    """Refuse what could take much time or memory to build, before anything is built."""
    depth = 0
    for count, event in enumerate(yaml.parse(data, Loader=yaml.SafeLoader)):
        where = f"line {event.start_mark.line + 1}" if event.start_mark is not None else "somewhere"
        if count >= _MAX_EVENTS:
            raise CompileError(f"has more than {_MAX_EVENTS} values: too many for a configuration")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise CompileError(f"{where}: anchors and aliases are refused; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and not _TAG.fullmatch(tag):
            raise CompileError(f"{where}: the tag {one_line(tag)} is refused: a configuration is data")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_SCALAR:
            raise CompileError(f"{where}: a value of {len(event.value)} characters: too long for a configuration")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise CompileError(f"{where}: is nested more than {_MAX_DEPTH} deep")


def _plain(value: Any) -> Any:
    """Dicts with text for keys, lists and scalars."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else one_line(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else one_line(value)
