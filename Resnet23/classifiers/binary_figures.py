"""How good the answers to a yes-or-no question are, where accuracy alone says little.

Where one image in ten is a yes, always answering no is right in 90% of cases. Balanced accuracy is 50% then, as for
any guess.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score, roc_curve

from Resnet23.errors import InputError


@dataclass(frozen=True)
class BinaryFigures:
    """Shares from 0 to 1. The first two are of the decision at `threshold`, the next two need no threshold.

    `always_rest` is the accuracy of always giving the answer that is more frequent.
    """

    accuracy: float
    balanced_accuracy: float  # mean of the shares of right answers among label 0 and among label 1; chance is 0.5
    auroc: float  # probability that an image of label 1 scores above one of label 0; chance is 0.5
    average_precision: float  # area under precision over recall; chance is the share of label 1
    always_rest: float
    threshold: float


def binary_figures(targets: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> BinaryFigures:
    """Every figure for labels (N,) of 0 and 1 and probabilities (N,) of 1; at `threshold` and above the answer is 1.

    Raises InputError when the labels are not both 0 and 1, or the shapes differ.
    """
    targets, probabilities = _check(targets, probabilities)
    answers = probabilities >= threshold
    return BinaryFigures(
        accuracy=float((answers == targets).mean()),
        balanced_accuracy=float(balanced_accuracy_score(targets, answers)),
        auroc=float(roc_auc_score(targets, probabilities)),
        average_precision=float(average_precision_score(targets, probabilities)),
        always_rest=float(max(targets.mean(), 1 - targets.mean())),
        threshold=float(threshold),
    )


def best_threshold(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold of the highest balanced accuracy on these images, which should be validation images.

    It lies midway between two neighbouring probabilities, or on the lowest one. Raises InputError as `binary_figures`
    does.
    """
    targets, probabilities = _check(targets, probabilities)
    false_positive, true_positive, thresholds = roc_curve(targets, probabilities, drop_intermediate=False)
    best = 1 + int(np.argmax((true_positive - false_positive)[1:]))  # the first threshold is infinite
    neighbour = min(best + 1, len(thresholds) - 1)
    return float((thresholds[best] + thresholds[neighbour]) / 2)


def _check(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as booleans, probabilities as float64."""
    targets, probabilities = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    if targets.ndim != 1 or targets.shape != probabilities.shape:
        raise InputError(f"found labels {targets.shape} and probabilities {probabilities.shape}, expected (N,) of both")
    if set(np.unique(targets)) != {0, 1}:
        raise InputError("the figures of a binary question need images of label 0 and images of label 1, and no others")
    return targets == 1, probabilities
