"""Maps: as the formulas say, where the evidence was put, and for every network."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from Resnet23.errors import InputError
from Resnet23.explaining.maps import Explainer, occlusion
from Resnet23.modeling.pretrained import classifier_name
from Resnet23.modeling.zoo import create_model, list_models

pytest.importorskip("captum", reason="captum comes with the extra `explain`")

SIDE = 32  # pixels
BLOB = 8
RED, BLUE = (3.0, 0.0, 0.0), (0.0, 0.0, 3.0)
# The layer of Grad-CAM in each network, for images of these sizes; without one it is occlusion.
METHODS = {
    "convnext_tiny": ("features.7", 128),
    "efficientnet_b0": ("features.8", 128),
    "efficientnet_lite0": ("bn2", 128),
    "efficientnet_v2_s": ("features.7", 128),
    "fast_cnn": ("layers.28", 64),
    "mobilenet_v3_small": ("features.12", 128),
    "regnet_y_400mf": ("trunk_output.block4", 128),
    "resnet10": ("stages.3", 32),
    "resnet18": ("stages.3", 32),
    "resnet23": ("stages.3", 32),
    "resnet23_whitened": ("stages.3", 32),
    "resnet34": ("stages.3", 32),
    "resnet50": ("layer4", 128),
    "swin_t": ("permute", 128),
    "torchvision/resnet18": ("layer4", 128),
    "torchvision/resnet34": ("layer4", 128),
    "vit_b_16": (None, 224),
}
OTHERS = {
    "fast_cnn": (None, 32),  # its last grid has 3 x 3 places
    "resnet10": (None, 16),  # and here 2 x 2
    "torchvision/densenet121": ("features.norm5", 128),
    "torchvision/maxvit_t": ("blocks.3", 224),
    "timm/test_convnext": ("norm_pre", 160),
    "timm/test_vit": (None, 160),
}
HEAVY = {"convnext_tiny", "efficientnet_v2_s", "resnet50", "swin_t", "torchvision/maxvit_t", "vit_b_16"}
NETWORKS = [
    pytest.param(name, *row, marks=pytest.mark.slow if name in HEAVY else ())
    for name, row in [*METHODS.items(), *OTHERS.items()]
]


def network(name: str, **options: int) -> nn.Module:
    """A network with random weights, the classifier's too, which are zero in some."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, **options).eval()
    nn.init.normal_(model.get_submodule(classifier_name(model)).weight, std=0.1)
    return model


def test_every_row_of_the_table_is_tried():
    assert sorted(METHODS) == list_models()


@pytest.mark.parametrize(("name", "layer", "side"), NETWORKS)
def test_every_network_has_maps_of_the_image(name, layer, side):
    if "timm" in name or "lite0" in name:
        pytest.importorskip("timm", reason="timm comes with the extra `zoo`")
    model, image = network(name, width=8), torch.randn(1, 3, side, side)
    expected = model(image).detach()
    explainer = Explainer(model, image)
    maps = explainer.maps(image, [0, 1, 0], [1, 1, -1])
    assert explainer.method.startswith(f"Grad-CAM at the layer {layer}, " if layer else "occlusion by squares of ")
    assert maps.shape == (3, side, side)
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    assert (maps[0] + maps[2]).max() > 0, "for or against, there is something"
    assert torch.equal(model(image), expected), "the network is left as it was"


def reference(model: nn.Module, layer: nn.Module, image: Tensor, label: int) -> Tensor:
    """Equations 1 and 2 of the paper, enlarged to the image's size."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(output))
    logits = model(image)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, label], seen)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    found = F.relu((weights * seen[0]).sum(dim=1, keepdim=True))
    return F.interpolate(found, image.shape[-2:], mode="bilinear")[0, 0].detach()


def test_it_is_grad_cam():
    model, image = network("resnet10", width=8), torch.randn(1, 3, SIDE, SIDE)
    maps = Explainer(model, image).maps(image, [2, 4], [1, 1])
    for label, found in zip((2, 4), maps, strict=True):
        expected = reference(model, model.stages[-1], image, label)
        assert expected.max() > 0
        assert np.allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6 * float(expected.max()))


def blobs(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with a red square anywhere, label 0, or a blue one, label 1."""
    images = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    labels = torch.arange(count) % 2
    corners = torch.randint(0, SIDE - BLOB + 1, (count, 2), generator=generator).tolist()
    for image, label, (top, left) in zip(images, labels.tolist(), corners, strict=True):
        paint(image, BLUE if label else RED, top, left)
    return images, labels


def paint(image: Tensor, colour: tuple[float, ...], top: int, left: int) -> None:
    image[:, top : top + BLOB, left : left + BLOB] += torch.tensor(colour).view(3, 1, 1)


def convolutional() -> nn.Module:
    return create_model("resnet10", 2, width=4, dropout=0.0, final_dropout=0.0)


def with_class_token() -> nn.Module:
    return VisionTransformer(SIDE, 4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=2)


def with_windows() -> nn.Module:
    return SwinTransformer([4, 4], 16, [1, 1], [2, 2], [2, 2], stochastic_depth_prob=0.0, num_classes=2)


@pytest.mark.parametrize("build", [convolutional, with_class_token, with_windows])
def test_the_map_of_a_class_lies_where_its_evidence_is(build: Callable[[], nn.Module]):
    torch.manual_seed(0)
    model, generator = build(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        images, labels = blobs(32, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval()
    both = 0.3 * torch.randn(1, 3, SIDE, SIDE, generator=generator)
    paint(both[0], RED, 2, 2)
    paint(both[0], BLUE, SIDE - BLOB - 2, SIDE - BLOB - 2)
    red, blue, not_red = Explainer(model, both).maps(both, [0, 1, 0], [1, 1, -1])
    half = SIDE // 2
    for found, quarter in ((red, np.s_[:half, :half]), (blue, np.s_[half:, half:]), (not_red, np.s_[half:, half:])):
        assert found[quarter].max() == found.max() > 0
        assert found[quarter].sum() > 0.5 * found.sum()


def test_occlusion_of_a_linear_network_gives_the_share_of_each_square():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 14 * 14, 2))
    image = torch.randn(1, 3, 14, 14)
    found = occlusion(model, 2)(image, [1, 0])
    share = (model[1].weight.view(2, 3, 14, 14) * image).sum(dim=1, keepdim=True)  # (2, 1, 14, 14)
    expected = F.interpolate(F.avg_pool2d(share, 2, divisor_override=1), (14, 14))  # the sum of each square
    assert torch.allclose(found, expected.flip(0), atol=1e-5)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match=r'package captum .* pip install "Resnet23\[explain\]"'):
        Explainer(network("resnet10", width=4), torch.randn(1, 3, SIDE, SIDE))
