"""The figures of classes in superclasses: what the bars are, and in which order the confusion matrix stands."""

import numpy as np
import pytest
from fake_results import write_results
from matplotlib.container import BarContainer
from sklearn.metrics import confusion_matrix

from Resnet23.config import PlotsParams
from Resnet23.figures.charts import plot_confusion_matrix
from Resnet23.figures.findings import superclass_finding
from Resnet23.figures.superclass_charts import plot_superclasses
from Resnet23.figures.theme import LIGHT
from Resnet23.modeling.superclass_metrics import superclass_metrics
from Resnet23.plots import draw_pictures
from Resnet23.predictions import Predictions
from Resnet23.results import read_results
from Resnet23.sources.cifar import CIFAR100
from Resnet23.superclasses import find_superclasses

PER_SUPERCLASS = {
    "animals": {"accuracy": 0.5, "superclass_accuracy": 0.75, "support": 40},
    "plants": {"accuracy": None, "superclass_accuracy": None, "support": 0},
    "vehicles": {"accuracy": 0.7, "superclass_accuracy": 0.8, "support": 60},
}


def test_the_bars_are_the_right_classes_then_the_right_superclasses():
    figure = plot_superclasses(PER_SUPERCLASS)
    (axes,) = figure.axes
    right, near = (part for part in axes.containers if isinstance(part, BarContainer))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["animals", "vehicles"]  # from the bottom up
    assert [bar.get_width() for bar in right] == [0.5, 0.7]
    assert [bar.get_x() + bar.get_width() for bar in near] == pytest.approx([0.75, 0.8])
    assert [text.get_text() for text in axes.texts] == ["50 / 75% of 40", "70 / 80% of 60"]


def test_the_title_says_how_many_mistakes_stay_within_the_superclass():
    # 62 of 100 right, 78 of the right superclass: 16 of 38 mistakes.
    assert superclass_finding(PER_SUPERCLASS) == (
        "Right class 62.0%, right superclass 78.0%: 42.1% of the mistakes stay within the superclass; "
        "hardest is animals (50.0%)"
    )
    faultless = {"all": {"accuracy": 1.0, "superclass_accuracy": 1.0, "support": 3}}
    assert superclass_finding(faultless) == "Right class 100.0%, right superclass 100.0%: no mistakes"


def shown(predictions: Predictions, superclasses: dict[str, str]) -> tuple[np.ndarray, list[str], str]:
    """The shares that a confusion matrix shows, the names beside it and what it calls them."""
    axes = plot_confusion_matrix(predictions, LIGHT, superclasses).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    return np.asarray(axes.images[0].get_array()), names, axes.get_ylabel()


def test_the_confusion_matrix_stands_in_blocks():
    classes = ["bus", "cat", "dog", "tank"]
    labels, predicted = np.random.default_rng(0).integers(0, 4, (2, 200))
    predictions = Predictions([""] * 200, classes, labels, np.eye(4)[predicted])
    superclasses = {"bus": "vehicles", "cat": "animals", "dog": "animals", "tank": "vehicles"}
    shares, names, about = shown(predictions, superclasses)
    order = [1, 2, 0, 3]
    assert (names, about) == ([classes[row] for row in order], "true class")
    expected = confusion_matrix(labels, predicted, normalize="true")
    np.testing.assert_allclose(shares, expected[np.ix_(order, order)])
    without, names, _ = shown(predictions, {})
    np.testing.assert_allclose(without, expected)
    assert names == classes


def test_of_many_classes_the_blocks_are_named():
    labels = np.arange(100)
    predictions = Predictions([""] * 100, CIFAR100.classes, labels, np.eye(100))
    superclasses = find_superclasses("cifar100", CIFAR100.classes)
    _, names, about = shown(predictions, superclasses)
    assert (len(names), names[-1], about) == (20, "vehicles_2", "true superclass")


def test_the_figure_is_drawn_where_there_are_superclasses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    superclasses = find_superclasses("cifar100", ["bus", "tank", "bear", "wolf", "train", "lion"])
    write_results(tmp_path, list(superclasses), superclasses=superclasses)
    results = read_results()
    pictures = draw_pictures(results, PlotsParams(dpi=50, examples=4))
    (picture,) = [picture for picture in pictures if picture.name == "superclasses"]
    predictions = results.predictions
    found = superclass_metrics(predictions.labels, predictions.predicted, predictions.classes, superclasses)
    assert picture.title == superclass_finding(found["per_superclass"])
