"""What the experiment tracker keeps of an evaluation: its numbers by name, and two tables to read."""

import csv
import io
from typing import Any

import numpy as np
from sklearn.metrics import classification_report

from Resnet23.files import CsvLines
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions

LABEL_COUNTS = ["label", "true_negatives", "false_positives", "false_negatives", "true_positives"]


def tracked_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics under the names that the tracker shows: test_accuracy, ..., test_f1/cat, ..., test_accuracy/fish."""
    tracked = {f"test_{name}": value for name, value in metrics.items() if isinstance(value, float)}
    for name in ("train_accuracy", "train_mAP"):
        if name in metrics:
            tracked[f"final_{name}"] = tracked.pop(f"test_{name}")
    for name, values in [*metrics["per_class"].items(), *metrics.get("per_superclass", {}).items()]:
        tracked |= {f"test_{key}/{name}": value for key, value in values.items() if value is not None}
    return tracked


def confusion_table(counts: list[list[int]] | list[list[list[int]]], classes: list[str]) -> str:
    """The confusion matrix (C, C) as CSV: a row for each true class, a column for each predicted one.

    Of labels (C, 2, 2): a row for each with its four counts.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(CsvLines(text))
    is_multilabel = np.ndim(counts) == 3
    writer.writerow(LABEL_COUNTS if is_multilabel else ["true", *classes])
    rows = np.reshape(counts, (len(classes), -1)).tolist()
    writer.writerows([name, *row] for name, row in zip(classes, rows, strict=True))
    return text.getvalue()


def report_text(predictions: Predictions | MultilabelPredictions) -> str:
    """Precision, recall, F1 and images of every class as a table to read, with their means below."""
    return classification_report(
        predictions.labels,
        predictions.predicted,
        labels=range(len(predictions.classes)),
        target_names=predictions.classes,
        digits=3,
        zero_division=0,
    )
