"""Optimizers and learning-rate schedules by name."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from Resnet23.config import TrainParams, suggest
from Resnet23.errors import InputError

ParameterGroups = list[dict[str, Any]]

OPTIMIZERS: dict[str, Callable[[ParameterGroups, TrainParams], Optimizer]] = {
    "sgd": lambda groups, params: SGD(
        groups, lr=params.learning_rate, momentum=params.momentum, nesterov=params.momentum > 0
    ),
    "adam": lambda groups, params: Adam(groups, lr=params.learning_rate),
    "adamw": lambda groups, params: AdamW(groups, lr=params.learning_rate),
}

# Each takes the optimizer and the number of optimizer steps in the whole training; it is stepped after every one.
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    "constant": lambda optimizer, steps: ConstantLR(optimizer, factor=1.0),
    "cosine": lambda optimizer, steps: CosineAnnealingLR(optimizer, T_max=steps),
    "one_cycle": lambda optimizer, steps: OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps, cycle_momentum=False
    ),
}


def check_names(params: TrainParams) -> None:
    """Raise InputError, with the nearest or all known names, for an unknown optimizer or schedule."""
    for key, name, known in (
        ("optimizer", params.optimizer, OPTIMIZERS),
        ("schedule", params.schedule, SCHEDULES),
    ):
        if name not in known:
            raise InputError(f"train.{key}: found {name!r}, which is no known {key}; {suggest(name, list(known))}")


def parameter_groups(model: nn.Module, weight_decay: float) -> ParameterGroups:
    """Weights (two dimensions or more) with weight decay; biases and BatchNorm's scales without.

    Decaying the latter only shrinks activations that normalisation scales back (Goyal et al. 2017, section 5.3).
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def create_optimizer(model: nn.Module, params: TrainParams) -> Optimizer:
    """The optimizer named in `params` over the trainable parameters of `model`."""
    check_names(params)
    return OPTIMIZERS[params.optimizer](parameter_groups(model, params.weight_decay), params)


def create_schedule(optimizer: Optimizer, params: TrainParams, total_steps: int) -> LRScheduler:
    """The schedule named in `params`, to be stepped once after each of `total_steps` optimizer steps."""
    check_names(params)
    return SCHEDULES[params.schedule](optimizer, total_steps)
