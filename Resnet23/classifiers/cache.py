"""Encode once: the features of a data set on disk, so that an epoch of a head does not need the encoder.

A file ENCODED_DIR/<key>.npy holds (N, F) float32. The key is a hash of the encoder and of all images in order, so that
a change of either gives another file; labels are not in it. The folder may be deleted at any time.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

from Resnet23.classifiers.encoders import Encoder, encode, weights_digest
from Resnet23.config import DATA_DIR, PARAMS_FILE
from Resnet23.errors import InputError, ResourceError
from Resnet23.files import atomic_path, printable

ENCODED_DIR = DATA_DIR / "interim" / "encoded"
BATCH_SIZE = 64  # images to encode at a time, where the loader has no batch size
COMPARED = 8  # rows of a file that was found, to see whether the encoder still gives them


@dataclass(frozen=True)
class Encoded:
    """A data set in features: views (V, N, F) float32, memory-mapped, and labels (N,)."""

    views: np.ndarray
    labels: Tensor


def project_cache() -> Path | None:
    """Where a project keeps its encoded images; None where the current directory is no project."""
    return ENCODED_DIR if PARAMS_FILE.is_file() else None


def encode_once(
    encoder: Encoder, loader: DataLoader, device: torch.device, input_features: int, folder: Path | None
) -> Encoded:
    """The data set of `loader` in features (1, N, input_features).

    They are kept in `folder`, and encoded only if it does not have them yet; without one they are in a temporary file.
    Raises InputError when the encoder gives another number of features, ResourceError when they do not fit on the disk.
    """
    if folder is None:
        return encode_views(encoder, loader, device, input_features, 1)
    labels, digest = _read(loader)
    path = folder / f"{_key(encoder, digest, device)}.npy"
    shape = (len(labels), input_features)
    if not _is_current(path, shape, encoder, loader, device):
        with atomic_path(path) as temporary:
            _require_space(path.parent, shape)
            rows = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            _encode_into(rows, encoder, loader, device)
            rows.flush()
    return Encoded(np.load(path, mmap_mode="r", allow_pickle=False)[None], labels)


def encode_views(
    encoder: Encoder, loader: DataLoader, device: torch.device, input_features: int, views: int
) -> Encoded:
    """Features (V, N, input_features) of V readings of a data set that changes its images at random.

    They are in a temporary file, which goes with the last reference to them. Raises what `encode_once` does.
    """
    shape = (views, len(loader.dataset), input_features)
    _require_space(Path(tempfile.gettempdir()), shape)
    with tempfile.TemporaryFile(prefix="encoded-") as file:
        rows = np.memmap(file, np.float32, "w+", shape=shape)
    labels = [_encode_into(view, encoder, loader, device) for view in rows]
    return Encoded(rows, labels[0])


def read_items(loader: DataLoader, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images and labels at these places of the loader's data set."""
    items = [loader.dataset[index] for index in indices]
    try:
        return images_and_labels(default_collate(items))
    except (TypeError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"the data set: its items make no batch ({reason[:150]}); expected (image, label), images as tensors of "
            "one size, as a transform makes them"
        ) from None


def images_and_labels(batch: object) -> tuple[Tensor, Tensor]:
    """The two parts of a batch. Raises InputError when it has others."""
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not is_pair or not all(isinstance(part, Tensor) for part in batch):
        raise InputError(f"the loader gives a {type(batch).__name__}, expected batches (images, labels) of two tensors")
    return batch[0], batch[1]


def are_close(features: Tensor, others: Tensor) -> bool:
    """Whether features are equal but for rounding, that of a GPU's short mantissas included."""
    tolerance = 1e-4 if features.device.type == "cpu" else 1e-2
    scale = float(features.nan_to_num().abs().mean())
    return torch.allclose(features, others, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _read_in_order(loader: DataLoader, description: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Each item of the loader's data set once, in batches; PyTorch's random state is left alone."""
    in_order = DataLoader(
        loader.dataset,
        batch_size=loader.batch_size or BATCH_SIZE,
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator(),
    )
    for batch in tqdm(in_order, desc=description, unit="batch", leave=False, disable=None):
        yield images_and_labels(batch)


def _read(loader: DataLoader) -> tuple[Tensor, str]:
    """All labels (N,), and the SHA-256 of all images in order."""
    digest, all_labels = hashlib.sha256(), []
    for images, labels in _read_in_order(loader, "read"):
        for image in images.contiguous():
            digest.update(f"{image.dtype} {tuple(image.shape)}\n".encode())
            digest.update(image.view(torch.uint8).numpy())
        all_labels.append(labels)
    return torch.cat(all_labels), digest.hexdigest()


def _key(encoder: Encoder, images_digest: str, device: torch.device) -> str:
    """A hash of the encoder's structure and weights, of the images, and of what decides how results are rounded."""
    parts = [repr(encoder), weights_digest(encoder), images_digest, device.type, torch.__version__]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_current(path: Path, shape: tuple[int, int], encoder: Encoder, loader: DataLoader, device: torch.device) -> bool:
    """Whether the file is there, and its first rows are what the encoder gives.

    A module whose code was edited may compute something else with the same weights and structure.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # no such file, or a damaged one
        return False
    if not isinstance(rows, np.memmap) or (rows.shape, rows.dtype) != (shape, np.float32):
        return False
    images, _ = read_items(loader, range(min(COMPARED, shape[0])))
    features = encode(encoder, images, device, shape[1])
    return are_close(features, torch.from_numpy(rows[: len(images)].copy()).to(device))


def _encode_into(rows: np.ndarray, encoder: Encoder, loader: DataLoader, device: torch.device) -> Tensor:
    """Fill rows (N, F) with the features of all images; gives their labels (N,)."""
    start, all_labels = 0, []
    for images, labels in _read_in_order(loader, "encode"):
        rows[start : start + len(images)] = encode(encoder, images, device, rows.shape[1]).cpu().numpy()
        start += len(images)
        all_labels.append(labels)
    return torch.cat(all_labels)


def _require_space(folder: Path, shape: tuple[int, ...]) -> None:
    """Raise ResourceError when a float32 array does not fit: writing to a map on a full disk ends the process."""
    needed, free = 4 * int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{printable(folder)}: the features of {shape[-2]:,} images need {needed / 2**20:,.0f} MiB, "
            f"{free / 2**20:,.0f} MiB are free; make room, or work elsewhere"
        )
