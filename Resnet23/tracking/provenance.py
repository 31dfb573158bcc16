"""What a run came from: code, libraries, machine, DVC's stage and experiment, as tags of the run."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from Resnet23.machine import describe_machine
from Resnet23.revision import git_commit, git_revision

LIBRARIES = ("torch", "torchvision", "accelerate", "numpy", "pillow", "scikit-learn", "dvc", "mlflow")
# How DVC tells a stage where it runs; the last two only under `dvc exp run`, the queue included.
DVC_VARIABLES = {
    "dvc_stage": "DVC_STAGE",
    "dvc_exp_name": "DVC_EXP_NAME",
    "dvc_exp_baseline": "DVC_EXP_BASELINE_REV",
}


def provenance() -> dict[str, Any]:
    """Tags under the names that the run's page shows, None for what is not known."""
    revision = git_revision()
    return {
        "git_revision": revision,
        "git_dirty": None if revision is None else str(revision.endswith("-dirty")).lower(),
        "mlflow.source.git.commit": git_commit(),  # MLflow shows it in the list of runs
        **{tag: os.environ.get(variable) for tag, variable in DVC_VARIABLES.items()},
        **{f"machine.{key}": value for key, value in describe_machine().items()},
        "version.python": platform.python_version(),
        **{f"version.{library}": _version(library) for library in LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # a bare environment that only predicts
        return None
