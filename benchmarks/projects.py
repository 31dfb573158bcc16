"""Project folders in which a benchmark runs the real stages: runs/bench-NAME, made anew and kept for the next time."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

from Resnet23 import datadownload, features
from Resnet23.arrays import read_info
from Resnet23.config import PARAMS_FILE, Params, load_params
from Resnet23.project import make_project

RUNS_DIR = Path("runs")
UNTRACKED = "tracking.enabled=false"  # a benchmark needs no tracker, so that it runs where none is installed


def load_recipe(preset: str | None, assignments: Sequence[str]) -> Params:
    """The parameters of a preset, or of params.yaml for None, after the assignments and without tracking."""
    return load_params(PARAMS_FILE, preset, [*assignments, UNTRACKED])


def recipe_digest(params: Params) -> str:
    """12 hexadecimal digits that stand for everything but the seed that a result depends on, the code aside."""
    decisive = params.model_dump(include={"data", "features", "model", "train"})
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def project_with_data(name: str, preset: str | None, assignments: Sequence[str]) -> Iterator[dict[str, int]]:
    """A project of these parameters with its images and arrays made, as the current directory until the block ends.

    Gives the numbers of images to train, to validate and to test on: train, val, test. It is the same folder each time,
    so that an interrupted training goes on.
    """
    folder = RUNS_DIR / f"bench-{name}"
    make_project(folder, preset, [*assignments, UNTRACKED])
    with chdir(folder):
        datadownload.main()
        features.main()
        yield read_info()["counts"]
