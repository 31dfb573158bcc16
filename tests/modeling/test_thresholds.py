"""The thresholds against a search through all of them."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from loguru import logger

from Resnet23.config import ThresholdParams
from Resnet23.modeling.thresholds import fit_thresholds

GRID = np.linspace(0, 1, 401)  # finer than the probabilities below


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    handler = logger.add(lambda message: found.append(message.record["message"]))
    yield found
    logger.remove(handler)


def fitted(present: np.ndarray, probabilities: np.ndarray, **params) -> float:
    (threshold,) = fit_thresholds(present[:, None], probabilities[:, None], ["a"], ThresholdParams(**params))
    return threshold


def scores(present: np.ndarray, given: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1, by their definitions."""
    found, answers, images = (present * given).sum(), given.sum(), present.sum()
    return found / answers, found / images, 2 * found / (answers + images)


probabilities_of_20 = arrays(np.int64, 20, elements=st.integers(1, 99)).map(lambda values: values / 100)
present_of_20 = arrays(np.int64, 20, elements=st.integers(0, 1)).filter(lambda values: values.any())


@settings(deadline=None, max_examples=40)
@given(present_of_20, probabilities_of_20, st.sampled_from([0.5, 0.8, 1.0]))
def test_no_other_threshold_serves_the_goal_better(present, probabilities, level):
    # A threshold that gives the label to no image is none.
    curve = [scores(present, probabilities >= value) for value in GRID[probabilities.max() >= GRID]]
    for goal in ("f1", "precision", "recall"):
        precision, recall, f1 = scores(present, probabilities >= fitted(present, probabilities, goal=goal, level=level))
        if goal == "f1":
            assert f1 == pytest.approx(max(row[2] for row in curve))
        elif goal == "recall":
            assert recall >= level
            assert precision == pytest.approx(max(row[0] for row in curve if row[1] >= level))
        elif any(row[0] >= level for row in curve):
            assert precision >= level
            assert recall == pytest.approx(max(row[1] for row in curve if row[0] >= level))
        else:
            assert precision == pytest.approx(max(row[0] for row in curve))


@pytest.mark.parametrize("goal", ["f1", "precision", "recall"])
def test_it_lies_in_the_middle_of_the_gap(goal):
    """The label's last digits do not decide, and new images may be a little less sure."""
    present, probabilities = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9], dtype=np.float32)
    assert fitted(present, probabilities, goal=goal, level=0.9) == pytest.approx(0.5)
    assert fitted(np.ones(4), probabilities, goal=goal) == pytest.approx(0.05)


def test_each_label_has_its_own_and_one_that_no_image_has_gets_a_half(lines):
    targets = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0]])
    probabilities = np.array([[0.2, 0.3, 0.9], [0.6, 0.3, 0.1], [0.8, 0.1, 0.5]])
    found = fit_thresholds(targets, probabilities, ["a", "b", "rare"], ThresholdParams())
    assert found == pytest.approx([0.4, 0.2, 0.5])
    assert [line for line in lines if "no validation image has rare; 0.5 is used" in line]


def test_a_precision_out_of_reach_is_said(lines):
    assert fitted(np.array([1, 0]), np.array([0.2, 0.9]), goal="precision", level=0.8) == pytest.approx(0.1)
    assert [line for line in lines if "a reaches a precision of 0.50 at most, not the 0.8" in line]
