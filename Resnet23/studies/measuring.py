"""One training of a study, and what is measured of it whatever the analysis."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from loguru import logger
from torch import nn

from Resnet23.arrays import Features
from Resnet23.config import Params
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import Diverged
from Resnet23.history import EpochRecord
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.fit import fit
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.losses import Task, training_task
from Resnet23.modeling.new_network import new_network
from Resnet23.studies.outcomes import Measurement

ENGINE = "Resnet23.modeling.fit"
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")


@dataclass(frozen=True)
class Job:
    """What is to be trained: parameters with setting and seed applied, options of the analysis, images."""

    params: Params
    options: Any  # the pydantic model of the analysis
    features: Features
    on_epoch: Callable[[EpochRecord], None] = lambda record: None

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return choose_device(self.params.train.device)

    def images(self) -> tuple[FeatureDataset, FeatureDataset, FeatureDataset]:
        """The images to train on, to validate by and to test with, as the network takes them."""
        how, features = network_preprocessing(self.features, self.params), self.features
        rows = (features.train_indices, features.val_indices)
        train, val = (network_images(features.train, how, part) for part in rows)
        return train, val, network_images(features.test, how)

    def network(self) -> nn.Module:
        """The network as the training begins with it."""
        return new_network(self.features, self.params)

    def task(self) -> Task:
        """Loss and decision."""
        return training_task(self.features.task, self.params.train.loss, self.features.train.targets)


def train_network(job: Job, model: nn.Module) -> Measurement:
    """Train `model` in place, load the weights of its best epoch on validation, and measure it on every split.

    A training that diverges counts as guessing, and leaves `model` as it is then.
    """
    (train, val, test), task, params = job.images(), job.task(), job.params
    started = time.perf_counter()
    logger.disable(ENGINE)  # a line on the device for each of a hundred trainings
    try:
        result = fit(model, train, val, task, len(job.features.classes), params.train, params.seed, job.on_epoch)
    except Diverged:
        return _guessing(len(job.features.classes), time.perf_counter() - started)
    finally:
        logger.enable(ENGINE)
    seconds = time.perf_counter() - started
    model.load_state_dict(result.state_dict)
    size = params.predict.batch_size
    on_train, on_test = (evaluate(model, data, task, size, job.device) for data in (train, test))
    numbers = {
        "val_accuracy": result.validation.accuracy,
        "test_accuracy": on_test.accuracy,
        "train_accuracy": on_train.accuracy,
        "gap": on_train.accuracy - on_test.accuracy,
        "test_loss": on_test.loss,
        "best_epoch": result.best_epoch,
        "seconds": seconds,
        "diverged": 0,
    }
    return Measurement(numbers, {name: [getattr(row, name) for row in result.history] for name in CURVES})


def _guessing(classes: int, seconds: float) -> Measurement:
    chance = 1 / classes
    accuracies = dict.fromkeys(("val_accuracy", "test_accuracy", "train_accuracy"), chance)
    others = {"gap": 0.0, "test_loss": math.log(classes), "best_epoch": 0, "seconds": seconds, "diverged": 1}
    return Measurement(accuracies | others)
