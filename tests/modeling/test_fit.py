"""The training engine: what a plain loop does, under every name that params.yaml may hold, and to the same bits."""

import copy
import math
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from small_fit import CPU, TASK, assert_close, assert_equal, params, plain_loop, plain_net, small_net, train
from small_training import comparable
from squares import MEAN, STD, coloured_squares
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from Resnet23.config import AugmentParams
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import Diverged, Resnet23Error
from Resnet23.modeling.device import choose_precision
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import TASKS
from Resnet23.modeling.optim import OPTIMIZERS, SCHEDULES
from Resnet23.modeling.resume import ResumeFile

# One for each way to augment; a test sees to it that no key of AugmentParams is missing.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "flip": {"flip": "random"},
    "alternating flip": {"flip": "alternating"},
    "crop": {"crop_padding": 2},
    "crop in black": {"crop_padding": 2, "crop_mode": "zero"},
    "resized crop": {"resized_crop": {"probability": 1.0}},
    "cutout": {"cutout": 3},
    "color jitter": {"color_jitter": {"probability": 1.0}},
    "affine": {"affine": {"probability": 1.0}},
    "randaugment": {"policy": "randaugment", "randaugment": {"operations": 3, "magnitude": 20}},
    "autoaugment": {"policy": "autoaugment"},
    "trivialaugment": {"policy": "trivialaugment"},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
}
RATES = {"sgd": 0.05, "adam": 0.02, "adamw": 0.02, "rmsprop": 0.002, "muon": 0.02}
ALL_AT_ONCE = {key: value for changes in AUGMENTATIONS.values() for key, value in changes.items()}
MIXTURES = {
    "as they are": {},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "both": {"mixup": 0.2, "cutmix": 1.0},
}


def labelled_for(task: str, count: int, seed: int) -> FeatureDataset:
    """Learnable images with targets as the task has them: the brightest colour, or every bright colour."""
    if task == "multiclass":
        return FeatureDataset(*coloured_squares(count, seed), MEAN, STD)
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=(count, 3), dtype=np.uint8)  # (N, C)
    noise = generator.integers(0, 150, (count, 8, 8, 3), dtype=np.uint8)
    return FeatureDataset(noise + 90 * labels[:, None, None, :], labels, MEAN, STD)


def test_it_overfits_one_batch_of_noise():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    result = train(FeatureDataset(noise, np.arange(24) % 3, MEAN, STD), epochs=40)
    assert result.history[-1].train_accuracy == 1.0
    assert result.history[-1].train_loss < 0.1


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_learnt(task, mixture):
    data, validation = labelled_for(task, 180, seed=0), labelled_for(task, 60, seed=1)
    result = fit(small_net(), data, validation, TASKS[task], 3, params(epochs=8, augment=mixture), 0)
    assert result.validation.accuracy > 0.8
    assert result.history[-1].train_loss < result.history[0].train_loss


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_with_every_schedule(squares, optimizer, schedule):
    rate = RATES[optimizer]
    result = train(squares, optimizer=optimizer, schedule=schedule, epochs=4, learning_rate=rate, momentum=0.8)
    assert result.history[-1].train_loss < 0.9 * result.history[0].train_loss


def test_no_augmentation_is_forgotten():
    assert ALL_AT_ONCE.keys() == AugmentParams.model_fields.keys()


@pytest.mark.parametrize("changes", [*AUGMENTATIONS.values(), ALL_AT_ONCE], ids=[*AUGMENTATIONS, "all at once"])
def test_every_augmentation_reaches_the_training(squares, changes):
    model, plain = plain_net(), plain_net()
    augmented = train(squares, model=model, epochs=1, optimizer="sgd", augment=changes)
    (loss,) = plain_loop(plain, squares, torch.optim.SGD(plain.parameters(), lr=0.01), range(1, 2))
    assert math.isfinite(augmented.history[0].train_loss)
    assert augmented.history[0].train_loss != pytest.approx(loss, rel=1e-3)


