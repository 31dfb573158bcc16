"""What `loop` compares: the training engine, a bare optimizer step, and a plain loop as in a textbook.

All train the same network with the same optimizer on batches of the same size; `run` trains for one stretch and gives
the seconds it took.
"""

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from loguru import logger
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.images import Images, dataset
from Resnet23.config import Params
from Resnet23.modeling.batches import BatchSource
from Resnet23.modeling.device import choose_device, choose_precision, uses_compilation
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.fit import Training
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.optim import create_optimizer
from Resnet23.modeling.resume import ResumeFile
from Resnet23.modeling.stages import freeze
from Resnet23.modeling.zoo import create_model
from Resnet23.tracking import Tracker

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Stretch:
    """What one arm trains on between two looks at the clock: `epochs` times the `rows` of the training images."""

    images: Images
    params: Params
    rows: np.ndarray  # whole batches
    epochs: int

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.epochs * len(self.rows) // self.params.train.batch_size

    @property
    def count(self) -> int:
        """Images that are trained on, counted once for each epoch."""
        return self.epochs * len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where all arms compute."""
        return choose_device(self.params.train.device)

    def create_model(self) -> nn.Module:
        """The network of the parameters, with the same initial weights in every arm."""
        torch.manual_seed(self.params.seed)
        return create_model(num_classes=len(self.images.features.classes), **self.params.model.model_dump())


class TimedResumeFile(ResumeFile):
    """Knows the seconds that the last save took."""

    seconds = 0.0

    def save(self, state: dict[str, Any]) -> None:
        """Save as ever, by the clock."""
        started = time.perf_counter()
        super().save(state)
        self.seconds = time.perf_counter() - started


class Engine:
    """The project's training: augmentation, metrics, tracking, and the state saved once in each stretch.

    Saving is charged at the rate of the parameters, once in `checkpoint_minutes`: a stretch is far shorter than that.
    Validation is timed by itself. The weights of every epoch are kept as if it were the best.
    """

    def __init__(self, stretch: Stretch, tracker: Tracker, resume: TimedResumeFile) -> None:
        self.stretch, self.tracker, self.resume = stretch, tracker, resume
        features, params = stretch.images.features, stretch.params
        self.task, classes = get_task(features.task), len(features.classes)
        data = dataset(features, stretch.rows)
        model = stretch.create_model()
        self.training = Training(model, data, None, self.task, classes, params.train, params.seed, resume)
        self.bar = self.training.progress_bar()
        self.saving: list[float] = []  # seconds of each save
        self.validation: list[float] = []  # images per second

    def run(self) -> float:
        """Train as `fit` does, tell the tracker after every epoch, and give the seconds."""
        started = time.perf_counter()
        for _ in range(self.stretch.epochs):
            self.training.train_epoch(self.bar)
            record = self.training.end_epoch()
            logger.debug(f"epoch {record.epoch}: training loss {record.train_loss:.3f}")
            metrics = {name: value for name, value in asdict(record).items() if value is not None}
            self.tracker.log_metrics(metrics, step=record.epoch)
        seconds = _seconds_since(started, self.stretch.device)
        self.saving.append(self.resume.seconds)
        self._validate()
        between_saves = 60 * self.stretch.params.train.checkpoint_minutes
        return (seconds - self.resume.seconds) * (1 + self.resume.seconds / between_saves)

    def _validate(self) -> None:
        """Evaluate as many validation images as go with a stretch of training, if there are any."""
        features = self.stretch.images.features
        count = round(self.stretch.count * len(features.val_indices) / len(features.train_indices))
        if not count:
            return
        data = dataset(features, np.resize(features.val_indices, count))
        network, size = self.training.average.module, self.stretch.params.train.batch_size
        started = time.perf_counter()
        evaluate(network, data, self.task, size, self.stretch.device)
        self.validation.append(count / _seconds_since(started, self.stretch.device))


class Step:
    """Forward, backward and optimizer step on a batch, and nothing else.

    In the engine's precision, memory order and compilation, or when `textbook` in fp32 without any of it.
    """

    def __init__(self, stretch: Stretch, textbook: bool = False) -> None:
        params, self.device = stretch.params.train, stretch.device
        precision = "fp32" if textbook else choose_precision(params.precision, self.device)[0]
        self.autocast = partial(
            torch.autocast, self.device.type, AUTOCAST_TYPES.get(precision), enabled=precision != "fp32"
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.order = torch.channels_last if params.channels_last and not textbook else torch.contiguous_format
        self.model = stretch.create_model().to(self.device, memory_format=self.order)
        if uses_compilation(params, self.device) and not textbook:
            self.model.compile()
        self.optimizer: Optimizer = create_optimizer(freeze(self.model, "all"), params, params.learning_rate, 1.0)
        self.task, self.label_smoothing = get_task(stretch.images.features.task), params.label_smoothing

    def place(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """A batch on the device, in the network's memory order."""
        return images.to(self.device, memory_format=self.order), targets.to(self.device)

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Learn from a batch and give its mean loss."""
        with self.autocast():
            logits = self.model(images)
        loss = self.task.loss(logits.float(), targets, self.label_smoothing).mean()
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


class Bare:
    """The optimizer step again and again on one batch in memory: as fast as the network itself can go."""

    def __init__(self, stretch: Stretch) -> None:
        self.stretch, self.step = stretch, Step(stretch)
        features, params = stretch.images.features, stretch.params
        data = dataset(features, stretch.rows)
        source = BatchSource(
            data, get_task(features.task), len(features.classes), params.train, params.seed, stretch.device
        )
        batch = next(source.epoch(1))
        self.batch = self.step.place(batch.inputs, batch.targets)

    def run(self) -> float:
        """Take the steps of a stretch and give the seconds."""
        started = time.perf_counter()
        for _ in range(self.stretch.steps):
            self.step(*self.batch)
        return _seconds_since(started, self.stretch.device)


class Plain:
    """A loop over PNG files as textbooks have it: torchvision's ImageFolder, PIL transforms, a DataLoader, loss.item().

    Its workers live on from one stretch to the next, so that starting them costs it nothing here.
    """

    def __init__(self, stretch: Stretch, workers: int, textbook: bool) -> None:
        self.stretch, self.step = stretch, Step(stretch, textbook)
        self.loader = DataLoader(
            plain_dataset(stretch),
            batch_size=stretch.params.train.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=stretch.device.type == "cuda",
        )

    def run(self) -> float:
        """Train for a stretch and give the seconds."""
        started = time.perf_counter()
        for _ in range(self.stretch.epochs):
            running_loss = 0.0
            for images, targets in self.loader:
                running_loss += self.step(*self.step.place(images, targets)).item()
            logger.debug(f"training loss {running_loss / len(self.loader):.3f}")
        return _seconds_since(started, self.stretch.device)


def plain_dataset(stretch: Stretch) -> Subset:
    """The images of the stretch as PNG files, changed one by one: crop, flip and cutout as the engine's parameters say.

    The erased rectangle has the area of the engine's square and the mean colour, which is 0 once normalised.
    """
    features, changes = stretch.images.features, stretch.params.train.augment
    side, padding = features.image_size, {"reflect": "reflect", "zero": "constant"}[changes.crop_mode]
    steps: list[Any] = []
    if changes.crop_padding:
        steps.append(transforms.RandomCrop(side, padding=changes.crop_padding, padding_mode=padding))
    if changes.flip != "none":
        steps.append(transforms.RandomHorizontalFlip())
    steps += [transforms.ToTensor(), transforms.Normalize(features.mean, features.std)]
    if changes.cutout:
        area = (changes.cutout / side) ** 2
        steps.append(transforms.RandomErasing(p=1.0, scale=(area, area), ratio=(1.0, 1.0)))
    folder = ImageFolder(str(stretch.images.processed / "train"), transforms.Compose(steps))
    positions = {path: position for position, (path, _) in enumerate(folder.samples)}
    files = [str(stretch.images.processed / features.train.files[row]) for row in stretch.rows]
    return Subset(folder, [positions[file] for file in files])


def _seconds_since(started: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
