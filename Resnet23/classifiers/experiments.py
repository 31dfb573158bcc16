"""Heads on the images of data/features, as a project's command or a benchmark trains them: multiclass and binary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from loguru import logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from Resnet23.arrays import INFO_FILE, Features
from Resnet23.classifiers.balance import positive_weights
from Resnet23.classifiers.binary_figures import BinaryFigures, best_threshold, binary_figures
from Resnet23.classifiers.encoders import Encoder, feature_count
from Resnet23.classifiers.feature_batches import open_batches
from Resnet23.classifiers.heads import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.objectives import Objective, binary_objective, multiclass_objective, one_vs_rest_objective
from Resnet23.classifiers.training import EpochWatcher, train_head, train_one_vs_rest_heads
from Resnet23.classifiers.utils import one_vs_rest
from Resnet23.classifiers.validation import HeadEvaluation, evaluate_features
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import Preprocessing

PartName = Literal["train", "val", "test"]
Answers = tuple[Tensor, Tensor]  # logits (N,) and targets (N,) of a binary question


@dataclass(frozen=True)
class HeadOptions:
    """How heads are trained; `class_weights` lets a class weigh as much as all others for its binary head."""

    epochs: int = 20
    learning_rate: float = 0.001
    class_weights: bool = False


@dataclass(frozen=True)
class EncodedProject:
    """The images of a project and the encoder that they are seen through.

    Raises InputError when there is nothing to train or validate on, or the images are labelled for another task.
    """

    encoder: Encoder
    features: Features
    device: torch.device
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        file = self.features.folder / INFO_FILE
        if self.features.task != "multiclass":
            raise InputError(f"{file}: task: found {self.features.task}, heads need multiclass")
        if not len(self.features.val_indices):
            raise InputError(
                f"{file}: no validation images; heads need some, to choose thresholds by: "
                "set features.val_fraction above 0, then run `make features`"
            )

    @property
    def classes(self) -> list[str]:
        """Their names; a label is a position in this list."""
        return self.features.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How the images come: as they are stored, normalised as the encoder says, or by their own statistics."""
        statistics = self.encoder.preprocessing or self.features
        return Preprocessing(
            self.features.image_size, self.features.resize, list(statistics.mean), list(statistics.std)
        )

    @cached_property
    def input_features(self) -> int:
        """How many features the encoder gives for an image."""
        data = self.dataset("train")
        images = torch.stack([data[index][0] for index in range(min(2, len(data)))])
        return feature_count(self.encoder.to(self.device), images.to(self.device))

    def require_images_of(self, targets: Iterable[int]) -> None:
        """Raise InputError when there is nothing to train, validate or test the head of one of these classes by."""
        counts = self.features.info["class_counts"]
        for target in targets:
            name = self.classes[target]
            lacking = next((part for part in ("train", "val", "test") if not counts[part].get(name)), None)
            if lacking:
                raise InputError(
                    f"{self.features.folder / INFO_FILE}: class {name} has no images in {lacking}; its head needs some "
                    "to train, to choose a threshold and to test by: more images, or a larger features.val_fraction"
                )

    def dataset(self, part: PartName, count: int | None = None) -> FeatureDataset:
        """The images of a part, all or `count` of them at equal distances."""
        split = self.features.test if part == "test" else self.features.train
        test_rows = np.arange(len(self.features.test))
        rows = {"train": self.features.train_indices, "val": self.features.val_indices, "test": test_rows}[part]
        if count is not None and count < len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
        return FeatureDataset(split.images, split.targets, self.preprocessing.mean, self.preprocessing.std, rows)

    def loader(self, part: PartName, count: int | None = None, target: int | None = None) -> DataLoader:
        """Batches of `dataset`; those to train on in random order. With a `target` its labels are 1.0, others 0.0."""
        data = self.dataset(part, count)
        order = torch.Generator().manual_seed(self.seed)
        chosen = data if target is None else one_vs_rest(data, target)
        return DataLoader(chosen, self.batch_size, shuffle=part == "train", generator=order)

    def evaluate(
        self, head: nn.Module, objective: Objective, part: PartName, target: int | None = None
    ) -> HeadEvaluation:
        """How a head does on the images of a part."""
        batches = open_batches(self.encoder, self.loader(part, target=target), self.device, self.input_features)
        return evaluate_features(head, objective, batches, self.device)


