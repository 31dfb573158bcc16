"""A user's own photos: one folder for each class, below train/ and test/ or without such a split."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from loguru import logger

from Resnet23.config import DATA_DIR, RAW_DIR, DataParams, suggest
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.images import IMAGE_SUFFIXES, is_image_file
from Resnet23.processed import SPLITS
from Resnet23.sources.archive import extract_archive
from Resnet23.sources.download import download, is_url, public_form
from Resnet23.sources.examples import Example, split_examples

EXTRACTED_DIR = DATA_DIR / "interim" / "extracted"
LAYOUT = "expected <class>/<image> or train/<class>/<image> and test/<class>/<image>"
NAMED = 3  # how many of the ignored files a log line names


def load(data: DataParams, seed: int) -> list[Example]:
    """The images of `data.source`, a folder, an archive or the URL of one, in natural order (2.jpg before 10.jpg).

    Without train/ and test/ the test split is drawn by `test_fraction` and `seed`. Raises InputError when there is no
    source, when it has another layout, and when a class is empty or in test only.
    """
    if data.source is None:
        raise InputError(
            "data.source: found null, expected your images (data.dataset: folder): a folder, archive or URL"
        )
    root = _locate(data.source)
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if len(splits) == 1:
        raise InputError(f"{printable(root)}: has {splits[0]}/ only; {LAYOUT}")
    if not splits:
        examples, ignored = _read_classes(root, root, "train")
        examples = split_examples(examples, data.test_fraction, seed)
    else:
        (train, ignored), (test, ignored_in_test) = (_read_classes(root, root / split, split) for split in SPLITS)
        _check_test_classes(root, train, test)
        examples = train + test
        ignored += ignored_in_test + [path for path in sorted(root.iterdir()) if path.name not in SPLITS]
    _report_ignored(root, ignored)
    return examples


def _locate(source: str) -> Path:
    """The folder that holds the images; an archive is downloaded and extracted first."""
    path = _downloaded(source) if is_url(source) else Path(source).expanduser()
    if path.is_dir():
        return path
    if not path.exists():
        raise InputError(
            f"data.source: {printable(path)} does not exist; expected the folder or archive of your images"
        )
    extract_archive(path, EXTRACTED_DIR)
    root = EXTRACTED_DIR
    while len(inside := _subfolders(root)) == 1 and inside[0].name not in SPLITS:
        root = inside[0]  # archives often hold one folder that holds everything
    return root


def _downloaded(url: str) -> Path:
    """The archive at `url` as a file in data/raw; there is no checksum to tell an earlier download's age."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "archive"
    target = RAW_DIR / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    if target.is_file():
        logger.info(f"{printable(target)}: downloaded before; delete it to get {public_form(url)} again")
    else:
        download(url, target)
    return target


def _read_classes(root: Path, folder: Path, split: str) -> tuple[list[Example], list[Path]]:
    """The images of the class folders in `folder`, by class name and then in natural order; and what is no image."""
    class_folders = _subfolders(folder)
    if len({printable(path.name) for path in class_folders}) < max(2, len(class_folders)):
        raise InputError(
            f"{printable(folder)}: found {len(class_folders)} class folders, expected at least 2; {LAYOUT}"
        )
    examples: list[Example] = []
    ignored = sorted(set(folder.iterdir()) - set(class_folders))
    for class_folder in class_folders:
        name = printable(class_folder.name)
        files = sorted(class_folder.iterdir(), key=_natural_key)
        images = [path for path in files if is_image_file(path)]
        if not images:
            kinds = ", ".join(IMAGE_SUFFIXES)
            raise InputError(f"{printable(class_folder)}: class {name} has no image ({kinds}); add some or remove it")
        examples += [Example(split, name, _relative(path, root), path) for path in images]
        ignored += [path for path in files if not is_image_file(path)]
    return examples, ignored


def _check_test_classes(root: Path, train: Iterable[Example], test: Iterable[Example]) -> None:
    """Refuse a class that is in test only, and warn of one that is in train only."""
    learned, tested = ({example.class_name for example in split} for split in (train, test))
    if unknown := sorted(tested - learned):
        hint = suggest(unknown[0], sorted(learned))
        raise InputError(f"{printable(root / 'test')}: class {', '.join(unknown)} is not in train/; {hint}")
    if untested := sorted(learned - tested):
        logger.warning(f"{printable(root / 'test')}: no images of class {', '.join(untested)}, which train/ has")


def _report_ignored(root: Path, ignored: list[Path]) -> None:
    """One line that counts what was left out, so that nothing is lost in silence."""
    if ignored:
        names = ", ".join(_relative(path, root) for path in ignored[:NAMED])
        more = ", ..." if len(ignored) > NAMED else ""
        logger.info(f"{printable(root)}: ignored as no images or class folders: {len(ignored)} ({names}{more})")


def _subfolders(folder: Path) -> list[Path]:
    """The folders inside, hidden ones and macOS's archive metadata left out, sorted by the names of their classes."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
    return sorted(folders, key=lambda path: printable(path.name))


def _natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts digits by their value: img2.jpg before img10.jpg."""
    parts = re.split(r"(\d+)", path.name)  # text and digits in turn
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def _relative(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())
