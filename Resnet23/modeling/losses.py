"""What a task means: its loss, its activation and its decision, chosen together so that they cannot disagree."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from Resnet23.config import suggest
from Resnet23.errors import InputError

FOCUS = 2.0  # gamma of the focal loss, as published; torchvision's function for labels has the same
NEGATIVE_FOCUS = 4.0  # gamma- of the asymmetric loss as published; gamma+ is 0
PROBABILITY_MARGIN = 0.05  # of the asymmetric loss: absent labels below this probability cost nothing

LossFunction = Callable[[Tensor, Tensor, float], Tensor]  # (logits, targets, label_smoothing) -> (N,)


@dataclass(frozen=True)
class Task:
    """A row of the table of tasks.

    `loss` gives one value for each image: (logits, targets, label_smoothing) -> (N,). The one in the table is the
    likelihood's, which also calibrates; a training may have another one, see `training_task`.
    `activation` turns logits into probabilities: (N, C) -> (N, C).
    `correct` says which images are right: (logits, targets) -> (N,) bool.
    `soft_targets` gives each class its share, as MixUp and CutMix need: (targets, C) -> (N, C) float. Loss and decision
    take such targets as well.
    """

    loss: LossFunction
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


def _softmax_focal(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy in which a class counts less the surer the network is of it already.

    Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 4, with a softmax.
    """
    classes = logits.shape[1]
    shares = _one_hot(targets, classes) if targets.ndim == 1 else targets
    shares = shares.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
    log_probabilities = logits.log_softmax(dim=1)
    return -(shares * (1 - log_probabilities.exp()) ** FOCUS * log_probabilities).sum(dim=1)


def _smoothed(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Targets (N, C) as the logits' type, each answer moved towards one half."""
    return targets.to(logits.dtype) * (1 - label_smoothing) + 0.5 * label_smoothing


def _binary_cross_entropy(
    logits: Tensor, targets: Tensor, label_smoothing: float, positive_weights: Tensor | None = None
) -> Tensor:
    """The mean over the classes, each of which is a question of its own; a yes counts `positive_weights` (C,) times.

    What is weighted are the images with a yes, before the smoothing, which moves the answers of both kinds alike. Of a
    mixture with the share t of yes, t * weight + (1 - t) counts, and t * weight of that is the yes.
    """
    shares, counts = targets, None
    if positive_weights is not None:
        present = targets.to(logits.dtype) * positive_weights.to(logits, non_blocking=True)
        counts = present + (1 - targets.to(logits.dtype))
        shares = present / counts
    smoothed = _smoothed(logits, shares, label_smoothing)
    return F.binary_cross_entropy_with_logits(logits, smoothed, weight=counts, reduction="none").mean(dim=1)


def _sigmoid_focal(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Lin et al. (2017), equation 5: the same for labels, with a quarter of the weight on those that are present."""
    return sigmoid_focal_loss(logits, _smoothed(logits, targets, label_smoothing)).mean(dim=1)


def _asymmetric(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy for present labels; for absent ones, which are many, it counts those the network takes for present.

    Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021), equation 7.
    """
    smoothed = _smoothed(logits, targets, label_smoothing)
    shifted = (logits.sigmoid() - PROBABILITY_MARGIN).clamp(min=0)
    absent = shifted**NEGATIVE_FOCUS * (1 - shifted).log()
    return -(smoothed * F.logsigmoid(logits) + (1 - smoothed) * absent).mean(dim=1)


def positive_weights(targets: np.ndarray) -> Tensor:
    """How often each label must count so that the images with it weigh as much as those without, (C,).

    `targets` (N, C) of 0 and 1. A label that no image or every image has is left at 1.
    """
    present = targets.sum(axis=0, dtype=np.int64)
    absent = len(targets) - present
    ratios = np.divide(absent, present, out=np.ones(len(present)), where=(present > 0) & (absent > 0))
    return torch.from_numpy(ratios)


def _weighted_binary_cross_entropy(targets: np.ndarray) -> LossFunction:
    weights = positive_weights(targets)
    return lambda logits, answers, smoothing: _binary_cross_entropy(logits, answers, smoothing, weights)


def _all_classes_right(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits > 0) == (targets > 0.5)).all(dim=1)


TASKS: dict[str, Task] = {
    # One class for each image: targets (N,) int64.
    "multiclass": Task(_cross_entropy, _softmax, _is_highest, _one_hot),
    # Any number of classes for each image: targets (N, C) of 0 and 1.
    "multilabel": Task(_binary_cross_entropy, torch.sigmoid, _all_classes_right, lambda targets, _: targets.float()),
}

# The losses that can train each task, made from the training targets, (N,) or (N, C).
LOSSES: dict[str, dict[str, Callable[[np.ndarray], LossFunction]]] = {
    "multiclass": {"cross_entropy": lambda _: _cross_entropy, "focal": lambda _: _softmax_focal},
    "multilabel": {
        "bce": lambda _: _binary_cross_entropy,
        "weighted_bce": _weighted_binary_cross_entropy,
        "focal": lambda _: _sigmoid_focal,
        "asymmetric": lambda _: _asymmetric,
    },
}


def get_task(name: str) -> Task:
    """The row of a task. Raises InputError for an unknown name."""
    if name not in TASKS:
        raise InputError(f"train.task: found {name!r}, which is no known task; {suggest(name, list(TASKS))}")
    return TASKS[name]


def training_task(name: str, loss: str | None, targets: np.ndarray) -> Task:
    """The row of a task with the loss that `train.loss` names; its own where that is None.

    `targets` are those of the training images, (N,) or (N, C). Raises InputError for an unknown task, and for a loss
    that is unknown or trains another task.
    """
    task = get_task(name)
    if loss is None:
        return task
    check_loss(loss, name)
    return replace(task, loss=LOSSES[name][loss](targets))


def check_loss(loss: str | None, task: str | None = None) -> None:
    """Raise InputError when `train.loss` is neither None nor a loss, of `task` where that is given."""
    known = dict.fromkeys(name for losses in LOSSES.values() for name in losses)
    if loss is not None and loss not in known:
        raise InputError(f"train.loss: found {loss!r}, which is no known loss; {suggest(loss, list(known))}")
    if loss is not None and task is not None and loss not in LOSSES[task]:
        raise InputError(
            f"train.loss: found {loss}, which does not train {task}; expected null or {', '.join(LOSSES[task])}"
        )


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
