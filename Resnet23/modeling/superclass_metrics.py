"""How often a classifier finds the right superclass, and how well it does in each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Resnet23.errors import InputError


def superclass_metrics(
    targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str], superclasses: Mapping[str, str]
) -> dict[str, Any]:
    """Accuracies by superclass, from true and predicted classes, (N,) each, as plain numbers that JSON can hold.

    `superclass_accuracy` is the share of images whose predicted class is of the right superclass. `per_superclass` has,
    by name and over the images of that superclass, `accuracy` (the right class), `superclass_accuracy` (any class of
    the right superclass) and `support` (images); without images the accuracies are None.

    Raises InputError when a class is without a superclass.
    """
    if missing := [name for name in classes if name not in superclasses]:
        raise InputError(f"superclasses: found none for {', '.join(missing)}, expected one for each class")
    names = np.array([superclasses[name] for name in classes])
    families = names[targets]  # (N,)
    is_right, is_near = predicted == targets, names[predicted] == families
    return {
        "superclass_accuracy": float(is_near.mean()),
        "per_superclass": {
            name: _of_superclass(is_right[families == name], is_near[families == name])
            for name in sorted(set(names.tolist()))
        },
    }


def _of_superclass(is_right: np.ndarray, is_near: np.ndarray) -> dict[str, Any]:
    """The numbers of one superclass, from whether class and superclass of its images were found, (n,) bool each."""
    found = len(is_right) > 0
    return {
        "accuracy": float(is_right.mean()) if found else None,
        "superclass_accuracy": float(is_near.mean()) if found else None,
        "support": len(is_right),
    }
