"""Images for PyTorch: from class folders one by one, or from the feature arrays in batches."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from loguru import logger
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from Resnet23.arrays import INFO_FILE, read_info
from Resnet23.config import CIFAR10_MEAN, CIFAR10_STD, FEATURES_DIR, IMAGE_SIZE
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.imagefiles import ImageFiles
from Resnet23.images import decode_image, is_image_file, resize_image


class CIFARCustomDataset(Dataset[tuple[Any, int]]):
    """Images in class folders: `root_dir/<class>/<image>`, as the download stage writes them.

    Classes are the names of the sub-folders in sorted order, and the place in that order is the label. The images of a
    class come in the order of their names. Each is read as RGB (alpha laid on white, EXIF orientation applied).
    Hidden folders and files, and files that are no images, are passed over.

    Attributes: `classes` (names), `image_paths`, `labels` and its alias `targets` (one integer for each image).
    An item is (transform(image), label); without a transform the image is a PIL image.
    Raises InputError when the folder is missing or holds no class with images.
    """

    def __init__(self, root_dir: str | Path, transform: Callable[[Image.Image], Any] | None = None) -> None:
        self.root_dir = Path(root_dir)
        self.transform = transform
        if not self.root_dir.is_dir():
            raise InputError(
                f"{printable(root_dir)}: no such folder; expected <class>/<image> in it (make data makes one)"
            )
        folders = sorted(path for path in self.root_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
        self.classes = [printable(folder.name) for folder in folders]
        self.image_paths: list[Path] = []
        self.labels: list[int] = []
        for label, folder in enumerate(folders):
            paths = sorted(path for path in folder.iterdir() if is_image_file(path))
            self.image_paths += paths
            self.labels += [label] * len(paths)
        if not self.image_paths:
            raise InputError(f"{printable(root_dir)}: found no images; expected <class>/<image>, such as cat/00000.png")

    @property
    def targets(self) -> list[int]:
        return self.labels

    def __len__(self) -> int:
        return len(self.image_paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = decode_image(self.image_paths[index])
        return (self.transform(image) if self.transform else image), self.labels[index]


class FeatureDataset(Dataset[tuple[Tensor, int | Tensor]]):
    """Rows of the features, memory-mapped arrays or image files; nothing is read before it is asked for.

    `images` (M, H, W, 3) uint8 and `targets` (M,), or multi-label (M, C), are whole arrays; `rows` chooses and orders
    what the data set holds. An item is (normalised image (3, H, W) float, label), the label an integer, or multi-label
    (C,) float, 1 for each label that the image has. The training engine takes raw batches and augments those.
    `image_size` is the side in pixels that the network takes, where it is not that of the images.
    """

    def __init__(
        self,
        images: np.ndarray | ImageFiles,
        targets: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        rows: np.ndarray | None = None,
        image_size: int | None = None,
    ) -> None:
        self.images = images
        self.image_size = image_size
        if image_size not in (None, images.shape[1]):
            _warn_of_resizing(images.shape[1], image_size)
        self.rows = np.arange(len(images)) if rows is None else rows  # (N,)
        self.targets = targets[self.rows]  # (N,) int64, or (N, C) uint8
        self.mean, self.std = tuple(mean), tuple(std)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        images, targets = self.raw_batch(np.asarray([index]))
        target = int(targets[0]) if targets.ndim == 1 else targets[0]
        inputs = resize(to_unit_range(images), self.image_size)
        return normalize(inputs, self.mean, self.std)[0], target

    def raw_batch(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """The images (B, 3, H, W) uint8 and targets, (B,) int64 or (B, C) float, at `positions` of this data set.

        The images are channels last in memory.
        """
        images = torch.from_numpy(self.images[self.rows[positions]])  # (B, H, W, 3), a copy
        targets = torch.from_numpy(self.targets[positions])
        return images.permute(0, 3, 1, 2), targets if targets.ndim == 1 else targets.float()


def to_unit_range(images: Tensor) -> Tensor:
    """Pixels 0..255 uint8 -> 0..1 float."""
    return images.float() / 255


def resize(images: Tensor, side: int | None) -> Tensor:
    """Bring images (N, 3, H, W) to `side` pixels a side; as they are where it is None or theirs already."""
    if side is None or images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel; images (N, 3, H, W) in [0, 1]."""
    order = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    like = (images.shape[2], images.shape[3], images.dtype, images.device, order)
    return (images - _whole_image(tuple(mean), *like)) / _whole_image(tuple(std), *like)


@cache  # one line for each pair of sizes
def _warn_of_resizing(stored: int, wanted: int) -> None:
    logger.warning(
        f"images are stored with {stored} pixels a side and brought to the network's {wanted} on the device; "
        f"data.image_size: {wanted} keeps the details of larger originals"
    )


@lru_cache(maxsize=8)
def _whole_image(
    channels: tuple[float, ...], height: int, width: int, dtype: torch.dtype, device: torch.device, order: Any
) -> Tensor:
    """(1, 3, H, W) of one value for each channel.

    In the images' order of memory it is five times as fast to use as three numbers that are spread out each time, and
    kept it does not make a GPU wait for them to arrive.
    """
    values = torch.tensor(channels, dtype=dtype, device=device).view(1, 3, 1, 1)
    return values.expand(1, 3, height, width).contiguous(memory_format=order)


def get_default_transform() -> v2.Compose:
    """RGB PIL image of any size -> normalised tensor (3, S, S), for validation, test and prediction.

    Size, resize rule, mean and standard deviation are those of features.json; without one, 32 pixels, crop, and the
    published mean and standard deviation of CIFAR-10.
    """
    size, rule, mean, std = IMAGE_SIZE[0], "crop", CIFAR10_MEAN, CIFAR10_STD
    if (FEATURES_DIR / INFO_FILE).exists():
        info = read_info()
        size, rule, mean, std = info["image_size"], info["resize"], info["mean"], info["std"]
    resize = partial(resize_image, size=size, rule=rule)
    return v2.Compose([resize, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])


def get_train_transform() -> v2.Compose:
    """The default transform after random changes of the image: flip, colour jitter, turn and shift.

    For training images only. It draws from PyTorch's global generator.
    """
    jitter = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    changes = [
        v2.RandomHorizontalFlip(),
        v2.RandomApply([jitter], p=0.5),
        v2.RandomAffine(degrees=15, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR),
    ]
    return v2.Compose([*changes, *get_default_transform().transforms])
