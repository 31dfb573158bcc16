"""Any number of labels for each image: as text, as 0 and 1, and split so that each label gets its share."""

from collections.abc import Iterable, Sequence

import numpy as np

LABEL_SEPARATOR = "|"  # no label holds it


def join_labels(labels: Iterable[str]) -> str:
    """Labels as one field of a table: "apple|banana"; without labels the empty text."""
    return LABEL_SEPARATOR.join(labels)


def split_labels(text: str) -> tuple[str, ...]:
    """The labels of such a field."""
    return tuple(text.split(LABEL_SEPARATOR)) if text else ()


def multi_hot(labels: Sequence[Iterable[str]], classes: Sequence[str]) -> np.ndarray:
    """1 where an image has the class, else 0: (N, C) uint8. Every label must be one of `classes`."""
    number = {name: index for index, name in enumerate(classes)}
    targets = np.zeros((len(labels), len(classes)), np.uint8)
    for row, names in zip(targets, labels, strict=True):
        row[[number[name] for name in names]] = 1
    return targets


def hold_out(targets: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The sorted rows to hold out, about `fraction` of the images of each label, drawn from `seed`.

    targets (N, C) of 0 and 1. The rarest label chooses first: so many of its images are held out that it has its share,
    at least one; then the next rarest, among the images that are left. Images without any label count as one label
    more. Of every label at least one image stays, so that it can be learned. A label all of whose images have rarer
    ones as well may get less than its share. After Sechidis et al., "On the Stratification of Multi-Label Data" (2011).
    """
    has = np.concatenate([targets, ~targets.any(axis=1, keepdims=True)], axis=1).astype(bool)  # (N, C + 1)
    counts = has.sum(axis=0)
    wanted = np.maximum(np.round(counts * fraction), 1)
    held = np.zeros_like(counts)  # images of each label
    is_held, is_left = np.zeros(len(has), bool), np.ones(len(has), bool)
    order = np.random.default_rng(seed).permutation(len(has))
    for label in np.argsort(counts, kind="stable"):
        for row in order[(has[:, label] & is_left)[order]]:
            if held[label] < wanted[label] and (held + 1 < counts)[has[row]].all():
                is_held[row] = True
                held += has[row]
            is_left[row] = False
    return np.flatnonzero(is_held)
