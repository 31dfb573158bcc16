"""What every source of images gives to stage 1, and how a source without a test split gets one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from loguru import logger
from sklearn.model_selection import train_test_split

from Resnet23.config import suggest
from Resnet23.errors import InputError, name_some
from Resnet23.files import printable


@dataclass(frozen=True)
class Example:
    """One labelled image, not yet resized. A data set is a list of them in its own order."""

    split: str  # train or test
    class_name: str  # of a multi-label set always IMAGES_FOLDER, where its images go
    source: str  # its name in the data set, as in "cifar10/train/00042"; the same wherever the set was fetched from
    image: Path | np.ndarray  # a file, or (H, W, 3) uint8
    labels: tuple[str, ...] | None = None  # of a multi-label set, sorted; None where each image has one class

    @property
    def names(self) -> tuple[str, ...]:
        """What it shows: its labels, or its one class."""
        return (self.class_name,) if self.labels is None else self.labels


def split_examples(examples: Sequence[Example], test_fraction: float, seed: int) -> list[Example]:
    """Draw the test split: the share `test_fraction` of each class, at least one image and never all of them.

    The order of the examples stays. Raises InputError naming the classes that have a single image.
    """
    rows_of_class = defaultdict(list)
    for row, example in enumerate(examples):
        rows_of_class[example.class_name].append(row)
    if single := [name for name, rows in rows_of_class.items() if len(rows) == 1]:
        raise InputError(
            f"class {name_some(single)}: found 1 image, expected at least 2, one to train and one to test; add images, "
            "or choose the test images yourself, in folders train/ and test/"
        )
    test_rows: set[int] = set()
    for rows in rows_of_class.values():
        test_size = min(max(1, round(len(rows) * test_fraction)), len(rows) - 1)
        test_rows.update(train_test_split(rows, test_size=test_size, random_state=seed)[1])
    return [replace(example, split="test" if row in test_rows else "train") for row, example in enumerate(examples)]


def check_test_classes(examples: Sequence[Example], origin: Path) -> None:
    """Refuse a class or label that is in test only, and warn of one that is in train only."""
    learned, tested = (
        {name for example in examples if example.split == split for name in example.names}
        for split in ("train", "test")
    )
    if unknown := sorted(tested - learned):
        hint = suggest(unknown[0], sorted(learned))
        raise InputError(
            f"{printable(origin)}: has test images of {', '.join(unknown)}, but no training images; {hint}"
        )
    if untested := sorted(learned - tested):
        logger.warning(f"{printable(origin)}: has training images of {', '.join(untested)}, but no test images")
