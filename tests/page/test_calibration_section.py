"""Before and after temperature scaling: the probabilities before come back, to the digits that are stored."""

from contextlib import chdir

import numpy as np
import pytest
from fake_multilabel_results import write_multilabel_results
from fake_results import TEMPERATURE, write_results
from scipy.special import expit, softmax

from Resnet23.figures.charts import plot_calibration
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.page.calibration import describe_calibration, unscale
from Resnet23.predictions import Predictions
from Resnet23.results import read_results


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_scaling_is_undone(temperature):
    logits = np.random.default_rng(0).normal(scale=6, size=(50, 7))
    labels = np.arange(50) % 7
    stored = softmax(logits / temperature, axis=1).astype(np.float32).astype(np.float64)
    found = unscale(Predictions(["f"] * 50, list("abcdefg"), labels, stored), temperature)
    np.testing.assert_allclose(found.probabilities, softmax(logits, axis=1), atol=1e-5)
    given = logits > 0
    found = unscale(
        MultilabelPredictions(["f"] * 50, list("abcdefg"), given, given, expit(logits / temperature)), temperature
    )
    np.testing.assert_allclose(found.probabilities, expit(logits), atol=1e-5)


def test_certainty_stays_certain():
    certain = Predictions(["f"], ["a", "b"], np.array([0]), np.array([[1.0, 0.0]]))
    assert unscale(certain, 0.5).probabilities.tolist() == [[1.0, 0.0]]


def test_both_errors_are_given(project):
    write_results(project, ["a", "b", "c"])
    results = read_results()
    described = describe_calibration(results)
    assert described["temperature"] == TEMPERATURE
    assert [split["name"] for split in described["splits"]] == ["validation", "test"]
    test = described["splits"][1]
    for key in ("ece", "loss"):
        assert test["after"][key] == pytest.approx(results.metrics[key], abs=1e-6)
        assert test["before"][key] != pytest.approx(test["after"][key], abs=1e-3)
    figure = plot_calibration(results.predictions, None, unscaled=unscale(results.predictions, TEMPERATURE))
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert f"test, before scaling (ECE {test['before']['ece']:.3f})" in names
    assert f"test (ECE {test['after']['ece']:.3f})" in names


def test_labels_are_measured_as_their_metrics_are(project):
    write_multilabel_results(project, ["a", "b", "c"])
    results = read_results()
    after = describe_calibration(results)["splits"][-1]["after"]
    assert after["ece"] == pytest.approx(results.metrics["ece"], abs=1e-6)
    assert after["loss"] == pytest.approx(results.metrics["loss"], abs=1e-6)


def test_without_validation_only_the_test_images_are_measured(tmp_path):
    write_results(tmp_path, ["a", "b"], validation=False)
    with chdir(tmp_path):
        assert [split["name"] for split in describe_calibration(read_results())["splits"]] == ["test"]
