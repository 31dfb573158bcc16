"""What the results say, each in one sentence computed from the data: the titles of the figures and of the page."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from Resnet23.figures.theme import shorten
from Resnet23.history import History, best_epoch, has_validation
from Resnet23.predictions import Predictions

SMALL_GAP, LARGE_GAP = 0.03, 0.10  # training minus test accuracy
NEGLIGIBLE_MISCALIBRATION = 0.005  # half a percentage point
DEAD_FILTER = 0.1  # a filter whose norm is below this share of the strongest one's does next to nothing


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


def counted(number: int, noun: str) -> str:
    """A number with its noun, as in "1 image" and "1,000 images"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s" if not noun.endswith("s") else "es")


def headline(metrics: Mapping[str, Any]) -> str:
    """The accuracy on the test images beside what needs no training."""
    supports = [scores["support"] for scores in metrics["per_class"].values()]
    chance = max(supports) / sum(supports)
    return (
        f"{percent(metrics['accuracy'])} of {counted(sum(supports), 'test image')} classified correctly; "
        f"always naming the most frequent class would reach {percent(chance)}"
    )


def gap_finding(metrics: Mapping[str, Any]) -> str:
    """What the distance between training and test accuracy says."""
    gap = metrics["train_accuracy"] - metrics["accuracy"]
    start = f"On the training images it is right {percent(metrics['train_accuracy'])} of the time"
    points = f"{100 * abs(gap):.1f} points"
    if gap < -SMALL_GAP:
        return f"{start}, {points} less than on the test images: the test images are the easier ones."
    if gap <= SMALL_GAP:
        learnt_all = 1 - metrics["train_accuracy"] < gap  # then the errors left are those of generalising
        remedy = "having more images or stronger augmentation" if learnt_all else "a larger network or longer training"
        return (
            f"{start}, within {100 * SMALL_GAP:.0f} points of the test images: what it learnt carries over to new "
            f"images. Where it is still wrong, {remedy} is most likely to help."
        )
    if gap <= LARGE_GAP:
        return (
            f"{start}, {points} more than on the test images: a moderate gap. More images or stronger augmentation "
            "would narrow it."
        )
    return (
        f"{start}, {points} more than on the test images: it knows its training images far better than their "
        "classes. More images, stronger augmentation or more regularisation are what to try first."
    )


def accuracy_interval(accuracy: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of an accuracy measured on `count` images (Wilson 1927)."""
    z = 1.96
    centre = accuracy + z**2 / (2 * count)
    spread = z * np.sqrt(accuracy * (1 - accuracy) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return float((centre - spread) / scale), float((centre + spread) / scale)


def learning_finding(history: History) -> str:
    """The epoch that was kept and how good it was."""
    row, epochs = best_epoch(history), len(history["train_loss"])
    training = percent(float(history["train_accuracy"][row]))
    if not has_validation(history):
        return f"Epoch {epochs} of {epochs} was kept: training accuracy {training}, no images held out for validation"
    validation = percent(float(history["val_accuracy"][row]))
    return f"Best epoch {row + 1} of {epochs}: validation accuracy {validation}, training {training}"


def confusion_finding(counts: np.ndarray, classes: list[str]) -> str:
    """The accuracy and the most frequent mistake, from (C, C) counts with true classes in rows."""
    accuracy = f"Test accuracy {percent(np.trace(counts) / counts.sum())}"
    mistakes = counts - np.diag(np.diag(counts))
    true, taken = np.unravel_index(mistakes.argmax(), mistakes.shape)
    if not mistakes[true, taken]:
        return f"{accuracy}: no image is taken for another class"
    return (
        f"{accuracy}; most often {shorten(classes[true], 30)} is taken for {shorten(classes[taken], 30)} "
        f"({mistakes[true, taken]:,} of {counts[true].sum():,})"
    )


def per_class_finding(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    """The classes of highest and lowest F1 among those in the test set."""
    scores = {name: score["f1"] for name, score in per_class.items() if score["support"]}
    best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    if scores[best] == scores[worst]:
        return f"F1 is {scores[best]:.2f} for every class"
    return (
        f"F1 is highest for {shorten(best, 30)} ({scores[best]:.2f}) "
        f"and lowest for {shorten(worst, 30)} ({scores[worst]:.2f})"
    )


def superclass_finding(per_superclass: Mapping[str, Mapping[str, Any]]) -> str:
    """How many mistakes stay within the superclass, and the superclass in which the class is found least."""
    scores = {name: score for name, score in per_superclass.items() if score["support"]}
    supports = [score["support"] for score in scores.values()]
    right, near = (
        float(np.average([score[key] for score in scores.values()], weights=supports))
        for key in ("accuracy", "superclass_accuracy")
    )
    start = f"Right class {percent(right)}, right superclass {percent(near)}"
    if right == 1:
        return f"{start}: no mistakes"
    hardest = min(scores, key=lambda name: scores[name]["accuracy"])
    return (
        f"{start}: {percent((near - right) / (1 - right))} of the mistakes stay within the superclass; "
        f"hardest is {shorten(hardest, 32)} ({percent(scores[hardest]['accuracy'])})"
    )


def ranking_finding(metrics: Mapping[str, Any]) -> str:
    """The mean average precision and its extremes."""
    scores = {name: score["average_precision"] for name, score in metrics["per_class"].items()}
    known = {name: score for name, score in scores.items() if score is not None}
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    start = f"Mean average precision {metrics['mAP']:.3f}"
    if known[best] == known[worst]:
        return f"{start}, the same for every class"
    return (
        f"{start}: best for {shorten(best, 30)} ({known[best]:.2f}), "
        f"worst for {shorten(worst, 30)} ({known[worst]:.2f})"
    )


def calibration_finding(predictions: Predictions, error: float) -> str:
    """Whether the confidence can be believed; `error` is the expected calibration error."""
    excess = float(predictions.confidence.mean() - (predictions.predicted == predictions.labels).mean())
    if abs(excess) < NEGLIGIBLE_MISCALIBRATION:
        return f"On average confidence equals accuracy (ECE {error:.3f})"
    relation = "exceeds" if excess > 0 else "falls short of"
    return f"Confidence {relation} accuracy by {100 * abs(excess):.1f} points on average (ECE {error:.3f})"


def mistakes_finding(predictions: Predictions, shown: int) -> str:
    """How many mistakes there are, and how sure the shown ones were."""
    wrong = predictions.predicted != predictions.labels
    start = f"{wrong.sum():,} of {counted(len(wrong), 'test image')} {'is' if wrong.sum() == 1 else 'are'} wrong"
    if not wrong.any():
        return f"None of {counted(len(wrong), 'test image')} is wrong"
    highest = percent(float(predictions.confidence[wrong].max()))
    if shown == wrong.sum():
        return f"{start}: with confidences of up to {highest}"
    return f"{start}; the {shown} most confident mistakes reach {highest} confidence"


def samples_finding(shown: int, total: int, present: int) -> str:
    """What the shown training images are."""
    images = f"{shown} of the {total}" if shown < total else f"the {shown}"
    return f"As the network sees them: {images} augmented images of a training batch, {counted(present, 'class')}"


def filters_finding(norms: np.ndarray) -> str:
    """How many first-layer filters do something, from their (K,) norms."""
    used = int((norms >= DEAD_FILTER * norms.max()).sum())
    if used == len(norms):
        return f"First layer: all {used} filters are in use"
    return f"First layer: {used} of {len(norms)} filters are in use, the others are nearly zero"
