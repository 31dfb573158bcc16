"""Where a study runs: a project folder with the images and parameters of its scale, and the database of its trials."""

import json
import subprocess
import sys
from pathlib import Path

from Resnet23.arrays import Features, read_features
from Resnet23.config import FEATURES_DIR, PARAMS_FILE, PROCESSED_DIR, Params, load_params
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.project import make_project
from Resnet23.studies.definition import Study, read_study

WORK_DIR = Path("runs/studies")
DATABASE = "trials.db"


def folder_of(study: Study, scale: str) -> Path:
    """The project folder of a study at a scale."""
    return WORK_DIR / f"{study.name}-{scale}"


def require_scale(study: Study, scale: str) -> None:
    """Raise InputError when the study has no such scale."""
    if scale not in study.scales:
        raise InputError(f"study {study.name} has no scale {scale!r}; expected one of {', '.join(study.scales)}")


def scale_params(study: Study, scale: str) -> Params:
    """The parameters before any setting is applied: params.yaml, the preset, what the scale sets."""
    chosen = study.scales[scale]
    return load_params(PARAMS_FILE, chosen.preset, _assignments(study, scale))


def prepare_features(study: Study, scale: str) -> Features:
    """The images of a study as arrays, made by the pipeline's own stages where they are not up to date.

    Raises Resnet23Error when a stage fails; its own message comes before.
    """
    folder = folder_of(study, scale)
    make_project(folder, study.scales[scale].preset, _assignments(study, scale))
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", "features"]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise Resnet23Error(f"study {study.name}: its images could not be prepared in {folder}; see above")
    return read_features(folder / FEATURES_DIR, folder / PROCESSED_DIR)


def database_url(study: Study, scale: str) -> str:
    """The URL of the database of trials beside the images."""
    return f"sqlite:///{(folder_of(study, scale) / DATABASE).resolve()}"


def read_scale(name: str, scale: str) -> Study:
    """A study that has this scale. Raises InputError otherwise."""
    study = read_study(name)
    require_scale(study, scale)
    return study


def _assignments(study: Study, scale: str) -> list[str]:
    changes = {**study.set, **study.scales[scale].set}
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]  # JSON is YAML
