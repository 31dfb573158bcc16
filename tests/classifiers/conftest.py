"""A place that is no project, and what was logged there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger


@pytest.fixture
def no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lines(no_project: Path) -> Iterator[list[str]]:
    """The lines that are logged during a test."""
    messages: list[str] = []
    handler = logger.add(lambda message: messages.append(str(message)), format="{message}")
    yield messages
    logger.remove(handler)
