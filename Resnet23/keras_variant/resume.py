"""The state of a training under way, on disk, so that an interrupted one goes on where it was.

It lies in models/.resume/keras/<key>/state/, outside of what DVC removes when a stage starts again. The key stands for
everything that the result depends on: other parameters, data or code never pick it up.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from loguru import logger

from Resnet23.arrays import Features
from Resnet23.config import MODELS_DIR
from Resnet23.errors import InputError, ResourceError
from Resnet23.files import atomic_folder, sha256_file, write_json
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasParams

if TYPE_CHECKING:
    import keras

RESUME_DIR = MODELS_DIR / ".resume" / "keras"
STATE = "state"
STATE_FILE = "state.json"
WEIGHTS_FILE = "network.weights.h5"
KEPT_STATES = 3
CODE = Path(__file__).parent


@dataclass(frozen=True)
class ResumeFolder:
    """Where one training keeps its state and the weights of its best epoch."""

    folder: Path

    @property
    def run_file(self) -> Path:
        """Names the tracker's run of the training."""
        return self.folder / "run.json"

    @property
    def weights(self) -> Path:
        """The weights that were saved last, with the state of the optimizer."""
        return self.folder / STATE / WEIGHTS_FILE

    @property
    def best_pattern(self) -> str:
        """Where the weights of epoch {epoch}, the best so far, are kept."""
        return str(self.folder / "best-{epoch}.weights.h5")

    def best(self, epoch: int) -> Path:
        """The weights of this epoch, counted from 1."""
        return Path(self.best_pattern.format(epoch=epoch))

    def load(self) -> dict[str, Any] | None:
        """The plain values that were saved last, or None. A damaged file, which only the disk can cause, is none."""
        try:
            state = json.loads((self.folder / STATE / STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            logger.warning(f"{self.folder / STATE}: damaged; training starts anew")
            return None
        return state if self.weights.exists() else None

    def save(self, model: "keras.Model", state: Mapping[str, Any], best_epoch: int) -> None:
        """Replace the saved state; the weights of epochs that are no longer the best go.

        A full disk is reported and does not end the training.
        """
        try:
            with atomic_folder(self.folder / STATE) as temporary:
                model.save_weights(temporary / WEIGHTS_FILE)
                write_json(temporary / STATE_FILE, state)
        except (ResourceError, OSError) as error:
            logger.warning(f"the state of the training was not saved: {error}")
            return
        for file in self.folder.glob("best-*.weights.h5"):
            if file != self.best(best_epoch):
                file.unlink()

    def remove(self) -> None:
        """Forget the training: it is done, or is to start anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def resume_folder(params: KerasParams, features: Features, precision: str) -> ResumeFolder:
    """The place for the state of the training that these parameters, data and this code make."""
    weights = params.model.weights
    decisive = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "weights": sha256_file(weights) if weights and Path(weights).is_file() else None,
        "train": params.train.model_dump(),
        "precision": precision,
        "digests": features.info["digests"],
        "val_indices": features.info["val_indices"],
        "code": [sha256_file(file) for file in sorted(CODE.glob("*.py"))],
        "versions": [import_keras().version(), version("numpy")],
    }
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]
    return ResumeFolder(RESUME_DIR / key)


def remove_old_states(own: ResumeFolder) -> None:
    """Keep the states of the `KEPT_STATES` interrupted trainings of other parameters that were saved last."""
    others = [path for path in RESUME_DIR.iterdir() if path.is_dir() and path != own.folder]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT_STATES]:
        logger.info(f"{path}: an interrupted training of other parameters, too old to be kept, is removed")
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def training_lock() -> Iterator[None]:
    """Let one Keras training at a time work in this project. Raises InputError while there is another one."""
    RESUME_DIR.mkdir(parents=True, exist_ok=True)
    lock = FileLock(RESUME_DIR / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{RESUME_DIR}: another training is running in this project; wait for it, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()
