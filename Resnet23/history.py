"""reports/history.csv: one row per epoch of the training."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from Resnet23.config import HISTORY_FILE
from Resnet23.errors import InputError
from Resnet23.files import atomic_write, printable


@dataclass(frozen=True)
class EpochRecord:
    """A row; losses are means over images, accuracies shares, data_wait a share of seconds.

    The seconds are those of training, without validation. The validation columns are None where there is none.
    With labels, an image is right when all of its labels are. Their mean average precision is no column of the file.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float  # of the last optimizer step, the highest of all parameter groups
    seconds: float
    images_per_second: float
    data_wait: float
    val_mAP: float | None = None  # multi-label only


COLUMNS = tuple(field.name for field in fields(EpochRecord) if field.name != "val_mAP")
EMPTY_WITHOUT_VALIDATION = ("val_loss", "val_accuracy")

History = Mapping[str, Sequence[float] | np.ndarray]  # column -> one value per epoch; NaN where there is none


def read_history(path: str | Path = HISTORY_FILE) -> dict[str, np.ndarray]:
    """The columns as float arrays, one value per epoch. Raises InputError naming the line of a wrong cell."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `make train` writes it") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{printable(path)}: cannot be read ({error}); expected a CSV file in UTF-8") from None
    if tuple(header) != COLUMNS or not rows:
        raise InputError(f"{printable(path)}: expected the columns {','.join(COLUMNS)} and a row for each epoch")
    values = np.array([_parse_row(path, line, row) for line, row in rows])  # (epochs, columns)
    return dict(zip(COLUMNS, values.T, strict=True))


def write_history(records: Iterable[EpochRecord], path: str | Path = HISTORY_FILE) -> None:
    """Write the rows atomically."""
    with atomic_write(path, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(asdict(record) for record in records)


def has_validation(history: History) -> bool:
    """Whether every epoch was validated."""
    accuracy = np.asarray(history.get("val_accuracy", [np.nan]), dtype=float)
    return not np.isnan(accuracy).any()


def best_epoch(history: History) -> int:
    """The row of the epoch whose weights were kept.

    The highest mean average precision on validation where the history has it, else the highest accuracy; of equals
    the lowest validation loss, of those the first; without validation the last epoch.
    """
    if not has_validation(history):
        return len(history["train_loss"]) - 1
    accuracy = np.asarray(history["val_accuracy"], dtype=float)
    scores = np.asarray(history.get("val_mAP", accuracy), dtype=float)
    order = np.lexsort((history["val_loss"], -(accuracy if np.isnan(scores).any() else scores)))
    return int(order[0])


def _parse_row(path: str | Path, line: int, row: Sequence[str]) -> list[float]:
    try:
        cells = dict(zip(COLUMNS, row, strict=True))
        return [
            float("nan") if not cell and name in EMPTY_WITHOUT_VALIDATION else float(cell)
            for name, cell in cells.items()
        ]
    except ValueError as error:
        expected = f"expected {len(COLUMNS)} numbers"
        raise InputError(f"{printable(path)}: line {line}: {error}; {expected}") from None
