"""The table of the classes: how well each is found, and what it is taken for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from Resnet23.predictions import Predictions


def describe_classes(
    per_class: Mapping[str, Mapping[str, Any]], predictions: Predictions, superclasses: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each class: name, superclass (None without any), its scores, and the class that it is most often
    taken for with the number of images; None for a class without a mistake.
    """
    counts = confusion_matrix(predictions.labels, predictions.predicted, labels=range(len(predictions.classes)))
    mistakes = counts - np.diag(np.diag(counts))  # (C, C)
    rows = []
    for (name, scores), row in zip(per_class.items(), mistakes, strict=True):
        taken = int(row.argmax())
        confused = {"name": predictions.classes[taken], "count": int(row[taken])} if row[taken] else None
        rows.append({"name": name, "superclass": superclasses.get(name), **scores, "taken_for": confused})
    return rows
