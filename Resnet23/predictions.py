"""reports/predictions.csv: what a classifier said about each image. Any framework can write it; the plots read it."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Resnet23.errors import InputError
from Resnet23.files import atomic_write, printable

COLUMNS = ["file", "label", "predicted", "confidence"]
PROBABILITY_PREFIX = "prob_"
UNLABELLED = -1


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


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write one row per image: file, label, predicted, confidence and a `prob_<class>` column for each class.

    Nine significant digits give every float32 back exactly. An unknown label leaves its cell empty.
    """
    classes = predictions.classes
    rows = zip(
        predictions.files, predictions.labels, predictions.predicted, predictions.probabilities.tolist(), strict=True
    )
    with atomic_write(path, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS + [PROBABILITY_PREFIX + name for name in classes])
        for name, label, predicted, probabilities in rows:
            known = "" if label == UNLABELLED else classes[label]
            cells = [format(value, ".9g") for value in probabilities]
            writer.writerow([printable(name), known, classes[predicted], cells[predicted], *cells])


def read_predictions(path: str | Path) -> Predictions:
    """Read what `write_predictions` wrote; a file with only a header gives no rows.

    Raises InputError with the line of the first cell that is wrong.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            classes = _classes(path, next(reader, []))
            parsed = list(_parse(path, reader, classes))
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `make predict` writes the predictions") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{printable(path)}: cannot be read ({error}); expected a CSV file in UTF-8") from None
    files, labels, probabilities = zip(*parsed, strict=True) if parsed else ((), (), ())
    return Predictions(
        list(files),
        classes,
        np.array(labels, dtype=np.int64),
        np.array(probabilities, dtype=np.float64).reshape(len(files), len(classes)),
    )


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


def _parse(path: str | Path, reader: Any, classes: Sequence[str]) -> Iterator[tuple[str, int, list[float]]]:
    """File, label and probabilities of each row that the csv.reader still has."""
    index = {name: number for number, name in enumerate(classes)}
    for row in reader:
        try:
            yield _parse_row(row, index)
        except ValueError as error:
            raise InputError(f"{printable(path)}: line {reader.line_num}: {error}") from None


def _parse_row(row: Sequence[str], index: dict[str, int]) -> tuple[str, int, list[float]]:
    """One row; raises ValueError saying what was found and what was expected."""
    if len(row) != len(COLUMNS) + len(index):
        raise ValueError(f"found {len(row)} cells, expected {len(COLUMNS) + len(index)}")
    name, label, predicted, _, *cells = row
    if label and label not in index:
        raise ValueError(f"found the label {label!r}, expected one of the classes in the header")
    probabilities = [float(cell) for cell in cells]
    wrong = [cell for cell, value in zip(cells, probabilities, strict=True) if not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"found the probability {wrong[0]}, expected 0 to 1")
    if predicted not in index or probabilities[index[predicted]] < max(probabilities):
        raise ValueError(f"found {predicted!r} as predicted, expected the class of the largest probability")
    return name, index[label] if label else UNLABELLED, probabilities
