"""What a head learns: how labels are read, the loss of its logits, and which answers are right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Resnet23.errors import InputError


@dataclass(frozen=True)
class Objective:
    """Loss and decision that belong together, for logits (N, K).

    `targets` checks the labels of a batch and converts them: (labels (N,), K) -> (N,); raises InputError.
    `loss` is the mean over the images: (logits, targets) -> ().
    `correct` is the share of right answers for each image: (logits, targets) -> (N,), 0 or 1 where there is one answer.
    """

    targets: Callable[[Tensor, int], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    correct: Callable[[Tensor, Tensor], Tensor]


def binary_objective(positive_weight: float = 1.0) -> Objective:
    """One yes-or-no question: labels 0 or 1, logits (N, 1); images of label 1 count `positive_weight` times."""
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(positive_weight))

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return criterion.to(logits.device)(logits.squeeze(1), targets)

    return Objective(
        _zeros_and_ones, loss, lambda logits, targets: ((logits.squeeze(1) > 0) == (targets > 0.5)).float()
    )


def multiclass_objective() -> Objective:
    """One class of several: labels 0 to K - 1, logits (N, K)."""
    return Objective(
        _class_numbers,
        nn.CrossEntropyLoss(),
        lambda logits, targets: (logits.argmax(dim=1) == targets).float(),
    )


def one_vs_rest_objective(positive_weights: Sequence[float] | None = None) -> Objective:
    """K questions at once, one for each class: labels 0 to K - 1, logits (N, K).

    The loss is the sum of the K losses, so that each head gets the gradient that it would get alone. Images of class k
    count `positive_weights[k]` times for the head of that class.
    """
    criterion = nn.BCEWithLogitsLoss(
        reduction="none", pos_weight=None if positive_weights is None else torch.tensor(positive_weights)
    )

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        answers = F.one_hot(targets, logits.shape[1]).float()
        return criterion.to(logits.device)(logits, answers).mean(dim=0).sum()

    def correct(logits: Tensor, targets: Tensor) -> Tensor:
        return ((logits > 0) == F.one_hot(targets, logits.shape[1]).bool()).float().mean(dim=1)

    return Objective(_class_numbers, loss, correct)


def _zeros_and_ones(labels: Tensor, outputs: int) -> Tensor:
    """Labels (N,) of any type as float32."""
    if outputs != 1:
        raise InputError(f"the head gives {outputs} logits for each image, expected 1 for a binary question")
    if labels.ndim != 1 or not ((labels == 0) | (labels == 1)).all():
        raise InputError(
            f"labels: found {_described(labels)}, expected one 0 or 1 for each image; "
            "one_vs_rest(dataset, target_class) makes them"
        )
    return labels.float()


def _class_numbers(labels: Tensor, outputs: int) -> Tensor:
    """Labels (N,) as int64."""
    if labels.ndim != 1 or labels.is_floating_point() or not ((labels >= 0) & (labels < outputs)).all():
        raise InputError(
            f"labels: found {_described(labels)}, expected one whole number from 0 to {outputs - 1} for each image; "
            "num_classes says how many classes there are"
        )
    return labels.long()


def _described(labels: Tensor) -> str:
    kind = f"{str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}"
    return f"{kind} from {labels.min().item():g} to {labels.max().item():g}" if labels.numel() else kind
