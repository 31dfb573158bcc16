"""Sharpness-aware minimisation against its definition, on a network small enough to follow by hand."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_features import make_features
from small_project import SHRUNK
from torch import Tensor, nn

from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.modeling.losses import get_task

RADIUS, RATE = 0.3, 0.1
PLAIN = TrainParams(
    device="cpu",
    precision="fp32",
    batch_size=8,
    epochs=1,
    optimizer="sgd",
    momentum=0.0,
    nesterov=False,
    weight_decay=0.0,
    schedule="constant",
    learning_rate=RATE,
    channels_last=False,
    augment={"flip": "none", "crop_padding": 0, "cutout": 0},
)


def small_network() -> nn.Sequential:
    """A convolution with BatchNorm and a classifier, for images of 4 pixels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def images() -> FeatureDataset:
    """One batch of eight."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (8, 4, 4, 3), np.uint8)
    return FeatureDataset(pixels, np.arange(8) % 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def gradients(network: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """Of the mean cross entropy, for each parameter."""
    return list(torch.autograd.grad(F.cross_entropy(network(inputs), targets), list(network.parameters())))


def weights_after_one_step(sharpness, radius: float) -> tuple[nn.Module, Tensor, Tensor]:
    """The network after a step of the benchmark's training, and the batch that it saw."""
    training = sharpness.SharpnessAwareTraining(small_network(), images(), None, get_task("multiclass"), 3, PLAIN, 0)
    training.radius = radius
    batch = next(iter(training.source.epoch(1)))
    with training.progress_bar() as bar:
        training.train_epoch(bar)
    return training.network, batch.inputs, batch.targets


@pytest.mark.parametrize("radius", [0.0, RADIUS])
def test_a_step_goes_down_the_gradient_of_the_worst_place_nearby(benchmark, radius):
    network, inputs, targets = weights_after_one_step(benchmark("sharpness"), radius)
    expected = small_network()
    here = gradients(copy.deepcopy(expected), inputs, targets)
    length = torch.sqrt(sum((gradient**2).sum() for gradient in here))
    uphill = copy.deepcopy(expected)
    for parameter, gradient in zip(uphill.parameters(), here, strict=True):
        parameter.data.add_(gradient / length, alpha=radius)
    there = gradients(uphill, inputs, targets)
    for parameter, begin, gradient in zip(network.parameters(), expected.parameters(), there, strict=True):
        torch.testing.assert_close(parameter.detach(), begin.detach() - RATE * gradient)


def test_the_statistics_are_counted_once(benchmark):
    network, _, _ = weights_after_one_step(benchmark("sharpness"), RADIUS)
    assert network[1].num_batches_tracked == 1


def test_the_record_says_what_each_radius_costs_and_reaches(benchmark, tmp_path, monkeypatch):
    make_features(tmp_path, SHRUNK)
    monkeypatch.chdir(tmp_path)
    benchmark("sharpness").main(radii=[0.0, 0.05], seeds=[0, 1])
    record = json.loads((tmp_path / "reports/benchmarks/sharpness-cpu.json").read_text())
    assert [training["passes"] for training in record["trainings"]] == [1, 2]
    assert all(training["val_accuracy"]["n"] == 2 for training in record["trainings"])


def test_without_validation_images_nothing_is_compared(benchmark, tmp_path, monkeypatch):
    make_features(tmp_path, [*SHRUNK, "features.val_fraction=0.0"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="found no validation images"):
        benchmark("sharpness").main()
