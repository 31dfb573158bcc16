"""How good predictions are: the numbers of reports/metrics.json, from NumPy arrays alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, log_loss, precision_recall_fscore_support

from Resnet23.errors import InputError

CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017
TOP = 5  # first guesses, as customary since ImageNet


@dataclass(frozen=True)
class CalibrationBins:
    """Test images grouped by confidence; bin i holds those in (edges[i], edges[i + 1]]. Empty bins are 0 throughout."""

    edges: np.ndarray  # (bins + 1,) from 0 to 1
    counts: np.ndarray  # (bins,) images
    accuracy: np.ndarray  # (bins,) share predicted correctly
    confidence: np.ndarray  # (bins,) mean probability of the predicted class


def classification_metrics(targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Every metric of a single-label classifier, as plain floats that JSON can hold.

    `targets` are (N,) class indices, `probabilities` (N, C) with rows that sum to 1. All averages are unweighted
    means over the classes that occur in `targets`; `average_precision` of a class that does not is None. `mAP` is
    the mean one-vs-rest average precision, `loss` the mean cross-entropy in nats, `confusion_matrix` counts images by
    true class (rows) and predicted class (columns). `top5_accuracy`, the share of images whose class is among the five
    most probable ones, is there where there are more than five.

    Raises InputError when there is nothing to evaluate or the shapes do not fit together.
    """
    targets, probabilities = _check(targets, probabilities, classes)
    labels = range(len(classes))
    predicted = probabilities.argmax(axis=1)  # (N,)
    scores = precision_recall_fscore_support(targets, predicted, labels=labels, zero_division=0)
    precision, recall, f1, support = scores  # (C,) each
    present = support > 0
    average_precision = [
        float(average_precision_score(targets == label, probabilities[:, label])) if present[label] else None
        for label in labels
    ]
    return {
        "accuracy": float((predicted == targets).mean()),
        **({"top5_accuracy": top_accuracy(targets, probabilities)} if len(classes) > TOP else {}),
        "balanced_accuracy": float(recall[present].mean()),  # by definition the macro recall
        "precision": float(precision[present].mean()),
        "recall": float(recall[present].mean()),
        "f1": float(f1[present].mean()),
        "mAP": float(np.mean([value for value in average_precision if value is not None])),
        "loss": float(log_loss(targets, probabilities, labels=labels)),
        "ece": expected_calibration_error(targets, probabilities),
        "per_class": {name: _of_class(scores, average_precision, label) for label, name in enumerate(classes)},
        "confusion_matrix": confusion_matrix(targets, predicted, labels=labels).tolist(),
    }


def _of_class(scores: Sequence[np.ndarray], average_precision: Sequence[float | None], label: int) -> dict[str, Any]:
    """The metrics of one class, from precision, recall, F1 and support (C,) and average precision of all classes."""
    precision, recall, f1, support = (values[label] for values in scores)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "support": int(support),
        "average_precision": average_precision[label],
    }


def top_accuracy(targets: np.ndarray, probabilities: np.ndarray, count: int = TOP) -> float:
    """The share of images whose class is among the `count` most probable ones; of equals the first count as more so.

    (scikit-learn's top_k_accuracy_score takes the last, and so can give less than the accuracy does.)
    """
    guesses = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]  # (N, count)
    return float((guesses == targets[:, np.newaxis]).any(axis=1).mean())


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """The mean distance between confidence and accuracy over the bins, weighted by their images (Guo et al. 2017)."""
    return mean_distance(calibration_bins(targets, probabilities, bins))


def mean_distance(grouped: CalibrationBins) -> float:
    """The mean distance between confidence and accuracy over the bins, weighted by their images."""
    distance = np.abs(grouped.accuracy - grouped.confidence)  # (bins,)
    return float((distance * grouped.counts).sum() / grouped.counts.sum())


def calibration_bins(targets: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> CalibrationBins:
    """Group predictions by the probability of the predicted class, in `bins` bins of equal width."""
    return bin_by_confidence(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, bins)


def bin_by_confidence(confidence: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> CalibrationBins:
    """Group answers by how sure they are, `confidence` (N,) from 0 to 1; `correct` (N,) says which are right."""
    confidence = confidence.astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], confidence, side="left")  # (N,) 0 to bins - 1
    counts = np.bincount(index, minlength=bins)
    divisor = np.maximum(counts, 1)
    return CalibrationBins(
        edges,
        counts,
        accuracy=np.bincount(index, weights=correct, minlength=bins) / divisor,
        confidence=np.bincount(index, weights=confidence, minlength=bins) / divisor,
    )


def _check(targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The inputs as int64 and float64, the rows normalised to a sum of exactly 1 (float32 misses it by 1e-7)."""
    targets = np.asarray(targets, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if len(targets) == 0:
        raise InputError("no labelled images to evaluate; metrics need at least one")
    if probabilities.shape != (len(targets), len(classes)):
        raise InputError(
            f"found probabilities of shape {probabilities.shape}, expected {(len(targets), len(classes))}: "
            f"{len(targets)} images and {len(classes)} classes"
        )
    if targets.min() < 0 or targets.max() >= len(classes):
        raise InputError(f"found labels {targets.min()} to {targets.max()}, expected 0 to {len(classes) - 1}")
    sums = probabilities.sum(axis=1, keepdims=True)
    if not np.allclose(sums, 1, atol=1e-3):
        raise InputError("found probabilities that do not sum to 1 in each row, expected the output of a softmax")
    return targets, probabilities / sums
