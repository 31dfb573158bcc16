"""data/processed: one tar and a manifest, which DVC tracks, and beside them the same images as class folders.

The folders are for people and for later stages; the tar is what travels, because tens of thousands of small files
would take DVC minutes. `.stamp` holds the SHA-256 of the manifest that the folders were written for: it is removed
before they change and written last, so that folders of another or of no manifest are never taken for the right ones.
"""

import csv
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from Resnet23.config import PROCESSED_DIR
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import CsvLines, atomic_folder, atomic_path, atomic_write, printable, sha256_file
from Resnet23.labels import join_labels, split_labels

ARCHIVE = "images.tar"
MANIFEST = "manifest.csv"
STAMP = ".stamp"
SPLITS = ("train", "test")
IMAGE_NAME = re.compile(r"\d{5,}\.png")  # the number of an image within its split and class
IMAGES_FOLDER = "images"  # in the place of a class's folder, where an image can have any number of labels
HEADER = ("split", "class", "file", "source", "sha256")
LABELS_COLUMN = "labels"  # one more, of a multi-label set


@dataclass(frozen=True)
class ManifestRow:
    """One image: `file` is relative to the processed folder, with forward slashes, as in "train/cat/00000.png"."""

    split: str
    class_name: str  # of a multi-label set always IMAGES_FOLDER
    file: str
    source: str  # where it came from, as in "cifar10/train/00042" or "bees/a photo.jpg"
    sha256: str  # of the PNG file
    labels: tuple[str, ...] | None = None  # of a multi-label set, sorted; None where each image has one class

    @property
    def names(self) -> tuple[str, ...]:
        """What the image shows: its labels, or its one class."""
        return (self.class_name,) if self.labels is None else self.labels


def read_manifest(folder: Path = PROCESSED_DIR) -> list[ManifestRow]:
    """The rows of manifest.csv: training images first, then by class name and number, the order of all arrays.

    The classes in order are the sorted names of classes or labels. Raises InputError when there is no manifest and
    IntegrityError when it is not one that stage 1 wrote.
    """
    path = folder / MANIFEST
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
            has_labels = header == [*HEADER, LABELS_COLUMN]
            rows = [_parse_row(line, has_labels) for line in lines]
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `make data` writes it") from None
    except (ValueError, TypeError, csv.Error):  # not UTF-8, no header, a line of another length
        raise _foreign(path) from None
    positions = [_position(row) for row in rows]
    is_ordered = positions == sorted(set(positions))
    is_known = has_labels or header == list(HEADER)
    if not is_known or not rows or not is_ordered or not all(map(_is_well_formed, rows)):
        raise _foreign(path)
    return rows


def write_processed(images: Iterable[tuple[ManifestRow, bytes]], folder: Path = PROCESSED_DIR) -> list[ManifestRow]:
    """Write PNG files and their rows, given in the order of `file`, as tar, manifest and class folders.

    Everything takes its final name after the last image only: when anything fails, what was there before stays.
    Returns the rows in the manifest's order.
    """
    stamp = folder / STAMP
    with (  # left from the last to the first: folders, tar, manifest
        atomic_path(folder / MANIFEST) as manifest,
        atomic_path(folder / ARCHIVE) as archive,
        atomic_folder(folder / "test") as test,
        atomic_folder(folder / "train") as train,
    ):
        folders = {"train": train, "test": test}
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
            rows = [_add_image(tar, folders[row.split], row, png) for row, png in images]
        rows.sort(key=_position)
        _write_manifest(manifest, rows)
        stamp.unlink(missing_ok=True)
    _write_stamp(folder)
    return rows


