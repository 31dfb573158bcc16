"""The top of the page: the result, what it compares with, and how it differs between the splits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from Resnet23.figures.findings import accuracy_interval, gap_finding, headline
from Resnet23.figures.multilabel_findings import multilabel_gap_finding, multilabel_headline
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.results import Results

# Published for the system that ResNet-23 comes from, after training from scratch on the default task below.
PUBLISHED = {"ResNet-23": 0.58, "ResNet-18": 0.40}
# The task of those figures: the default of params.yaml.
PUBLISHED_DATASET, PUBLISHED_CLASSES, PUBLISHED_PER_CLASS = "cifar10", 10, 500


def summarize(results: Results) -> dict[str, Any]:
    """What the top of the page says of a single-label classifier."""
    metrics = results.metrics
    return {
        "headline": headline(metrics),
        "gap": gap_finding(metrics),
        "interval": accuracy_interval(metrics["accuracy"], len(results.predictions.files)),
        "comparison": compare_with_baselines(metrics, results.features.info),
        "splits": _splits(results),
    }


def summarize_labels(results: Results) -> dict[str, Any]:
    """The same for several labels for each image."""
    metrics, validation, images = results.metrics, results.validation, len(results.predictions.files)
    splits = [{"name": "test", **metrics}]
    if validation.labels.any():
        thresholds = [scores["threshold"] for scores in metrics["per_class"].values()]
        found = multilabel_metrics(validation.labels, validation.probabilities, validation.classes, thresholds)
        splits.insert(0, {"name": "validation", **found})
    return {
        "headline": multilabel_headline(metrics, images),
        "gap": multilabel_gap_finding(metrics),
        "interval": accuracy_interval(metrics["subset_accuracy"], images),
        "comparison": compare_with_random_order(metrics, images),
        "labels_per_image": float(results.predictions.labels.sum(axis=1).mean()),
        "splits": splits,
    }


def compare_with_baselines(metrics: Mapping[str, Any], info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The accuracy beside what was published for its task and what needs no training, best first: name, kind, share.

    `info` is features.json, which says whether the task is the one of the published figures.
    """
    supports = [scores["support"] for scores in metrics["per_class"].values()]
    rows = [
        {"name": "This model", "kind": "measured", "share": metrics["accuracy"]},
        {"name": "Always the most frequent class", "kind": "chance", "share": max(supports) / sum(supports)},
        {"name": f"Guessing among {len(supports)} classes", "kind": "chance", "share": 1 / len(supports)},
    ]
    if is_published_task(info):
        rows += [{"name": name, "kind": "published", "share": share} for name, share in PUBLISHED.items()]
    return sorted(rows, key=lambda row: -row["share"])


def compare_with_random_order(metrics: Mapping[str, Any], images: int) -> list[dict[str, Any]]:
    """The same for labels: the mean average precision beside that of images in a random order."""
    supports = [scores["support"] for scores in metrics["per_class"].values() if scores["support"]]
    rows = [
        {"name": "This model", "kind": "measured", "share": metrics["mAP"]},
        {"name": "Images in a random order", "kind": "chance", "share": float(np.mean(supports) / images)},
    ]
    return sorted(rows, key=lambda row: -row["share"])


def is_published_task(info: Mapping[str, Any]) -> bool:
    """Whether the data is what the published figures were trained on: 500 images of each of the ten CIFAR-10 classes,
    those held out for validation included.
    """
    counts = info["class_counts"]
    per_class = {counts["train"].get(name, 0) + counts["val"].get(name, 0) for name in info["classes"]}
    is_complete = len(info["classes"]) == PUBLISHED_CLASSES and per_class == {PUBLISHED_PER_CLASS}
    return info["dataset"] == PUBLISHED_DATASET and is_complete


def _splits(results: Results) -> list[dict[str, Any]]:
    """Accuracy, loss and calibration on each split, as far as they are known."""
    validation, metrics = results.validation, results.metrics
    rows = [{"name": "training", "accuracy": metrics["train_accuracy"], "loss": None, "ece": None}]
    if validation.files:
        measured = classification_metrics(validation.labels, validation.probabilities, validation.classes)
        rows.append({"name": "validation", **measured})
    rows.append({"name": "test", **metrics})
    return rows
