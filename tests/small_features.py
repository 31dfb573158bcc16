"""A small project with its features made: what the tests of the training stage start from."""

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from small_project import REPOSITORY

from Resnet23 import features
from Resnet23.config import load_params
from Resnet23.datadownload import main as datadownload
from Resnet23.project import write_params


def make_features(folder: Path, assignments: Sequence[str]) -> None:
    """Write the parameters, the repository's after `assignments`, into `folder` and run the first two stages there."""
    folder = folder.resolve()  # the working directory changes below
    with chdir(REPOSITORY):
        params = load_params(assignments=assignments).model_dump()
        write_params(folder / "params.yaml", params, "tests/small_features.py")
    with chdir(folder):
        datadownload()
        features.main()
