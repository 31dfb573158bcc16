"""data/features as memory-mapped arrays: what stage 2 leaves for everything that trains, predicts or draws.

    data/features/features.json             classes, counts, mean and std, validation split, duplicates, digests
    data/features/{train,test}/images.npy   (N, H, W, 3) uint8; not with `features.storage: files`
    data/features/{train,test}/targets.npy  (N,) int64, positions in `classes`; multi-label (N, C) uint8, 0 or 1
    data/features/{train,test}/files.json   N names relative to data/processed

features.json is written last: without it the folder does not count as made. With `features.storage: files` the images
stay in data/processed, and `images` is an ImageFiles, which reads them there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from Resnet23.config import FEATURES_DIR, PROCESSED_DIR
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable
from Resnet23.imagefiles import ImageFiles, combined_sha256
from Resnet23.processed import MANIFEST, restore_folders

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

    images: np.memmap | ImageFiles  # (N, H, W, 3) uint8, read from disk as it is indexed, read-only
    targets: np.ndarray  # (N,) int64, or multi-label (N, C) uint8
    files: list[str]

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Features:
    """Both splits and their description; the validation images are rows of `train`."""

    info: dict[str, Any]  # the whole of features.json, see read_info
    train: Split
    test: Split
    folder: Path

    @property
    def classes(self) -> list[str]:
        """Class names; a target is a position in this list, or of a multi-label set a 0 or 1 for each of them."""
        return self.info["classes"]

    @property
    def superclasses(self) -> dict[str, str]:
        """The superclass of each class; empty where the data set has none."""
        return self.info.get("superclasses", {})

    @property
    def task(self) -> str:
        """What the images are labelled for: multiclass, one class each, or multilabel, any number."""
        return self.info["task"]

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.info["image_size"]

    @property
    def digest(self) -> str:
        """A hash of all images and targets, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.info["digests"], sort_keys=True).encode()).hexdigest()

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


def read_features(folder: str | Path = FEATURES_DIR, processed: str | Path = PROCESSED_DIR) -> Features:
    """Open what stage 2 wrote. The images stay on disk and are read as they are used.

    With `features.storage: files` they are in `processed`, whose class folders are first made to be those of its
    manifest. Raises InputError when a file is missing or the manifest is of other images, and IntegrityError when a
    file is malformed, of another version, a pickle in disguise, or does not fit the others.
    """
    folder, processed = Path(folder), Path(processed)
    info = read_info(folder)
    hashes = {row.file: row.sha256 for row in restore_folders(processed)} if info["storage"] == "files" else {}
    train, test = (_read_split(folder, name, info, processed, hashes) for name in ("train", "test"))
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
    storage: Literal["array", "files"] = "array"  # records from before there was a choice do not name it
    dataset: str
    task: Literal["multiclass", "multilabel"]
    classes: list[str] = Field(min_length=1)
    superclasses: dict[str, str] = {}
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


def read_info(folder: str | Path = FEATURES_DIR) -> dict[str, Any]:
    """What features.json says of the images, without opening any; `storage` is "array" where it does not say.

    Raises InputError when there is no such file and IntegrityError when it is malformed or of another version.
    """
    path = Path(folder) / INFO_FILE
    info = _read_json(path)
    try:
        _Info.model_validate(info)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "its content"
        found = repr(first["input"]) if len(repr(first["input"])) < 60 else type(first["input"]).__name__
        expected = first["msg"].replace("Input should be", "expected")
        raise IntegrityError(f"{printable(path)}: {key}: found {found}, {expected}; {REMAKE}") from None
    return {"storage": "array", **info}


def _read_split(folder: Path, name: str, info: dict[str, Any], processed: Path, hashes: Mapping[str, str]) -> Split:
    """One split of `folder`; `hashes` has the SHA-256 of every file of `processed`, if the images are there."""
    targets_path, files_path = folder / name / TARGETS_FILE, folder / name / FILES_FILE
    count = info["counts"][name] + (info["counts"]["val"] if name == "train" else 0)
    side = info["image_size"]
    files = _read_json(files_path)
    if not isinstance(files, list) or len(files) != count or not all(isinstance(file, str) for file in files):
        raise IntegrityError(f"{printable(files_path)}: expected a list of {count} file names; {REMAKE}")
    targets = _read_targets(targets_path, count, info)
    if info["storage"] == "array":
        return Split(_read_array(folder / name / IMAGES_FILE, (count, side, side, 3), np.uint8), targets, files)
    images = ImageFiles(processed, files, [hashes.get(file, "") for file in files], side)
    if combined_sha256(images.hashes) != info["digests"][name]["images"]:
        manifest, described = printable(processed / MANIFEST), printable(folder / INFO_FILE)
        raise InputError(f"{manifest}: lists other {name} images than {described} was made of; {REMAKE}")
    return Split(images, targets, files)


def _read_targets(path: Path, count: int, info: dict[str, Any]) -> np.ndarray:
    """The targets of `count` images, in the form of the task."""
    classes = len(info["classes"])
    is_multilabel = info["task"] == "multilabel"
    shape, dtype, limit = ((count, classes), np.uint8, 2) if is_multilabel else ((count,), np.int64, classes)
    targets = np.array(_read_array(path, shape, dtype))
    if count and not 0 <= targets.min() <= targets.max() < limit:
        expected = "0 and 1" if is_multilabel else f"a position among the {classes} classes"
        found = targets[(targets < 0) | (targets >= limit)][0]
        raise IntegrityError(f"{printable(path)}: found a target {found}, expected {expected}; {REMAKE}")
    return targets


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
