"""labels.csv: the labels of each image in a folder, in one of two forms.

    file,labels               file,apple,banana
    1.jpg,apple banana        1.jpg,1,1
    2.jpg,                    2.jpg,0,0

Labels are separated by spaces; where there is a `|` anywhere in the column by that alone, so that they can hold spaces.
A further column `split` may say train or test.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from loguru import logger

from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.labels import LABEL_SEPARATOR

FILE, LABELS, SPLIT = "file", "labels", "split"
FORMS = f"expected {FILE},{LABELS} or {FILE} and one column of 0 and 1 for each label"
WRONG_SEPARATORS = ",;"
MARKS = {"0": False, "1": True}

Record = tuple[int, Mapping[str, str]]  # number of its line, values by column


@dataclass(frozen=True)
class LabelledFile:
    """A line of labels.csv."""

    file: str  # printable, as seen from the folder of labels.csv, with forward slashes
    labels: tuple[str, ...]  # sorted
    split: str | None  # train or test; None without such a column
    line: int


def read_labels(path: Path) -> list[LabelledFile]:
    """The lines of labels.csv in their order, each file once; lines that only repeat others are counted in one line.

    Raises InputError naming all wrong lines, files with contradictory lines, and label columns without an image.
    """
    columns, records = _read_records(path)
    label_columns = _label_columns(path, columns)
    problems = list(_problems(records, label_columns))
    if problems:
        raise InputError(f"{printable(path)}: {name_some(problems, separator='; ')}")
    has_separator = any(LABEL_SEPARATOR in values.get(LABELS, "") for _, values in records)
    files = []
    for line, values in records:
        if label_columns:
            labels = {name for name in label_columns if MARKS[values[name].strip()]}
        else:
            parts = values[LABELS].split(LABEL_SEPARATOR if has_separator else None)
            labels = {normalize("NFC", part.strip()) for part in parts} - {""}
        name = PurePosixPath(values[FILE]).as_posix()  # "./1.jpg" is 1.jpg
        files.append(LabelledFile(name, tuple(sorted(labels)), values.get(SPLIT), line))
    if unused := sorted(set(label_columns) - {label for file in files for label in file.labels}):
        raise InputError(
            f"{printable(path)}: no image has the label {name_some(unused)}; add some or remove the column"
        )
    return _each_once(path, files)


def _read_records(path: Path) -> tuple[list[str], list[Record]]:
    """The names of the columns, and the lines below them. Raises InputError naming lines that do not fit."""
    try:
        # Bytes that are not UTF-8 pass through, as they do in names of files, and become printable.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            raw_lines = [(reader.line_num, line) for line in reader if line]
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; {FORMS}") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{printable(path)}: cannot be read as CSV ({error}); {FORMS}") from None
    _check_encoding(path, raw_lines)
    (_, first), *lines = [(number, [printable(value) for value in line]) for number, line in raw_lines] or [(1, [])]
    columns = [normalize("NFC", name.strip()) for name in first]
    wrong = [f"line {number} has {len(line)}" for number, line in lines if len(line) != len(columns)]
    if wrong:
        raise InputError(f"{printable(path)}: expected {len(columns)} values as in the first line: {name_some(wrong)}")
    return columns, [(number, dict(zip(columns, line, strict=True))) for number, line in lines]


def _check_encoding(path: Path, lines: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Raise InputError for text that is no UTF-8, as spreadsheets write it; names of files may hold any bytes."""
    for number, line in lines:
        for column, value in enumerate(line):
            is_file_name = number > 1 and lines[0][1][column : column + 1] == [FILE]
            if "\0" in value or (not is_file_name and not value.isascii() and not _is_unicode(value)):
                raise InputError(f"{printable(path)}: line {number} is not UTF-8; save the table as CSV UTF-8")


def _is_unicode(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _label_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that are labels; none where one column holds them all. Raises InputError for other columns."""
    others = [name for name in columns if name not in (FILE, SPLIT)]
    label_columns = [] if others == [LABELS] else others
    is_wrong = FILE not in columns or not others or len(set(columns)) < len(columns) or LABELS in label_columns
    if is_wrong or any(not name or LABEL_SEPARATOR in name for name in label_columns):
        hint = "separated by commas, " if len(columns) == 1 and set(columns[0]) & set(";\t") else ""
        found = ", ".join(map(repr, columns)) or "none"
        raise InputError(
            f"{printable(path)}: found the columns {found}; {FORMS.replace('expected ', f'expected {hint}')}"
        )
    return label_columns


def _problems(records: Sequence[Record], label_columns: Sequence[str]) -> Iterator[str]:
    """What is wrong with the values of the lines."""
    if not records:
        yield "no image below the first line"
    for line, values in records:
        if not values[FILE]:
            yield f"line {line}: no file"
        if values.get(SPLIT, "train") not in ("train", "test"):
            yield f"line {line}: {SPLIT}: found {values[SPLIT]!r}, expected train or test"
        if not label_columns and set(values[LABELS]) & set(WRONG_SEPARATORS):
            yield f"line {line}: {LABELS}: found {values[LABELS]!r}, expected a space or | between labels"
        for name in label_columns:
            if values[name].strip() not in MARKS:
                yield f"line {line}: {name}: found {values[name]!r}, expected 0 or 1"


def _each_once(path: Path, files: Sequence[LabelledFile]) -> list[LabelledFile]:
    """The first line of each file."""
    kept: dict[str, LabelledFile] = {}
    repeated, contradictory = [], []
    for file in files:
        first = kept.setdefault(file.file, file)
        if (first.labels, first.split) != (file.labels, file.split):
            contradictory.append(f"{file.file} in lines {first.line} and {file.line}")
        elif first is not file:
            repeated.append(f"{file.file} in line {file.line}")
    if contradictory:
        raise InputError(f"{printable(path)}: lines that contradict each other, keep one: {name_some(contradictory)}")
    if repeated:
        logger.warning(f"{printable(path)}: ignored as repeated: {len(repeated)} ({name_some(repeated, 3)})")
    return list(kept.values())
