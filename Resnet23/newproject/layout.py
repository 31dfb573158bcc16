"""How a user's folder of images is laid out, and how it becomes what `data.source` expects: by links, not by copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.images import is_image_file
from Resnet23.processed import SPLITS
from Resnet23.sources.location import subfolders
from Resnet23.sources.multilabel import LABELS_FILE

# What the folders of a split are called, upper case or not; the pipeline itself expects the first of each.
SPLIT_NAMES = {"train": ("train", "training"), "test": ("test", "testing"), "val": ("val", "valid", "validation")}
NAMED = 3  # how many folders a line names
HINT = "name it as in make new DIR=../flowers DATA=~/flowers"


@dataclass(frozen=True)
class Layout:
    """A folder of images: which kind of data set it is, and the folders that stand for its splits."""

    dataset: str  # a value of data.dataset: folder or multilabel
    root: Path
    splits: Mapping[str, Path] = field(default_factory=dict)  # by split; empty where `root` can be used as it is
    remarks: tuple[str, ...] = ()  # what the user should know of it


def find_layout(folder: Path) -> Layout:
    """Look at the folders in `folder`, not yet at their images.

    A labels.csv makes it multi-label. Folders val/ and the like become the test split where there is no test/, and are
    left out where there is one, because the pipeline holds out its own validation images. Raises InputError when there
    is no such folder.
    """
    if not folder.exists():
        raise InputError(f"{printable(folder)}: no such folder; expected your images, {HINT}")
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: is a file, expected the folder of your images; unpack an archive first")
    root = _unwrap(folder.resolve())
    if (root / LABELS_FILE).is_file():
        return Layout("multilabel", root)
    found = _split_folders(root)
    return _split_layout(root, found) if "train" in found else Layout("folder", root)


def link_images(layout: Layout, target: Path) -> None:
    """Make `target` the images of a layout as the pipeline expects them: a link, or a folder with a link per split.

    Raises InputError on a file system without links.
    """
    links = {target / split: folder for split, folder in layout.splits.items()} or {target: layout.root}
    for link, folder in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(folder, target_is_directory=True)
        except OSError as error:
            raise InputError(
                f"{printable(link.parent)}: links are not possible here ({error.strerror}); choose another disk"
            ) from None


def _unwrap(folder: Path) -> Path:
    """The folder that holds the images' folders: archives often unpack to one folder that holds everything."""
    while len(inside := subfolders(folder)) == 1 and subfolders(inside[0]) and not _has_images(folder):
        if _split_folders(folder):
            break
        folder = inside[0]
    return folder


def _has_images(folder: Path) -> bool:
    """Whether images or their labels lie right in this folder."""
    return any(path.name == LABELS_FILE or is_image_file(path) for path in folder.iterdir())


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders in `root` that are called like a split and hold folders themselves, by split."""
    found = {}
    for path in subfolders(root):
        split = next((split for split, names in SPLIT_NAMES.items() if path.name.lower() in names), None)
        if split is not None and subfolders(path):
            found.setdefault(split, path)
    return found


def _split_layout(root: Path, found: Mapping[str, Path]) -> Layout:
    """The layout of a folder that has a training split."""
    train, test, validation = (found.get(split) for split in SPLIT_NAMES)
    held_out = f"validation images are held out of {printable(train.name)}/"
    if test is None and validation is None:
        remarks = [f"{printable(train.name)}/ is the only split: a share of its images becomes the test split"]
        return Layout("folder", train, remarks=(*remarks, *_left_out(root, [train])))
    if test is None:
        test, remarks = validation, [f"{printable(validation.name)}/ is taken as the test split; {held_out}"]
    else:
        remarks = [f"{printable(validation.name)}/ is left out: {held_out}"] if validation else []
    remarks += _left_out(root, [folder for folder in (train, test, validation) if folder])
    is_expected = (train.name, test.name) == SPLITS
    return Layout("folder", root, {} if is_expected else {"train": train, "test": test}, tuple(remarks))


def _left_out(root: Path, used: Sequence[Path]) -> list[str]:
    """A remark on the folders beside those of the splits, if there are any."""
    others = [f"{printable(path.name)}/" for path in subfolders(root) if path not in used]
    return [f"left out beside the splits: {name_some(others, NAMED)}"] if others else []
