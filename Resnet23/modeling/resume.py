"""The state of a training under way, on disk, so that an interrupted one goes on where it was.

It lives in models/.resume/<key>/state.pt, outside of what DVC removes when a stage starts again. The key stands for
everything that the result depends on: other parameters, data or code never pick it up.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from loguru import logger

from Resnet23.arrays import Features
from Resnet23.config import MODELS_DIR, Params
from Resnet23.errors import InputError, ResourceError
from Resnet23.files import atomic_write, sha256_file
from Resnet23.modeling.device import choose_device, choose_precision
from Resnet23.modeling.pretrained import is_file_name

RESUME_DIR = MODELS_DIR / ".resume"
STATE_FILE = "state.pt"
KEPT_STATES = 3  # of ResNet-23 about 200 MB each
PACKAGE = Path(__file__).parent.parent
# They show, save or speed up, and change no result.
FREE_PARAMS = {"checkpoint_minutes", "checkpoint_steps", "num_workers", "pin_memory"}
# Modules that never change a result, or act only through the parameters.
FREE_MODULES = {
    "__init__", "config", "errors", "files", "command", "environment", "interrupts", "machine", "revision", "watch",
}  # fmt: skip
FREE_PACKAGE = "tracking"


class ResumeFile:
    """Where one training keeps its state; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @property
    def run_file(self) -> Path:
        """Names the tracker's run of the training."""
        return self.folder / "run.json"

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, or None. A damaged file, which only the disk can cause, is as good as none."""
        if self.folder is None or not (self.folder / STATE_FILE).exists():
            return None
        try:
            state = torch.load(self.folder / STATE_FILE, map_location="cpu", weights_only=True)
        except Exception as error:  # of a dozen kinds, as the damage may be
            logger.warning(f"{self.folder / STATE_FILE}: damaged ({type(error).__name__}); training starts anew")
            return None
        if state["key"] != self.folder.name:
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
    return ResumeFile(RESUME_DIR / resume_key(params, features))


def resume_key(params: Params, features: Features) -> str:
    """32 hexadecimal digits that stand for everything the result of a training depends on."""
    precision, _ = choose_precision(params.train.precision, choose_device(params.train.device))
    decisive = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "body": sha256_file(params.model.pretrained) if is_file_name(params.model.pretrained) else None,
        "train": params.train.model_dump(exclude=FREE_PARAMS),
        "precision": precision,
        "digests": features.info["digests"],
        "val_indices": features.info["val_indices"],
        "code": _code_digest(),
        "versions": [version(library) for library in ("torch", "torchvision", "accelerate", "numpy")],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]


def remove_old_states(own: ResumeFile) -> None:
    """Keep the states of the `KEPT_STATES` interrupted trainings of other parameters that were saved last."""
    others = [file for file in RESUME_DIR.glob(f"*/{STATE_FILE}") if file.parent != own.folder]
    for file in sorted(others, key=lambda file: file.stat().st_mtime)[:-KEPT_STATES]:
        logger.info(f"{file.parent}: an interrupted training of other parameters, too old to be kept, is removed")
        shutil.rmtree(file.parent, ignore_errors=True)


@contextmanager
def training_lock() -> Iterator[None]:
    """Let one training at a time work in this project.

    Raises InputError with the number of the process that holds the lock. The operating system releases it when that
    process ends, however it ends.
    """
    RESUME_DIR.mkdir(parents=True, exist_ok=True)
    holder = RESUME_DIR / "pid"
    try:
        with FileLock(RESUME_DIR / "lock", timeout=0):
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield
    except Timeout:
        number = holder.read_text(encoding="utf-8") if holder.exists() else "unknown"
        raise InputError(
            f"{MODELS_DIR}: another training is running in this project, process {number}; "
            f"wait for it, or stop it with: kill {number}"
        ) from None


def code_files() -> list[Path]:
    """The modules of this package that this process has imported and that can change a result, inside the package."""
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    ours = {file.relative_to(PACKAGE) for file in loaded if file.is_relative_to(PACKAGE)}
    return sorted(file for file in ours if file.stem not in FREE_MODULES and file.parts[0] != FREE_PACKAGE)


def _code_digest() -> str:
    """The SHA-256 over the names and the source of those modules."""
    digest = hashlib.sha256()
    for file in code_files():
        digest.update(file.as_posix().encode() + (PACKAGE / file).read_bytes())
    return digest.hexdigest()
