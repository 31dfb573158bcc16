"""Training heads on a frozen encoder: binary, multiclass, and one against the rest for every class in one pass."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from loguru import logger
from torch import nn
from torch.optim import Adam, Optimizer
from tqdm import tqdm, trange

from Resnet23.classifiers.encoders import place_encoder
from Resnet23.classifiers.feature_batches import FeatureBatches, Loader, open_batches
from Resnet23.classifiers.heads import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.objectives import Objective, binary_objective, multiclass_objective, one_vs_rest_objective
from Resnet23.classifiers.stacked import StackedHeads
from Resnet23.classifiers.validation import evaluate_features
from Resnet23.errors import Diverged, InputError
from Resnet23.modeling.checkpoint import Checkpoint


@dataclass(frozen=True)
class HeadEpoch:
    """An epoch of a head, counted from 1: mean losses, and accuracy on the validation images in percent."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: training loss {self.train_loss:.4f}, validation loss {self.val_loss:.4f}, "
            f"accuracy {self.val_accuracy:.2f}%"
        )


EpochWatcher = Callable[[HeadEpoch], None]
AnyHead = TypeVar("AnyHead", bound=nn.Module)


def train_binary_classifier(
    model: nn.Module | Checkpoint | str | Path,
    train_loader: Loader,
    val_loader: Loader,
    device: torch.device | str,
    num_epochs: int = 10,
    learning_rate: float = 0.001,
    input_features: int = 512,
    hidden_features: int = 256,
    dropout_rate: float = 0.1,
) -> nn.Sequential:
    """Train a head with one logit on batches (images, labels 0 or 1) and return it in evaluation mode.

    `model` gives features (N, input_features): any module, a checkpoint of this project, or what `load_encoder` takes.
    It is moved to the device, frozen and left in evaluation mode; its weights and statistics stay as they are. Each
    image is encoded once, see `open_batches`. The head of the last epoch is returned.

    Raises InputError when encoder, `input_features` and labels do not fit together, and Diverged when the loss is no
    longer a finite number.
    """
    head = create_binary_classifier_head(input_features, hidden_features, dropout_rate)
    loaders = (train_loader, val_loader)
    return train_head(model, head, binary_objective(), *loaders, device, num_epochs, learning_rate, input_features)


def train_multiclass_classifier(
    model: nn.Module | Checkpoint | str | Path,
    train_loader: Loader,
    val_loader: Loader,
    device: torch.device | str,
    num_epochs: int = 10,
    learning_rate: float = 0.001,
    input_features: int = 512,
    hidden_features: int = 256,
    dropout_rate: float = 0.1,
    num_classes: int = 10,
) -> nn.Sequential:
    """Train a head with `num_classes` logits on batches (images, labels 0 to num_classes - 1) and return it.

    For the rest see `train_binary_classifier`.
    """
    head = create_multiclass_classifier_head(input_features, hidden_features, dropout_rate, num_classes)
    loaders = (train_loader, val_loader)
    return train_head(model, head, multiclass_objective(), *loaders, device, num_epochs, learning_rate, input_features)


def train_one_vs_rest_heads(
    model: nn.Module | Checkpoint | str | Path,
    train_loader: Loader,
    val_loader: Loader,
    device: torch.device | str,
    num_epochs: int = 10,
    learning_rate: float = 0.001,
    input_features: int = 512,
    hidden_features: int = 256,
    dropout_rate: float = 0.1,
    num_classes: int = 10,
    positive_weights: Sequence[float] | None = None,
    on_epoch: EpochWatcher = logger.info,
) -> StackedHeads:
    """Train a binary head for every class in one pass over batches (images, labels 0 to num_classes - 1).

    Images of class k count `positive_weights[k]` times for its head. The losses of an epoch are sums over the heads,
    the accuracy is their mean. `.split()` of the result gives the single heads. For the rest see
    `train_binary_classifier`.
    """
    heads = [create_binary_classifier_head(input_features, hidden_features, dropout_rate) for _ in range(num_classes)]
    objective = one_vs_rest_objective(positive_weights)
    args = (train_loader, val_loader, device, num_epochs, learning_rate, input_features)
    return train_head(model, StackedHeads(heads), objective, *args, on_epoch=on_epoch)


def train_head(
    model: nn.Module | Checkpoint | str | Path,
    head: AnyHead,
    objective: Objective,
    train_loader: Loader,
    val_loader: Loader,
    device: torch.device | str,
    num_epochs: int,
    learning_rate: float,
    input_features: int,
    on_epoch: EpochWatcher = logger.info,
    views: int = 1,
) -> AnyHead:
    """Train any head in place, by any objective, with Adam; `on_epoch` is called after each epoch.

    With `views` above 1 that many readings of a randomly changing data set are encoded, and take turns. For classes of
    very different size see `binary_objective(positive_weight)` and `balanced_sampler`.
    """
    if num_epochs < 1 or not 0 < learning_rate < math.inf:
        raise InputError(
            f"found num_epochs {num_epochs} and learning_rate {learning_rate:g}, expected at least 1 and more than 0"
        )
    encoder, device = place_encoder(model, device)
    train_batches = open_batches(encoder, train_loader, device, input_features, views)
    val_batches = open_batches(encoder, val_loader, device, input_features)
    head.to(device)
    optimizer = Adam(head.parameters(), lr=learning_rate, fused=True)
    with trange(1, num_epochs + 1, desc="epochs", unit="epoch", disable=None) as bar:
        for epoch in bar:
            train_loss, step = _train_epoch(head, objective, train_batches, optimizer, device)
            validation = evaluate_features(head, objective, val_batches, device)
            if not math.isfinite(train_loss) or not math.isfinite(validation.loss):
                raise Diverged(
                    f"the loss is not a finite number in epoch {epoch}, step {step}, learning rate {learning_rate:g}; "
                    f"try a lower one, and see that the features of the encoder {encoder.name} are finite"
                )
            bar.set_postfix(accuracy=f"{validation.accuracy:.1f}%", refresh=False)
            on_epoch(HeadEpoch(epoch, train_loss, validation.loss, validation.accuracy))
    return head.eval()


def _train_epoch(
    head: nn.Module, objective: Objective, batches: FeatureBatches, optimizer: Optimizer, device: torch.device
) -> tuple[float, int]:
    """One pass over the batches; the mean loss of an image, each batch before its step, and the number of a step.

    That is the first one whose loss is not a finite number, else the last one.
    """
    head.train()
    total, count, losses = torch.zeros((), device=device), 0, []
    for features, labels in tqdm(batches, desc="train", unit="batch", leave=False, disable=None):
        logits = head(features.to(device))
        targets = objective.targets(labels.cpu(), logits.shape[1]).to(device)
        loss = objective.loss(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        total += losses[-1] * len(targets)
        count += len(targets)
    if not count:
        raise InputError("the loader gives no batches; expected images to train on")
    finite = torch.stack(losses).isfinite().tolist()  # on a GPU only now, as looking makes it wait
    return total.item() / count, finite.index(False) + 1 if False in finite else len(finite)
