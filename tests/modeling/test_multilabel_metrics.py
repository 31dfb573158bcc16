"""The multi-label metrics against scikit-learn, formulas written out, and cases worked by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from Resnet23.errors import InputError
from Resnet23.modeling.multilabel_metrics import mean_average_precision, multilabel_metrics

CLASSES = ["a", "b", "c", "d"]
NUMBERS = ["mAP", "f1_macro", "f1_micro", "subset_accuracy", "hamming_loss", "coverage", "loss", "ece"]
THRESHOLDS = [0.3, 0.5, 0.7, 0.5]


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    """Targets in which every label occurs and some images have none, and imperfect float32 probabilities."""
    random = np.random.default_rng(0)
    targets = (random.random((200, 4)) < [0.5, 0.3, 0.2, 0.05]).astype(np.uint8)
    scores = 2.0 * targets - 1 + random.normal(size=targets.shape)
    return targets, (1 / (1 + np.exp(-scores))).astype(np.float32)


def test_it_agrees_with_scikit_learn(problem):
    targets, probabilities = problem
    found = multilabel_metrics(targets, probabilities, CLASSES, THRESHOLDS)
    given = probabilities >= np.array(THRESHOLDS)
    assert list(found) == [*NUMBERS, "per_class", "confusion_matrix"]
    assert found["mAP"] == pytest.approx(sklearn_metrics.average_precision_score(targets, probabilities))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(targets, given, average="macro"))
    assert found["f1_micro"] == pytest.approx(sklearn_metrics.f1_score(targets, given, average="micro"))
    assert found["subset_accuracy"] == sklearn_metrics.accuracy_score(targets, given)
    assert found["hamming_loss"] == sklearn_metrics.hamming_loss(targets, given)
    assert found["coverage"] == sklearn_metrics.coverage_error(targets, probabilities)
    right = np.where(targets == 1, probabilities, 1 - probabilities.astype(np.float64))
    assert found["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
    for label, name in enumerate(CLASSES):
        scores, counts = found["per_class"][name], np.array(found["confusion_matrix"][label])
        assert scores["f1"] == pytest.approx(sklearn_metrics.f1_score(targets[:, label], given[:, label]))
        assert scores["precision"] == pytest.approx(counts[1, 1] / counts[:, 1].sum())
        assert scores["recall"] == pytest.approx(counts[1, 1] / counts[1].sum())
        assert (scores["support"], scores["threshold"]) == (targets[:, label].sum(), THRESHOLDS[label])


def test_it_is_json_of_plain_numbers(problem):
    found = multilabel_metrics(*problem, CLASSES, THRESHOLDS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_case_worked_by_hand():
    targets = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    probabilities = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.1], [0.6, 0.1, 0.1]])
    found = multilabel_metrics(targets, probabilities, ["a", "b", "absent"], [0.5] * 3)
    assert found["subset_accuracy"] == pytest.approx(1 / 3)  # the third image
    assert found["hamming_loss"] == pytest.approx(2 / 9)  # b missed once, given once where it is not
    assert found["coverage"] == pytest.approx((3 + 0 + 1) / 3)
    assert found["f1_macro"] == pytest.approx((1 + 0) / 2)  # of a and b: what is absent counts in no mean
    assert found["mAP"] == pytest.approx((1 + 1 / 3) / 2)  # b's only image shares the last place with another
    absent = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "average_precision": None, "threshold": 0.5}
    assert found["per_class"]["absent"] == absent


def test_calibration_is_the_mean_over_the_labels():
    # a: always 0.8 and there in half of the images, off by 0.3; b: 0.6 and there, off by 0.4.
    targets, probabilities = np.array([[1, 1], [0, 1]]), np.array([[0.8, 0.6], [0.8, 0.6]])
    assert multilabel_metrics(targets, probabilities, ["a", "b"], [0.5, 0.5])["ece"] == pytest.approx(0.35)


def test_the_order_alone_decides_the_average_precision(problem):
    targets, probabilities = problem
    logits = np.log(probabilities / (1 - probabilities))
    assert mean_average_precision(targets, logits) == mean_average_precision(targets, probabilities)
    assert mean_average_precision(np.zeros((3, 2)), np.ones((3, 2))) == 0
    assert mean_average_precision(np.eye(2), np.full((2, 2), np.nan)) == 0


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "no image has a label"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "no image has a label"),
        (np.ones((3, 2)), np.ones((3, 3)), "each of the 2 labels"),
        (np.ones((3, 3)), np.ones((3, 3)), "each of the 2 labels"),
        (np.full((3, 2), 2), np.ones((3, 2)), "other than 0 and 1"),
        (np.ones((3, 2)), np.full((3, 2), 1.5), "beyond 0 to 1"),
    ],
)
def test_it_refuses_what_it_cannot_evaluate(targets, probabilities, message):
    with pytest.raises(InputError, match=message):
        multilabel_metrics(targets, probabilities, ["a", "b"], [0.5, 0.5])
