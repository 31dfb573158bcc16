"""The images that a benchmark trains on: the project's own where it has some, else the handwritten digits."""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from Resnet23 import datadownload, features
from Resnet23.arrays import INFO_FILE, Features, read_features
from Resnet23.config import FEATURES_DIR, PROCESSED_DIR
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.processed import restore_folders

DIGITS = ["data.dataset=digits", "data.max_per_class=null", "features.storage=array"]


@dataclass(frozen=True)
class Images:
    """The same images twice: decoded in `features`, and as PNG files in the class folders of `processed`/train."""

    features: Features
    processed: Path
    origin: str


@contextmanager
def images_to_train_on(params_file: Path) -> Iterator[Images]:
    """Images, and until the block ends a temporary project folder as the current directory, for what training writes.

    The digits are brought to the image size that the parameters name.
    """
    project, params_file = Path.cwd(), params_file.resolve()
    with TemporaryDirectory(prefix="benchmark-") as folder, chdir(folder):
        if (project / FEATURES_DIR / INFO_FILE).exists():
            origin = "the project's own"
        else:
            project, origin = Path.cwd(), "handwritten digits, because the project has no data/features"
            datadownload.main(params_file=params_file, assignments=DIGITS)
            features.main(params_file=params_file, assignments=DIGITS)
        restore_folders(project / PROCESSED_DIR)
        yield Images(read_features(project / FEATURES_DIR, project / PROCESSED_DIR), project / PROCESSED_DIR, origin)


def spread_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of the rows at equal distances, so that all classes are among them. Raises InputError for too few."""
    if count > len(rows):
        raise InputError(f"the data: found {len(rows)} images, expected at least the {count} of a batch")
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def dataset(images: Features, rows: np.ndarray) -> FeatureDataset:
    """The training engine's data set of these training images."""
    return FeatureDataset(images.train.images, images.train.targets, images.mean, images.std, rows)
