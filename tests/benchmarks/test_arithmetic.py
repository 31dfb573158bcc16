"""The arithmetic of a training, against numbers that can be worked out by hand."""

import pytest
import torch
from torch import nn

from Resnet23.config import load_params
from Resnet23.modeling.zoo import create_model


class Small(nn.Sequential):
    """A convolution of 3 x 3 pixels with 3 to 4 channels, and a linear layer with 4 inputs and 5 outputs."""

    def __init__(self) -> None:
        body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        super().__init__(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5, bias=False))


@pytest.fixture
def work(benchmark, project):
    """What a training on 100 images of 16 pixels takes, in steps of 32, with some assignments."""

    def count(*assignments: str, epochs: int = 2) -> dict:
        params = load_params(assignments=assignments).train
        return benchmark("arithmetic").training_arithmetic(Small(), params, 16, 100, epochs)

    return count


def test_forward_and_both_gradients_count_twice_their_multiplications(work):
    convolution, linear = 2 * 16**2 * 9 * 3 * 4, 2 * 4 * 5
    found = work("train.optimizer=sgd")
    # The images need no gradient, so that the convolution has one product less than the linear layer.
    assert found["flop_per_image"] == [2 * convolution + 3 * linear]
    assert found["pflop"] == pytest.approx(2 * 100 * found["flop_per_image"][0] / 1e15)
    assert found["optimizer_pflop"] == 0


def test_a_resolution_and_what_is_frozen_count_as_they_are(work):
    halved, head = work("train.phases=[{resolution: 8, epochs: 1}, {trainable: head, epochs: 3}]")["flop_per_image"]
    linear = 2 * 4 * 5
    assert halved == 2 * 2 * 8**2 * 9 * 3 * 4 + 3 * linear
    assert head == 2 * 16**2 * 9 * 3 * 4 + 2 * linear


def test_each_phase_counts_for_its_own_epochs(work):
    phases = "train.phases=[{resolution: 8, epochs: 1}, {epochs: 3}]"
    small, large = work(phases)["flop_per_image"]
    assert work(phases, epochs=3)["pflop"] == pytest.approx((small + 2 * large) * 100 / 1e15)
    assert work(phases, epochs=1)["pflop"] == pytest.approx(small * 100 / 1e15)


def test_what_muon_multiplies_stands_beside(work):
    found = work("train.optimizer=muon")
    assert found["optimizer_pflop"] > 0
    assert found["pflop"] == work("train.optimizer=sgd")["pflop"]


def test_resnet23_for_twenty_epochs_of_five_thousand_images(benchmark, project):
    torch.manual_seed(0)
    params = load_params(assignments=["train.epochs=20", "train.batch_size=64"]).train
    model = create_model("resnet23", 10)
    found = benchmark("arithmetic").training_arithmetic(model, params, 32, 5000, 20)
    assert found["pflop"] == pytest.approx(0.47, abs=0.05)
