"""A user's own photos with any number of labels each: a folder of images and a labels.csv."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loguru import logger

from Resnet23.config import DataParams
from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.images import IMAGE_SUFFIXES, is_image_file
from Resnet23.labels import hold_out, multi_hot
from Resnet23.processed import IMAGES_FOLDER, SPLITS
from Resnet23.sources.examples import Example, check_test_classes
from Resnet23.sources.labelfile import SPLIT, LabelledFile, read_labels
from Resnet23.sources.location import SPELLING, is_visible_folder, locate, relative_name, report_ignored

LABELS_FILE = "labels.csv"
NAMED = 3  # how many files a log line names


def load(data: DataParams, seed: int) -> list[Example]:
    """The images that labels.csv lists, in its order; the images lie anywhere below `data.source`.

    The split is that of the column `split`; without one that of the folders train/ and test/; without those it is
    drawn by `test_fraction` and `seed`. Raises InputError when labels.csv is missing or wrong, lists a file that is
    not there, or has labels that cannot be learned.
    """
    root = locate(data, (LABELS_FILE,))
    table = root / LABELS_FILE
    images, ignored = _find_images(root)
    listed = read_labels(table, images)
    report_ignored(root, ignored, "images")
    _check_files(table, listed, images)
    examples = [Example("train", IMAGES_FOLDER, file.file, images[file.file], file.labels) for file in listed]
    _check_labels(table, examples)
    splits = _given_splits(table, listed)
    if splits:
        examples = [replace(example, split=split) for example, split in zip(examples, splits, strict=True)]
    else:
        examples = split_by_labels(examples, data.test_fraction, seed, table)
    check_test_classes(examples, table)
    return examples


def split_by_labels(examples: Sequence[Example], test_fraction: float, seed: int, table: Path) -> list[Example]:
    """Draw the test split: about the share `test_fraction` of each label, and never all images of one.

    The order of the examples stays. Raises InputError naming `table` and the labels that a single image has.
    """
    counts = Counter(label for example in examples for label in example.names)
    if single := sorted(label for label, count in counts.items() if count == 1):
        raise InputError(
            f"{printable(table)}: found 1 image of {name_some(single)}, expected 2 or more, to train and to test"
        )
    held_out = set(hold_out(multi_hot([example.names for example in examples], sorted(counts)), test_fraction, seed))
    return [replace(example, split="test" if row in held_out else "train") for row, example in enumerate(examples)]


def _find_images(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """The images below `root` by their printable names, hidden folders left out; and what is no image.

    Raises InputError for two names that are the same in print.
    """
    images: dict[str, Path] = {}
    ignored = []
    for parent, folders, names in os.walk(root, followlinks=True):
        ignored += [Path(parent, name) for name in folders if not is_visible_folder(Path(parent, name))]
        folders[:] = sorted(name for name in folders if is_visible_folder(Path(parent, name)))
        for path in (Path(parent, name) for name in sorted(names)):
            if is_image_file(path):
                name = relative_name(path, root)
                if name in images:
                    raise InputError(f"{printable(root)}: two files are called {name} {SPELLING}; rename one of them")
                images[name] = path
            elif path != root / LABELS_FILE:
                ignored.append(path)
    return images, ignored


def _check_files(table: Path, listed: Sequence[LabelledFile], images: Mapping[str, Path]) -> None:
    """Refuse files that are listed and not there, and count the images that are there and not listed."""
    missing = [f"{file.file} (line {file.line})" for file in listed if file.file not in images]
    if missing:
        raise InputError(
            f"{printable(table)}: no image ({', '.join(IMAGE_SUFFIXES)}) for {len(missing)} of {len(listed)} lines: "
            f"{name_some(missing)}; add them or remove their lines"
        )
    unlisted = sorted(images.keys() - {file.file for file in listed})
    if unlisted:
        logger.warning(
            f"{printable(table)}: left out are the images that it does not list: "
            f"{len(unlisted)} ({name_some(unlisted, NAMED)})"
        )


def _check_labels(table: Path, examples: Sequence[Example]) -> None:
    """Refuse a table of no label or of a single one, and count the images without one."""
    unlabelled = [example.source for example in examples if not example.labels]
    if len(unlabelled) == len(examples):
        raise InputError(f"{printable(table)}: no image has a label; expected 2 labels or more")
    if len(names := {label for example in examples for label in example.labels}) == 1:
        raise InputError(
            f"{printable(table)}: the only label is {names.pop()}, expected 2 or more; a yes-or-no question is a "
            "data.dataset of two class folders"
        )
    if unlabelled:
        logger.info(
            f"{printable(table)}: images without any label, kept as showing none of them: "
            f"{len(unlabelled)} ({name_some(unlabelled, NAMED)})"
        )


def _given_splits(table: Path, listed: Sequence[LabelledFile]) -> list[str]:
    """The split of each file as the column or the folders say; empty when neither does."""
    has_column = listed[0].split is not None
    found = [file.split if has_column else file.file.partition("/")[0] for file in listed]
    if not has_column and not set(found) & set(SPLITS):
        return []
    if set(found) != set(SPLITS):
        place = f"in the column {SPLIT}" if has_column else "as the folders of its files"
        names = name_some(sorted(set(found)))
        raise InputError(f"{printable(table)}: found {names} {place}, expected both train and test, and no other")
    return found
