"""The training engine: one loop for every task and model, on Accelerate for device, precision and processes.

The order of the images comes from (seed, epoch) and the augmentation of a batch from (seed, epoch, step), so that any
step can be computed again without those before it.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from accelerate import Accelerator
from loguru import logger
from torch import Tensor, nn
from tqdm import tqdm

from Resnet23.augment import augment
from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset, normalize, to_unit_range
from Resnet23.errors import Resnet23Error
from Resnet23.modeling.device import choose_device, choose_precision, create_accelerator
from Resnet23.modeling.inference import predict_logits
from Resnet23.modeling.losses import Task
from Resnet23.modeling.optim import create_optimizer, create_schedule


@dataclass(frozen=True)
class EpochRecord:
    """A row of reports/history.csv; losses are means over images, accuracies shares, data_wait a share of seconds."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    data_wait: float


@dataclass(frozen=True)
class Evaluation:
    """How a model does on some images: mean loss, accuracy, logits (N, C) and targets (N,), both on the CPU."""

    loss: float
    accuracy: float
    logits: Tensor
    targets: Tensor


@dataclass
class FitResult:
    """The history of a training, its best epoch, the weights of that epoch and how they do on validation."""

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    validation: Evaluation | None = None


def fit(
    model: nn.Module,
    train_data: FeatureDataset,
    val_data: FeatureDataset | None,
    task: Task,
    params: TrainParams,
    seed: int,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> FitResult:
    """Train `model` in place and choose an epoch: the one best on validation, or the last when `val_data` is None.

    Calls `on_epoch` after every epoch. Raises Resnet23Error when the loss is no longer a finite number.
    """
    training = _Training(model, train_data, task, params, seed)
    result = FitResult()
    with tqdm(total=params.epochs * len(train_data), unit="image", disable=None) as bar:
        for epoch in range(1, params.epochs + 1):
            record = training.train_epoch(epoch, val_data, bar)
            result.history.append(record)
            if val_data is None or _is_best(result.history):
                result.best_epoch = epoch
                result.state_dict = copy.deepcopy(training.plain_model.state_dict())
                result.validation = training.validation
            on_epoch(record)
    return result


@torch.no_grad()
def evaluate(model: nn.Module, data: FeatureDataset, task: Task, batch_size: int, device: torch.device) -> Evaluation:
    """Loss, accuracy and logits of `model` on the images of `data`, in fp32 and without augmentation."""
    logits = predict_logits(model, data, batch_size, device)
    targets = torch.from_numpy(data.targets)
    loss = task.loss(logits, targets, 0.0).mean().item()
    return Evaluation(loss, int(task.correct(logits, targets).sum()) / len(targets), logits, targets)


def augmented_batch(
    data: FeatureDataset, positions: np.ndarray, params: TrainParams, device: torch.device, seeds: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) in [0, 1] after the random changes drawn from `seeds` = (seed, epoch, step); targets (B,)."""
    images, targets = data.raw_batch(positions)
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]))
    images = augment(to_unit_range(images.to(device)), params.augment, data.mean, generator)
    return images, targets.to(device)


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


class _Training:
    """A training under way: the wrapped model, its optimizer and its schedule."""

    def __init__(self, model: nn.Module, data: FeatureDataset, task: Task, params: TrainParams, seed: int) -> None:
        device = choose_device(params.device)
        precision, reason = choose_precision(params.precision, device)
        logger.info(
            f"training on {device.type} in {precision} ({reason}): {len(data):,} images, {params.epochs} epochs"
        )
        self.accelerator: Accelerator = create_accelerator(device, precision)
        self.data, self.task, self.params, self.seed = data, task, params, seed
        self.batches = batch_slices(len(data), params.batch_size)
        model = model.to(device, memory_format=torch.channels_last)
        # Evaluated and saved: a twin that no precision, process or compilation wrapper has touched.
        self.plain_model = copy.deepcopy(model)
        optimizer = create_optimizer(model, params)
        self.schedule = create_schedule(optimizer, params, params.epochs * len(self.batches))
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.validation: Evaluation | None = None

    def train_epoch(self, epoch: int, val_data: FeatureDataset | None, bar: tqdm) -> EpochRecord:
        """One pass over the training images, then one over the validation images."""
        started, waited, loss_sum, correct = time.perf_counter(), 0.0, 0.0, 0
        self.model.train()
        order = epoch_order(len(self.data), self.seed, epoch)
        for step, batch in enumerate(self.batches):
            positions = order[batch]
            asked = time.perf_counter()
            seeds = (self.seed, epoch, step)
            images, targets = augmented_batch(self.data, positions, self.params, self.accelerator.device, seeds)
            waited += time.perf_counter() - asked
            learning_rate = self.schedule.get_last_lr()[0]
            batch_loss, batch_correct = self._step(images, targets)
            if not math.isfinite(batch_loss):
                raise Resnet23Error(_diverged(epoch, step, learning_rate))
            loss_sum, correct = loss_sum + batch_loss, correct + batch_correct
            bar.update(len(positions))
            bar.set_description(f"epoch {epoch}/{self.params.epochs}", refresh=False)
            bar.set_postfix(loss=f"{batch_loss / len(positions):.3f}", accuracy=f"{batch_correct / len(positions):.0%}")
        seconds = time.perf_counter() - started
        self._validate(val_data)
        count = len(self.data)
        val_loss, val_accuracy = (self.validation.loss, self.validation.accuracy) if self.validation else (None, None)
        return EpochRecord(
            epoch, loss_sum / count, correct / count, val_loss, val_accuracy, learning_rate,
            seconds, count / seconds, waited / seconds,
        )  # fmt: skip

    def _step(self, images: Tensor, targets: Tensor) -> tuple[float, int]:
        """One optimizer step; the summed loss and the number of correct images of the batch."""
        logits = self.model(normalize(images, self.data.mean, self.data.std))
        loss = self.task.loss(logits, targets, self.params.label_smoothing).sum()
        self.accelerator.backward(loss / len(targets))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        logits = logits.detach()
        plain_loss = self.task.loss(logits, targets, 0.0).sum()  # without smoothing, to compare with validation
        return plain_loss.item(), int(self.task.correct(logits, targets).sum())

    def _validate(self, val_data: FeatureDataset | None) -> None:
        """Bring the plain model up to date and evaluate it."""
        self.plain_model.load_state_dict(self.accelerator.get_state_dict(self.model))
        if val_data is not None:
            device = self.accelerator.device
            self.validation = evaluate(self.plain_model, val_data, self.task, self.params.batch_size, device)


def _is_best(history: list[EpochRecord]) -> bool:
    """Is the last epoch the best on validation so far? By accuracy, then by loss."""
    return max(history, key=lambda record: (record.val_accuracy, -record.val_loss)) is history[-1]


def _diverged(epoch: int, step: int, learning_rate: float) -> str:
    return (
        f"the loss is not a finite number at epoch {epoch}, step {step + 1}, learning rate {learning_rate:g}; "
        "try a lower train.learning_rate"
    )
