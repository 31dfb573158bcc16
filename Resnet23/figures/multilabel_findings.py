"""What multi-label results say, each in one sentence computed from the data: the titles of the figures and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Resnet23.figures.findings import LARGE_GAP, SMALL_GAP, counted, percent
from Resnet23.figures.theme import shorten
from Resnet23.history import History, best_epoch, has_validation
from Resnet23.multilabel_predictions import MultilabelPredictions


def multilabel_headline(metrics: Mapping[str, Any], images: int) -> str:
    """The mean average precision on the test images beside that of a random order, and how many are all right."""
    supports = [scores["support"] for scores in metrics["per_class"].values() if scores["support"]]
    return (
        f"Mean average precision {metrics['mAP']:.3f} over {counted(len(supports), 'label')} and "
        f"{counted(images, 'test image')}, where a random order would reach {np.mean(supports) / images:.3f}; every "
        f"label right on {percent(metrics['subset_accuracy'])} of the images"
    )


def multilabel_gap_finding(metrics: Mapping[str, Any]) -> str:
    """What the distance between training and test mAP says."""
    gap = metrics["train_mAP"] - metrics["mAP"]
    start = f"On the training images the mAP is {metrics['train_mAP']:.3f}, {abs(gap):.3f}"
    if gap < -SMALL_GAP:
        return f"{start} less than on the test images: the test images are the easier ones."
    if gap <= SMALL_GAP:
        return f"{start} from that of the test images: what it learnt carries over to new images."
    if gap <= LARGE_GAP:
        return (
            f"{start} more than on the test images: a moderate gap. More images or stronger augmentation would "
            "narrow it."
        )
    return (
        f"{start} more than on the test images: it knows its training images far better than their labels. More "
        "images, stronger augmentation or more regularisation are what to try first."
    )


def multilabel_learning_finding(history: History) -> str:
    """The epoch that was kept and how good it was."""
    row, epochs = best_epoch(history), len(history["train_loss"])
    if not has_validation(history):
        return f"Epoch {epochs} of {epochs} was kept: no images held out for validation"
    return (
        f"Best epoch {row + 1} of {epochs}: validation mAP {history['val_mAP'][row]:.3f}, every label right on "
        f"{percent(float(history['val_accuracy'][row]))} of the images"
    )


def co_occurrence_finding(true: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    """The labels that are together most often, from (C, C) shares of the row's images that have the column's label."""
    pairs = np.where(np.eye(len(true), dtype=bool), 0.0, np.nan_to_num(true))
    row, column = np.unravel_index(pairs.argmax(), pairs.shape)
    if not pairs[row, column]:
        return "No test image has two labels"
    first, second, found = shorten(classes[row], 24), shorten(classes[column], 24), predicted[row, column]
    start = f"{percent(pairs[row, column])} of the images with {first} have {second} as well"
    if np.isnan(found):
        return f"{start}; none was given {first}"
    return f"{start}; of those given {first}, {percent(found)} were given {second}"


def thresholds_finding(per_class: Mapping[str, Mapping[str, Any]], images: int) -> str:
    """The lowest and the highest threshold."""
    thresholds = {name: scores["threshold"] for name, scores in per_class.items()}
    low, high = min(thresholds, key=thresholds.__getitem__), max(thresholds, key=thresholds.__getitem__)
    where = f"on {counted(images, 'validation image')}"
    if thresholds[low] == thresholds[high]:
        return f"The threshold of every label is {thresholds[low]:.2f}; its precision and recall {where}"
    return (
        f"Thresholds {where}: from {thresholds[low]:.2f} for {shorten(low, 24)} to {thresholds[high]:.2f} for "
        f"{shorten(high, 24)}"
    )


def label_calibration_finding(errors: Sequence[float], classes: Sequence[str]) -> str:
    """Whether the probabilities can be believed, from the calibration error of each label."""
    worst = int(np.argmax(errors))
    return (
        f"Probabilities are off by {100 * np.mean(errors):.1f} points on average (ECE {np.mean(errors):.3f}), "
        f"most for {shorten(classes[worst], 30)} ({errors[worst]:.3f})"
    )


def multilabel_mistakes_finding(predictions: MultilabelPredictions, shown: int) -> str:
    """How many images have a wrong label, and whether the surest of these answers are what is shown."""
    images, wrong = len(predictions.files), int((~predictions.right).sum())
    if not wrong:
        return f"Every label of {counted(images, 'test image')} is right"
    verb = "has" if wrong == 1 else "have"
    start = f"{wrong:,} of {counted(images, 'test image')} {verb} a wrong label or lack one"
    return start if shown == wrong else f"{start}; the {shown} surest mistakes"
