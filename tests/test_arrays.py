"""data/features is read as memory maps, and whatever is wrong with it gets one line and the right exit code."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Resnet23.arrays import read_features
from Resnet23.errors import InputError, IntegrityError

SIDE = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six training rows, of which rows 1 and 4 are held out, and three test rows, of two classes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "images.npy", generator.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))
        np.save(tmp_path / split / "targets.npy", np.arange(count) % 2)
        names = [f"{split}/{row}.png" for row in range(count)]
        (tmp_path / split / "files.json").write_text(json.dumps(names))
    none = {kind: {"count": 0, "pairs": []} for kind in ("train-train", "test-test", "train-test")}
    info = {
        "format": "resnet23-features",
        "version": 1,
        "dataset": "folder",
        "task": "multiclass",
        "classes": ["ant", "bee"],
        "image_size": SIDE,
        "resize": "crop",
        "counts": {"train": 4, "val": 2, "test": 3},
        "class_counts": {part: {"ant": 2, "bee": 2} for part in ("train", "val", "test")},
        "mean": [0.5, 0.25, 0],
        "std": [0.1, 0.2, 0.3],
        "val_indices": [1, 4],
        "digests": {split: {"images": "00", "targets": "11"} for split in ("train", "test")},
        "duplicates": {"identical": none, "near_identical": none},
        "skipped": [],
    }
    (tmp_path / "features.json").write_text(json.dumps(info))
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    file = folder / "features.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_reads_memory_maps_and_properties(folder: Path) -> None:
    features = read_features(folder)
    assert isinstance(features.train.images, np.memmap) and not features.train.images.flags.writeable
    assert features.train.images.shape == (6, SIDE, SIDE, 3)
    assert features.test.targets.tolist() == [0, 1, 0] and features.test.targets.dtype == np.int64
    assert features.train.files[5] == "train/5.png" and len(features.test) == 3
    assert features.train_indices.tolist() == [0, 2, 3, 5] and features.val_indices.tolist() == [1, 4]
    assert features.train_indices.dtype == features.val_indices.dtype == np.int64
    assert features.classes == ["ant", "bee"] and features.task == "multiclass"
    assert (features.image_size, features.resize) == (SIDE, "crop")
    assert features.mean == (0.5, 0.25, 0) and features.std == (0.1, 0.2, 0.3)
    assert features.folder == folder and features.info["dataset"] == "folder"
    assert features.info["storage"] == "array"  # which features.json, being of before there was a choice, does not say


def make_multilabel(folder: Path, **changed: np.ndarray) -> None:
    """Give the images two labels each, or what `changed` says, as in train=..."""
    for split, count in (("train", 6), ("test", 3)):
        np.save(folder / split / "targets.npy", changed.get(split, np.ones((count, 2), np.uint8)))
    change(folder, task="multilabel")


def test_multilabel_targets_are_a_number_for_each_class(folder: Path) -> None:
    targets = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0, 0], [1, 0]], np.uint8)
    make_multilabel(folder, train=targets)
    features = read_features(folder)
    assert features.task == "multilabel" and features.train.targets.dtype == np.uint8
    assert features.train.targets.tolist() == targets.tolist() and features.test.targets.tolist() == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (np.full((3, 2), 2, np.uint8), "found a target 2, expected 0 and 1"),
        (np.ones((3, 3), np.uint8), r"found shape \(3, 3\) of uint8, expected \(3, 2\) of uint8"),
        (np.ones((3, 2), np.int64), r"found shape \(3, 2\) of int64, expected \(3, 2\) of uint8"),
        (np.zeros(3, np.int64), r"found shape \(3,\) of int64"),
    ],
)
def test_other_multilabel_targets_are_refused(folder: Path, targets: np.ndarray, found: str) -> None:
    make_multilabel(folder, test=targets)
    with pytest.raises(IntegrityError, match=f"test/targets.npy: {found}"):
        read_features(folder)


def test_without_validation_all_rows_are_trained_on(folder: Path) -> None:
    change(folder, val_indices=[], counts={"train": 6, "val": 0, "test": 3})
    features = read_features(folder)
    assert features.train_indices.tolist() == list(range(6)) and features.val_indices.shape == (0,)


def test_further_keys_are_kept(folder: Path) -> None:
    change(folder, superclasses={"ant": "insect"})
    assert read_features(folder).info["superclasses"] == {"ant": "insect"}


@pytest.mark.parametrize("name", ["features.json", "train/images.npy", "test/targets.npy", "train/files.json"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file; run `make features`"):
        read_features(folder)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"version": 2}, "version: found 2, expected 1"),
        ({"format": "other"}, "format: found 'other'"),
        ({"classes": "ant"}, "classes: found 'ant'"),
        ({"mean": [0.5, 0.5]}, "mean: "),
        ({"std": None}, "std: found None"),
        ({"counts": {"train": 4, "test": 3}}, "counts.val: "),
        ({"storage": "tape"}, "storage: found 'tape'"),
        ({"task": "regression"}, "task: found 'regression'"),
        ({"counts": {"train": 9, "val": 2, "test": 3}}, "files.json: expected a list of 11 file names"),
        ({"image_size": 16}, r"images.npy: found shape \(6, 8, 8, 3\) of uint8, expected \(6, 16, 16, 3\)"),
        ({"classes": ["ant"]}, "targets.npy: found a target 1, expected a position among the 1 classes"),
        ({"val_indices": [1, 6]}, "val_indices: expected 2 different sorted rows of the 6"),
        ({"val_indices": [4, 1]}, "val_indices"),
        ({"val_indices": [4, 4]}, "val_indices"),
        ({"val_indices": [-1, 4]}, "val_indices"),
        ({"val_indices": [1]}, "val_indices"),
    ],
)
@pytest.mark.fault(21)
def test_a_wrong_description_is_refused(folder: Path, values: dict[str, Any], found: str) -> None:
    change(folder, **values)
    with pytest.raises(IntegrityError, match=found) as caught:
        read_features(folder)
    assert "\n" not in str(caught.value)


class Bomb:
    """Runs code of its author's choice when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("exploded"),)


def save_objects(path: Path) -> None:
    np.save(path, np.array([Bomb()] * 6, dtype=object), allow_pickle=True)


def save_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def save_archive(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, images=np.zeros(3))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"'shape': (", b"'shape': {", 1))


def save_floats(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


@pytest.mark.parametrize("name", ["images.npy", "targets.npy"])
@pytest.mark.parametrize(
    "spoil", [save_objects, save_pickle, save_archive, cut_short, empty, spoil_header, save_floats]
)
@pytest.mark.fault(20)
def test_a_foreign_array_is_refused_and_its_code_does_not_run(
    folder: Path, name: str, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    spoil(folder / "train" / name)
    with pytest.raises(IntegrityError, match=f"train/{name}: .*run `make features`") as caught:
        read_features(folder)
    assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '["a", "b", 3]', "\xff"])
def test_malformed_json_is_refused(folder: Path, text: str) -> None:
    for name in ("test/files.json", "features.json"):
        (folder / name).write_text(text, encoding="latin-1")
        with pytest.raises(IntegrityError, match=f"{name}: "):
            read_features(folder)
