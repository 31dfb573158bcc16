"""The networks: sizes, shapes and initial weights as documented."""

import pytest
import torch
import torchvision
from torch import nn

from Resnet23.modeling import model23
from Resnet23.modeling.model23 import BLOCKS_PER_STAGE
from Resnet23.modeling.zoo import create_model

STEM_WEIGHTS = {"torchvision": 64 * 3 * 7 * 7, "ours": 64 * 3 * 3 * 3}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet23_has_the_documented_size():
    model = model23.resnet23()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert count(model) == 12_724_042
    assert sum(module.kernel_size == (3, 3) for module in convolutions) == 23
    assert sum(module.kernel_size == (1, 1) for module in convolutions) == 3
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout2d)} == {0.1}
    assert model.final_dropout.p == 0.2
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_parameters_equal_those_of_torchvision_up_to_the_stem(name):
    reference = count(getattr(torchvision.models, name)(num_classes=10)) - STEM_WEIGHTS["torchvision"]
    assert count(getattr(model23, name)(num_classes=10)) - STEM_WEIGHTS["ours"] == reference


@pytest.mark.parametrize("name", BLOCKS_PER_STAGE)
@pytest.mark.parametrize("size", [32, 64, 96])
def test_every_model_takes_every_image_size(name, size):
    model = create_model(name, num_classes=7, width=4).eval()
    images = torch.randn(2, 3, size, size)
    assert model(images).shape == (2, 7)
    assert model.forward_features(images).shape == (2, 32)


@pytest.mark.parametrize("name", BLOCKS_PER_STAGE)
def test_every_parameter_learns(name):
    model = create_model(name, num_classes=3, width=4)
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_initial_weights_follow_the_documented_distributions():
    torch.manual_seed(0)
    model = model23.resnet23()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(model.classifier.bias, torch.zeros(10))


def test_dropout_acts_while_training_only():
    model = create_model("resnet10", num_classes=3, width=4, dropout=0.5, final_dropout=0.5)
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("zero_init_residual", [False, True])
def test_a_block_may_begin_as_its_shortcut_alone(zero_init_residual):
    model = create_model("resnet10", num_classes=3, width=4, zero_init_residual=zero_init_residual)
    block, images = model.stages[0][0], torch.randn(4, 4, 16, 16)
    assert torch.equal(block(images), images.relu()) == zero_init_residual
    scales = {bool(each.any()) for name, each in model.named_parameters() if name.endswith("bn2.weight")}
    assert scales == {not zero_init_residual}
    assert model.bn1.weight.all()
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(each.grad.any() for name, each in model.named_parameters() if name.endswith("bn2.weight"))


def test_a_whitened_stem_leaves_the_rest_as_it_is():
    with torch.device("meta"):
        whitened, plain = create_model("resnet23_whitened", num_classes=10), create_model("resnet23", num_classes=10)
    stem = [tuple(value.shape) for name, value in whitened.state_dict().items() if name.startswith("conv1.")]
    assert stem == [(54, 3, 3, 3), (64, 54, 1, 1)]
    rest = [
        {name: value.shape for name, value in model.state_dict().items() if not name.startswith("conv1.")}
        for model in (whitened, plain)
    ]
    assert rest[0] == rest[1]
    assert count(whitened) == count(plain) - 64 * 3 * 3 * 3 + 64 * 54


def test_width_scales_the_channels():
    assert create_model("resnet10", num_classes=10, width=8).classifier.in_features == 64
    assert model23.resnet10().classifier.in_features == 512
