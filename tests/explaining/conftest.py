"""Small finished projects: handwritten digits, and mosaics of them with several labels."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
from small_features import make_features
from small_project import SHRUNK

from Resnet23.modeling import predict, train

Enter = Callable[[str], Path]
DATASETS = {
    "digits": ["data.image_size=16"],
    "mosaics": ["data.dataset=digits-multilabel", "data.image_size=16"],
}


def finish(folder: Path, assignments: Sequence[str]) -> Path:
    """The stages up to the predictions."""
    make_features(folder, [*SHRUNK, *assignments, "tracking.enabled=false", "train.epochs=1"])
    with chdir(folder):
        train.main()
        predict.main()
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: finish(tmp_path_factory.mktemp(name), assignments) for name, assignments in DATASETS.items()}


@pytest.fixture
def enter(finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Work in a copy of one of them."""

    def enter_copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(finished[name], folder)
        monkeypatch.chdir(folder)
        return folder

    return enter_copy
