"""MixUp and CutMix: the targets follow the pixels, and every image is mixed in its own way."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from Resnet23.augmentation import mixing
from Resnet23.augmentation.draws import Draws
from Resnet23.config import AugmentParams

MIXTURES = {
    "mixup": AugmentParams(mixup=0.4),
    "cutmix": AugmentParams(cutmix=1.0),
    "both": AugmentParams(mixup=0.4, cutmix=1.0),
}
COUNT = 200


def draws(seed: int = 0) -> Draws:
    return Draws(seed, 1, 0, np.arange(COUNT))


def images_that_know_their_number() -> torch.Tensor:
    """Images (COUNT, 3, 12, 10), all pixels of the i-th of them i."""
    return torch.arange(COUNT).float().view(-1, 1, 1, 1).expand(-1, 3, 12, 10)


@pytest.mark.parametrize("params", MIXTURES.values(), ids=MIXTURES)
def test_each_target_holds_as_much_of_each_image_as_the_picture_does(params):
    """With one class for each image, the mean pixel is the mean class."""
    images, targets = mixing.mix(images_that_know_their_number(), torch.eye(COUNT), params, draws())
    assert torch.allclose(images.mean(dim=(1, 2, 3)), targets @ torch.arange(COUNT).float(), atol=1e-3)
    assert torch.allclose(targets.sum(dim=1), torch.ones(COUNT), atol=1e-6)
    assert (targets > 0).sum(dim=1).max() == 2


def test_the_targets_of_cutmix_count_the_pixels_kept():
    images, targets = mixing.mix(images_that_know_their_number(), torch.eye(COUNT), MIXTURES["cutmix"], draws())
    kept = (images[:, 0] == torch.arange(COUNT).view(-1, 1, 1)).float().mean(dim=(1, 2))
    mixed = targets.diag() < 1
    assert mixed.sum() > 150
    assert torch.allclose(targets.diag(), torch.where(mixed, kept, 1.0), atol=1e-6)


@pytest.mark.parametrize("params", MIXTURES.values(), ids=MIXTURES)
def test_the_seed_decides_and_shares_and_partners_differ_within_a_batch(params):
    images, targets = mixing.mix(images_that_know_their_number(), torch.eye(COUNT), params, draws())
    again, other = (mixing.mix(images_that_know_their_number(), torch.eye(COUNT), params, draws(s)) for s in (0, 1))
    assert torch.equal(images, again[0]) and torch.equal(targets, again[1])
    assert not torch.equal(images, other[0])
    assert len(targets.diag().unique()) > 30
    partners = (targets - torch.diag(targets.diag())).argmax(dim=1)
    assert len(partners.unique()) > 100


def test_with_both_on_each_image_draws_which():
    images, _ = mixing.mix(images_that_know_their_number(), torch.eye(COUNT), MIXTURES["both"], draws())
    pasted = images.flatten(1).std(dim=1) > 1e-3  # a blend of two plain images is plain, a pasted box is not
    assert 60 < pasted.sum() < 130


def test_many_labels_of_an_image_are_mixed_each():
    labels = torch.randint(2, (COUNT, 7), generator=torch.Generator().manual_seed(0)).float()
    shares, partners = torch.rand(COUNT, 1), torch.randperm(COUNT)
    found = mixing.mix_by(labels, partners, shares)
    assert torch.allclose(found, shares * labels + (1 - shares) * labels[partners], atol=1e-6)
    _, mixed = mixing.mix(images_that_know_their_number(), labels, MIXTURES["both"], draws())
    assert mixed.sum().item() == pytest.approx(labels.sum().item(), rel=0.1)
    assert mixed.min() >= 0 and mixed.max() <= 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("center", [(6, 5), (0, 0), (11, 9), (3, 8)])
def test_the_arithmetic_is_torchvisions(share, center):
    """torchvision mixes each image with the one before it, all by the same share and box."""
    images, targets = torch.rand(4, 3, 12, 10), torch.eye(4)
    partners, shares = torch.tensor([3, 0, 1, 2]), torch.full((4,), share)
    half_height, half_width = (int(side * (1 - share) ** 0.5 / 2) for side in (12, 10))
    top, bottom = max(center[0] - half_height, 0), min(center[0] + half_height, 12)
    left, right = max(center[1] - half_width, 0), min(center[1] + half_width, 10)
    kept_share = 1 - (bottom - top) * (right - left) / 120
    cases = [
        (v2.MixUp(num_classes=4), {"lam": share}, mixing.mixup_shares(images, shares)),
        (
            v2.CutMix(num_classes=4),
            {"box": (left, top, right, bottom), "lam_adjusted": kept_share},
            mixing.cutmix_shares(images, shares, torch.tensor([center] * 4)),
        ),
    ]
    for transform, parameters, kept in cases:
        parameters |= {"labels": targets, "batch_size": 4}
        assert torch.allclose(mixing.mix_by(images, partners, kept), transform.transform(images, parameters), atol=1e-6)
        found = mixing.mix_by(targets, partners, kept.mean(dim=(2, 3)))
        assert torch.allclose(found, transform.transform(targets, parameters), atol=1e-6)


@pytest.mark.parametrize("params", MIXTURES.values(), ids=MIXTURES)
def test_each_of_several_labels_is_mixed_like_the_pixels(params):
    """Label k of an image is bit k of its number: the labels hold as much of each image as the picture does."""
    numbers = torch.arange(COUNT)
    labels = (numbers[:, None] >> torch.arange(8) & 1).float()  # (COUNT, 8), none to all of them
    images, mixed = mixing.mix(images_that_know_their_number(), labels, params, draws())
    _, shares = mixing.mix(images_that_know_their_number(), torch.eye(COUNT), params, draws())
    assert torch.allclose(mixed, shares @ labels, atol=1e-6)
    assert torch.allclose(images.mean(dim=(1, 2, 3)), mixed @ (2.0 ** torch.arange(8)), atol=1e-3)
    assert mixed.min() >= 0 and mixed.max() <= 1 and not ((mixed == 0) | (mixed == 1)).all()
