"""Multi-label images from labels.csv to the arrays, and what can be wrong with them on the way."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loguru import logger
from PIL import Image

from Resnet23 import features as features_stage
from Resnet23.arrays import Features, read_features
from Resnet23.datadownload import main as datadownload
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.features import split_validation
from Resnet23.images import encode_png
from Resnet23.processed import read_manifest, restore_folders

SIDE = 8
CLASSES = ["ant", "honey bee", "wasp"]
LABELS = [("ant",), ("honey bee",), ("ant", "honey bee"), (), ("ant", "wasp")] * 8  # of 40 images
PROCESSED = Path("data/processed")


@pytest.fixture
def photos(project: Path) -> Path:
    """Forty random photos named photo-0.png to photo-39.png, with their labels.csv; the last ten are to test."""
    folder = project / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for row in range(len(LABELS)):
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / f"photo-{row}.png")
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        rows = [
            (f"photo-{row}.png", "|".join(names), "test" if row >= 30 else "train") for row, names in enumerate(LABELS)
        ]
        csv.writer(file).writerows([("file", "labels", "split"), *rows])
    return folder


def download(**data: Any) -> None:
    changes = {"dataset": "multilabel", "source": "photos", "image_size": SIDE, "max_per_class": "null"} | data
    datadownload(assignments=[f"data.{key}={value}" for key, value in changes.items()])


def features_of(**settings: Any) -> Features:
    changes = [f"features.{key}={value}" for key, value in ({"val_fraction": 0.25} | settings).items()]
    features_stage.main(assignments=["data.dataset=multilabel", f"data.image_size={SIDE}", *changes])
    return read_features()


def test_files_and_manifest(photos):
    download()
    rows = read_manifest(PROCESSED)
    assert [row.file for row in rows[:2]] == ["train/images/00000.png", "train/images/00001.png"]
    assert [row.source for row in rows] == [f"photo-{row}.png" for row in range(40)]
    assert [row.labels for row in rows] == LABELS
    with open(PROCESSED / "manifest.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["labels"] for line in table[:4]] == ["ant", "honey bee", "ant|honey bee", ""]
    before = {path: path.read_bytes() for path in PROCESSED.rglob("*.png")}
    (PROCESSED / ".stamp").unlink()
    (PROCESSED / "test/images/00003.png").unlink()
    assert restore_folders(PROCESSED) == rows
    assert {path: path.read_bytes() for path in PROCESSED.rglob("*.png")} == before


@pytest.mark.parametrize("storage", ["array", "files"])
def test_arrays_and_description(photos, storage):
    download()
    features = features_of(storage=storage)
    assert (features.task, features.classes) == ("multilabel", CLASSES)
    assert features.train.targets.dtype == np.uint8 and features.train.targets.shape == (30, 3)
    for split, names in ((features.train, LABELS[:30]), (features.test, LABELS[30:])):
        assert [tuple(np.array(CLASSES)[row > 0]) for row in split.targets] == names
    for row in (0, 17):
        np.testing.assert_array_equal(features.train.images[row], np.asarray(Image.open(photos / f"photo-{row}.png")))
    counts = features.info["class_counts"]
    assert counts["test"] == {"ant": 6, "honey bee": 4, "wasp": 2}
    assert {name: counts["train"][name] + counts["val"][name] for name in CLASSES} == {
        "ant": 18,
        "honey bee": 12,
        "wasp": 6,
    }
    assert counts["val"] == dict(zip(CLASSES, features.train.targets[features.val_indices].sum(axis=0), strict=True))
    assert all(abs(counts["val"][name] - share) <= 1 for name, share in zip(CLASSES, (4.5, 3, 1.5), strict=True))


def test_items_and_batches_hold_a_number_for_each_class(photos):
    download()
    features = features_of()
    data = FeatureDataset(features.train.images, features.train.targets, features.mean, features.std, np.array([3, 4]))
    image, target = data[1]
    assert image.shape == (3, SIDE, SIDE) and target.dtype == torch.float32 and target.tolist() == [1, 0, 1]
    images, targets = data.raw_batch(np.array([1, 0]))
    assert images.shape == (2, 3, SIDE, SIDE) and targets.dtype == torch.float32
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_the_guides_example_reads_the_targets(photos, repository, capsys):
    guide = (repository / "docs" / "multi-label.md").read_text(encoding="utf-8")
    download()
    features_of()
    exec(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1], {})
    assert capsys.readouterr().out.startswith("multilabel ['ant', 'honey bee', 'wasp']\n[[1 0 0]\n [0 1 0]\n [1 1 0]")


def test_an_image_is_kept_as_long_as_one_of_its_labels_needs_it(photos):
    download(max_per_class="{train: 3, test: null}")
    rows = [row for row in read_manifest(PROCESSED) if row.split == "train"]
    kept = [int(row.source.removeprefix("photo-").removesuffix(".png")) for row in rows]
    # Three ants after 4, three bees after 6; 9 and 14 bring the second and third wasp, 3, 8 and 13 have no label.
    assert kept == [0, 1, 2, 3, 4, 6, 8, 9, 13, 14]


@pytest.mark.fault(6)
def test_bad_images_are_named_or_skipped_with_their_targets(photos):
    download()
    for file in ("train/images/00004.png", "test/images/00001.png"):
        (PROCESSED / file).write_bytes(b"")
    with pytest.raises(InputError, match=r"2 bad images: train/images/00004\.png \(zero bytes\), test/images/00001"):
        features_of()
    features = features_of(on_bad_image="skip")
    assert len(features.info["skipped"]) == 2
    assert features.train.targets.tolist()[3:5] == [[0, 0, 0], [1, 0, 0]]  # photos 3 and 5
    assert (len(features.train), len(features.test)) == (29, 9)


@pytest.mark.fault(6)
def test_a_label_of_which_nothing_is_left_is_named(photos):
    download()
    for row in range(4, 30, 5):
        (PROCESSED / f"train/images/{row:05d}.png").write_bytes(b"")
    with pytest.raises(InputError, match="no train images of the classes wasp"):
        features_of(on_bad_image="skip")


@pytest.mark.fault(10)
def test_a_label_too_rare_to_hold_some_out_is_named_in_a_warning(photos):
    table = photos / "labels.csv"
    table.write_text(table.read_text().replace("photo-0.png,ant,", "photo-0.png,ant|moth,"))
    download()
    warnings = []
    handler = logger.add(lambda message: warnings.append(message.record["message"]), level="WARNING")
    counts = features_of().info["class_counts"]
    logger.remove(handler)
    assert (counts["train"]["moth"], counts["val"]["moth"]) == (1, 0) and counts["val"]["ant"]
    (warning,) = (line for line in warnings if "features.val_fraction" in line)
    assert warning.startswith(
        "features.val_fraction 0.25: too few training images to hold out some of each label: moth (1)"
    )


@pytest.mark.fault(10)
def test_when_no_label_has_two_images_the_way_to_train_without_validation_is_named():
    with pytest.raises(
        InputError, match=r"bee \(1\); .* set it to 0 and train\.thresholds\.goal to null to train on all"
    ):
        split_validation(np.eye(2, dtype=np.uint8), ["ant", "bee"], 0.2, seed=0)


@pytest.mark.fault(11)
def test_an_image_in_both_splits_is_reported_and_limited(photos):
    (photos / "photo-35.png").write_bytes((photos / "photo-2.png").read_bytes())
    download()
    pair = ["train/images/00002.png", "test/images/00005.png"]
    assert features_of().info["duplicates"]["identical"]["train-test"] == {"count": 1, "pairs": [pair]}
    with pytest.raises(InputError, match="max_leaked allows 0"):
        features_of(max_leaked=0)


@pytest.mark.fault(6)
def test_bad_photos_are_all_listed_and_nothing_is_written(photos):
    (photos / "photo-1.png").write_text("text")
    (photos / "photo-7.png").write_bytes(encode_png(np.zeros((8100, 8100, 3), np.uint8)))
    with pytest.raises(InputError, match=r"^2 unreadable images, .*photo-1\.png: .*photo-7\.png: 8100 x 8100 pixels"):
        download()
    assert [path for path in PROCESSED.rglob("*") if path.is_file()] == []


def test_a_change_of_a_label_alone_changes_the_digest(photos):
    download()
    before = features_of().info["digests"]["train"]
    table = photos / "labels.csv"
    table.write_text(table.read_text().replace("photo-0.png,ant,", "photo-0.png,wasp,"))
    download()
    after = features_of().info["digests"]["train"]
    assert after["images"] == before["images"] and after["targets"] != before["targets"]


def test_the_mosaics_of_digits(project):
    download(dataset="digits-multilabel", source="null", image_size=16, max_per_class="{train: 30, test: 10}")
    features_stage.main(assignments=["data.dataset=digits-multilabel", "data.image_size=16"])
    features = read_features()
    assert (features.task, features.classes) == ("multilabel", [str(digit) for digit in range(10)])
    assert features.train.targets.sum(axis=0).min() >= 30 and features.test.targets.sum(axis=0).min() >= 10
    assert set(features.train.targets.sum(axis=1)) == {1, 2, 3, 4}
