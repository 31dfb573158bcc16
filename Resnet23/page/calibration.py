"""Confidence before and after temperature scaling.

The stored probabilities are p = softmax(z / T), so that log p is z / T but for a constant of each image, and
softmax(T log p) = softmax(z): the probabilities before scaling come back, to the nine digits that are stored. Of
labels, p = sigmoid(z / T) and sigmoid(T logit p) = sigmoid(z). Scaling: Guo et al., "On Calibration of Modern Neural
Networks" (2017).
"""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import log_loss

from Resnet23.modeling.metrics import expected_calibration_error
from Resnet23.modeling.multilabel_metrics import label_calibration_errors
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions
from Resnet23.results import Results

Answers = Predictions | MultilabelPredictions


def unscale(predictions: Answers, temperature: float) -> Answers:
    """The same predictions with the probabilities that the network gave before they were scaled."""
    powers = predictions.probabilities**temperature  # exp(T log p)
    if isinstance(predictions, MultilabelPredictions):
        rest = powers + (1 - predictions.probabilities) ** temperature
    else:
        rest = powers.sum(axis=1, keepdims=True)
    return replace(predictions, probabilities=powers / rest)


def describe_calibration(results: Results) -> dict[str, Any]:
    """The temperature, and calibration error and cross-entropy of each split before and after; without a temperature
    there is nothing before.
    """
    splits = {"validation": results.validation, "test": results.predictions}
    return {
        "temperature": results.temperature,
        "splits": [_compare(name, split, results.temperature) for name, split in splits.items() if split.files],
    }


def _compare(name: str, predictions: Answers, temperature: float | None) -> dict[str, Any]:
    before = _measure(unscale(predictions, temperature)) if temperature else None
    return {"name": name, "before": before, "after": _measure(predictions)}


def _measure(predictions: Answers) -> dict[str, float]:
    """ECE, and the mean cross-entropy in nats, of labels over all answers."""
    labels, probabilities = predictions.labels, predictions.probabilities
    if isinstance(predictions, MultilabelPredictions):
        answers = np.stack([1 - probabilities.ravel(), probabilities.ravel()], axis=1)
        loss = log_loss(labels.ravel(), answers, labels=[False, True])
        return {"ece": float(np.mean(label_calibration_errors(labels, probabilities))), "loss": float(loss)}
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)  # nine digits miss a sum of 1 by a little
    loss = log_loss(labels, shares, labels=range(len(predictions.classes)))
    return {"ece": expected_calibration_error(labels, probabilities), "loss": float(loss)}
