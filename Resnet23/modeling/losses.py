"""What a task means: its loss, its activation and its decision, chosen together so that they cannot disagree."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from Resnet23.config import suggest
from Resnet23.errors import InputError


@dataclass(frozen=True)
class Task:
    """A row of the table of tasks.

    `loss` gives one value for each image: (logits, targets, label_smoothing) -> (N,).
    `activation` turns logits into probabilities: (N, C) -> (N, C).
    `correct` says which images are right: (logits, targets) -> (N,) bool.
    `soft_targets` gives each class its share, as MixUp and CutMix need: (targets, C) -> (N, C) float. Loss and decision
    take such targets as well.
    """

    loss: Callable[[Tensor, Tensor, float], Tensor]
    activation: Callable[[Tensor], Tensor]
    correct: Callable[[Tensor, Tensor], Tensor]
    soft_targets: Callable[[Tensor, int], Tensor]


def _cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def _is_highest(logits: Tensor, targets: Tensor) -> Tensor:
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return logits.argmax(dim=1) == labels


def _one_hot(targets: Tensor, classes: int) -> Tensor:
    return F.one_hot(targets, classes).float()


def _binary_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """The mean over the classes, each of which is a question of its own; smoothing moves answers towards one half."""
    smoothed = targets.to(logits.dtype) * (1 - label_smoothing) + 0.5 * label_smoothing
    return F.binary_cross_entropy_with_logits(logits, smoothed, reduction="none").mean(dim=1)


def _all_classes_right(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits > 0) == (targets > 0.5)).all(dim=1)


TASKS: dict[str, Task] = {
    # One class for each image: targets (N,) int64.
    "multiclass": Task(_cross_entropy, _softmax, _is_highest, _one_hot),
    # Any number of classes for each image: targets (N, C) of 0 and 1.
    "multilabel": Task(_binary_cross_entropy, torch.sigmoid, _all_classes_right, lambda targets, _: targets.float()),
}


def get_task(name: str) -> Task:
    """The row of a task. Raises InputError for an unknown name."""
    if name not in TASKS:
        raise InputError(f"train.task: found {name!r}, which is no known task; {suggest(name, list(TASKS))}")
    return TASKS[name]


def fit_temperature(task: Task, logits: Tensor, targets: Tensor) -> float:
    """The divisor of the logits that gives the lowest loss on these (validation) images; above 0.

    Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks" (2017). The decision stays the same,
    the confidence becomes honest. logits (N, C), targets (N,) or (N, C).
    """
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(logits / log_temperature.exp(), targets, 0.0).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    # A net that is right on every validation image would drive the temperature to zero: keep it in a sane range.
    return float(log_temperature.detach().clamp(-3.0, 3.0).exp())
