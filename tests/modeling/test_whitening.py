"""Whitening: what the filters do to the patches of the images, against NumPy, and that nothing changes them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from Resnet23.config import TrainParams
from Resnet23.modeling.optim import create_optimizer
from Resnet23.modeling.stages import freeze
from Resnet23.modeling.whitening import EPSILON, WhiteningConvolution, patch_covariance, whitening_filters
from Resnet23.modeling.zoo import create_model


def smooth_images(count: int = 250, side: int = 12) -> Tensor:
    """Noise whose neighbouring pixels and channels are alike, as in photos, of mean zero; (N, 3, S, S)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 3, side + 4, side + 4, generator=generator)
    noise = torch.nn.functional.avg_pool2d(noise, 5, stride=1) * 5
    mixed = torch.einsum("dc,nchw->ndhw", torch.tensor([[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0]]), noise)
    return mixed - mixed.mean()


def patches_of(images: Tensor, side: int) -> np.ndarray:
    """Every patch of images (N, 3, H, W) as a row (3 * side * side,)."""
    windows = np.lib.stride_tricks.sliding_window_view(images.double().numpy(), (side, side), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * side**2)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_covariance_is_that_of_all_patches(side):
    patches = patches_of(smooth_images(), side)
    expected = patches.T @ patches / len(patches)
    assert np.allclose(patch_covariance(smooth_images(), side), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [2, 3])
def test_the_answers_are_uncorrelated_and_of_variance_one_but_for_epsilon(side):
    images, layer = smooth_images(), WhiteningConvolution(side)
    layer.prepare(images)
    size = 3 * side**2
    answers = layer(images).transpose(0, 1).flatten(1).double()  # (6k^2, places)
    assert layer.weight.shape == (2 * size, 3, side, side)
    assert torch.allclose(answers[size:], -answers[:size])
    variances = np.linalg.eigvalsh(np.cov(patches_of(images, side), rowvar=False, bias=True))[::-1]
    assert variances[0] > 100 * variances[-1], "the images are worth whitening"
    covariance = (answers[:size] @ answers[:size].T / answers.shape[1]).numpy()
    assert np.allclose(covariance, np.diag(variances / (variances + EPSILON)), atol=2e-3)


def test_the_same_images_give_the_same_filters_in_whatever_order_they_come():
    images = smooth_images()
    filters = whitening_filters(images, 2)
    assert torch.equal(filters, whitening_filters(images.clone(), 2))
    assert torch.allclose(filters, whitening_filters(images.flip(0), 2), atol=1e-4)
    flat = filters[:12].flatten(1)
    assert (flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_images_of_one_colour_give_numbers():
    assert torch.isfinite(whitening_filters(torch.zeros(3, 3, 8, 8), 3)).all()


@pytest.mark.parametrize("name", ["resnet23_whitened", "fast_cnn"])
def test_neither_phases_nor_optimizers_change_the_filters(name):
    model = create_model(name, num_classes=3, width=4)
    model.prepare(smooth_images(20, 16))
    layer = next(module for module in model.modules() if isinstance(module, WhiteningConvolution))
    before = layer.weight.clone()
    optimizer = create_optimizer(freeze(model, "all"), TrainParams(weight_decay=0.1), learning_rate=0.1, rate_decay=1.0)
    for _ in range(2):
        model(smooth_images(4, 16)).square().sum().backward()
        optimizer.step()
    assert torch.equal(layer.weight, before)
    assert not layer.weight.requires_grad
    again = create_model(name, num_classes=3, width=4)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(smooth_images(4, 16)), model.eval()(smooth_images(4, 16)))