def test_two_epochs_equal_a_plain_loop(squares):
    model = small_net()
    plain = copy.deepcopy(model).to(memory_format=torch.channels_last)
    result = train(squares, model=model, epochs=2, optimizer="sgd", label_smoothing=0.1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    losses = plain_loop(plain, squares, optimizer, range(1, 3), label_smoothing=0.1)
    assert [record.train_loss for record in result.history] == pytest.approx(losses, rel=1e-5)
    assert_close(result.state_dict, plain.state_dict())


@pytest.mark.parametrize(
    ("change", "clip"),
    [
        ({"clip_norm": 0.05}, lambda weights: nn.utils.clip_grad_norm_(weights, 0.05)),
        ({"clip_value": 0.002}, lambda weights: nn.utils.clip_grad_value_(weights, 0.002)),
    ],
    ids=["norm", "value"],
)
def test_clipping_equals_a_plain_loop_and_bounds_the_step(squares, change, clip):
    model, plain = plain_net(), plain_net()
    start = copy.deepcopy(plain.state_dict())
    result = train(squares, model=model, epochs=1, optimizer="sgd", momentum=0.0, learning_rate=1.0, **change)
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0)
    plain_loop(plain, squares, optimizer, range(1, 2), before_step=lambda: clip(list(plain.parameters())))
    assert_close(result.state_dict, plain.state_dict(), tolerance=1e-6)
    moved = torch.cat([(result.state_dict[name] - value).flatten() for name, value in start.items()])
    bound = {"clip_norm": moved.norm(), "clip_value": moved.abs().max()}[next(iter(change))]
    assert 0 < bound <= 3 * next(iter(change.values())) * (1 + 1e-4)  # three steps


def test_the_moving_average_equals_that_of_torch_beside_a_plain_loop(squares, other_squares):
    model = small_net()
    plain = copy.deepcopy(model).to(memory_format=torch.channels_last)
    result = train(squares, other_squares, model, optimizer="sgd", ema_decay=0.8, epochs=2)
    average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    records = []
    for epoch in (1, 2):
        epochs = range(epoch, epoch + 1)
        plain_loop(plain, squares, optimizer, epochs, after_step=lambda: average.update_parameters(plain))
        records.append(evaluate(average.module, other_squares, TASK, 45, CPU).loss)
    assert [record.val_loss for record in result.history] == pytest.approx(records, rel=1e-4)
    assert_close(model.state_dict(), plain.state_dict())  # the network itself trains on

    last = train(squares, model=small_net(), optimizer="sgd", ema_decay=0.8, epochs=2)  # without validation
    assert_close(last.state_dict, average.module.state_dict())


def test_a_batch_in_four_parts_equals_a_whole_one():
    data = FeatureDataset(*coloured_squares(150), MEAN, STD)
    sizes: list[int] = []
    model = plain_net()
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    whole, parts = (
        train(data, model=net, batch_size=64, accumulation=count, optimizer="sgd", augment={"mixup": 0.2})
        for net, count in ((plain_net(), 1), (model, 4))
    )
    assert sizes == [16, 16, 16, 16, 16, 16, 16, 16, 5, 6, 5, 6] * 3
    assert_close(parts.state_dict, whole.state_dict, tolerance=1e-6)
    for one, other in zip(comparable(whole), comparable(parts), strict=True):
        assert one == pytest.approx(other, abs=1e-6, nan_ok=True)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(squares, other_squares):
    changes = {"augment": ALL_AT_ONCE, "ema_decay": 0.9, "optimizer": "adamw", "schedule": "one_cycle"}
    first, again, other = (train(squares, other_squares, small_net(dropout=0.2), seed, **changes) for seed in (0, 0, 1))
    assert comparable(first) == comparable(again)
    assert_equal(again.state_dict, first.state_dict)
    assert comparable(other)[0]["train_loss"] != comparable(first)[0]["train_loss"]


def test_what_was_drawn_before_does_not_matter(squares):
    results = []
    for draws in (0, 100):
        model = small_net(dropout=0.5)
        torch.rand(draws), np.random.default_rng().random(draws)
        results.append(train(squares, model=model, epochs=1))
    assert_equal(results[1].state_dict, results[0].state_dict)


def test_the_kept_weights_are_those_of_the_best_validation_epoch(squares, other_squares):
    result = train(squares, other_squares, epochs=5, learning_rate=0.05)
    best = max(result.history, key=lambda record: (record.val_accuracy, -record.val_loss))
    assert result.best_epoch == best.epoch
    model = small_net(seed=1)
    model.load_state_dict(result.state_dict)
    again = evaluate(model, other_squares, TASK, 16, CPU)
    assert (again.accuracy, again.loss) == pytest.approx((best.val_accuracy, best.val_loss), rel=1e-5)
    assert result.validation.accuracy == best.val_accuracy


def test_without_validation_the_last_epoch_is_kept(squares):
    model = small_net()
    result = train(squares, model=model)
    assert (result.best_epoch, result.validation) == (3, None)
    assert all(record.val_loss is None and record.val_accuracy is None for record in result.history)
    assert_equal(result.state_dict, model.state_dict())


@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_when_validation_has_not_improved_for_so_many_epochs(squares, other_squares, patience):
    still = train(squares, other_squares, plain_net(), learning_rate=1e-30, epochs=20, patience=patience)
    assert [record.epoch for record in still.history] == list(range(1, patience + 2))
    assert still.best_epoch == 1
    learning = train(squares, other_squares, plain_net(), learning_rate=1e-4, epochs=6, patience=patience)
    assert len(learning.history) == 6


