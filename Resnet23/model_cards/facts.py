"""What a run was: its network, its images, its training and the machine, as values that the template writes out."""

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from Resnet23.config import flatten
from Resnet23.environment import project_root
from Resnet23.history import best_epoch, has_validation
from Resnet23.modeling.checkpoint import Checkpoint
from Resnet23.outputs import PYTORCH
from Resnet23.places import PLACES, last_part
from Resnet23.results import Results
from Resnet23.tracking.store import STORE_FILE, find_run, store_client

RESIZE = {
    "crop": "the shorter side becomes {size} pixels and the square in the middle is kept: what lies outside it is "
    "never seen",
    "pad": "the longer side becomes {size} pixels and the rest of the square is filled",
    "stretch": "both sides become {size} pixels, whatever their ratio was",
}
# Keys that decide where and how conveniently a training runs, not what it learns.
NOT_THE_RECIPE = (
    "train.device", "train.channels_last", "train.compile", "train.deterministic", "train.num_workers",
    "train.pin_memory", "train.checkpoint_minutes", "train.checkpoint_steps",
)  # fmt: skip
MACHINE, VERSION = "machine.", "version."  # how the tracker's tags begin


@dataclass(frozen=True)
class Training:
    """The course of the training, and where it ran."""

    epochs: int
    kept_epoch: int
    is_chosen: bool  # by validation images
    seconds: float
    machine: dict[str, str]  # empty when it was not recorded
    versions: dict[str, str]
    versions_are_recorded: bool  # else they are those of the environment that wrote the card


def describe_training(results: Results) -> Training:
    """From history.csv, and of a tracked training from the tags of its run."""
    tags = recorded_tags(results.run)
    versions = {key.removeprefix(VERSION): value for key, value in tags.items() if key.startswith(VERSION)}
    return Training(
        epochs=len(results.history["seconds"]),
        kept_epoch=best_epoch(results.history) + 1,
        is_chosen=has_validation(results.history),
        seconds=float(np.sum(results.history["seconds"])),
        machine={key.removeprefix(MACHINE): value for key, value in tags.items() if key.startswith(MACHINE)},
        versions=versions or installed_versions(),
        versions_are_recorded=bool(versions),
    )


def recorded_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a training's run in the project's store; empty when it was not tracked, or elsewhere."""
    if not run.get("run_id") or not (project_root() / STORE_FILE).exists():
        return {}
    found = find_run(store_client(), run["run_id"])
    return dict(sorted(found.data.tags.items())) if found else {}


def installed_versions() -> dict[str, str]:
    """Python and the libraries that are installed, without importing them."""
    versions = {"python": platform.python_version()}
    for package in PYTORCH.packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def recipe(checkpoint: Checkpoint) -> dict[str, str]:
    """Every parameter that decides what the network is and learns, by its dotted key."""
    values = flatten(checkpoint.params)
    values |= {key: last_part(values[key]) for key in PLACES if isinstance(values.get(key), str)}
    return {key: _plain(value) for key, value in values.items() if key not in NOT_THE_RECIPE}


def count_parameters(checkpoint: Checkpoint) -> int:
    """How many numbers the training could change, those of frozen layers included."""
    return sum(parameter.numel() for parameter in checkpoint.build_model().parameters())


def resize_rule(checkpoint: Checkpoint) -> str:
    """How an image becomes a square of the network's size."""
    how = checkpoint.preprocessing
    return RESIZE[how.resize].format(size=how.image_size)


def selection_rule(checkpoint: Checkpoint) -> str:
    """Which of the data set's images were taken."""
    data = checkpoint.params.get("data", {})
    most = data.get("max_per_class") or {}
    kept = [f"at most {most[split]:,} of each for the {split} split" for split in ("train", "test") if most.get(split)]
    return f"{', '.join(kept)}, the {data.get('take', 'first')} in its order" if kept else "all images"


def initial_weights(checkpoint: Checkpoint) -> str | None:
    """What the network's weights were before the training, None: random ones."""
    pretrained = checkpoint.model.get("pretrained")
    return None if not pretrained else "the best published ones" if pretrained is True else last_part(str(pretrained))


def _plain(value: Any) -> str:
    """A parameter as one would write it in params.yaml."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
