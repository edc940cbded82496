"""Compiled models, each built once a session."""

from pathlib import Path

import pytest

from tests.make_checkpoint import write_checkpoint
from tests.objects import Vocoder, compile_model, config


def _checkpoint(factory: pytest.TempPathFactory, name: str) -> Path:
    path = factory.mktemp("checkpoint") / f"{name}.ckpt"
    write_checkpoint(path, config(name))
    return path


def _object(factory: pytest.TempPathFactory, checkpoint: Path, chunks: str) -> Path:
    return compile_model(checkpoint, factory.mktemp("object") / "out", checkpoint.stem, "--chunk", chunks)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _checkpoint(tmp_path_factory, "small")


@pytest.fixture(scope="session")
def odd_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _checkpoint(tmp_path_factory, "odd")


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _checkpoint(tmp_path_factory, "full")


@pytest.fixture(scope="session")
def small_object(tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path) -> Path:
    """The directory that holds the compiled `small`, for at most 16 frames."""
    return _object(tmp_path_factory, small_checkpoint, "5,16")


@pytest.fixture(scope="session")
def odd_object(tmp_path_factory: pytest.TempPathFactory, odd_checkpoint: Path) -> Path:
    """The directory that holds the compiled `odd`, for at most 16 frames."""
    return _object(tmp_path_factory, odd_checkpoint, "3,16")


@pytest.fixture(scope="session")
def full_object(tmp_path_factory: pytest.TempPathFactory, full_checkpoint: Path) -> Path:
    """The directory that holds the compiled `full`, for at most 16 frames."""
    return _object(tmp_path_factory, full_checkpoint, "1,5,16")


@pytest.fixture(scope="session")
def small(small_object: Path) -> Vocoder:
    return Vocoder(small_object, "small")


@pytest.fixture(scope="session")
def odd(odd_object: Path) -> Vocoder:
    return Vocoder(odd_object, "odd")


@pytest.fixture(scope="session")
def full(full_object: Path) -> Vocoder:
    return Vocoder(full_object, "full")
