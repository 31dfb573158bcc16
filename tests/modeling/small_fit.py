"""Trainings of a fraction of a second, for the tests of the engine and its parts, and the loop that they equal."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.batches import batch_slices, epoch_order
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.selection import FitResult
from Resnet23.modeling.zoo import create_model

TASK = get_task("multiclass")
CPU = torch.device("cpu")


def params(**changes: Any) -> TrainParams:
    """Three epochs of 32 images a step at a constant rate; `changes` as they would stand in params.yaml."""
    defaults = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "device": "cpu", "precision": "fp32"}
    return TrainParams.model_validate(defaults | changes)


def small_net(seed: int = 0, dropout: float = 0.0, width: int = 4) -> nn.Module:
    """A residual network with BatchNorm for 3 classes."""
    torch.manual_seed(seed)
    return create_model("resnet10", num_classes=3, width=width, dropout=dropout, final_dropout=dropout)


def plain_net(seed: int = 0) -> nn.Module:
    """A network for images of 8 pixels and 3 classes in which no image touches another one: it has no BatchNorm."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def train(
    data: FeatureDataset,
    validation: FeatureDataset | None = None,
    model: nn.Module | None = None,
    seed: int = 0,
    **changes: Any,
) -> FitResult:
    """The engine, with `params(**changes)`."""
    return fit(model or small_net(), data, validation, TASK, 3, params(**changes), seed)


def plain_loop(
    model: nn.Module,
    data: FeatureDataset,
    optimizer: Optimizer,
    epochs: range,
    before_step: Callable[[], object] = lambda: None,
    after_step: Callable[[], object] = lambda: None,
    label_smoothing: float = 0.0,
) -> list[float]:
    """What the engine has to equal, in the lines that a tutorial has; the mean training loss of each epoch.

    Batches of 32 in the engine's order, no augmentation.
    """
    losses = []
    for epoch in epochs:
        order, total = epoch_order(len(data), 0, epoch), 0.0
        for batch in batch_slices(len(data), 32):
            images = torch.stack([data[position][0] for position in order[batch]])
            targets = torch.from_numpy(data.targets[order[batch]])
            logits = model(images.to(memory_format=torch.channels_last))
            optimizer.zero_grad()
            F.cross_entropy(logits, targets, label_smoothing=label_smoothing).backward()
            before_step()
            optimizer.step()
            after_step()
            total += F.cross_entropy(logits.detach(), targets, reduction="sum").item()
        losses.append(total / len(data))
    return losses


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """The same weights, but for rounding."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=10 * tolerance, atol=tolerance), name


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same weights, bit for bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
