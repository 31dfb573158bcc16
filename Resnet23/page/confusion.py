"""Which classes are taken for which: the data of the confusion matrix on the page, and its largest mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from Resnet23.predictions import Predictions

LISTED = 15  # of the largest confusions
TABLE_CLASSES = 100  # up to so many classes the page holds the matrix as a table as well: 10,000 cells


def describe_confusion(predictions: Predictions, superclasses: Mapping[str, str]) -> dict[str, Any]:
    """The matrix for its template: the cells for the script, the whole of it as a table, the largest confusions."""
    classes = predictions.classes
    counts = confusion_matrix(predictions.labels, predictions.predicted, labels=range(len(classes)))  # (C, C)
    return {
        "script": {
            "classes": classes,
            "families": [superclasses[name] for name in classes] if superclasses else [],
            "cells": [[int(true), int(taken), int(counts[true, taken])] for true, taken in np.argwhere(counts)],
        },
        "table": counts.tolist() if len(classes) <= TABLE_CLASSES else [],
        "largest": largest_confusions(counts, classes),
        "mistakes": int(counts.sum() - np.trace(counts)),
    }


def largest_confusions(counts: np.ndarray, classes: Sequence[str], most: int = LISTED) -> list[dict[str, Any]]:
    """The most frequent pairs of true and predicted class, from (C, C) counts; of equal ones the larger share first."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pairs = [(true, taken) for true, taken in np.argwhere(counts) if true != taken]
    pairs.sort(key=lambda pair: (-counts[pair], -shares[pair], *pair))
    return [
        {
            "row": int(true),
            "column": int(taken),
            "true": classes[true],
            "taken": classes[taken],
            "count": int(counts[true, taken]),
            "share": float(shares[true, taken]),
        }
        for true, taken in pairs[:most]
    ]
