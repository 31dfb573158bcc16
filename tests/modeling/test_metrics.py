"""The metrics against scikit-learn, formulas written out, and cases worked by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from Resnet23.errors import InputError
from Resnet23.modeling.metrics import (
    calibration_bins,
    classification_metrics,
    expected_calibration_error,
    top_accuracy,
)

NUMBERS = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "mAP", "loss", "ece"]


@pytest.fixture(params=[2, 10])
def problem(request):
    """Targets in which every class occurs, and imperfect float32 probabilities."""
    count = request.param
    random = np.random.default_rng(count)
    targets = np.concatenate([np.arange(count), random.integers(0, count, 200)])
    scores = random.normal(size=(len(targets), count)) + 1.5 * np.eye(count)[targets]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return targets, probabilities.astype(np.float32), [f"class {number}" for number in range(count)]


def test_agrees_with_scikit_learn(problem):
    targets, probabilities, classes = problem
    found = classification_metrics(targets, probabilities, classes)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(len(classes))[targets]
    several = ["top5_accuracy"] if len(classes) > 5 else []
    assert list(found) == [NUMBERS[0], *several, *NUMBERS[1:], "per_class", "confusion_matrix"]
    for name in several:
        assert found[name] == sklearn_metrics.top_k_accuracy_score(targets, probabilities, k=5)
        assert found["accuracy"] < found[name] < 1
    assert found["accuracy"] == sklearn_metrics.accuracy_score(targets, predicted)
    assert found["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(targets, predicted))
    assert found["precision"] == pytest.approx(sklearn_metrics.precision_score(targets, predicted, average="macro"))
    assert found["recall"] == pytest.approx(sklearn_metrics.recall_score(targets, predicted, average="macro"))
    assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(targets, predicted, average="macro"))
    assert found["mAP"] == pytest.approx(sklearn_metrics.average_precision_score(one_hot, probabilities))
    assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(len(targets)), targets]).mean(), rel=1e-5)
    assert found["confusion_matrix"] == sklearn_metrics.confusion_matrix(targets, predicted).tolist()
    report = sklearn_metrics.classification_report(targets, predicted, target_names=classes, output_dict=True)
    for name in classes:
        scores = found["per_class"][name]
        assert scores["f1"] == pytest.approx(report[name]["f1-score"])
        assert scores["support"] == report[name]["support"]


def test_of_equal_probabilities_the_first_count_as_the_higher_as_in_the_prediction():
    targets, same = np.arange(10), np.full((10, 10), 0.1)
    found = classification_metrics(targets, same, [f"class {number}" for number in range(10)])
    assert (found["accuracy"], found["top5_accuracy"]) == (0.1, 0.5)
    assert [top_accuracy(targets[:1], same[:1], count) for count in (1, 5)] == [1, 1]
    assert [top_accuracy(targets[5:6], same[5:6], count) for count in (5, 6)] == [0, 1]


def test_is_json_of_plain_numbers(problem):
    found = classification_metrics(*problem)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_class_without_images_counts_in_no_average():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    found = classification_metrics(np.array([0, 1, 1]), probabilities, ["a", "b", "absent"])
    absent = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "average_precision": None}
    assert found["per_class"]["absent"] == absent
    assert found["recall"] == found["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert found["precision"] == 1
    assert found["mAP"] == pytest.approx(
        (1 + 5 / 6) / 2
    )  # of b's two images the second shares its rank with a wrong one


def test_a_wrong_certainty_has_a_finite_loss():
    found = classification_metrics(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), ["a", "b"])
    assert math.isfinite(found["loss"])
    assert found["accuracy"] == 0.5


def test_calibration_error_of_a_case_worked_by_hand():
    # Confidences 0.9, 0.9 (one right) and 0.6 (right): |0.5 - 0.9| * 2/3 + |1 - 0.6| * 1/3 = 0.4.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(np.array([0, 1, 1]), probabilities, bins=10) == pytest.approx(0.4)


def test_bins_are_closed_above():
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    assert calibration_bins(np.array([0, 0, 0]), probabilities, bins=4).counts.tolist() == [0, 1, 1, 1]


@given(arrays(np.float64, (20, 4), elements=st.floats(0.01, 1)), arrays(np.int64, 20, elements=st.integers(0, 3)))
def test_calibration_error_is_the_average_over_all_bins(scores, targets):
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    assume(np.abs(confidence * 15 - np.round(confidence * 15)).min() > 1e-9)  # rounding decides the bin of an edge
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(targets, probabilities) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "no labelled images"),
        ([0], np.array([[0.2, 0.3, 0.5]]), "2 classes"),
        ([2], np.array([[0.5, 0.5]]), "labels 2 to 2"),
        ([-1], np.array([[0.5, 0.5]]), "labels -1"),
        ([0], np.array([[3.0, -2.5]]), "sum to 1"),
    ],
)
def test_refuses_what_it_cannot_evaluate(targets, probabilities, message):
    with pytest.raises(InputError, match=message):
        classification_metrics(np.array(targets, dtype=int), probabilities, ["a", "b"])
