"""A stand-in for the repository in which benchmarks make their projects."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from small_project import SHRUNK

from Resnet23.config import load_params
from Resnet23.project import write_params

COPIED = ("dvc.yaml", "presets", "reports/extras/README.md", "docs/benchmarks.md", "docs/scale.md")


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """The benchmark of a name; their folder is no part of the installed package."""
    monkeypatch.syspath_prepend(repository)
    return lambda name: import_module(f"benchmarks.{name}")


@pytest.fixture
def bench(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose params.yaml is shrunk, as the current directory."""
    monkeypatch.chdir(repository)
    write_params(tmp_path / "params.yaml", load_params(assignments=SHRUNK).model_dump(), "tests/benchmarks/conftest.py")
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, tmp_path / name)
    (tmp_path / "Resnet23").symlink_to(repository / "Resnet23", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET23_DATA_MIRROR", raising=False)
    return tmp_path
