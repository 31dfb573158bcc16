"""Optimizers and learning-rate schedules by name."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from Resnet23.config import TrainParams, suggest
from Resnet23.errors import InputError
from Resnet23.modeling.muon import Muon

ParameterGroups = list[dict[str, Any]]

# Each takes parameter groups that bring their own learning rate and weight decay.
OPTIMIZERS: dict[str, Callable[[ParameterGroups, TrainParams], Optimizer]] = {
    "sgd": lambda groups, params: SGD(
        groups, momentum=params.momentum, nesterov=params.nesterov and params.momentum > 0
    ),
    "adam": lambda groups, params: Adam(groups),
    "adamw": lambda groups, params: AdamW(groups),
    "rmsprop": lambda groups, params: RMSprop(groups, momentum=params.momentum),
    "muon": lambda groups, params: Muon(groups, momentum=params.momentum, nesterov=params.nesterov),
}

# Each takes the optimizer, the parameters, the optimizer steps in an epoch, and those that the schedule lasts.
SCHEDULES: dict[str, Callable[[Optimizer, TrainParams, int, int], LRScheduler]] = {
    "constant": lambda optimizer, params, per_epoch, steps: ConstantLR(optimizer, factor=1.0),
    "step": lambda optimizer, params, per_epoch, steps: StepLR(
        optimizer, step_size=_steps(params.step_epochs, per_epoch), gamma=params.step_factor
    ),
    "cosine": lambda optimizer, params, per_epoch, steps: CosineAnnealingLR(optimizer, T_max=steps),
    "cosine_restarts": lambda optimizer, params, per_epoch, steps: CosineAnnealingWarmRestarts(
        optimizer, T_0=_steps(params.restart_epochs, per_epoch)
    ),
    "one_cycle": lambda optimizer, params, per_epoch, steps: OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps, cycle_momentum=False
    ),
}


def check_names(params: TrainParams) -> None:
    """Raise InputError for an unknown optimizer or schedule, or for a warm-up that the schedule has no room for."""
    for key, name, known in (
        ("optimizer", params.optimizer, OPTIMIZERS),
        ("schedule", params.schedule, SCHEDULES),
    ):
        if name not in known:
            raise InputError(f"train.{key}: found {name!r}, which is no known {key}; {suggest(name, list(known))}")
    if params.warmup_epochs > 0 and params.schedule == "one_cycle":
        raise InputError(
            f"train.warmup_epochs: found {params.warmup_epochs:g} with the schedule one_cycle, which rises by itself; "
            "set it to 0 or choose another schedule"
        )
    shortest = min(phase.epochs or params.epochs for phase in params.phases)
    if params.warmup_epochs >= shortest:
        raise InputError(
            f"train.warmup_epochs: found {params.warmup_epochs:g}, expected less than the {shortest} epochs of the "
            "shortest phase, which each begin with a warm-up"
        )


def create_optimizer(
    stages: Sequence[Sequence[Parameter]], params: TrainParams, learning_rate: float, rate_decay: float
) -> Optimizer:
    """The optimizer named in `params` over the trainable parameters, stage by stage in forward order.

    The last stage learns at `learning_rate`, each one before it at `rate_decay` times the rate of the next (Howard
    and Ruder 2018, section 3.2). Raises InputError for an unknown name.
    """
    check_names(params)
    return OPTIMIZERS[params.optimizer](
        _parameter_groups(stages, params.weight_decay, learning_rate, rate_decay), params
    )


def create_schedule(optimizer: Optimizer, params: TrainParams, steps_per_epoch: int, total_steps: int) -> LRScheduler:
    """The schedule named in `params`, to be stepped once after each of `total_steps` optimizer steps.

    With `warmup_epochs`, the rate first rises in equal parts, W of them, from 1 / (W + 1) of it to all of it; the main
    schedule has the remaining steps. Create it before loading a saved state into the optimizer, whose rates it sets,
    and before Accelerate wraps the optimizer, whose steps it watches. Raises InputError for an unknown name.
    """
    check_names(params)
    # A phase of very few steps keeps at least one for the main schedule.
    warmup_steps = min(round(params.warmup_epochs * steps_per_epoch), total_steps - 1)
    warmup = LinearLR(optimizer, 1 / (warmup_steps + 1), total_iters=warmup_steps) if warmup_steps else None
    main = SCHEDULES[params.schedule](optimizer, params, steps_per_epoch, total_steps - warmup_steps)
    return SequentialLR(optimizer, [warmup, main], [warmup_steps]) if warmup else main


def _parameter_groups(
    stages: Sequence[Sequence[Parameter]], weight_decay: float, learning_rate: float, rate_decay: float
) -> ParameterGroups:
    """Weights (two dimensions or more) with weight decay; biases and BatchNorm's scales without.

    Decaying the latter only shrinks activations that normalisation scales back (Goyal et al. 2017, section 5.3).
    """
    if rate_decay == 1:
        stages = [list(chain.from_iterable(stages))]
    groups = []
    for depth, stage in enumerate(stages):
        rate = learning_rate * rate_decay ** (len(stages) - 1 - depth)
        weights = [parameter for parameter in stage if parameter.ndim >= 2]
        others = [parameter for parameter in stage if parameter.ndim < 2]
        groups += [
            {"params": weights, "lr": rate, "weight_decay": weight_decay},
            {"params": others, "lr": rate, "weight_decay": 0.0},
        ]
    return [group for group in groups if group["params"]]


def _steps(epochs: float, steps_per_epoch: int) -> int:
    """A time in epochs as a number of optimizer steps, at least one."""
    return max(1, round(epochs * steps_per_epoch))
