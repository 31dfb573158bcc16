"""The fast network: size and arithmetic as published, what its layers begin as, and the images that it takes."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from Resnet23.modeling.fast_cnn import LOGIT_SCALE, FastCNN
from Resnet23.modeling.zoo import create_model

PUBLISHED_PARAMETERS = 1.97e6  # Jordan 2024, the fixed filters among them
PUBLISHED_ARITHMETIC, PUBLISHED_IMAGES = 3.6e14, 9.9 * 50_000  # of a whole training


def test_it_has_the_published_size_and_arithmetic():
    model = FastCNN()
    fixed = model.layers[0].weight.numel()
    learnt = sum(parameter.numel() for parameter in model.parameters())
    assert (learnt, fixed) == (1_971_352, 288)
    assert learnt + fixed == pytest.approx(PUBLISHED_PARAMETERS, rel=0.005)
    with torch.device("meta"):
        model, images = FastCNN(), torch.empty(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    assert counter.get_total_flops() * PUBLISHED_IMAGES == pytest.approx(PUBLISHED_ARITHMETIC, rel=0.05)


@pytest.mark.parametrize("size", [16, 17, 32, 64])
def test_it_takes_images_from_16_pixels_on(size):
    model = create_model("fast_cnn", num_classes=7, width=4).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_the_first_channels_of_a_convolution_begin_as_copies_of_its_input():
    model = FastCNN(width=32)
    convolutions = [layer for layer in model.layers if type(layer) is nn.Conv2d]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [
        (24, 32), (32, 32), (32, 128), (128, 128), (128, 128), (128, 128),
    ]  # fmt: skip
    for layer in convolutions:
        images = torch.randn(2, layer.in_channels, 5, 5)
        found = layer(images)
        assert torch.allclose(found[:, : layer.in_channels], images, atol=1e-6)
        assert found[:, layer.in_channels :].numel() == 0 or found[:, layer.in_channels :].std() > 0.1


def test_normalisation_learns_a_bias_but_no_scale():
    model = FastCNN(width=4)
    norms = [layer for layer in model.layers if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert {(layer.weight, layer.momentum) for layer in norms} == {(None, 0.4)}
    learnt = {tuple(parameter.shape) for name, parameter in model.named_parameters() if name.endswith("bias")}
    assert learnt == {(24,), (4,), (16,)}


def test_the_logits_are_a_ninth_of_what_the_classifier_says_of_the_strongest_responses():
    model, images = FastCNN(num_classes=3, width=4).eval(), torch.randn(2, 3, 32, 32)
    grid = model.layers(images)
    assert grid.shape == (2, 16, 3, 3)
    expected = nn.functional.max_pool2d(grid, 3).flatten(1) @ model.classifier.weight.T * LOGIT_SCALE
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert model.classifier.bias is None
