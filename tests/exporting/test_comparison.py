"""What is compared, and when a difference is too large."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from Resnet23.exporting.comparison import compare
from Resnet23.exporting.parity import Comparison, Samples, Tolerance, spread, worst_of

IMAGES = np.zeros((4, 2, 2, 3), np.uint8)
PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]], np.float32)
ONE_CLASS = Samples(IMAGES, np.array([0, 0, 0, 1]), PROBABILITIES, None)
LABELS = Samples(IMAGES, np.array([[1, 0], [1, 1], [0, 1], [0, 0]], np.uint8), PROBABILITIES, np.array([0.5, 0.4]))


def answers(probabilities: np.ndarray):
    """A network that gives these probabilities for the four images."""

    def network(images: Tensor) -> Tensor:
        assert images.shape == (4, 3, 2, 2)
        return torch.from_numpy(probabilities)

    return network


@pytest.mark.parametrize(("samples", "accuracy"), [(ONE_CLASS, 0.75), (LABELS, 0.875)])
def test_an_equal_network_agrees(samples, accuracy):
    assert compare(answers(PROBABILITIES), False, samples) == Comparison(0.0, 0.0, 1.0, accuracy, accuracy)


def test_one_class_is_decided_by_the_highest_probability_and_labels_by_their_thresholds():
    changed = PROBABILITIES.copy()
    changed[1] = [0.55, 0.45]  # still the first class, still both labels
    changed[3] = [0.6, 0.4]  # now the first class; now both labels rather than one
    found = compare(answers(changed), False, ONE_CLASS)
    assert (found.agreement, found.accuracy, found.max_difference) == (0.75, 0.5, pytest.approx(0.5))
    found = compare(answers(changed), False, LABELS)
    assert (found.agreement, found.accuracy) == (0.875, 0.75)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (Comparison(1e-3, 5e-4, 0.99, 0.69, 0.7), None),
        (Comparison(2e-3, 0.0, 1.0, 0.7, 0.7), r"its probabilities differ from PyTorch's by 2\.0e-03, more than 1e-03"),
        (Comparison(float("nan"), float("nan"), 1.0, 0.7, 0.7), "differ from PyTorch's by nan"),
        (Comparison(1e-3, 1e-3, 1.0, 0.7, 0.7), r"differ from PyTorch's by 0\.001 in a usual image, more than 0\.0005"),
        (
            Comparison(0.0, 0.0, 0.98, 0.7, 0.7),
            r"decides as PyTorch does in 98\.00% of cases, less than 99\.00%",
        ),
        (Comparison(0.0, 0.0, 1.0, 0.6, 0.7), r"accuracy is 60\.00% instead of 70\.00%, a loss of more than 2\.00%"),
    ],
)
def test_the_tolerance_says_what_is_beyond_it(found, complaint):
    said = Tolerance(1e-3, 5e-4, 0.99, 0.02).complaint(found, "PyTorch")
    assert said is None if complaint is None else re.search(complaint, said)


def test_the_worst_of_two_has_no_nan_hidden():
    good, bad = Comparison(0.1, 0.1, 1.0, 0.7, 0.8), Comparison(float("nan"), 0.2, 0.9, 0.2, 0.3)
    for found in (worst_of(good, bad), worst_of(bad, good)):
        assert np.isnan(found.max_difference)
        assert (found.mean_difference, found.agreement) == (0.2, 0.9)
    assert worst_of(good, bad).accuracy == 0.7


def test_rows_are_spread_over_all():
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 5).tolist() == [0, 1, 2]
