"""For classes of very different size: weights in the loss, or a sampler that draws every class equally often."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from Resnet23.errors import InputError


def positive_weights(targets: Sequence[int], num_classes: int) -> list[float]:
    """For each class, how often its images must count so that together they weigh as much as all others.

    Raises InputError when a class has no images.
    """
    counts = _counts(targets, num_classes)
    return ((len(targets) - counts) / counts).tolist()


def balanced_sampler(
    targets: Sequence[int], num_classes: int = 2, generator: torch.Generator | None = None
) -> WeightedRandomSampler:
    """A sampler that draws as many images as there are, with replacement, each class with the same probability.

    Raises InputError when a class has no images.
    """
    weights = 1 / _counts(targets, num_classes)
    return WeightedRandomSampler(weights[_as_integers(targets)].tolist(), len(targets), generator=generator)


def _counts(targets: Sequence[int], num_classes: int) -> np.ndarray:
    """Images of each class (num_classes,)."""
    counts = np.bincount(_as_integers(targets), minlength=num_classes)
    if not counts.all():
        raise InputError(f"no image is of class {int(counts.argmin())}; a balance of classes needs some of each")
    return counts


def _as_integers(targets: Sequence[int]) -> np.ndarray:
    return np.asarray(targets).astype(np.int64)
