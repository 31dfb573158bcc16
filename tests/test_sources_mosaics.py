"""Mosaics of digits: what their names and labels say is what is in them, and no digit is in both splits."""

import numpy as np
import pytest

from Resnet23.config import DataParams
from Resnet23.sources import digits, mosaics
from Resnet23.sources.examples import Example

DATA = DataParams(dataset="digits-multilabel")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return mosaics.load(DATA, 0)


def cells(example: Example) -> list[str]:
    return example.source.removeprefix("digits/").split("+")


def test_pixels_and_labels_are_those_of_the_digits_in_the_name(examples):
    single = {digit.source.removeprefix("digits/"): digit for digit in digits.load(DATA, 0)}
    for example in examples[::50]:
        image = example.image.reshape(2, 8, 2, 8, 3).swapaxes(1, 2).reshape(4, 8, 8, 3)  # its four cells
        for name, pixels in zip(cells(example), image, strict=True):
            np.testing.assert_array_equal(pixels, 0 if name == "-" else single[name].image)
        assert example.labels == tuple(sorted({single[name].class_name for name in cells(example) if name != "-"}))


def test_there_are_as_many_as_said_and_no_two_alike(examples):
    splits = [example.split for example in examples]
    assert (splits.count("train"), splits.count("test")) == (4000, 1000)
    assert (
        len({example.image.tobytes() for example in examples}) == len({example.source for example in examples}) == 5000
    )
    filled = np.array([4 - cells(example).count("-") for example in examples])
    assert np.bincount(filled, minlength=5)[0] == 0
    np.testing.assert_allclose(np.bincount(filled)[1:] / 5000, 0.25, atol=0.03)


def test_no_digit_is_in_both_splits(examples):
    used = {
        split: {name for example in examples if example.split == split for name in cells(example)} - {"-"}
        for split in ("train", "test")
    }
    assert not used["train"] & used["test"]
    assert len(used["train"]) > 1400 and len(used["test"]) > 350


def test_the_seed_decides(examples):
    def sources(found: list[Example]) -> list[str]:
        return [example.source for example in found]

    assert sources(mosaics.load(DATA, 0)) == sources(examples)
    assert sources(mosaics.load(DATA, 1)) != sources(examples)
