"""From a data set to batches: the order of an epoch, each process's share, reading ahead, random changes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from signal import SIG_IGN, signal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from Resnet23.augment import augment
from Resnet23.augmentation.draws import Draws
from Resnet23.augmentation.mixing import mix
from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset, normalize, resize, to_unit_range
from Resnet23.errors import Resnet23Error
from Resnet23.imagefiles import ImageFiles
from Resnet23.interrupts import SIGNALS
from Resnet23.modeling.losses import Task
from Resnet23.modeling.shares import share


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` images in an epoch: a permutation that depends on seed and epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Where to cut an epoch of `count` images into batches; the last one may be smaller.

    A single image that is left over joins the batch before it: BatchNorm has no variance to learn from one image.
    """
    bounds = [*range(0, count, batch_size), count]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
        del bounds[-2]
    return [slice(start, end) for start, end in pairwise(bounds)]


@dataclass(frozen=True)
class Batch:
    """What one process computes of a batch: network inputs (n, 3, H, W) and targets, of `total` images altogether.

    A process whose share is empty gets one image all the same, as every process has to take part in each step; `count`,
    its number of images that count, is then 0.
    """

    inputs: Tensor
    targets: Tensor
    count: int
    total: int


class BatchSource:
    """The batches of a data set as one of `processes` processes sees them, changed at random and on its device."""

    def __init__(
        self,
        data: FeatureDataset,
        task: Task,
        classes: int,
        params: TrainParams,
        seed: int,
        device: torch.device,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        self.data, self.task, self.classes, self.params, self.seed = data, task, classes, params, seed
        self.device, self.processes, self.process = device, processes, process
        self.order = torch.channels_last if params.channels_last else torch.contiguous_format
        self.slices = batch_slices(len(data), params.batch_size)

    def __len__(self) -> int:
        return len(self.slices)

    def epoch(self, epoch: int, first: int = 0, resolution: int | None = None) -> Iterator[Batch]:
        """The batches of an epoch from step `first` on, at `resolution` pixels or the network's own size."""
        order = epoch_order(len(self.data), self.seed, epoch)
        steps = range(first, len(self))
        batches = [order[self.slices[step]] for step in steps]  # of all processes together
        counts = [_size(self._share(batch)) for batch in batches]
        parts = [self._share(batch) if count else slice(1) for batch, count in zip(batches, counts, strict=True)]
        loaded = self._load([batch[part] for batch, part in zip(batches, parts, strict=True)])
        for step, batch, part, count, raw in zip(steps, batches, parts, counts, loaded, strict=True):
            if isinstance(raw, Resnet23Error):
                raise raw
            images, targets = self.change(*raw, Draws(self.seed, epoch, step, batch, part))
            inputs = normalize(resize(images, resolution or self.data.image_size), self.data.mean, self.data.std)
            yield Batch(inputs.contiguous(memory_format=self.order), targets, count, len(batch))

    def _share(self, batch: np.ndarray) -> slice:
        return share(len(batch), self.processes, self.process)

    def change(self, images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Raw images (n, 3, H, W) uint8 -> [0, 1] on the device, after the random changes; targets (n,) or (n, C)."""
        images = to_unit_range(images.to(self.device, non_blocking=True))
        targets = targets.to(self.device, non_blocking=True)
        changes = self.params.augment
        images = augment(images, changes, self.data.mean, draws)
        if changes.mixup or changes.cutmix:
            images, targets = mix(images, self.task.soft_targets(targets, self.classes), changes, draws)
        return images, targets

    def first_images(self, count: int, resolution: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images of the training, changed at random but not normalised, and their targets."""
        positions = epoch_order(len(self.data), self.seed, 1)[self.slices[0]]
        images, targets = self.change(*self.data.raw_batch(positions), Draws(self.seed, 1, 0, positions))
        return resize(images[:count], resolution or self.data.image_size), targets[:count]

    def _load(self, positions: Sequence[np.ndarray]) -> DataLoader:
        """Raw batches at these positions in turn; image files are read ahead by `num_workers` processes."""
        are_files = isinstance(self.data.images, ImageFiles)
        return DataLoader(
            _RawBatches(self.data),
            batch_size=None,  # an item is a whole batch
            sampler=positions,
            num_workers=self.params.num_workers if are_files else 0,
            pin_memory=self.params.pin_memory and self.device.type == "cuda",
            worker_init_fn=_leave_interrupts_to_the_parent,
        )


def _size(part: slice) -> int:
    return part.stop - part.start


class _RawBatches(Dataset[tuple[Tensor, Tensor] | Resnet23Error]):
    """A data set that is asked for many images at once.

    What is wrong with one of them is returned: raised in a worker, it would arrive with the worker's traceback in it.
    """

    def __init__(self, data: FeatureDataset) -> None:
        self.data = data

    def __getitem__(self, positions: np.ndarray) -> tuple[Tensor, Tensor] | Resnet23Error:
        try:
            return self.data.raw_batch(positions)
        except Resnet23Error as error:
            return error


def _leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C in a terminal, and SIGTERM as many job schedulers send it, reach every process of a training.

    The training decides when its workers end; without it they end by themselves.
    """
    for number in SIGNALS:
        signal(number, SIG_IGN)
