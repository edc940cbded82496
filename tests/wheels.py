"""Wheels of models, installed by pip for the tests."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from tests import builds
from tests.objects import run_ok

MODEL = ("--chunk", "3,16", "--target", "portable", "--wheel")
"""Options of the model that most tests of the wheel share."""


def install(wheel: Path, site: Path) -> Path:
    """Into a folder of its own, by pip, which checks every file against RECORD; numpy is there already."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    run_ok([*pip, "--target", site, wheel])
    return site


def site_of(directory: Path) -> Path:
    """A folder where a model's wheel is installed."""
    return builds.once(("site", wheel_of(directory).name), lambda folder: install(wheel_of(directory), folder))


def wheel_of(directory: Path) -> Path:
    (wheel,) = directory.glob("*.whl")
    return wheel


def load(site: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(site))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(site))
