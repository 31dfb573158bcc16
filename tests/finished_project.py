"""A small project after its training and prediction, for tests of what reads its files."""

from contextlib import chdir
from pathlib import Path

from forked_processes import start
from small_features import make_features
from small_project import SHRUNK

UNTRACKED = ("--set", "tracking.enabled=false")
STAGES = ("Resnet23.modeling.train", "Resnet23.modeling.predict")


def make_finished_project(folder: Path) -> Path:
    """Run the pipeline in `folder` on a few digits, untracked; gives the folder."""
    make_features(folder, SHRUNK)
    for stage in STAGES:
        command = start(folder, stage, *UNTRACKED)
        assert command.wait() == 0, command.lines()
    return folder


def example_images(folder: Path) -> list[str]:
    """The paths of two images of the project, relative to it."""
    with chdir(folder):
        return [path.as_posix() for path in sorted(Path("data/processed/test").rglob("*.png"))[:2]]