def restore_folders(folder: Path = PROCESSED_DIR) -> list[ManifestRow]:
    """Extract the tar into the class folders, unless they already are those of the manifest; give its rows.

    Raises what read_manifest raises, and IntegrityError when the tar does not hold exactly the manifest's files.
    """
    stamp, rows = folder / STAMP, read_manifest(folder)
    current = stamp.is_file() and stamp.read_text() == sha256_file(folder / MANIFEST)
    if current and all((folder / split).is_dir() for split in SPLITS):
        return rows
    with atomic_folder(folder / "test") as test, atomic_folder(folder / "train") as train:
        _extract(folder / ARCHIVE, {row.file: row for row in rows}, {"train": train, "test": test})
        stamp.unlink(missing_ok=True)
    _write_stamp(folder)
    return rows


def _add_image(tar: tarfile.TarFile, folder: Path, row: ManifestRow, png: bytes) -> ManifestRow:
    """Write one image into its folder and into the tar, whose header says nothing of when and by whom."""
    member = tarfile.TarInfo(row.file)
    member.size = len(png)
    tar.addfile(member, io.BytesIO(png))
    _write_image(folder, row, png)
    return row


def _write_image(folder: Path, row: ManifestRow, png: bytes) -> None:
    # Plain strings, because pathlib would make up a third of the time for 60,000 small files.
    parent = os.path.join(folder, row.class_name)
    if not os.path.isdir(parent):
        os.mkdir(parent)
    with open(os.path.join(parent, row.file.rpartition("/")[2]), "wb") as file:
        file.write(png)


def _extract(archive: Path, expected: dict[str, ManifestRow], folders: dict[str, Path]) -> None:
    """Write the members of the tar to `folders`; they must be the expected files, no more and no fewer."""
    remaining = dict(expected)
    try:
        with tarfile.open(archive, "r:", encoding="utf-8") as tar:
            for member in tar:
                row = remaining.pop(member.name, None)
                png = tar.extractfile(member).read() if row and member.isreg() else b""
                if row is None or hashlib.sha256(png).hexdigest() != row.sha256:
                    raise _foreign(archive)
                _write_image(folders[row.split], row, png)
    except FileNotFoundError:
        raise InputError(f"{printable(archive)}: no such file; `make data` writes it, `dvc pull` fetches it") from None
    except tarfile.TarError:
        raise _foreign(archive) from None
    if remaining:
        raise _foreign(archive)


def _write_manifest(path: Path, rows: list[ManifestRow]) -> None:
    has_labels = any(row.labels is not None for row in rows)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(CsvLines(file))
        writer.writerow([*HEADER, LABELS_COLUMN] if has_labels else HEADER)
        for row in rows:
            labels = [join_labels(row.names)] if has_labels else []
            writer.writerow([row.split, row.class_name, row.file, row.source, row.sha256, *labels])


def _parse_row(line: list[str], has_labels: bool) -> ManifestRow:
    if not has_labels:
        return ManifestRow(*line, labels=None)
    *values, labels = line
    return ManifestRow(*values, labels=split_labels(labels))


def _position(row: ManifestRow) -> tuple[bool, str, int, str]:
    """Sorts rows into the manifest's order; the length of the name puts image 100000 after image 99999."""
    return row.split != "train", row.class_name, len(row.file), row.file


def _write_stamp(folder: Path) -> None:
    with atomic_write(folder / STAMP) as file:
        file.write(sha256_file(folder / MANIFEST))


def _is_well_formed(row: ManifestRow) -> bool:
    """Whether the row names a file inside its class folder, and so can be read and written without further checks."""
    name, number = row.class_name, row.file.rpartition("/")[2]
    labels = list(row.labels or ())
    return (
        row.split in SPLITS
        and name not in ("", "..")
        and Path(name).name == name  # no separator, no drive
        and IMAGE_NAME.fullmatch(number) is not None
        and row.file == f"{row.split}/{name}/{number}"
        and labels == sorted(set(labels) - {""})
    )


def _foreign(path: Path) -> IntegrityError:
    return IntegrityError(f"{printable(path)}: damaged, or of another run than the files beside it; run `make data`")
