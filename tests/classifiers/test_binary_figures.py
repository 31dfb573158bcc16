"""Figures of a yes-or-no question that do not hide behind the larger class."""

import numpy as np
import pytest

from Resnet23.classifiers.binary_figures import best_threshold, binary_figures
from Resnet23.errors import InputError

TARGETS = np.array([1.0] * 10 + [0.0] * 90)


def test_always_saying_rest_is_accurate_and_worth_nothing():
    figures = binary_figures(TARGETS, np.full(100, 0.1))
    assert figures.accuracy == figures.always_rest == pytest.approx(0.9)
    assert figures.balanced_accuracy == figures.auroc == 0.5
    assert figures.average_precision == pytest.approx(0.1)


def test_the_figures_of_a_small_case_by_hand():
    figures = binary_figures([1, 0, 1, 0], [0.9, 0.6, 0.4, 0.2], threshold=0.5)
    assert (figures.accuracy, figures.balanced_accuracy, figures.auroc) == (0.5, 0.5, 0.75)
    assert figures.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert figures.threshold == 0.5


def test_the_best_threshold_is_found_by_trying_all():
    generator = np.random.default_rng(0)
    targets = generator.random(200) < 0.15
    probabilities = np.clip(0.2 * targets + 0.3 * generator.random(200), 0, 1).astype(np.float32)
    found = binary_figures(targets, probabilities, best_threshold(targets, probabilities))
    tried = [binary_figures(targets, probabilities, value).balanced_accuracy for value in probabilities]
    assert found.balanced_accuracy == max(tried) > binary_figures(targets, probabilities).balanced_accuracy


def test_the_best_threshold_lies_between_the_classes():
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("targets", "probabilities"), [([1, 1], [0.1, 0.2]), ([0, 2], [0.1, 0.2]), ([0, 1, 1], [0.1, 0.2])]
)
def test_labels_that_make_no_question_are_refused(targets, probabilities):
    with pytest.raises(InputError):
        binary_figures(targets, probabilities)
