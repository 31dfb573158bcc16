"""Equal images as pictures, and images that stand out."""

import json
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from fake_multilabel_results import write_multilabel_results
from fake_results import SIZE, write_results
from PIL import Image

from Resnet23.arrays import read_features
from Resnet23.config import FEATURES_DIR
from Resnet23.page import oddities
from Resnet23.page.data import describe_data, example_pairs
from Resnet23.page.oddities import find_oddities, measure

INFO_FILE = FEATURES_DIR / "features.json"


def put_image(split: str, row: int, color: tuple[int, int, int]) -> None:
    """Replace an image by one of a single colour."""
    path = FEATURES_DIR / split / "images.npy"
    images = np.load(path)
    images[row] = color
    np.save(path, images)


def put_pairs(kind: str, where: str, pairs: list[list[str]]) -> None:
    """Write pairs of equal images into features.json."""
    info = json.loads(INFO_FILE.read_text(encoding="utf-8"))
    info["duplicates"][kind][where] = {"count": len(pairs), "pairs": pairs}
    INFO_FILE.write_text(json.dumps(info), encoding="utf-8")


def pixels_of(source: str) -> np.ndarray:
    """The image in a data: URL."""
    return np.asarray(Image.open(BytesIO(b64decode(source.partition(",")[2]))))


def test_images_that_stand_out_are_counted_and_come_first(project):
    write_results(project, ["a", "b"])
    put_image("train", 3, (1, 2, 3))
    put_image("test", 5, (255, 255, 254))
    put_image("test", 2, (90, 90, 90))
    found = find_oddities(read_features())
    assert found["looked_at"] == 16
    assert found["counts"] == {
        "nearly black": 1, "nearly white": 1, "of a single colour": 3, "without any colour": 1,
    }  # fmt: skip
    assert found["groups"]["Darkest"][0]["file"] == read_features().train.files[3]
    brightest = found["groups"]["Brightest"][0]
    assert (brightest["file"], brightest["note"]) == (read_features().test.files[5], "mean 100%")
    assert (pixels_of(brightest["source"]) == (255, 255, 254)).all()
    assert {image["note"] for image in found["groups"]["Least contrast"][:3]} == {"spread 0.0%"}


def test_of_data_that_is_too_large_some_are_looked_at(project, monkeypatch):
    write_results(project, ["a", "b"])
    monkeypatch.setattr(oddities, "MOST_BYTES", 5 * 3 * SIZE**2)
    monkeypatch.setattr(oddities, "CHUNK", 2)
    found = measure(read_features())
    assert found.places == [("train", 0), ("train", 4), ("test", 0), ("test", 3), ("test", 7)]
    assert len(found.brightness) == len(found.contrast) == len(found.has_color) == 5
    assert find_oddities(read_features())["looked_at"] == 5


@pytest.mark.fault(11)
def test_pairs_across_the_splits_come_first_and_contradictions_are_named(project):
    write_results(project, ["a", "b"])
    train, test = read_features().train.files, read_features().test.files
    put_pairs("identical", "train-train", [[train[0], train[1]]])
    put_pairs("near_identical", "train-test", [[train[0], test[-1]], [train[2], "no/such.png"]])
    features = read_features()
    pairs = example_pairs(features)
    assert [(pair["kind"], pair["is_contradiction"]) for pair in pairs] == [
        ("near identical", True),
        ("identical", False),
    ]
    shown = pairs[0]["images"]
    assert [image["file"] for image in shown] == [train[0], test[-1]]
    assert [image["label"] for image in shown] == ["a", "b"]
    np.testing.assert_array_equal(pixels_of(shown[1]["source"]), features.test.images[-1])
    assert len(example_pairs(features, most=1)) == 1


def test_of_labels_all_are_named(project):
    write_multilabel_results(project, ["a", "b", "c"])
    test = read_features().test
    put_pairs("identical", "test-test", [[test.files[0], test.files[-1]]])
    ((pair),) = example_pairs(read_features())
    given = [name for name, has in zip("abc", test.targets[0], strict=True) if has]
    assert [image["label"] for image in pair["images"]] == [", ".join(given), "no label"]


def test_counts_are_given_for_every_class(project):
    write_results(project, ["a", "b"])
    described = describe_data(read_features())
    assert [row["name"] for row in described["rows"]] == ["a", "b"]
    assert described["largest_count"] == 4
    assert described["pairs"] == []
