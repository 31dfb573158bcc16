"""The batches that a head is trained and judged on: features in place of images, in the order of any loader."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle

import torch
from loguru import logger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from Resnet23.classifiers.cache import (
    Encoded,
    are_close,
    encode_once,
    encode_views,
    images_and_labels,
    project_cache,
    read_items,
)
from Resnet23.classifiers.encoders import Encoder, encode
from Resnet23.errors import InputError

PROBED = 16  # items that are read twice, to see whether they change

Loader = Iterable[tuple[Tensor, Tensor]]  # a DataLoader, or anything that gives (images, labels) anew in each epoch
FeatureBatches = Iterable[tuple[Tensor, Tensor]]  # (features (B, F), labels (B,)), anew in each epoch


def open_batches(
    encoder: Encoder, loader: Loader, device: torch.device, input_features: int, views: int = 1
) -> FeatureBatches:
    """The batches of `loader` with features for images.

    Each item of its data set is encoded once, then the loader's own batch sampler runs over the cached rows: the same
    batches in the same order, with the same random numbers drawn. Where that would not be the same, every epoch is
    encoded anew, and a line says why. For a data set that changes its images at random, `views` above 1 encodes that
    many readings of it instead, which take turns from epoch to epoch.

    Raises InputError when the loader is empty, gives no pairs, or the encoder gives another number of features.
    """
    if reason := _not_cached(loader):
        return _encoded_anew(reason, encoder, loader, device, input_features)
    if not len(loader.dataset):
        raise InputError("the loader's data set is empty; expected images")
    images, is_random = _probe(loader)
    if not _is_independent(encoder, images, device, input_features):
        reason = "the encoder's features of an image depend on the rest of its batch, or on chance"
        return _encoded_anew(reason, encoder, loader, device, input_features)
    if is_random and views > 1:
        return CachedBatches(loader, encode_views(encoder, loader, device, input_features, views))
    if is_random:
        reason = "reading the same item twice gives different images, as random augmentation does"
        return _encoded_anew(reason, encoder, loader, device, input_features)
    return CachedBatches(loader, encode_once(encoder, loader, device, input_features, project_cache()))


class CachedBatches:
    """The batches of a loader out of encoded images; each epoch takes the next view."""

    def __init__(self, loader: DataLoader, encoded: Encoded) -> None:
        self.loader, self.encoded = loader, encoded
        self._views = cycle(encoded.views)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A DataLoader, since it draws from the generator as the original does: the order and dropout stay the same.
        return iter(
            DataLoader(
                _Rows(next(self._views), self.encoded.labels),
                batch_sampler=self.loader.batch_sampler,
                collate_fn=_as_it_is,
                generator=self.loader.generator,
            )
        )


class EncodedBatches:
    """The batches of a loader, encoded in each epoch."""

    def __init__(self, encoder: Encoder, loader: Loader, device: torch.device, input_features: int) -> None:
        self.encoder, self.loader, self.device, self.input_features = encoder, loader, device, input_features

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.loader:
            images, labels = images_and_labels(batch)
            yield encode(self.encoder, images, self.device, self.input_features), labels


class _Rows(Dataset[tuple[Tensor, Tensor]]):
    """Features (N, F) and labels (N,) that are asked for in batches."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features, self.labels = features, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.features[indices]), self.labels[indices]


def _as_it_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def _encoded_anew(
    reason: str, encoder: Encoder, loader: Loader, device: torch.device, input_features: int
) -> EncodedBatches:
    logger.info(f"the images are encoded anew in each epoch: {reason}")
    return EncodedBatches(encoder, loader, device, input_features)


def _not_cached(loader: Loader) -> str | None:
    """Why batches of cached rows would not be those of the loader, None if they would."""
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return f"{type(loader).__name__} is no plain DataLoader"
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset has no items to ask for again"
    if loader.batch_sampler is None:
        return "the loader does not put batches together (batch_size=None)"
    if loader.collate_fn is not default_collate:
        return "the loader's collate_fn may change images"
    return None


def _probe(loader: DataLoader) -> tuple[Tensor, bool]:
    """Some images of the data set, item 0 among them, and whether it changes its images at random.

    Several, since one that is mirrored at random comes out the same in half of all cases; drawing from PyTorch's random
    numbers counts as a change, too. They are left as they were.
    """
    count = len(loader.dataset)
    indices = range(0, count, -(-count // PROBED))
    with torch.random.fork_rng(devices=[]):
        state = torch.get_rng_state()
        first, second = (read_items(loader, indices)[0] for _ in range(2))
        has_drawn = not torch.equal(state, torch.get_rng_state())
    return first, has_drawn or not torch.equal(first, second)


def _is_independent(encoder: Encoder, images: Tensor, device: torch.device, input_features: int) -> bool:
    """Whether an image's features are the same alone and among others."""
    together = encode(encoder, images, device, input_features)
    return are_close(together[:1], encode(encoder, images[:1], device, input_features))
