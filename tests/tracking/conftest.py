"""A project with a store of its own, and servers on this machine, for the tests of tracking."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_store import REPOSITORY, FirstProject, make_first_project
from loguru import logger
from servers import FaultyServer, MlflowServer, running_mlflow_server

from Resnet23.tracking.store import STORE_FILE


@pytest.fixture(scope="session")
def first_project(tmp_path_factory: pytest.TempPathFactory) -> FirstProject:
    """A store takes MLflow seconds to make: the tests begin with a copy of this one."""
    return make_first_project(tmp_path_factory.mktemp("first project"))


@pytest.fixture
def project(tmp_path: Path, first_project: FirstProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, a project with a store; child processes find the package."""
    (tmp_path / STORE_FILE).parent.mkdir()
    shutil.copy(first_project.folder / STORE_FILE, tmp_path / STORE_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return tmp_path


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What this process logs, as "LEVEL: message"."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(f"{message.record['level'].name}: {message.record['message']}"))
    yield lines
    logger.remove(handler)


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MlflowServer]:
    """An `mlflow server` with user and password, shared by all tests: use names of experiments that are your own."""
    with running_mlflow_server() as server:
        yield server


@pytest.fixture
def faulty_server(mlflow_server: MlflowServer) -> Iterator[FaultyServer]:
    """The same server behind a proxy whose faults the test chooses."""
    server = FaultyServer(mlflow_server)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine uses for the web, it is not asked for servers on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
