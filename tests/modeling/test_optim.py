"""Optimizers and schedules by name, against PyTorch's own."""

import math

import pytest
import torch
from torch import nn

from Resnet23.config import TrainParams
from Resnet23.modeling.optim import OPTIMIZERS, SCHEDULES, create_optimizer, create_schedule
from Resnet23.modeling.zoo import create_model

STEPS = 40


def reference_optimizer(name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return {
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        "adam": lambda: torch.optim.Adam(parameters, lr=0.1, weight_decay=0.01),
        "adamw": lambda: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01),
    }[name]()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_equal_those_of_torch(name):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    params = TrainParams(optimizer=name, learning_rate=0.1, weight_decay=0.01)
    optimizers = create_optimizer(ours, params), reference_optimizer(name, list(theirs.parameters()))
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)


def test_weight_decay_spares_biases_and_batchnorm():
    model = create_model("resnet10", num_classes=3, width=4)
    decayed, spared = create_optimizer(model, TrainParams(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def learning_rates(name: str) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = create_schedule(optimizer, TrainParams(schedule=name), STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_schedule_exceeds_the_given_learning_rate(name):
    assert max(learning_rates(name)) == pytest.approx(0.5)


def test_schedules_follow_their_formulas():
    assert learning_rates("constant") == [0.5] * STEPS
    cosine = [0.25 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
    assert learning_rates("cosine") == pytest.approx(cosine)
    one_cycle = learning_rates("one_cycle")
    assert one_cycle[0] == pytest.approx(0.5 / 25)
    assert one_cycle.index(max(one_cycle)) == round(0.3 * STEPS) - 1
    assert one_cycle[-1] < 1e-4
