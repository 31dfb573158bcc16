"""The training engine: it learns, it is reproducible, and it chooses the epoch on validation."""

import copy
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from Resnet23.config import AugmentParams, TrainParams
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import Resnet23Error
from Resnet23.modeling.device import choose_precision
from Resnet23.modeling.fit import FitResult, batch_slices, epoch_order, evaluate, fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.zoo import create_model

TASK = get_task("multiclass")
CPU = torch.device("cpu")
TIMINGS = {"seconds", "images_per_second", "data_wait"}


def params(**changes) -> TrainParams:
    defaults = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "device": "cpu", "precision": "fp32"}
    return TrainParams(**{**defaults, **changes})


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("resnet10", num_classes=3, width=4)


def train(squares, other_squares=None, model=None, seed=0, **changes) -> FitResult:
    return fit(model or small_net(), squares, other_squares, TASK, params(**changes), seed)


def test_it_learns(squares, other_squares):
    result = train(squares, other_squares, epochs=6)
    assert result.history[-1].val_accuracy > 0.9
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_it_overfits_one_batch_of_noise():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    data = FeatureDataset(noise, np.arange(24) % 3, (0.5,) * 3, (0.3,) * 3)
    model = create_model("resnet10", num_classes=3, width=8, dropout=0, final_dropout=0)
    result = train(data, model=model, epochs=30)
    assert result.history[-1].train_accuracy == 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_every_optimizer_and_schedule_trains(squares, optimizer, schedule):
    result = train(squares, optimizer=optimizer, schedule=schedule, epochs=2)
    assert all(math.isfinite(record.train_loss) for record in result.history)


def test_the_same_seed_gives_the_same_bits(squares, other_squares):
    augment = AugmentParams(flip=True, crop_padding=1, cutout=2)
    first, second = (train(squares, other_squares, augment=augment) for _ in range(2))
    for a, b in zip(first.history, second.history, strict=True):
        assert {k: v for k, v in asdict(a).items() if k not in TIMINGS} == {
            k: v for k, v in asdict(b).items() if k not in TIMINGS
        }
    assert all(torch.equal(value, second.state_dict[key]) for key, value in first.state_dict.items())


def test_another_seed_gives_another_order(squares):
    assert sorted(epoch_order(50, 0, 1)) == list(range(50))
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}
    assert len(orders) == 4


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(90, 32, [32, 32, 26]), (65, 32, [32, 33]), (64, 32, [32, 32]), (1, 32, [1]), (33, 32, [33])],
)
def test_batches_cover_every_image_once_and_none_is_of_one_image(count, size, expected):
    order = np.arange(count)
    batches = [order[batch] for batch in batch_slices(count, size)]
    assert [len(batch) for batch in batches] == expected
    assert np.array_equal(np.concatenate(batches), order)


def test_one_epoch_equals_a_plain_loop(squares):
    """No dropout, no augmentation, SGD: the engine must do exactly what ten lines of PyTorch do."""
    torch.manual_seed(0)
    model = create_model("resnet10", num_classes=3, width=4, dropout=0, final_dropout=0)
    plain = copy.deepcopy(model).to(memory_format=torch.channels_last)
    result = train(squares, model=model, epochs=1, optimizer="sgd", label_smoothing=0.1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    order, losses = epoch_order(90, 0, 1), []
    for positions in (order[:32], order[32:64], order[64:]):
        images = torch.stack([squares[position][0] for position in positions])
        targets = torch.from_numpy(squares.targets[positions])
        logits = plain(images.to(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(F.cross_entropy(logits.detach(), targets).item() * len(positions))
    assert result.history[0].train_loss == pytest.approx(sum(losses) / 90, rel=1e-5)
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, result.state_dict[key], rtol=1e-4, atol=1e-5), key


def test_the_kept_weights_are_those_of_the_best_validation_epoch(squares, other_squares):
    result = train(squares, other_squares, epochs=5, learning_rate=0.05)
    best = max(result.history, key=lambda record: (record.val_accuracy, -record.val_loss))
    assert result.best_epoch == best.epoch
    model = small_net()
    model.load_state_dict(result.state_dict)
    again = evaluate(model, other_squares, TASK, 16, CPU)
    assert (again.accuracy, again.loss) == pytest.approx((best.val_accuracy, best.val_loss), rel=1e-5)
    assert result.validation.accuracy == best.val_accuracy


def test_without_validation_the_last_epoch_is_kept(squares):
    result = train(squares, epochs=3)
    assert result.best_epoch == 3
    assert result.validation is None
    assert all(record.val_loss is None and record.val_accuracy is None for record in result.history)


def test_on_epoch_sees_every_record_in_order(squares):
    seen = []
    result = fit(small_net(), squares, None, TASK, params(), 0, seen.append)
    assert seen == result.history
    assert [record.epoch for record in seen] == [1, 2, 3]
    assert all(record.images_per_second > 0 and 0 < record.data_wait < 1 for record in seen)


def test_a_diverging_loss_stops_with_epoch_step_and_learning_rate(squares):
    model = small_net()
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    with pytest.raises(Resnet23Error, match=r"epoch 1, step 1, learning rate 0\.01"):
        train(squares, model=model)


def test_bf16_trains_where_the_hardware_has_it(squares):
    precision, reason = choose_precision("auto", CPU)
    if precision != "bf16":
        pytest.skip(reason)
    result = train(squares, epochs=4, precision="bf16")
    assert result.history[-1].train_accuracy > 0.8
    assert all(value.dtype != torch.bfloat16 for value in result.state_dict.values())


def test_evaluate_equals_a_plain_forward_whatever_the_batch(other_squares):
    model = small_net().eval()
    images = torch.stack([other_squares[index][0] for index in range(len(other_squares))])
    with torch.no_grad():
        logits = model(images)
    targets = torch.from_numpy(other_squares.targets)
    for batch_size in (1, 7, 45, 100):
        found = evaluate(model, other_squares, TASK, batch_size, CPU)
        assert torch.allclose(found.logits, logits, atol=1e-5)
        assert found.loss == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-5)
        assert found.accuracy == pytest.approx((logits.argmax(1) == targets).float().mean().item())
