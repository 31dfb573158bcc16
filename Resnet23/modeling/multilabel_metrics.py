"""How good predictions of several labels for each image are: the numbers of metrics.json, from NumPy arrays alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    f1_score,
    hamming_loss,
    log_loss,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from Resnet23.errors import InputError
from Resnet23.modeling.metrics import CALIBRATION_BINS, CalibrationBins, bin_by_confidence, mean_distance


def multilabel_metrics(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], thresholds: Sequence[float]
) -> dict[str, Any]:
    """Every metric of a multi-label classifier, as plain floats that JSON can hold.

    `targets` (N, C) of 0 and 1, `probabilities` (N, C) from 0 to 1; a label is given where its probability is at least
    its threshold. `mAP`, `loss`, `ece` and `coverage` look at the probabilities, the others at what is given:

    - `mAP`: mean average precision; `f1_macro`: mean F1. Both over the labels that occur in `targets`.
    - `f1_micro`: F1 of all answers in one pot. `hamming_loss`: share of the N * C answers that are wrong.
    - `subset_accuracy`: share of images with every label right.
    - `coverage`: how far down the ranking of labels to go, on average, to find all of an image's; at best their number.
    - `loss`: mean binary cross-entropy in nats; `ece`: mean over the labels of their calibration errors.
    - `confusion_matrix`: for each label [[true negatives, false positives], [false negatives, true positives]].

    Raises InputError when there is nothing to evaluate or the shapes do not fit together.
    """
    targets, probabilities = _check(targets, probabilities, classes)
    given = probabilities >= np.asarray(thresholds)  # (N, C)
    f1 = precision_recall_fscore_support(targets, given, zero_division=0)[2]  # (C,)
    present = targets.any(axis=0)
    return {
        "mAP": mean_average_precision(targets, probabilities),
        "f1_macro": float(f1[present].mean()),
        "f1_micro": float(f1_score(targets, given, average="micro", zero_division=0)),
        "subset_accuracy": float((given == targets).all(axis=1).mean()),
        "hamming_loss": float(hamming_loss(targets, given)),
        "coverage": float(coverage_error(targets, probabilities)),
        "loss": float(log_loss(targets.ravel(), probabilities.ravel(), labels=[0, 1])),
        "ece": float(np.mean(label_calibration_errors(targets, probabilities))),
        "per_class": _per_class(targets, probabilities, given, classes, thresholds),
        "confusion_matrix": multilabel_confusion_matrix(targets, given).tolist(),
    }


def mean_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the labels that occur in `targets` (N, C) of their average precision; 0 when none does.

    `scores` (N, C) may be logits or probabilities. Those of a training that has diverged, no numbers, count as 0 too.
    """
    present = targets.any(axis=0)
    if not present.any() or not np.isfinite(scores).all():
        return 0.0
    return float(average_precision_score(targets[:, present].astype(int), scores[:, present]))


def label_calibration_errors(targets: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """For each label the mean distance between its probability and how often it is present, over bins of images."""
    columns = zip(probabilities.T, targets.T, strict=True)
    return [mean_distance(bin_by_confidence(probability, present)) for probability, present in columns]


def pooled_calibration_bins(
    targets: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS
) -> CalibrationBins:
    """All N * C answers grouped by probability; `accuracy` is the share of labels that are present."""
    return bin_by_confidence(probabilities.ravel(), targets.ravel(), bins)


def _per_class(
    targets: np.ndarray,
    probabilities: np.ndarray,
    given: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> dict[str, dict[str, Any]]:
    """The metrics of each label; one that no image has is without average precision."""
    columns = zip(*precision_recall_fscore_support(targets, given, zero_division=0), strict=True)
    return {
        name: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
            "average_precision": (
                float(average_precision_score(targets[:, label], probabilities[:, label])) if support else None
            ),
            "threshold": float(thresholds[label]),
        }
        for label, (name, (precision, recall, f1, support)) in enumerate(zip(classes, columns, strict=True))
    }


def _check(targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The inputs as int64 and float64."""
    targets = np.asarray(targets).astype(np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not targets.any():
        raise InputError("no image has a label to find; metrics need at least one")
    if targets.shape != probabilities.shape or targets.shape[1:] != (len(classes),):
        raise InputError(
            f"found targets of shape {targets.shape} and probabilities of shape {probabilities.shape}, "
            f"expected a column for each of the {len(classes)} labels in both"
        )
    if not np.isin(targets, (0, 1)).all() or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError("found targets other than 0 and 1, or probabilities beyond 0 to 1")
    return targets, probabilities
