"""Augmentation on batches, against torchvision one image at a time."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from Resnet23 import augment as ours
from Resnet23.config import AffineParams, AugmentParams, ColorJitterParams

MEAN = (0.5, 0.4, 0.3)
EVERYTHING = {
    "flip": AugmentParams(flip=True),
    "crop": AugmentParams(crop_padding=4),
    "crop_zero": AugmentParams(crop_padding=4, crop_mode="zero"),
    "cutout": AugmentParams(cutout=8),
    "color_jitter": AugmentParams(color_jitter=ColorJitterParams(probability=1.0)),
    "affine": AugmentParams(affine=AffineParams(probability=1.0)),
}


@pytest.fixture
def images() -> torch.Tensor:
    """Smooth random pictures (6, 3, 16, 20), so that interpolation has something to work on."""
    coarse = torch.rand(6, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=(16, 20), mode="bilinear").contiguous()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_alone_decides_and_every_image_has_its_own_draw(name, images):
    same = images[:1].expand(64, -1, -1, -1)
    first = ours.augment(same, EVERYTHING[name], MEAN, generator())
    assert torch.equal(first, ours.augment(same, EVERYTHING[name], MEAN, generator()))
    assert not torch.equal(first, ours.augment(same, EVERYTHING[name], MEAN, generator(1)))
    different = {tuple(image.flatten().tolist()) for image in first}
    assert len(different) >= (2 if name == "flip" else 30)
    assert first.shape == same.shape
    assert first.min() >= 0
    assert first.max() <= 1


def test_nothing_changes_when_everything_is_off(images):
    assert torch.equal(ours.augment(images, AugmentParams(), MEAN, generator()), images)


def test_probability_zero_leaves_images_and_one_half_leaves_some(images):
    many = images[:1].expand(200, -1, -1, -1)
    changed = ours.affine(many, AffineParams(probability=0.5), generator())
    untouched = torch.isclose(changed, many, atol=1e-5).flatten(1).all(dim=1).sum()
    assert 70 < untouched < 130


def test_flip_mirrors_about_half_of_the_images(images):
    many = images[:1].expand(200, -1, -1, -1)
    flipped = ours.flip(many, generator())
    mirrored = (flipped == reference.horizontal_flip(many)).flatten(1).all(dim=1)
    assert torch.equal(flipped[~mirrored], many[~mirrored])
    assert 70 < mirrored.sum() < 130


@pytest.mark.parametrize(("mode", "padding_mode"), [("reflect", "reflect"), ("zero", "constant")])
def test_crop_equals_padding_and_cutting(images, mode, padding_mode):
    offsets = torch.tensor([[0, 0], [8, 8], [4, 4], [1, 7], [3, 0], [5, 2]])
    padded = reference.pad(images, [4, 4], padding_mode=padding_mode)
    for index, (row, column) in enumerate(offsets.tolist()):
        expected = reference.crop(padded[index], row, column, 16, 20)
        assert torch.equal(ours.crop_by(images, 4, mode, offsets)[index], expected)


def test_cutout_fills_one_square_with_the_mean(images):
    blank = torch.ones(300, 3, 16, 20)
    cut = ours.cutout(blank, 6, MEAN, generator())
    filled = cut[:, 0] != 1
    assert filled.flatten(1).sum(dim=1).max() == 36
    assert filled.flatten(1).sum(dim=1).min() >= 9  # a quarter of it, in a corner
    assert torch.allclose(cut.permute(0, 2, 3, 1)[filled], torch.tensor(MEAN))
    assert filled.any(dim=0).all()  # it reaches every place


@pytest.mark.parametrize(
    ("function", "adjust", "amounts"),
    [
        (ours.brightness_by, reference.adjust_brightness, [0.5, 0.8, 1.0, 1.2, 1.5, 2.0]),
        (ours.contrast_by, reference.adjust_contrast, [0.5, 0.8, 1.0, 1.2, 1.5, 2.0]),
        (ours.saturation_by, reference.adjust_saturation, [0.0, 0.8, 1.0, 1.2, 1.5, 2.0]),
        (ours.hue_by, reference.adjust_hue, [-0.5, -0.2, 0.0, 0.1, 0.3, 0.5]),
    ],
)
def test_colours_equal_torchvision(images, function, adjust, amounts):
    found = function(images, torch.tensor(amounts))
    expected = torch.stack([adjust(image, amount) for image, amount in zip(images, amounts, strict=True)])
    assert torch.allclose(found, expected, atol=2e-3)


def test_hue_of_greys_and_pure_colours():
    colours = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1]])
    turned = ours.hue_by(colours.view(6, 3, 1, 1), torch.full((6,), 1 / 3)).view(6, 3)
    expected = torch.tensor([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1]])
    assert torch.allclose(turned, expected, atol=1e-6)


def test_affine_equals_torchvision(images):
    degrees = torch.tensor([0.0, 15.0, -15.0, 90.0, 7.0, 0.0])
    shifts = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, -0.25], [0.0, 0.0], [0.05, 0.125], [0.2, 0.25]])
    found = ours.affine_by(images, degrees, shifts)
    for index in range(len(images)):
        expected = reference.affine(
            images[index],
            angle=degrees[index].item(),
            translate=[shifts[index, 0].item() * 20, shifts[index, 1].item() * 16],
            scale=1.0,
            shear=[0.0, 0.0],
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        assert torch.allclose(found[index], expected, atol=1e-4), index
