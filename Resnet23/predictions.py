"""reports/predictions.csv: what a classifier said about each image. Any framework can write it; the plots read it."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from Resnet23.errors import InputError
from Resnet23.files import CsvLines, atomic_write, printable

COLUMNS = ["file", "label", "predicted", "confidence"]
PROBABILITY_PREFIX = "prob_"
UNLABELLED = -1

Row = tuple[str, str, str, float, list[float]]  # file, label, predicted, confidence, probability of each class
RowParser = Callable[[Sequence[str], Mapping[str, int]], Any]  # the cells of a row, and the number of each class


class PredictionRows(Protocol):
    """What the file is written from."""

    classes: list[str]

    def rows(self) -> Iterator[Row]:
        """A row for each image."""


@dataclass(frozen=True)
class Predictions:
    """The probabilities of every class for each image, and the true labels where they are known."""

    files: list[str]
    classes: list[str]
    labels: np.ndarray  # (N,) int64, an index into classes; -1 where the label is unknown
    probabilities: np.ndarray  # (N, C) float

    @property
    def predicted(self) -> np.ndarray:
        """(N,) int64: the index of the most probable class."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """(N,): the probability of the most probable class."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> np.ndarray:
        """(N,) bool: whether the predicted class is the true one."""
        return self.predicted == self.labels

    def one_vs_rest(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Whether each image is of the class, and the probability that it is: (N,) each."""
        label = self.classes.index(name)
        return self.labels == label, self.probabilities[:, label]

    def rows(self) -> Iterator[Row]:
        """The rows of the file; an unknown label leaves its cell empty."""
        columns = (self.files, self.labels, self.predicted, self.confidence.tolist(), self.probabilities.tolist())
        for file, label, predicted, *numbers in zip(*columns, strict=True):
            yield file, "" if label == UNLABELLED else self.classes[label], self.classes[predicted], *numbers


def write_predictions(path: str | Path, predictions: PredictionRows) -> None:
    """Write one row per image: file, label, predicted, confidence and a `prob_<class>` column for each class.

    Nine significant digits give every float32 back exactly.
    """
    with atomic_write(path, newline="") as file:
        writer = csv.writer(CsvLines(file))
        writer.writerow(COLUMNS + [PROBABILITY_PREFIX + name for name in predictions.classes])
        for name, label, predicted, confidence, probabilities in predictions.rows():
            cells = [format(value, ".9g") for value in (confidence, *probabilities)]
            writer.writerow([printable(name), label, predicted, *cells])


def read_predictions(path: str | Path) -> Predictions:
    """Read what `write_predictions` wrote; a file with only a header gives no rows.

    Raises InputError with the line of the first cell that is wrong.
    """
    classes, parsed = read_rows(path, _parse_row)
    files, labels, probabilities = zip(*parsed, strict=True) if parsed else ((), (), ())
    return Predictions(
        list(files),
        classes,
        np.array(labels, dtype=np.int64),
        np.array(probabilities, dtype=np.float64).reshape(len(files), len(classes)),
    )


def read_rows(path: str | Path, parse: RowParser) -> tuple[list[str], list[Any]]:
    """The classes that the header names, and what `parse` makes of each row.

    Raises InputError with the line of the header or of the first row for which `parse` raises ValueError.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            classes = _classes(path, next(reader, []))
            return classes, list(_parse(path, reader, classes, parse))
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `make predict` writes the predictions") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{printable(path)}: cannot be read ({error}); expected a CSV file in UTF-8") from None


def parse_probabilities(row: Sequence[str], classes: int) -> list[float]:
    """The last cells of a row, one for each class; raises ValueError unless they are numbers from 0 to 1."""
    if len(row) != len(COLUMNS) + classes:
        raise ValueError(f"found {len(row)} cells, expected {len(COLUMNS) + classes}")
    cells = row[len(COLUMNS) :]
    probabilities = [float(cell) for cell in cells]
    wrong = [cell for cell, value in zip(cells, probabilities, strict=True) if not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"found the probability {wrong[0]}, expected 0 to 1")
    return probabilities


def _classes(path: str | Path, header: Sequence[str]) -> list[str]:
    """The class names, from a header that must be exactly what `write_predictions` writes."""
    fixed, columns = list(header[: len(COLUMNS)]), header[len(COLUMNS) :]
    classes = [column.removeprefix(PROBABILITY_PREFIX) for column in columns]
    named = all(column.startswith(PROBABILITY_PREFIX) for column in columns)
    if fixed != COLUMNS or not classes or not named or len(set(classes)) < len(classes):
        found = ",".join(header) or "an empty file"
        raise InputError(
            f"{printable(path)}: line 1: found {found!r}, expected the columns {','.join(COLUMNS)} "
            f"and one {PROBABILITY_PREFIX}<class> for each class"
        )
    return classes


def _parse(path: str | Path, reader: Any, classes: Sequence[str], parse: RowParser) -> Iterator[Any]:
    """What `parse` makes of each row that the csv.reader still has."""
    index = {name: number for number, name in enumerate(classes)}
    for row in reader:
        try:
            yield parse(row, index)
        except ValueError as error:
            raise InputError(f"{printable(path)}: line {reader.line_num}: {error}") from None


def _parse_row(row: Sequence[str], index: Mapping[str, int]) -> tuple[str, int, list[float]]:
    """File, label and probabilities of a row; raises ValueError saying what was found and what was expected."""
    probabilities = parse_probabilities(row, len(index))
    name, label, predicted = row[:3]
    if label and label not in index:
        raise ValueError(f"found the label {label!r}, expected one of the classes in the header")
    if predicted not in index or probabilities[index[predicted]] < max(probabilities):
        raise ValueError(f"found {predicted!r} as predicted, expected the class of the largest probability")
    return name, index[label] if label else UNLABELLED, probabilities