def test_the_watchers_see_every_epoch_and_gradients_as_they_were_computed(squares):
    seen, gradients = [], []

    def on_gradients(epoch: int, network: nn.Module) -> None:
        gradients.append((epoch, nn.utils.get_total_norm([weight.grad for weight in network.parameters()]).item()))

    settings = params(clip_norm=1e-6)
    result = fit(small_net(), squares, None, TASK, 3, settings, 0, seen.append, on_gradients)
    assert seen == result.history
    assert [record.epoch for record in seen] == [epoch for epoch, _ in gradients] == [1, 2, 3]
    assert all(norm > 1e-3 for _, norm in gradients)  # before they are clipped
    assert all(record.images_per_second > 0 and 0 < record.data_wait < 1 for record in seen)
    assert all(record.images_per_second == pytest.approx(90 / record.seconds) for record in seen)


def poison(model: nn.Module) -> None:
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))


@pytest.mark.fault(17)
def test_a_loss_that_is_no_number_stops_it_with_epoch_step_and_learning_rate(squares):
    poison(model := small_net())
    with pytest.raises(Resnet23Error, match=r"at epoch 1, step 1, learning rate 0\.01; try a lower") as caught:
        train(squares, model=model)
    assert caught.value.exit_code == 1


@pytest.mark.fault(17)
def test_a_state_that_is_no_good_does_not_replace_the_last_good_one(squares, tmp_path):
    model, resume = small_net(), ResumeFile(tmp_path)
    with pytest.raises(Resnet23Error, match="epoch 3, step 1"):
        fit(
            model, squares, None, TASK, 3, params(checkpoint_steps=1), 0,
            on_epoch=lambda record: poison(model) if record.epoch == 2 else None, resume=resume,
        )  # fmt: skip
    state = resume.load()
    assert (state["epoch"], state["step"]) == (2, 3)
    assert all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.fault(17)
@pytest.mark.parametrize("validated", [True, False])
def test_weights_that_the_last_step_has_broken_are_not_kept(validated, squares, other_squares, tmp_path):
    """No loss of the training has been computed with them."""

    def break_gradients(epoch: int, network: nn.Module) -> None:
        network.classifier.weight.grad.fill_(float("inf"))

    resume, validation = ResumeFile(tmp_path), other_squares if validated else None
    with pytest.raises(Diverged, match=r"a weight is not a finite number at epoch 1, step 3, learning rate 0\.01; try"):
        fit(
            small_net(), squares, validation, TASK, 3, params(epochs=1, checkpoint_steps=1), 0,
            on_gradients=break_gradients, resume=resume,
        )  # fmt: skip
    state = resume.load()
    assert (state["epoch"], state["step"]) == (1, 2)
    assert all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.fault(17)
def test_a_validation_loss_that_is_no_number_ends_it(squares):
    infinite = FeatureDataset(*coloured_squares(45, seed=1), MEAN, (1e-44,) * 3)
    with pytest.raises(Diverged, match="the validation loss is not a finite number at epoch 1, step 3, learning rate"):
        train(squares, infinite)


def test_bf16_trains_where_the_hardware_has_it(squares):
    precision, reason = choose_precision("auto", CPU)
    if precision != "bf16":
        pytest.skip(reason)
    result = train(squares, epochs=4, precision="bf16")
    assert result.history[-1].train_accuracy > 0.8
    assert all(value.dtype != torch.bfloat16 for value in result.state_dict.values())
    assert comparable(result) != comparable(train(squares, epochs=4))


def test_the_memory_order_changes_rounding_only(squares):
    last, first = (  # for two epochs: each multiplies the difference by about ten
        train(squares, model=small_net(width=16), optimizer="sgd", epochs=2, channels_last=setting)
        for setting in (True, False)
    )
    assert last.state_dict["conv1.weight"].is_contiguous(memory_format=torch.channels_last)
    assert first.state_dict["conv1.weight"].is_contiguous()
    assert_close(first.state_dict, last.state_dict, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler for the CPU")
def test_a_compiled_network_learns_the_same_and_is_saved_as_a_plain_one(squares, other_squares):
    plain, compiled = (
        train(squares, other_squares, plain_net(), optimizer="sgd", compile=setting) for setting in (False, True)
    )
    assert_close(compiled.state_dict, plain.state_dict)


def test_a_narrow_network_trains_on_larger_images():
    images = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), np.uint8)
    data = FeatureDataset(images, np.arange(32) % 3, (0.5,) * 3, (0.25,) * 3)
    assert np.isfinite(train(data, epochs=1).history[0].train_loss), "or the process has died"
