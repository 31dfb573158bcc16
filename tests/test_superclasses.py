"""The superclasses: the published ones, in features.json of CIFAR-100 and of no other set; and the official images."""

import pickletools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_images import PROCESSED, SIDE, write_images

from Resnet23 import features as features_stage
from Resnet23.arrays import read_features
from Resnet23.config import DataParams, FeaturesParams, Params
from Resnet23.datadownload import main as datadownload
from Resnet23.features import make_features
from Resnet23.processed import read_manifest
from Resnet23.sources.batches import decode_batch
from Resnet23.sources.cifar import CIFAR100
from Resnet23.superclasses import CIFAR100_SUPERCLASSES, find_superclasses

MEAN, STD = [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]  # of the 50,000 training images, as published


def official_names(mirror: Path) -> list[str]:
    """The names of the superclasses in the order of the coarse labels, read without running the pickle."""
    strings = [value for _, value, _ in pickletools.genops((mirror / CIFAR100.folder / "meta").read_bytes())]
    return [text for text in strings if text in CIFAR100_SUPERCLASSES]


def official_pairs(mirror: Path, file: str) -> set[tuple[str, str]]:
    """Every (class, superclass) that an image of this file has."""
    content, names = (mirror / CIFAR100.folder / file).read_bytes(), official_names(mirror)
    fine, coarse = (decode_batch(content, key)[1] for key in ("fine_labels", "coarse_labels"))
    return {(CIFAR100.classes[label], names[family]) for label, family in zip(fine, coarse, strict=True)}


@pytest.fixture
def cifar100(mirror: Path) -> Path:
    """The folder that holds the official files; skips the test where it does not hold those of CIFAR-100."""
    if not (mirror / CIFAR100.folder).is_dir():
        pytest.skip(f"RESNET23_DATA_MIRROR has no {CIFAR100.folder}")
    return mirror


def test_twenty_superclasses_of_five_classes_each() -> None:
    found = find_superclasses("cifar100", CIFAR100.classes)
    assert list(found) == CIFAR100.classes
    assert set(Counter(found.values()).values()) == {5} and len(set(found.values())) == 20
    assert (found["apple"], found["worm"]) == ("fruit_and_vegetables", "non-insect_invertebrates")


def test_only_the_classes_that_are_there_and_only_of_cifar100() -> None:
    assert find_superclasses("cifar100", ["bus", "bear"]) == {"bus": "vehicles_1", "bear": "large_carnivores"}
    for dataset in ("cifar10", "digits", "folder"):
        assert find_superclasses(dataset, ["bus", "bear"]) == {}


@pytest.mark.parametrize("file", ["train", "test"])
def test_the_official_files_have_the_same_superclasses(cifar100: Path, file: str) -> None:
    assert len(official_names(cifar100)) == 20
    assert official_pairs(cifar100, file) == set(find_superclasses("cifar100", CIFAR100.classes).items())


@pytest.mark.parametrize(
    ("dataset", "expected"), [("cifar100", {"bear": "large_carnivores", "bus": "vehicles_1"}), ("folder", {})]
)
def test_features_name_the_superclasses_of_their_classes(tmp_path, monkeypatch, dataset, expected) -> None:
    monkeypatch.chdir(tmp_path)
    write_images({(split, name): 4 for split in ("train", "test") for name in ("bus", "bear")})
    settings = Params(data=DataParams(dataset=dataset, image_size=SIDE), features=FeaturesParams(val_fraction=0.0))
    info = make_features(settings, PROCESSED, Path("features"))
    assert info.get("superclasses", {}) == expected == read_features("features").superclasses
    assert ("superclasses" in info) == bool(expected)


@pytest.mark.slow
def test_the_official_images(cifar100: Path, project: Path) -> None:
    """All 60,000 through both stages: statistics, identical pairs, superclasses, as published."""
    settings = ["data.dataset=cifar100", f"data.source={cifar100}", "data.image_size=32", "data.max_per_class=null"]
    datadownload(assignments=settings)
    features_stage.main(assignments=[*settings, "features.val_fraction=0"])
    info = read_features().info
    assert info["counts"] == {"train": 50_000, "val": 0, "test": 10_000}
    assert np.round(info["mean"], 4).tolist() == MEAN and np.round(info["std"], 4).tolist() == STD
    identical = info["duplicates"]["identical"]
    assert {where: found["count"] for where, found in identical.items()} == {
        "train-train": 14, "test-test": 2, "train-test": 10,
    }  # fmt: skip
    assert sum(len(found["pairs"]) for found in identical.values()) == 26
    digests = {row.file: row.sha256 for row in read_manifest(PROCESSED)}
    assert all(digests[one] == digests[other] for found in identical.values() for one, other in found["pairs"])
    assert set(info["superclasses"].items()) == official_pairs(cifar100, "test")
