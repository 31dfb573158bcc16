"""Phases: what each trains, at which rates and resolution, and that nothing else changes."""

import copy
from itertools import pairwise

import pytest
import torch
from small_fit import assert_close, assert_equal, params, plain_loop, plain_net, small_net, train
from torch import Tensor, nn

from Resnet23.config import TrainParams
from Resnet23.errors import InputError
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.phases import Phase, phase_of, resolve_phases

STAGES = ["conv1", "stages.0", "stages.1", "stages.2", "stages.3", "classifier"]  # of small_net
THREE = params(
    epochs=5,
    learning_rate=0.1,
    phases=[
        {"epochs": 2, "trainable": "head", "resolution": 16},
        {"learning_rate": 0.02, "rate_decay_by_depth": 0.5},
        {"epochs": 1, "trainable": "from:stages.1"},
    ],
)


def stage_of(name: str) -> int:
    """The number of the stage that a parameter or buffer belongs to; the BatchNorm after conv1 is of its stage."""
    return next((index for index, prefix in enumerate(STAGES) if name.startswith(f"{prefix}.")), 0)


def changed_stages(after: dict[str, Tensor], before: dict[str, Tensor]) -> set[int]:
    """The stages of which any weight or BatchNorm statistic changed."""
    return {stage_of(name) for name, value in before.items() if not torch.equal(after[name], value)}


def test_what_a_phase_leaves_open_comes_from_the_section():
    assert resolve_phases(THREE) == [
        Phase(1, 2, 0.1, "head", 1.0, 16),
        Phase(3, 7, 0.02, "all", 0.5, None),
        Phase(8, 8, 0.1, "from:stages.1", 1.0, None),
    ]
    assert [phase.epochs for phase in resolve_phases(THREE)] == [2, 5, 1]
    assert resolve_phases(TrainParams(epochs=7)) == [Phase(1, 7, 1e-3, "all", 1.0, None)]


def test_every_epoch_belongs_to_one_phase():
    phases = resolve_phases(THREE)
    assert [phases.index(phase_of(phases, epoch)) for epoch in range(1, 9)] == [0, 0, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("trainable", "expected"), [("head", {5}), ("from:stages.2", {3, 4, 5}), ("all", {0, 1, 2, 3, 4, 5})]
)
def test_frozen_weights_and_statistics_keep_their_bits(squares, trainable, expected):
    model = small_net()
    before = copy.deepcopy(model.state_dict())
    result = train(
        squares, model=model, epochs=2, optimizer="adamw", weight_decay=0.1, phases=[{"trainable": trainable}]
    )
    assert changed_stages(result.state_dict, before) == expected
    assert changed_stages(model.state_dict(), before) == expected


def test_a_phase_thaws_what_the_one_before_it_froze(squares):
    model = small_net()
    states = [copy.deepcopy(model.state_dict())]
    phases = [{"epochs": 1, "trainable": "head"}, {"epochs": 1}, {"epochs": 1, "trainable": "from:stages.3"}]
    settings = params(phases=phases)
    fit(
        model, squares, None, get_task("multiclass"), 3, settings, 0,
        on_epoch=lambda record: states.append(copy.deepcopy(model.state_dict())),
    )  # fmt: skip
    changes = [changed_stages(after, before) for before, after in pairwise(states)]
    assert changes == [{5}, {0, 1, 2, 3, 4, 5}, {4, 5}]


def test_each_stage_moves_by_the_decay_less_than_the_next(squares):
    """One step of plain gradient descent: what a weight moves is its gradient times its rate."""
    start = small_net().state_dict()
    one_step = {"epochs": 1, "batch_size": 90, "optimizer": "sgd", "momentum": 0.0}
    alike, decayed = (
        train(squares, phases=[{"rate_decay_by_depth": decay}], **one_step).state_dict for decay in (1.0, 0.5)
    )
    for name, _ in small_net().named_parameters():
        share = 0.5 ** (len(STAGES) - 1 - stage_of(name))
        assert torch.allclose(decayed[name] - start[name], share * (alike[name] - start[name]), atol=1e-6), name


def test_each_phase_shows_the_network_images_of_its_resolution(squares, other_squares):
    trained, validated = [], []

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        (trained if module.training else validated).append(tuple(inputs[0].shape[1:]))

    model = small_net()
    model.register_forward_pre_hook(note)
    phases = [{"epochs": 1, "resolution": 16}, {"epochs": 2, "resolution": 12}, {"epochs": 1}]
    train(squares, other_squares, model, phases=phases)
    assert trained == [(3, 16, 16)] * 3 + [(3, 12, 12)] * 6 + [(3, 8, 8)] * 3
    assert set(validated) == {(3, 8, 8)}


def test_the_learning_rate_starts_again_with_each_phase(squares):
    phases = [{"epochs": 2}, {"epochs": 1, "learning_rate": 0.04, "trainable": "head"}, {"epochs": 2}]
    result = train(squares, learning_rate=0.1, optimizer="sgd", schedule="step", step_epochs=1.0, phases=phases)
    rates = [record.learning_rate for record in result.history]  # of the last of the three steps of each epoch
    assert rates == pytest.approx([0.1, 0.01, 0.04, 0.1, 0.01])


def test_a_phase_begins_with_an_optimizer_anew(squares):
    result = train(squares, model=plain_net(), optimizer="sgd", phases=[{"epochs": 1}, {"epochs": 2}])
    plain = plain_net()
    for epochs in (range(1, 2), range(2, 4)):
        plain_loop(plain, squares, torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True), epochs)
    assert_close(result.state_dict, plain.state_dict(), tolerance=1e-6)


def test_an_unknown_stage_of_a_later_phase_is_refused_before_training(squares):
    model, epochs = small_net(), []
    before = copy.deepcopy(model.state_dict())
    settings = params(phases=[{}, {"trainable": "from:stages.9"}])
    with pytest.raises(InputError, match=r"train\.phases: trainable: found 'from:stages\.9', expected .*stages\.3"):
        fit(model, squares, None, get_task("multiclass"), 3, settings, 0, epochs.append)
    assert epochs == []
    assert_equal(model.state_dict(), before)
