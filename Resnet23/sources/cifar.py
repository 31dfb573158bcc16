"""CIFAR-10 and CIFAR-100: where they may come from, and the digests that decide whether they are the real ones."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from loguru import logger

from Resnet23.config import CLASS_NAMES, RAW_DIR, DataParams
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable
from Resnet23.sources import batches, npm
from Resnet23.sources.download import CONNECT_ATTEMPTS, download, is_url, md5_file, wrong_checksum
from Resnet23.sources.examples import Example

MIRROR_VARIABLE = "RESNET23_DATA_MIRROR"
PUBLIC_FOLDER = "https://www.cs.toronto.edu/~kriz"

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> images (N, 32, 32, 3) uint8, labels (N,) uint8


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets as published by Alex Krizhevsky (2009), "Learning Multiple Layers of Features"."""

    name: str
    classes: list[str]  # in the order of the labels
    folder: str  # in the archive
    archive: str
    archive_md5: str
    files: dict[str, dict[str, str]]  # split -> {file: MD5}
    label_key: str
    digests: dict[str, tuple[str, str]]  # split -> SHA-256 of the images' and of the labels' bytes, see Arrays
    on_npm: bool = False

    @property
    def all_files(self) -> dict[str, str]:
        """The batch files of both splits with their MD5."""
        return self.files["train"] | self.files["test"]


CIFAR10 = Cifar(
    name="cifar10",
    classes=CLASS_NAMES,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    files={
        "train": {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
    },
    label_key="labels",
    digests={
        "train": (
            "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        ),
        "test": (
            "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        ),
    },
    on_npm=True,
)

CIFAR100 = Cifar(
    name="cifar100",
    classes=(  # noqa: SIM905 - a list would fill 100 lines
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
        "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
        "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
        "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
        "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
        "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
        "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
    ).split(),
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    files={
        "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    },
    label_key="fine_labels",
    digests={
        "train": (
            "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
            "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
        ),
        "test": (
            "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
            "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
        ),
    },
)


def load_cifar10(data: DataParams, seed: int) -> list[Example]:
    """CIFAR-10 in its official order; nothing is drawn, `seed` is for other data sets."""
    return load(CIFAR10, data.source)


def load_cifar100(data: DataParams, seed: int) -> list[Example]:
    """CIFAR-100 with its 100 fine labels, in its official order; nothing is drawn, `seed` is for other data sets."""
    return load(CIFAR100, data.source)


def load(cifar: Cifar, source: str | None) -> list[Example]:
    """A data set from `source` or RESNET23_DATA_MIRROR, else from the first public source that has it.

    Raises InputError when what was given is missing or no public source can be reached, and IntegrityError when the
    files are not the published ones.
    """
    given = source or os.environ.get(MIRROR_VARIABLE)
    arrays = _read_given(cifar, given) if given else _read_public(cifar)
    return [
        Example(split, cifar.classes[label], f"{cifar.name}/{split}/{index:05d}", image)
        for split, (images, labels) in arrays.items()
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def _read_given(cifar: Cifar, source: str) -> Arrays:
    """The arrays from the folder, archive or URL that the user named; nothing else is tried."""
    if is_url(source):
        is_archive = source.endswith((".tar.gz", ".tgz"))
        return _read_url(cifar, source if is_archive else f"{source.rstrip('/')}/{cifar.archive}")
    path = Path(source).expanduser()
    first_file = next(iter(cifar.files["train"]))
    for folder in (path, path / cifar.folder):
        if (folder / first_file).is_file():
            return _read_folder(cifar, folder)
    for archive in (path, path / cifar.archive):
        if archive.is_file():
            return _read_archive(cifar, archive)
    raise InputError(
        f"{printable(path)}: {cifar.name} is not there; expected the archive, or a folder that holds "
        f"{cifar.folder}/ or {cifar.archive} (it was given by data.source or {MIRROR_VARIABLE})"
    )


def _read_public(cifar: Cifar) -> Arrays:
    """The arrays from the first public source that works; a line in the log for each that does not."""
    sources: list[Callable[[Cifar], Arrays]] = [_read_copy, _read_host]
    if cifar.on_npm:
        sources = [_read_copy, _read_package_copy, _read_host, _read_npm]
    failures: list[InputError | IntegrityError] = []
    for read in sources:
        try:
            return read(cifar)
        except (InputError, IntegrityError) as error:
            logger.info(f"{cifar.name}: {error}")
            failures.append(error)
    kind = IntegrityError if any(isinstance(error, IntegrityError) for error in failures) else InputError
    raise kind(
        f"{cifar.name}: no source worked ({'; '.join(map(str, failures))}); set {MIRROR_VARIABLE} or data.source to "
        "the official files, or use your own images (data.dataset: folder), or `make demo`, which needs no download"
    )


def _read_copy(cifar: Cifar) -> Arrays:
    return _read_archive(cifar, _existing(RAW_DIR / cifar.archive))


def _read_package_copy(cifar: Cifar) -> Arrays:
    path = _existing(RAW_DIR / npm.FILE_NAME)
    return _verified(cifar, npm.read_package(path), path)


def _read_host(cifar: Cifar) -> Arrays:
    return _read_url(cifar, f"{PUBLIC_FOLDER}/{cifar.archive}", connect_attempts=1)


def _read_npm(cifar: Cifar) -> Arrays:
    target = RAW_DIR / npm.FILE_NAME
    with npm.packed(target) as path:
        return _verified(cifar, npm.read_package(path), target)


def _read_url(cifar: Cifar, url: str, connect_attempts: int = CONNECT_ATTEMPTS) -> Arrays:
    """The arrays from an archive on the web, unless data/raw has it already."""
    path = RAW_DIR / cifar.archive
    if not path.is_file() or md5_file(path) != cifar.archive_md5:
        download(url, path, cifar.archive_md5, connect_attempts)
    return _read_archive(cifar, path)


def _read_folder(cifar: Cifar, folder: Path) -> Arrays:
    return _decode(cifar, batches.read_folder(folder, cifar.all_files), folder)


def _read_archive(cifar: Cifar, path: Path) -> Arrays:
    if (actual := md5_file(path)) != cifar.archive_md5:
        raise wrong_checksum(printable(path), cifar.archive_md5, actual)
    return _decode(cifar, batches.read_archive(path, cifar.folder, cifar.all_files), path)


def _decode(cifar: Cifar, contents: dict[str, bytes], origin: Path) -> Arrays:
    arrays = {}
    for split, files in cifar.files.items():
        decoded = [batches.decode_batch(contents[name], cifar.label_key) for name in files]
        images, labels = zip(*decoded, strict=True)
        arrays[split] = np.concatenate(images), np.concatenate(labels)
    return _verified(cifar, arrays, origin)


def _verified(cifar: Cifar, arrays: Arrays, origin: Path) -> Arrays:
    """The same arrays, once the digests of their pixels and labels hold."""
    for split, pair in arrays.items():
        for kind, array, expected in zip(("images", "labels"), pair, cifar.digests[split], strict=True):
            actual = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
            if actual != expected:
                raise wrong_checksum(f"{printable(origin)} ({split} {kind})", expected, actual)
    logger.info(f"{cifar.name}: read and verified from {printable(origin)}")
    return arrays


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{printable(path)}: no earlier download")
    return path
