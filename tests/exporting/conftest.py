"""A few digits as features, made once, and everything that is written and logged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import Features, read_features


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with handwritten digits of 16 pixels, 40 of each class to train on and 10 to test on."""
    folder = tmp_path_factory.mktemp("digits")
    make_features(folder, [*SHRUNK, "data.image_size=16", "data.max_per_class={train: 40, test: 10}"])
    return folder


@pytest.fixture(scope="session")
def digits(digits_folder: Path) -> Features:
    return read_features(digits_folder / "data" / "features")


@pytest.fixture(scope="session")
def mosaics_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with mosaics of several digits, which have several labels."""
    folder = tmp_path_factory.mktemp("mosaics")
    make_features(folder, [*SHRUNK, "data.dataset=digits-multilabel", "data.image_size=16"])
    return folder


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines that are logged during a test."""
    messages: list[str] = []
    handler = logger.add(lambda message: messages.append(str(message)), format="{message}")
    yield messages
    logger.remove(handler)
