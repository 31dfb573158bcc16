"""Networks made ready for prediction say what they said before."""

import pytest
import torch
from torch import Tensor, nn

from Resnet23.modeling.folding import IMAGES_AT_ONCE, PredictionNetwork, fold_batch_norm
from Resnet23.modeling.zoo import create_model, list_models

CPU = torch.device("cpu")
WITHOUT_BATCHNORM = {"convnext_tiny", "swin_t", "vit_b_16"}
# How many BatchNorm layers are left: those after pooling, or that torch.fx cannot see.
KEPT = {"fast_cnn": 3}


@torch.no_grad()
def used(model: nn.Module, images: Tensor) -> nn.Module:
    """The network in evaluation mode, with scales unlike those at the beginning and the statistics of these images."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, of which there is one
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    model.train()(images)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@torch.no_grad()
def assert_same_answers(model: nn.Module, images: Tensor) -> None:
    """Differences are those of logits in units of their spread, which for probabilities are smaller still."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(images)
    found = PredictionNetwork(model, CPU).eval()(images.to(memory_format=torch.channels_last))
    spread = expected.std(dim=0).mean()
    assert spread > 1e-3 * expected.abs().mean(), "the answers differ from image to image"
    assert torch.allclose(found / spread, expected / spread, atol=1e-3)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def coloured(count: int, side: int = 32) -> Tensor:
    """Noise, each image of it in a colour of its own; (N, 3, S, S)."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.randn(count, 3, 1, 1, generator=generator)
    return colours + 0.5 * torch.randn(count, 3, side, side, generator=generator)


@pytest.mark.parametrize("name", sorted(set(list_models()) - WITHOUT_BATCHNORM))
def test_every_network_gives_the_same_answers(name):
    torch.manual_seed(0)
    images = coloured(6).double()  # in float32 deep networks with random weights enlarge any rounding
    assert_same_answers(used(create_model(name, num_classes=5, width=8).double(), images), images)


@pytest.mark.parametrize("name", ["resnet10", "resnet23_whitened", "fast_cnn", "resnet50", "mobilenet_v3_small"])
@pytest.mark.parametrize("average_flips", [False, True])
def test_batchnorm_is_folded_wherever_a_convolution_leads_to_it(name, average_flips):
    model = create_model(name, num_classes=5, width=8, average_flips=average_flips)
    assert norms(model) > KEPT.get(name, 0)
    assert norms(fold_batch_norm(model)) == KEPT.get(name, 0)


@pytest.mark.parametrize("name", ["resnet10", "fast_cnn"])
def test_a_network_that_averages_over_flips_is_folded_once(name):
    model = used(create_model(name, num_classes=5, width=8, average_flips=True), coloured(7))
    assert_same_answers(model, coloured(7))


class Shared(nn.Module):
    """One convolution that leads to two BatchNorm layers, and one whose answer is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (3, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[1](self.first(self.norms[0](self.first(x))))
        found = self.second(x)
        return (self.norms[2](found) + found).mean(dim=(2, 3))


class Decides(nn.Module):
    """A way through the network that depends on what it sees, which torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(dim=(2, 3)) if x.sum() > 0 else self.layers(x).amax(dim=(2, 3))


@pytest.mark.parametrize("kind", [Shared, Decides])
def test_what_cannot_be_folded_stays_as_it_is(kind):
    torch.manual_seed(0)
    model = used(kind(), coloured(4, 8))
    assert norms(fold_batch_norm(model)) == norms(model)
    assert_same_answers(model, coloured(4, 8))


@pytest.mark.parametrize("count", [1, IMAGES_AT_ONCE, 2 * IMAGES_AT_ONCE + 1])
def test_a_processor_gets_the_images_in_parts(count):
    seen = []
    network = PredictionNetwork(nn.Flatten(), CPU)
    network.network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    images = torch.randn(count, 3, 4, 4)
    assert torch.equal(network(images), images.flatten(1))
    assert sum(seen) == count
    assert max(seen) <= IMAGES_AT_ONCE