@dataclass(frozen=True)
class MulticlassResult:
    """A head that chooses one of all classes, and its answers to the test images."""

    head: nn.Sequential
    test: HeadEvaluation


@dataclass(frozen=True)
class BinaryResult:
    """A head for one class against the rest, and its figures on the test images.

    `threshold` is the probability from which it says yes, chosen on the validation images.
    """

    target: int
    head: nn.Sequential
    threshold: float
    fitted: BinaryFigures  # at that threshold
    plain: BinaryFigures  # at 0.5


def train_multiclass(
    project: EncodedProject, options: HeadOptions, on_epoch: EpochWatcher = logger.info
) -> MulticlassResult:
    """Train and test a head for all classes."""
    torch.manual_seed(project.seed)  # initial weights and dropout
    head = create_multiclass_classifier_head(project.input_features, num_classes=len(project.classes))
    objective = multiclass_objective()
    _train(project, head, objective, options, None, on_epoch)
    return MulticlassResult(head, project.evaluate(head, objective, "test"))


def train_binary(
    project: EncodedProject, options: HeadOptions, target: int, on_epoch: EpochWatcher = logger.info
) -> BinaryResult:
    """Train and test the head of one class against the rest."""
    torch.manual_seed(project.seed)
    head = create_binary_classifier_head(project.input_features)
    weight = _weights(project)[target] if options.class_weights else 1.0
    objective = binary_objective(weight)
    _train(project, head, objective, options, target, on_epoch)
    test, val = (project.evaluate(head, objective, part, target) for part in ("test", "val"))
    return _judge(target, head, (test.logits[:, 0], test.targets), (val.logits[:, 0], val.targets))


def train_all_binary(
    project: EncodedProject, options: HeadOptions, on_epoch: EpochWatcher = logger.info
) -> list[BinaryResult]:
    """Train and test the heads of all classes against their rest, in one pass."""
    torch.manual_seed(project.seed)
    classes = range(len(project.classes))
    stacked = train_one_vs_rest_heads(
        project.encoder,
        project.loader("train"),
        project.loader("val"),
        project.device,
        options.epochs,
        options.learning_rate,
        project.input_features,
        num_classes=len(classes),
        positive_weights=_weights(project) if options.class_weights else None,
        on_epoch=on_epoch,
    )
    test, val = (project.evaluate(stacked, one_vs_rest_objective(), part) for part in ("test", "val"))
    return [
        _judge(target, head, *((part.logits[:, target], part.targets == target) for part in (test, val)))
        for target, head in zip(classes, stacked.split(), strict=True)
    ]


def mean_figures(results: Sequence[BinaryResult]) -> dict[str, float]:
    """The figures of several binary heads, each averaged over the heads; shares from 0 to 1."""
    fitted, plain = ([getattr(result, name) for result in results] for name in ("fitted", "plain"))
    return {
        "mean_balanced_accuracy": float(np.mean([figures.balanced_accuracy for figures in fitted])),
        "mean_balanced_accuracy_at_0.5": float(np.mean([figures.balanced_accuracy for figures in plain])),
        "mean_auroc": float(np.mean([figures.auroc for figures in fitted])),
        "mean_average_precision": float(np.mean([figures.average_precision for figures in fitted])),
    }


def _train(
    project: EncodedProject,
    head: nn.Module,
    objective: Objective,
    options: HeadOptions,
    target: int | None,
    on_epoch: EpochWatcher,
) -> None:
    loaders = [project.loader(part, target=target) for part in ("train", "val")]
    limits = (options.epochs, options.learning_rate, project.input_features)
    train_head(project.encoder, head, objective, *loaders, project.device, *limits, on_epoch=on_epoch)


def _weights(project: EncodedProject) -> list[float]:
    return positive_weights(project.dataset("train").targets, len(project.classes))


def _judge(target: int, head: nn.Sequential, test: Answers, val: Answers) -> BinaryResult:
    """The result of a head, from its logits (N,) and the targets (N,) of both parts."""
    (targets, probabilities), known = ((truth.numpy() == 1, logits.sigmoid().numpy()) for logits, truth in (test, val))
    threshold = best_threshold(*known)
    plain, fitted = (binary_figures(targets, probabilities, value) for value in (0.5, threshold))
    return BinaryResult(target, head, threshold, fitted, plain)
