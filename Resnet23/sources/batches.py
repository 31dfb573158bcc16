"""The official CIFAR files: pickles of one dictionary each, in an unpacked folder or in the published archive."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable
from Resnet23.sources.archive import read_members
from Resnet23.sources.download import wrong_checksum

# All that a batch needs to be read: how NumPy (as of Python 2) rebuilds an array.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def read_folder(folder: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of batch files ({name: MD5}) in a folder, once their checksums hold."""
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise InputError(f"{printable(folder)}: {', '.join(missing)} is missing; expected {', '.join(files)}")
    contents = {name: (folder / name).read_bytes() for name in files}
    return _checked(folder, contents, files)


def read_archive(path: Path, folder: str, files: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of batch files ({name: MD5}) in a folder of a tar file, once their checksums hold."""
    members = read_members(path, [f"{folder}/{name}" for name in files])
    return _checked(path, {name: members[f"{folder}/{name}"] for name in files}, files)


def decode_batch(content: bytes, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) uint8 of one batch.

    A pickle that asks for anything but an array's parts raises IntegrityError, and none of its code runs.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        planes = batch[b"data"].reshape(-1, 3, 32, 32)
        labels = np.array(batch[label_key.encode()], dtype=np.uint8)
    except IntegrityError:
        raise
    except Exception as error:  # a damaged pickle can lead to any exception
        raise IntegrityError(f"not a CIFAR batch ({type(error).__name__}: {error}); get the file again") from None
    return planes.transpose(0, 2, 3, 1), labels


class _BatchUnpickler(pickle.Unpickler):
    """An unpickler that knows three NumPy names and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise IntegrityError(f"CIFAR batch: asks for {module}.{name}, which no batch needs; the file is foreign")
        return ADMITTED[module, name]


def _checked(origin: Path, contents: dict[str, bytes], files: Mapping[str, str]) -> dict[str, bytes]:
    for name, content in contents.items():
        actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if actual != files[name]:
            raise wrong_checksum(printable(origin / name), files[name], actual)
    return contents
