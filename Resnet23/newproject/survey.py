"""What there is in a user's folder of images: classes, counts, sizes. Headers are read, no pixels."""

import csv
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from Resnet23.config import DataParams
from Resnet23.errors import InputError, name_some
from Resnet23.files import printable
from Resnet23.images import FORMATS, MAX_PIXELS
from Resnet23.newproject.layout import Layout, link_images
from Resnet23.sources.examples import Example
from Resnet23.sources.folder import load as load_folder
from Resnet23.sources.labelfile import SPLIT
from Resnet23.sources.multilabel import LABELS_FILE
from Resnet23.sources.multilabel import load as load_multilabel

SAMPLE = 500  # images whose headers are read, spread evenly over all of them
NAMED = 3  # how many unusable images a line names
LOADERS = {"folder": load_folder, "multilabel": load_multilabel}


@dataclass(frozen=True)
class Survey:
    """What was found in a folder of images. A class is a label where an image can have several."""

    layout: Layout
    train: Mapping[str, int]  # training images of each class, by name
    test: Mapping[str, int]
    images: Mapping[str, int]  # of each split
    is_drawn: bool  # whether the test split is drawn from one heap of images
    sizes: np.ndarray  # (N, 2) width and height in pixels, of a sample
    unusable: Sequence[str]  # what is wrong with images of the sample
    most_labels: int  # of a single image

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        return sorted(self.train)

    @property
    def shorter_side(self) -> int:
        """The median of the shorter sides in the sample, in pixels."""
        return int(np.median(self.sizes.min(axis=1)))

    @property
    def per_class(self) -> int:
        """The median of the classes' numbers of training images."""
        return int(median(self.train.values()))


def survey(layout: Layout, seed: int) -> Survey:
    """Find the images as the first stage of the pipeline will, and look at the headers of some.

    Raises InputError for what that stage would refuse, and when not a single image of the sample can be read.
    """
    with _as_source(layout) as source:
        data = DataParams(dataset=layout.dataset, source=source)
        examples = LOADERS[layout.dataset](data, seed)
        sample = [examples[row].image for row in _spread(len(examples))]
        sizes, unusable = read_sizes(sample)
    if not sizes:
        raise InputError(f"{printable(layout.root)}: no readable image; the first is {unusable[0]}")
    counts = {split: _count(examples, split) for split in ("train", "test")}
    classes = sorted(counts["train"] | counts["test"])
    return Survey(
        layout,
        *({name: counts[split][name] for name in classes} for split in ("train", "test")),
        images=Counter(example.split for example in examples),
        is_drawn=_is_drawn(layout, examples),
        sizes=np.array(sizes),
        unusable=unusable,
        most_labels=max(len(example.names) for example in examples),
    )


def read_sizes(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], list[str]]:
    """Width and height of each image that the pipeline can use, and for each other one its name and what is wrong."""
    sizes, unusable = [], []
    for path in paths:
        try:
            sizes.append(read_size(path))
        except InputError as error:
            unusable.append(str(error))
    return sizes, unusable


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as the header says. Raises InputError for no image and for one of too many pixels."""
    name = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is a lower one
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise InputError(f"{name}: more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # damaged headers lead decoders to anything, down to KeyError and struct.error
        reason = "zero bytes" if path.is_file() and not path.stat().st_size else type(error).__name__
        raise InputError(f"{name}: not a readable image ({reason})") from None
    if width * height > MAX_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels, more than {MAX_PIXELS:,}")
    return width, height


def describe_unusable(found: Survey) -> str | None:
    """One line on images that the first stage will refuse; None when the sample has none."""
    if not found.unusable:
        return None
    return (
        f"{len(found.unusable)} of {len(found.unusable) + len(found.sizes)} images that were looked at cannot be used; "
        f"the first stage stops there: {name_some(found.unusable, NAMED, '; ')}"
    )


@contextmanager
def _as_source(layout: Layout) -> Iterator[str]:
    """What `data.source` may be called to read these images now.

    The folder itself, so that messages name it; or a link to it with a readable name in a temporary folder.
    """
    if not layout.splits and printable(layout.root) == str(layout.root):
        yield str(layout.root)
        return
    name = printable(layout.root.name)
    with tempfile.TemporaryDirectory() as temporary, chdir(temporary):
        link_images(layout, Path(name))
        yield name


def _spread(count: int) -> list[int]:
    """At most SAMPLE rows of `count`, in equal steps from the first to the last."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(int).tolist()


def _count(examples: Sequence[Example], split: str) -> Counter[str]:
    return Counter(name for example in examples if example.split == split for name in example.names)


def _is_drawn(layout: Layout, examples: Sequence[Example]) -> bool:
    """Whether nothing says which images are for testing, so that the pipeline draws them by data.test_fraction."""
    if layout.dataset == "folder":
        return not layout.splits and not (layout.root / "train").is_dir()
    with open(layout.root / LABELS_FILE, encoding="utf-8-sig", newline="") as file:
        has_column = SPLIT in [name.strip() for name in next(csv.reader(file))]
    return not has_column and {example.source.partition("/")[0] for example in examples} != {"train", "test"}
