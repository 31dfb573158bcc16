"""From which probability on a label is given: chosen for each label on the validation images."""

from collections.abc import Callable, Sequence

import numpy as np
from loguru import logger
from sklearn.metrics import precision_recall_curve

from Resnet23.config import ThresholdParams
from Resnet23.modeling.checkpoint import DEFAULT_THRESHOLD


def _f1(precision: float, recall: float, level: float) -> tuple[float, ...]:
    return 2 * precision * recall / max(precision + recall, np.finfo(float).tiny), precision


def _precision(precision: float, recall: float, level: float) -> tuple[float, ...]:
    reached = precision >= level
    return reached, recall if reached else precision, precision


def _recall(precision: float, recall: float, level: float) -> tuple[float, ...]:
    return recall >= level, precision, recall


# How good a threshold of this precision and recall is, to be compared with others; `level` is the one wanted.
GOALS: dict[str, Callable[[float, float, float], tuple[float, ...]]] = {
    "f1": _f1,  # the highest
    "precision": _precision,  # of those that reach the level the highest recall, else the highest precision
    "recall": _recall,  # of those that reach the level the highest precision
}


def fit_thresholds(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], params: ThresholdParams
) -> list[float]:
    """The threshold of each label that serves `params.goal` best on these (validation) images.

    targets (N, C) of 0 and 1, probabilities (N, C). A label that none of the images has gets 0.5, with a warning.
    """
    absent = [name for name, count in zip(classes, targets.sum(axis=0), strict=True) if not count]
    if absent:
        logger.warning(
            f"thresholds: no validation image has {', '.join(absent)}; {DEFAULT_THRESHOLD} is used, "
            "a larger features.val_fraction may help"
        )
    return [
        DEFAULT_THRESHOLD if name in absent else _fit(present, column, name, params)
        for name, present, column in zip(classes, targets.T, probabilities.T, strict=True)
    ]


def _fit(present: np.ndarray, probabilities: np.ndarray, name: str, params: ThresholdParams) -> float:
    """The best threshold of one label, which at least one image has; both arrays are (N,)."""
    *curves, scores = precision_recall_curve(present, probabilities.astype(np.float64))  # scores rise
    precision, recall = (curve[:-1].tolist() for curve in curves)  # less the end, where nothing is given
    rank = GOALS[params.goal]
    best = max(range(len(scores)), key=lambda row: rank(precision[row], recall[row], params.level))
    if params.goal == "precision" and precision[best] < params.level:
        logger.warning(
            f"thresholds: on the validation images {name} reaches a precision of {precision[best]:.2f} at most, "
            f"not the {params.level:g} of train.thresholds.level"
        )
    # Between two images: to rest on one of them would leave its label to the last digit of its probability.
    return float((scores[best] + (scores[best - 1] if best else 0.0)) / 2)
