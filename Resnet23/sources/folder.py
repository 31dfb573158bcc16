"""A user's own photos: one folder for each class, below train/ and test/ or without such a split."""

import re
from collections import Counter
from pathlib import Path

from Resnet23.config import DataParams
from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.images import IMAGE_SUFFIXES, is_image_file
from Resnet23.processed import SPLITS
from Resnet23.sources.examples import Example, check_test_classes, split_examples
from Resnet23.sources.location import SPELLING, locate, relative_name, report_ignored, subfolders

LONGEST_NAME = 255  # bytes, on every usual file system
LAYOUT = "expected <class>/<image> or train/<class>/<image> and test/<class>/<image>"


def load(data: DataParams, seed: int) -> list[Example]:
    """The images of `data.source`, a folder, an archive or the URL of one, in natural order (2.jpg before 10.jpg).

    Without train/ and test/ the test split is drawn by `test_fraction` and `seed`. Raises InputError when there is no
    source, when it has another layout, and when a class is empty or in test only.
    """
    root = locate(data, SPLITS)
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if len(splits) == 1:
        raise InputError(f"{printable(root)}: has {splits[0]}/ only; {LAYOUT}")
    if not splits:
        examples, ignored = _read_classes(root, root, "train")
        examples = split_examples(examples, data.test_fraction, seed)
    else:
        (train, ignored), (test, ignored_in_test) = (_read_classes(root, root / split, split) for split in SPLITS)
        examples = train + test
        check_test_classes(examples, root)
        ignored += ignored_in_test + [path for path in sorted(root.iterdir()) if path.name not in SPLITS]
    report_ignored(root, ignored, "images or class folders")
    return examples


def _read_classes(root: Path, folder: Path, split: str) -> tuple[list[Example], list[Path]]:
    """The images of the class folders in `folder`, by class name and then in natural order; and what is no image."""
    class_folders = subfolders(folder)
    _check_names(folder, [printable(path.name) for path in class_folders])
    examples: list[Example] = []
    ignored = sorted(set(folder.iterdir()) - set(class_folders))
    for class_folder in class_folders:
        name = printable(class_folder.name)
        files = sorted(class_folder.iterdir(), key=_natural_key)
        images = [path for path in files if is_image_file(path)]
        if not images:
            kinds = ", ".join(IMAGE_SUFFIXES)
            raise InputError(f"{printable(class_folder)}: class {name} has no image ({kinds}); add some or remove it")
        examples += [Example(split, name, relative_name(path, root), path) for path in images]
        ignored += [path for path in files if not is_image_file(path)]
    return examples, ignored


def _check_names(folder: Path, names: list[str]) -> None:
    """Refuse too few classes, two of one printable name, and names too long for the folders of data/processed."""
    if len(names) < 2:
        raise InputError(f"{printable(folder)}: found {len(names)} class folders, expected at least 2; {LAYOUT}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{printable(folder)}: two class folders are called {name_some(repeated)} {SPELLING}; rename one of them"
        )
    if too_long := [name for name in names if len(name.encode()) > LONGEST_NAME]:
        raise InputError(
            f"{printable(folder)}: class {name_some(too_long)}: found a name of more than {LONGEST_NAME} bytes "
            f"{SPELLING}, for which no folder can be made; rename it"
        )


def _natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts digits by their value: img2.jpg before img10.jpg."""
    parts = re.split(r"(\d+)", path.name)  # text and digits in turn
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name
