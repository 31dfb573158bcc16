"""The state of a training under way, on disk, so that an interrupted one goes on where it was.

It lies in models/.resume/keras/<key>/, outside of what DVC removes when a stage starts again: state.json names the
files with the weights, network-<epoch> with the optimizer's state and best-<epoch>, and their SHA-256. They are written
before it and removed after it, so that it names whole files at any moment.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from Resnet23 import resuming
from Resnet23.arrays import Features
from Resnet23.errors import ResourceError
from Resnet23.files import atomic_path, atomic_write, sha256_file
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasParams

if TYPE_CHECKING:
    import keras

RESUME_DIR = resuming.RESUME_DIR / "keras"
STATE_FILE = "state.json"
SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class ResumeFolder:
    """Where one training keeps its state and the weights of its best epoch; epochs count from 1."""

    folder: Path

    @property
    def run_file(self) -> Path:
        """Names the tracker's run of the training."""
        return self.folder / resuming.RUN_FILE

    @property
    def best_pattern(self) -> str:
        """Where the weights of epoch {epoch}, the best so far, are kept."""
        return str(self.folder / f"best-{{epoch}}{SUFFIX}")

    def best(self, epoch: int) -> Path:
        """The weights of this epoch."""
        return Path(self.best_pattern.format(epoch=epoch))

    def weights(self, epoch: int) -> Path:
        """The weights after this epoch, with the state of the optimizer."""
        return self.folder / f"network-{epoch}{SUFFIX}"

    def load(self) -> dict[str, Any] | None:
        """The plain values that were saved last, or None. Damaged files, which only the disk can cause, are none."""
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            for name, digest in state["files"].items():
                if sha256_file(self.folder / name) != digest:
                    raise ValueError(f"{name}: another SHA-256 than saved")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning(f"{path}: damaged ({error}); training starts anew")
            return None
        return state

    def save(self, model: "keras.Model", state: Mapping[str, Any], epoch: int, best_epoch: int) -> None:
        """Replace the saved state by that after `epoch`; the weights of others but the best one go.

        A full disk is reported and does not end the training.
        """
        kept = (self.weights(epoch), self.best(best_epoch))
        try:
            with atomic_path(kept[0]) as temporary:
                named = temporary.with_suffix(SUFFIX)  # Keras takes no other
                model.save_weights(named)
                named.replace(temporary)
            files = {file.name: sha256_file(file) for file in kept}
            with atomic_write(self.folder / STATE_FILE) as file:
                json.dump({**state, "files": files}, file)  # with NaN, which a validation loss may be
        except (ResourceError, OSError) as error:
            logger.warning(f"the state of the training was not saved: {error}")
            return
        for file in self.folder.glob(f"*{SUFFIX}"):
            if file not in kept:
                file.unlink()

    def remove(self) -> None:
        """Forget the training: it is done, or is to start anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def resume_folder(params: KerasParams, features: Features, precision: str) -> ResumeFolder:
    """The place for the state of the training that these parameters, data and this code make."""
    keras = import_keras()
    import tensorflow as tf

    weights = params.model.weights
    decisive = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "weights": sha256_file(weights) if weights and Path(weights).is_file() else None,
        "train": params.train.model_dump(),
        "precision": precision,
        "digests": features.info["digests"],
        "val_indices": features.info["val_indices"],
        "versions": [keras.version(), tf.version.VERSION, version("numpy")],
    }
    return ResumeFolder(RESUME_DIR / resuming.resume_key(decisive))
