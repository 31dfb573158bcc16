"""The state of a training under way, on disk, so that an interrupted one goes on where it was.

It lives in models/.resume/<key>/state.pt, outside of what DVC removes when a stage starts again. The key stands for
everything that the result depends on: other parameters, data or code never pick it up.
"""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from loguru import logger

from Resnet23.arrays import Features
from Resnet23.config import Params
from Resnet23.errors import ResourceError, is_out_of_memory
from Resnet23.files import atomic_write, sha256_file
from Resnet23.modeling.device import choose_device, choose_precision
from Resnet23.modeling.pretrained import is_file_name
from Resnet23.modeling.weightfiles import load_tensors
from Resnet23.resuming import RESUME_DIR, RUN_FILE, resume_key

STATE_FILE = "state.pt"
# They show, save or speed up, and change no result.
FREE_PARAMS = {"checkpoint_minutes", "checkpoint_steps", "num_workers", "pin_memory"}


class ResumeFile:
    """Where one training keeps its state; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @property
    def run_file(self) -> Path:
        """Names the tracker's run of the training."""
        return self.folder / RUN_FILE

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, or None. A damaged file, which only the disk can cause, is as good as none.

        Without the memory to read it the state stays as it is: PyTorch's error, or MemoryError.
        """
        if self.folder is None or not (self.folder / STATE_FILE).exists():
            return None
        try:
            state = load_tensors(self.folder / STATE_FILE)
        except Exception as error:  # of a dozen kinds, as the damage may be
            if is_out_of_memory(error):
                raise
            logger.warning(f"{self.folder / STATE_FILE}: damaged ({type(error).__name__}); training starts anew")
            return None
        if not isinstance(state, dict) or state.get("key") != self.folder.name:
            logger.warning(f"{self.folder / STATE_FILE}: belongs to another training; this one starts anew")
            return None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state. A full disk is reported and does not end the training."""
        if self.folder is None:
            return
        try:
            with atomic_write(self.folder / STATE_FILE, "wb") as file:
                torch.save(state | {"key": self.folder.name}, file)
        except ResourceError as error:
            logger.warning(f"the state of the training was not saved: {error}")

    def remove(self) -> None:
        """Forget the training: it is done, or is to start anew."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NOT_SAVED = ResumeFile(None)


def resume_file(params: Params, features: Features) -> ResumeFile:
    """The place for the state of the training that these parameters, data and this code make."""
    precision, _ = choose_precision(params.train.precision, choose_device(params.train.device))
    decisive = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "body": sha256_file(params.model.pretrained) if is_file_name(params.model.pretrained) else None,
        "train": params.train.model_dump(exclude=FREE_PARAMS),
        "precision": precision,
        "digests": features.info["digests"],
        "val_indices": features.info["val_indices"],
        "versions": [version(library) for library in ("torch", "torchvision", "accelerate", "numpy")],
    }
    return ResumeFile(RESUME_DIR / resume_key(decisive))
