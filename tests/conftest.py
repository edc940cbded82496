"""The models that many tests ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import builds, vocoders
from tests.objects import Vocoder


@pytest.fixture(scope="session", autouse=True)
def _shared_builds(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for all processes: each has a base folder of its own, beside the others'."""
    base = tmp_path_factory.getbasetemp()
    builds.share((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "builds")


@pytest.fixture(scope="session")
def loaded() -> Iterator[vocoders.Vocoders]:
    found = vocoders.Vocoders()
    with found.stack:
        yield found


@pytest.fixture(params=vocoders.HERE)
def vocoder(request: pytest.FixtureRequest, loaded: vocoders.Vocoders) -> Vocoder:
    """A model of tests/vocoders.py: on this CPU, `small` and `odd`, unless a test is decorated for others."""
    return loaded.get(request.param)


@pytest.fixture(scope="session")
def small(loaded: vocoders.Vocoders) -> Vocoder:
    return loaded.get("small")


@pytest.fixture(scope="session")
def odd(loaded: vocoders.Vocoders) -> Vocoder:
    return loaded.get("odd")


@pytest.fixture(scope="session")
def full(loaded: vocoders.Vocoders) -> Vocoder:
    """The published sizes."""
    return loaded.get("full")


@pytest.fixture(scope="session")
def small_checkpoint() -> Path:
    return builds.checkpoint("small")


@pytest.fixture(scope="session")
def odd_checkpoint() -> Path:
    return builds.checkpoint("odd")


@pytest.fixture(scope="session")
def full_checkpoint() -> Path:
    return builds.checkpoint("full")
