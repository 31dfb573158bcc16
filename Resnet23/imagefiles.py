"""The PNG files of data/processed in the guise of one array, for images that are too many or too large to be one.

Each is decoded when it is asked for and checked against the SHA-256 that the manifest names, so that what is trained
on is what was counted and measured before. The check takes a few hundredths of the time that decoding takes.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.images import decode_image


class ImageFiles:
    """(N, size, size, 3) uint8, indexed by rows as an array is: an integer, a slice, an array of rows or a mask.

    Rows come as arrays of their own. No file stays open and nothing is kept, so that it can be pickled, and used by
    several processes at once. Indexing raises InputError naming a file that is missing or not the expected one.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, folder: Path, files: Sequence[str], hashes: Sequence[str], size: int) -> None:
        self.folder = folder
        self.files = files  # N names relative to `folder`
        self.hashes = hashes  # N SHA-256 of the files
        self.shape = (len(files), size, size, 3)
        self._rows = np.arange(len(files))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        chosen = np.asarray(self._rows[rows])  # NumPy's own rules and errors for whatever `rows` is
        images = np.empty((*chosen.shape, *self.shape[1:]), np.uint8)
        for image, row in zip(images.reshape(-1, *self.shape[1:]), chosen.flat, strict=True):
            image[:] = self._read(row)
        return images

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse what NumPy functions would do unasked: decode everything into one array. `images[:]` does it."""
        raise TypeError(f"{len(self)} image files are no array; index the rows that are needed, or [:] for all")

    def _read(self, row: int) -> np.ndarray:
        try:
            return read_png(self.folder / self.files[row], self.hashes[row], self.shape[1])
        except InputError as error:
            raise InputError(f"{error}; run `make data`") from None


def read_png(path: Path, sha256: str, size: int) -> np.ndarray:
    """The pixels (size, size, 3) uint8 of a PNG file that must have this SHA-256.

    Raises InputError naming the file when it is missing, damaged, another one, or of another size.
    """
    name = printable(path)
    try:
        png = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: {os.strerror(error.errno).lower()}") from None
    if not png:
        raise InputError(f"{name}: zero bytes")
    pixels = np.asarray(decode_image(png, name))  # before the check, because it tells damaged files from edited ones
    if hashlib.sha256(png).hexdigest() != sha256:
        raise InputError(f"{name}: SHA-256 differs from the manifest: damaged or edited")
    if pixels.shape != (size, size, 3):
        raise InputError(
            f"{name}: {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {size} x {size} as data.image_size says"
        )
    return pixels


def combined_sha256(hashes: Iterable[str]) -> str:
    """The SHA-256 of the SHA-256 of many files, hexadecimal and in order: it identifies them without reading them."""
    digest = hashlib.sha256()
    for value in hashes:
        digest.update(value.encode("ascii"))
    return digest.hexdigest()
