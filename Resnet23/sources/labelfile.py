"""labels.csv: the labels of each image in a folder, in one of two forms.

    file,labels               file,apple,banana
    1.jpg,apple banana        1.jpg,1,1
    2.jpg,                    2.jpg,0,0

Labels are separated by spaces; where there is a `|` anywhere in the column by that alone, so that they can hold spaces.
No label holds a comma or semicolon. A further column `split` may say train or test.
"""

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from loguru import logger

from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.labels import LABEL_SEPARATOR

FILE, LABELS, SPLIT = "file", "labels", "split"
FORMS = f"expected {FILE},{LABELS} or {FILE} and one column of 0 and 1 for each label"
MARKS = {"0": False, "1": True}
MISTAKEN_SEPARATORS = {",", ";"}  # between labels; none of ours holds them
ENCODING = 'save it as CSV UTF-8 ("CSV UTF-8 (comma delimited)" in a spreadsheet)'
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Record = tuple[int, Mapping[str, str]]  # number of its line, values by column


@dataclass(frozen=True)
class LabelledFile:
    """A line of labels.csv."""

    file: str  # printable, as seen from the folder of labels.csv, with forward slashes
    labels: tuple[str, ...]  # sorted, in Unicode's form NFC
    split: str | None  # train or test; None without such a column
    line: int


def read_labels(path: Path, images: Collection[str] = ()) -> list[LabelledFile]:
    """The lines of labels.csv in their order, each file once; lines that only repeat others are counted in one line.

    A file that is among `images`, printable names, in another spelling only gets the name that it has there: macOS and
    Windows write accents in different Unicode forms, and Windows \\ between folders.

    Raises InputError for text that is not UTF-8 with commas, and naming all wrong lines, files with contradictory
    lines, and label columns without an image.
    """
    columns, records = _read_records(path)
    label_columns = _label_columns(path, columns)
    problems = list(_problems(records, label_columns))
    if problems:
        raise InputError(f"{printable(path)}: {name_some(problems, separator='; ')}")
    spellings = {normalize("NFC", name): name for name in images} | {name: name for name in images}
    has_separator = any(LABEL_SEPARATOR in values.get(LABELS, "") for _, values in records)
    files = []
    for line, values in records:
        if label_columns:
            labels = {name for name in label_columns if MARKS[values[name].strip()]}
        else:
            parts = values[LABELS].split(LABEL_SEPARATOR if has_separator else None)
            labels = {normalize("NFC", part.strip()) for part in parts} - {""}
        name = _spelled(values[FILE], spellings)
        files.append(LabelledFile(name, tuple(sorted(labels)), values.get(SPLIT), line))
    if unused := sorted(set(label_columns) - {label for file in files for label in file.labels}):
        raise InputError(
            f"{printable(path)}: no image has the label {name_some(unused)}; add some or remove the column"
        )
    return _each_once(path, files)


def _read_records(path: Path) -> tuple[list[str], list[Record]]:
    """The names of the columns, and the lines below them. Raises InputError naming lines that do not fit."""
    text = _read_text(path)
    _check_commas(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [normalize("NFC", name).strip() for name in next(reader, [])]
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise InputError(f"{printable(path)}: cannot be read as CSV ({error}); {FORMS}") from None
    wrong = [f"line {number} has {len(line)}" for number, line in lines if len(line) != len(columns)]
    if wrong:
        hint = "; labels are separated by a space or |" if LABELS in columns else ""
        raise InputError(
            f"{printable(path)}: expected {len(columns)} values as in the first line: {name_some(wrong)}{hint}"
        )
    return columns, [(number, dict(zip(columns, line, strict=True))) for number, line in lines]


def _read_text(path: Path) -> str:
    """The text of a file. Raises InputError where it is missing or not UTF-8."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; {FORMS}") from None
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read ({error.strerror}); {FORMS}") from None
    if content.startswith(UTF_16) or b"\0" in content:
        raise InputError(f"{printable(path)}: found UTF-16 or a binary format, expected text in UTF-8; {ENCODING}")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x}"
        raise InputError(
            f"{printable(path)}: line {line}: found the {found}, expected text in UTF-8; {ENCODING}"
        ) from None


def _check_commas(path: Path, text: str) -> None:
    """Raise InputError where something else separates the columns."""
    first = text.partition("\n")[0]
    for separator, name in ((";", ";"), ("\t", "tabs")):
        if separator in first and "," not in first:
            raise InputError(f"{printable(path)}: found {name} between the columns, expected a comma; {ENCODING}")


def _spelled(written: str, spellings: Mapping[str, str]) -> str:
    """The name of the image that is meant by `written`, which names it with / or \\ and in any Unicode form."""
    for name in (written, written.replace("\\", "/")):
        plain = PurePosixPath(name).as_posix()  # "./1.jpg" is 1.jpg
        if found := spellings.get(plain) or spellings.get(normalize("NFC", plain)):
            return found
    return PurePosixPath(written).as_posix()


def _label_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that are labels; none where one column holds them all. Raises InputError for other columns."""
    others = [name for name in columns if name not in (FILE, SPLIT)]
    label_columns = [] if others == [LABELS] else others
    is_wrong = FILE not in columns or not others or len(set(columns)) < len(columns) or LABELS in label_columns
    if is_wrong or any(not name or LABEL_SEPARATOR in name for name in label_columns):
        raise InputError(f"{printable(path)}: found the columns {', '.join(map(repr, columns)) or 'none'}; {FORMS}")
    if wrong := [name for name in label_columns if MISTAKEN_SEPARATORS & set(name)]:
        raise InputError(
            f"{printable(path)}: line 1: found {name_some(map(repr, wrong))}, expected labels without comma and "
            "semicolon; rename them"
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
        if MISTAKEN_SEPARATORS & set(values.get(LABELS, "")):
            yield f"line {line}: {LABELS}: found {values[LABELS]!r}, expected labels separated by a space or |"
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
