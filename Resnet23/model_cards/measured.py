"""The figures of a run for each split and each class, with their intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from Resnet23.model_cards.intervals import DrawnCounts, Estimate, draw_counts, drawn, share
from Resnet23.modeling.metrics import TOP, classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions
from Resnet23.results import Results

AnyPredictions = Predictions | MultilabelPredictions

# key of metrics.json -> what the card calls it, and whether it is shown in percent
METRICS = {
    "accuracy": ("accuracy", True),
    "top5_accuracy": ("true class among the five most probable", True),
    "superclass_accuracy": ("right superclass", True),
    "balanced_accuracy": ("balanced accuracy (mean recall of the classes)", True),
    "mAP": ("mean average precision", False),
    "f1": ("F1, mean of the classes", False),
    "f1_macro": ("F1, mean of the labels", False),
    "f1_micro": ("F1 of all answers in one pot", False),
    "subset_accuracy": ("images with every label right", True),
    "hamming_loss": ("wrong answers, of all answers for all labels", True),
    "coverage": ("most probable labels to take to have all of an image's, on average", False),
    "loss": ("cross-entropy, in nats", False),
    "ece": ("expected calibration error", False),
}


@dataclass(frozen=True)
class MetricRow:
    """One metric on every split; None where it was not measured."""

    key: str
    name: str
    is_share: bool
    values: list[Estimate | None]  # training, validation if there is one, test


@dataclass(frozen=True)
class ClassRow:
    """One class or label on the test images."""

    name: str
    training_images: int
    images: int  # of the test split that have it
    found: int  # of these, how many were given it
    given: int  # test images that were given it
    precision: Estimate | None  # None when no image was given it
    recall: Estimate | None  # None when no image has it
    f1: Estimate
    average_precision: float | None
    threshold: float | None  # of a label


def splits_of(results: Results) -> dict[str, int]:
    """The names of the splits with their numbers of images, in the order of the metrics' values."""
    counts = results.features.info["counts"]
    validation = {"validation": counts["val"]} if counts["val"] else {}
    return {"training": counts["train"], **validation, "test": counts["test"]}


def measure_splits(results: Results) -> list[MetricRow]:
    """Every metric of the task on every split."""
    measured = [{"accuracy": results.metrics.get("train_accuracy"), "mAP": results.metrics.get("train_mAP")}]
    columns = [{key: Estimate(value) for key, value in measured[0].items() if value is not None}]
    if results.validation.files:
        columns.append(measure(results.validation, _metrics_of(results.validation, results)))
    columns.append(measure(results.predictions, results.metrics))
    return [
        MetricRow(key, name, is_share, [column.get(key) for column in columns])
        for key, (name, is_share) in METRICS.items()
        if key in columns[-1]
    ]


def measure(predictions: AnyPredictions, metrics: dict[str, Any]) -> dict[str, Estimate]:
    """`metrics` as estimates, with intervals where they come from counts of images."""
    images = len(predictions.files)
    estimates = {key: Estimate(metrics[key]) for key in METRICS if isinstance(metrics.get(key), float)}
    for key in ("accuracy", "top5_accuracy", "superclass_accuracy", "subset_accuracy"):
        if key in estimates:
            estimates[key] = share(round(estimates[key].value * images), images)
    present, counts = answers(predictions)[0].any(axis=0), draw_counts(*answers(predictions))
    f1, recall = (np.where(present, values, np.nan) for values in (counts.f1, counts.recall))
    for key, values in (("f1", f1), ("f1_macro", f1), ("balanced_accuracy", recall)):
        if key in estimates:
            estimates[key] = drawn(estimates[key].value, np.nanmean(values, axis=1))
    if "f1_micro" in estimates:
        estimates["f1_micro"] = drawn(estimates["f1_micro"].value, counts.micro_f1)
    return estimates


def measure_classes(results: Results) -> list[ClassRow]:
    """Every class on the test images."""
    true, given = answers(results.predictions)
    counts = draw_counts(true, given)
    training = results.features.info["class_counts"]["train"]
    return [
        _class_row(label, name, training.get(name, 0), results.metrics["per_class"][name], true, given, counts)
        for label, name in enumerate(results.predictions.classes)
    ]


def answers(predictions: AnyPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Which classes each image has, and which it was given: (N, C) bool both."""
    if isinstance(predictions, MultilabelPredictions):
        return predictions.labels, predictions.predicted
    classes = np.arange(len(predictions.classes))
    return predictions.labels[:, None] == classes, predictions.predicted[:, None] == classes


def _class_row(
    label: int,
    name: str,
    training: int,
    scores: dict[str, Any],
    true: np.ndarray,
    given: np.ndarray,
    counts: DrawnCounts,
) -> ClassRow:
    images, answered = int(true[:, label].sum()), int(given[:, label].sum())
    found = int((true & given)[:, label].sum())
    return ClassRow(
        name,
        training,
        images,
        found,
        answered,
        share(found, answered),
        share(found, images),
        drawn(scores["f1"], counts.f1[:, label]) if images else Estimate(scores["f1"]),
        scores["average_precision"],
        scores.get("threshold"),
    )


def _metrics_of(predictions: AnyPredictions, results: Results) -> dict[str, Any]:
    """The metrics of a split that metrics.json does not have."""
    if isinstance(predictions, MultilabelPredictions):
        if not predictions.labels.any():
            return {}
        thresholds = [scores["threshold"] for scores in results.metrics["per_class"].values()]
        return multilabel_metrics(predictions.labels, predictions.probabilities, predictions.classes, thresholds)
    metrics = classification_metrics(predictions.labels, predictions.probabilities, predictions.classes)
    return {key: value for key, value in metrics.items() if key != "top5_accuracy" or len(predictions.classes) > TOP}
