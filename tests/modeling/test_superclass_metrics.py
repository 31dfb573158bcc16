"""Accuracies by superclass: against scikit-learn, and a case worked by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from Resnet23.errors import InputError
from Resnet23.modeling.evaluation_record import tracked_metrics
from Resnet23.modeling.superclass_metrics import superclass_metrics

CLASSES = ["bus", "cat", "dog", "tank"]
SUPERCLASSES = {"bus": "vehicles", "cat": "animals", "dog": "animals", "tank": "vehicles"}


def test_a_case_worked_by_hand():
    targets, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 3, 1, 2, 3])
    found = superclass_metrics(targets, predicted, CLASSES, SUPERCLASSES)
    assert found == {
        "superclass_accuracy": 0.8,  # all but the dog that is taken for a tank
        "per_superclass": {
            "animals": {"accuracy": 1 / 3, "superclass_accuracy": 2 / 3, "support": 3},
            "vehicles": {"accuracy": 0.5, "superclass_accuracy": 1.0, "support": 2},
        },
    }


def test_agrees_with_scikit_learn_on_the_coarse_labels():
    random = np.random.default_rng(0)
    targets, predicted = random.integers(0, 4, (2, 500))
    families = np.array([0, 1, 1, 0])  # vehicles, animals
    found = superclass_metrics(targets, predicted, CLASSES, SUPERCLASSES)
    assert found["superclass_accuracy"] == accuracy_score(families[targets], families[predicted])
    recalls = recall_score(families[targets], families[predicted], average=None)
    for number, name in enumerate(["vehicles", "animals"]):
        inside = families[targets] == number
        scores = found["per_superclass"][name]
        assert scores["superclass_accuracy"] == pytest.approx(recalls[number])
        assert scores["accuracy"] == accuracy_score(targets[inside], predicted[inside])
        assert scores["support"] == inside.sum()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_superclass_without_images_has_no_accuracy():
    found = superclass_metrics(np.array([1]), np.array([2]), CLASSES, SUPERCLASSES)
    assert found["per_superclass"]["vehicles"] == {"accuracy": None, "superclass_accuracy": None, "support": 0}
    assert (found["superclass_accuracy"], found["per_superclass"]["animals"]["accuracy"]) == (1.0, 0.0)


def test_a_class_without_a_superclass_is_named():
    with pytest.raises(InputError, match="found none for tank, expected one for each class"):
        superclass_metrics(np.array([0]), np.array([0]), CLASSES, dict.fromkeys(CLASSES[:3], "all"))


def test_the_tracker_shows_each_superclass():
    metrics = superclass_metrics(np.array([1]), np.array([2]), CLASSES, SUPERCLASSES)
    tracked = tracked_metrics({"train_accuracy": 1.0, "accuracy": 0.0, "per_class": {"cat": {"f1": 0.0}}, **metrics})
    assert tracked == {
        "test_accuracy": 0.0,
        "final_train_accuracy": 1.0,
        "test_superclass_accuracy": 1.0,
        "test_f1/cat": 0.0,
        "test_accuracy/animals": 0.0,
        "test_superclass_accuracy/animals": 1.0,
        "test_support/animals": 1,
        "test_support/vehicles": 0,
    }
