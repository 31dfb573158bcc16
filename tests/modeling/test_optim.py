"""Optimizers and schedules by name, against PyTorch's own; what they save is what they resume from."""

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from Resnet23.config import PhaseParams, TrainParams
from Resnet23.errors import InputError
from Resnet23.modeling.optim import OPTIMIZERS, SCHEDULES, check_names, create_optimizer, create_schedule
from Resnet23.modeling.stages import freeze
from Resnet23.modeling.zoo import create_model

pytestmark = pytest.mark.filterwarnings("error")
RATE, DECAY = 0.1, 0.01
STEPS, STEPS_PER_EPOCH = 40, 8

REFERENCES: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY),
    "adam": lambda weights: torch.optim.Adam(weights, lr=RATE, weight_decay=DECAY),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=RATE, momentum=0.9, weight_decay=DECAY),
    "muon": lambda weights: torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY),  # convolutions: test_muon.py
}
WITH_WARMUP = [(name, warmup) for name in SCHEDULES for warmup in (0.0, 0.5) if (name, warmup) != ("one_cycle", 0.5)]


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(5, 3)
    )


def train(model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, steps: range) -> list[float]:
    """Optimizer steps on data that depends on the step alone; the learning rate at each."""
    rates = []
    for step in steps:
        images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(images).square().sum().backward()
        rates.append(optimizer.param_groups[-1]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def create(model: nn.Module, params: TrainParams, total_steps: int = STEPS) -> tuple[Optimizer, LRScheduler]:
    optimizer = create_optimizer(freeze(model, "all"), params, params.learning_rate, rate_decay=0.5)
    return optimizer, create_schedule(optimizer, params, STEPS_PER_EPOCH, total_steps)


def saved_and_loaded(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_equal_those_of_torch(name):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    params = TrainParams(optimizer=name, weight_decay=DECAY)
    optimizers = create_optimizer([[ours.weight]], params, RATE, 1.0), REFERENCES[name]([theirs.weight])
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "expected"), [(0.9, True, True), (0.9, False, False), (0, True, False)]
)
def test_nesterov_needs_momentum(momentum, nesterov, expected):
    params = TrainParams(optimizer="sgd", momentum=float(momentum), nesterov=nesterov)
    optimizer = create_optimizer([[nn.Parameter(torch.zeros(2, 2))]], params, RATE, 1.0)
    assert optimizer.param_groups[0]["nesterov"] is expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_spares_biases_and_batchnorm(name):
    model = create_model("resnet10", num_classes=3, width=4)
    params = TrainParams(optimizer=name, weight_decay=0.1)
    decayed, spared = create_optimizer(freeze(model, "all"), params, RATE, 1.0).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def test_each_stage_learns_at_the_rate_of_the_next_times_the_decay():
    model = create_model("resnet10", num_classes=3, width=4)
    stages = freeze(model, "from:stages.1")
    optimizer = create_optimizer(stages, TrainParams(), RATE, 0.5)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates.keys() == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    expected = {0.0125: model.stages[1], 0.025: model.stages[2], 0.05: model.stages[3], 0.1: model.classifier}
    for rate, module in expected.items():
        for parameter in module.parameters():
            assert rates[id(parameter)] == pytest.approx(rate)


def test_a_group_without_parameters_is_left_out():
    (group,) = create_optimizer([[nn.Parameter(torch.zeros(2, 2))]], TrainParams(), RATE, 1.0).param_groups
    assert len(group["params"]) == 1


def learning_rates(**changes: Any) -> list[float]:
    params = TrainParams(optimizer="sgd", learning_rate=0.5, **changes)
    return train(model := small_net(), *create(model, params), range(STEPS))


def expected_rate(name: str, step: int, steps: int) -> float:
    """The learning rate of a schedule with the highest rate 0.5 by its formula."""
    if name == "step":
        return 0.5 * 0.2 ** (step // 16)
    if name in ("cosine", "cosine_restarts"):
        share = step / steps if name == "cosine" else step % 12 / 12
        return 0.25 * (1 + math.cos(math.pi * share))
    if name == "one_cycle":
        peak = 0.3 * steps - 1
        low, share = (0.02, 1 - step / peak) if step <= peak else (2e-6, (step - peak) / (steps - 1 - peak))
        return low + (0.5 - low) / 2 * (1 + math.cos(math.pi * share))
    return 0.5


@pytest.mark.parametrize(("name", "warmup"), WITH_WARMUP)
def test_schedules_follow_their_formulas(name, warmup):
    rates = learning_rates(schedule=name, warmup_epochs=warmup, step_epochs=2.0, step_factor=0.2, restart_epochs=1.5)
    rising = int(warmup * STEPS_PER_EPOCH)
    expected = [0.5 * (step + 1) / (rising + 1) for step in range(rising)]
    expected += [expected_rate(name, step, STEPS - rising) for step in range(STEPS - rising)]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_a_training_of_one_step_has_every_schedule():
    for name, warmup in WITH_WARMUP:
        model = small_net()
        params = TrainParams(optimizer="sgd", schedule=name, warmup_epochs=warmup)
        assert len(train(model, *create(model, params, total_steps=1), range(1))) == 1


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize(("schedule_name", "warmup"), WITH_WARMUP)
def test_a_saved_state_is_resumed_with_the_same_bits(optimizer_name, schedule_name, warmup):
    params = TrainParams(
        optimizer=optimizer_name,
        schedule=schedule_name,
        learning_rate=0.01,
        weight_decay=DECAY,
        warmup_epochs=warmup,
        step_epochs=0.5,
        restart_epochs=0.75,
    )
    whole, resumed = small_net(), small_net()
    rates = train(whole, *create(whole, params, 12), range(12))
    optimizer, schedule = create(resumed, params, 12)
    first_rates = train(resumed, optimizer, schedule, range(7))
    states = saved_and_loaded([part.state_dict() for part in (resumed, optimizer, schedule)])

    again = small_net(seed=1)
    parts = again, *create(again, params, 12)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    assert first_rates + train(*parts, range(7, 12)) == rates
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whole.state_dict().items())


def test_one_cycle_takes_no_warmup():
    with pytest.raises(InputError, match=r"train\.warmup_epochs: found 2 with the schedule one_cycle"):
        check_names(TrainParams(schedule="one_cycle", warmup_epochs=2.0))


def test_a_warmup_longer_than_a_phase_is_refused():
    params = TrainParams(epochs=20, warmup_epochs=3.0, phases=[PhaseParams(), PhaseParams(epochs=3)])
    with pytest.raises(InputError, match=r"train\.warmup_epochs: found 3, expected less than the 3 epochs"):
        check_names(params)
    check_names(params.model_copy(update={"warmup_epochs": 2.5}))
