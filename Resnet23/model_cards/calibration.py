"""How far the probabilities can be believed, with the temperature and without it."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_softmax, logit

from Resnet23.model_cards.measured import AnyPredictions
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions

SMALLEST = 1e-30  # stands for a probability that was rounded to 0


@dataclass(frozen=True)
class CalibrationRow:
    """Calibration error and cross-entropy of one split, before and after the division by the temperature."""

    split: str
    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float


def compare_calibration(split: str, predictions: AnyPredictions, temperature: float) -> CalibrationRow | None:
    """Both figures of a split with and without the temperature; None where there is nothing to measure."""
    if not predictions.files or (isinstance(predictions, MultilabelPredictions) and not predictions.labels.any()):
        return None
    after = _errors(predictions, predictions.probabilities)
    before = _errors(predictions, without_temperature(predictions, temperature))
    return CalibrationRow(split, before[0], after[0], before[1], after[1])


def without_temperature(predictions: AnyPredictions, temperature: float) -> np.ndarray:
    """The probabilities (N, C) that the network's logits give by themselves.

    Probabilities say what the logits were divided by the temperature, for classes but for a number that the softmax
    does not see; so multiplying by the temperature brings the logits back.
    """
    probabilities = predictions.probabilities
    if isinstance(predictions, MultilabelPredictions):
        return expit(temperature * logit(np.clip(probabilities, SMALLEST, 1 - np.finfo(float).epsneg)))
    return np.exp(log_softmax(temperature * np.log(np.maximum(probabilities, SMALLEST)), axis=1))


def _errors(predictions: AnyPredictions, probabilities: np.ndarray) -> tuple[float, float]:
    """The calibration error and the cross-entropy of probabilities (N, C)."""
    classes = predictions.classes
    if isinstance(predictions, MultilabelPredictions):
        thresholds = [0.5] * len(classes)  # of no influence on either
        metrics = multilabel_metrics(predictions.labels, probabilities, classes, thresholds)
    else:
        metrics = classification_metrics(predictions.labels, probabilities, classes)
    return metrics["ece"], metrics["loss"]
