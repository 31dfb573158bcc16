"""reports/predictions.csv of a multi-label classifier: as of a single-label one, but for several labels in a cell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Resnet23.labels import join_labels, split_labels
from Resnet23.predictions import Row, parse_probabilities, read_rows


@dataclass(frozen=True)
class MultilabelPredictions:
    """The probability of every label for each image, the labels it was given, and those that it has."""

    files: list[str]
    classes: list[str]
    labels: np.ndarray  # (N, C) bool
    predicted: np.ndarray  # (N, C) bool
    probabilities: np.ndarray  # (N, C) float

    @property
    def confidence(self) -> np.ndarray:
        """(N,): the probability that all of an image's answers are right, if they are independent of each other."""
        return answer_confidence(self.probabilities, self.predicted)

    @property
    def right(self) -> np.ndarray:
        """(N,) bool: whether an image was given all of its labels and no other."""
        return (self.predicted == self.labels).all(axis=1)

    def one_vs_rest(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Whether each image has the label, and the probability that it has: (N,) each."""
        label = self.classes.index(name)
        return self.labels[:, label], self.probabilities[:, label]

    def rows(self) -> Iterator[Row]:
        """The rows of the file: label and predicted are joined by `|`, an image without labels has an empty cell."""
        labels, predicted = ([join_labels(self.names(row)) for row in rows] for rows in (self.labels, self.predicted))
        return zip(self.files, labels, predicted, self.confidence.tolist(), self.probabilities.tolist(), strict=True)

    def names(self, given: np.ndarray) -> list[str]:
        """The labels of one image, from its row (C,) of `labels` or `predicted`."""
        return [self.classes[label] for label in np.flatnonzero(given)]


def answer_confidence(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The product, over the last axis, of the probabilities of the answers: (..., C) both -> (...)."""
    return np.where(given, probabilities, 1 - probabilities).prod(axis=-1)


def read_multilabel_predictions(path: str | Path) -> MultilabelPredictions:
    """Read what `predictions.write_predictions` wrote of such predictions; a file with only a header gives no rows.

    Raises InputError with the line of the first cell that is wrong.
    """
    classes, parsed = read_rows(path, _parse_row)
    files, *columns = zip(*parsed, strict=True) if parsed else ((), (), (), ())
    labels, predicted, probabilities = (
        np.array(column, dtype=kind).reshape(len(files), len(classes))
        for column, kind in zip(columns, (bool, bool, float), strict=True)
    )
    return MultilabelPredictions(list(files), classes, labels, predicted, probabilities)


def _parse_row(row: Sequence[str], index: Mapping[str, int]) -> tuple[str, list[bool], list[bool], list[float]]:
    """File, labels, predicted labels and probabilities of a row; raises ValueError for what cannot be."""
    probabilities = parse_probabilities(row, len(index))
    return row[0], _given(row[1], index), _given(row[2], index), probabilities


def _given(cell: str, index: Mapping[str, int]) -> list[bool]:
    """Which of the labels a cell names."""
    names = split_labels(cell)
    unknown = [name for name in names if name not in index]
    if unknown:
        raise ValueError(f"found the label {unknown[0]!r}, expected labels of the header, joined by |")
    return [name in names for name in index]
