"""What many tests share: a small project to work in, and the official data where somebody has it."""

import os
import sys
from pathlib import Path

# Small networks crawl when two threads wait for each other on a busy machine. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import load_params
from Resnet23.machine import describe_machine
from Resnet23.project import write_params

pytest_plugins = ["fault_record"]

# Runs of tests do not belong on anybody's server.
for variable in ("MLFLOW_TRACKING_URI", "DAGSHUB_REPO_OWNER", "DAGSHUB_REPO_NAME", "DAGSHUB_USER_TOKEN"):
    os.environ.pop(variable, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more process than cores: a test also waits, for servers and for other processes."""
    return describe_machine()["cores"] + 1


@pytest.fixture(autouse=True)
def own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what a test puts on the import path off it again, such as MLflow the code beside a model that it loads."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def repository() -> Path:
    """The top folder of the repository."""
    return REPOSITORY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current directory; its params.yaml is the repository's, shrunk."""
    monkeypatch.chdir(REPOSITORY)
    write_params(tmp_path / "params.yaml", load_params(assignments=SHRUNK).model_dump(), "tests/conftest.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET23_DATA_MIRROR", raising=False)
    return tmp_path


@pytest.fixture
def mirror() -> Path:
    """The folder with the official CIFAR files that RESNET23_DATA_MIRROR names; skips the test where there is none."""
    folder = os.environ.get("RESNET23_DATA_MIRROR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set RESNET23_DATA_MIRROR to a folder with the official CIFAR files to run this test")
    return Path(folder)
