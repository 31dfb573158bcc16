"""data/features as memory-mapped arrays: what stage 2 leaves for everything that trains, predicts or draws.

    data/features/features.json             classes, counts, mean and std, validation split, duplicates, digests
    data/features/{train,test}/images.npy   (N, H, W, 3) uint8
    data/features/{train,test}/targets.npy  (N,) int64, positions in `classes`
    data/features/{train,test}/files.json   N names relative to data/processed

features.json is written last: without it the folder does not count as made.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from Resnet23.config import FEATURES_DIR
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable

FORMAT = "resnet23-features"
VERSION = 1
INFO_FILE = "features.json"
IMAGES_FILE = "images.npy"
TARGETS_FILE = "targets.npy"
FILES_FILE = "files.json"
REMAKE = "run `make features`"


@dataclass(frozen=True)
class Split:
    """The images of one split; row i of all three belongs to the same image."""

    images: np.ndarray  # (N, H, W, 3) uint8, read-only memory map
    targets: np.ndarray  # (N,) int64
    files: list[str]

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Features:
    """Both splits and their description; the validation images are rows of `train`."""

    info: dict[str, Any]  # the whole of features.json
    train: Split
    test: Split
    folder: Path

    @property
    def classes(self) -> list[str]:
        """Class names; a target is a position in this list."""
        return self.info["classes"]

    @property
    def task(self) -> str:
        """What the images are labelled for."""
        return self.info["task"]

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.info["image_size"]

    @property
    def resize(self) -> str:
        """The rule by which the images were brought to that size: crop, pad or stretch."""
        return self.info["resize"]

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of each RGB channel over the training images, pixels scaled to [0, 1]."""
        return tuple(self.info["mean"])

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of each RGB channel over the training images, pixels scaled to [0, 1]."""
        return tuple(self.info["std"])

    @property
    def val_indices(self) -> np.ndarray:
        """Sorted rows of `train` that are held out for validation, int64."""
        return np.asarray(self.info["val_indices"], dtype=np.int64)

    @property
    def train_indices(self) -> np.ndarray:
        """Sorted rows of `train` that are trained on, int64."""
        return np.setdiff1d(np.arange(len(self.train)), self.val_indices, assume_unique=True)


def read_features(folder: str | Path = FEATURES_DIR) -> Features:
    """Open what stage 2 wrote. The images stay on disk and are read as they are used.

    Raises InputError when a file is missing, and IntegrityError when one is malformed, of another version,
    a pickle in disguise, or does not fit the others.
    """
    folder = Path(folder)
    info = _read_info(folder / INFO_FILE)
    train, test = (_read_split(folder, name, info) for name in ("train", "test"))
    rows = info["val_indices"]
    if len(rows) != info["counts"]["val"] or rows != sorted(set(rows) & set(range(len(train)))):
        raise IntegrityError(
            f"{printable(folder / INFO_FILE)}: val_indices: expected {info['counts']['val']} "
            f"different sorted rows of the {len(train)} in train/; {REMAKE}"
        )
    return Features(info, train, test, folder)


class _Counts(BaseModel):
    """Numbers of images; those in train/ on disk are train + val."""

    train: int = Field(ge=0)
    val: int = Field(ge=0)
    test: int = Field(ge=0)


class _Info(BaseModel):
    """The keys of features.json that other code relies on; further keys pass unchecked."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    format: Literal["resnet23-features"]
    version: Literal[1]
    dataset: str
    task: Literal["multiclass"]
    classes: list[str] = Field(min_length=1)
    image_size: int = Field(ge=1)
    resize: Literal["crop", "pad", "stretch"]
    counts: _Counts
    class_counts: dict[Literal["train", "val", "test"], dict[str, int]]
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[float] = Field(min_length=3, max_length=3)
    val_indices: list[int]
    digests: dict[Literal["train", "test"], dict[Literal["images", "targets"], str]]
    duplicates: dict[Literal["identical", "near_identical"], dict[str, Any]]
    skipped: list[dict[str, str]]


def _read_info(path: Path) -> dict[str, Any]:
    info = _read_json(path)
    try:
        _Info.model_validate(info)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "its content"
        found = repr(first["input"]) if len(repr(first["input"])) < 60 else type(first["input"]).__name__
        expected = first["msg"].replace("Input should be", "expected")
        raise IntegrityError(f"{printable(path)}: {key}: found {found}, {expected}; {REMAKE}") from None
    return info


def _read_split(folder: Path, name: str, info: dict[str, Any]) -> Split:
    images_path, targets_path, files_path = (folder / name / file for file in (IMAGES_FILE, TARGETS_FILE, FILES_FILE))
    count = info["counts"][name] + (info["counts"]["val"] if name == "train" else 0)
    side = info["image_size"]
    images = _read_array(images_path, (count, side, side, 3), np.uint8)
    targets = np.array(_read_array(targets_path, (count,), np.int64))
    if count and not 0 <= targets.min() <= targets.max() < len(info["classes"]):
        raise IntegrityError(f"{printable(targets_path)}: a target beyond the {len(info['classes'])} classes; {REMAKE}")
    files = _read_json(files_path)
    if not isinstance(files, list) or len(files) != count or not all(isinstance(file, str) for file in files):
        raise IntegrityError(f"{printable(files_path)}: expected a list of {count} file names; {REMAKE}")
    return Split(images, targets, files)


def _read_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """Memory-map a .npy file and check that it holds what features.json says."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; {REMAKE}") from None
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise IntegrityError(f"{printable(path)}: not a .npy array of numbers ({reason}); {REMAKE}") from None
    if not isinstance(array, np.memmap):
        raise IntegrityError(f"{printable(path)}: found a .npz archive, expected a .npy array; {REMAKE}")
    if array.shape != shape or array.dtype != dtype:
        raise IntegrityError(
            f"{printable(path)}: found shape {array.shape} of {array.dtype}, "
            f"expected {shape} of {np.dtype(dtype)} as {INFO_FILE} says; {REMAKE}"
        )
    return array


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; run `make features`") from None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{printable(path)}: not valid JSON ({error}); {REMAKE}") from None
