"""Colour operations on batches, against torchvision one image at a time."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from Resnet23.augmentation import colors

FACTORS = [0.0, 0.5, 0.8, 1.0, 1.5, 2.0]


@pytest.fixture
def images() -> torch.Tensor:
    """Random pictures (6, 3, 12, 10) of whole levels, the last of one colour."""
    levels = torch.randint(256, (6, 3, 12, 10), generator=torch.Generator().manual_seed(1))
    levels[5] = 77
    return levels / 255


@pytest.mark.parametrize(
    ("function", "adjust", "amounts"),
    [
        (colors.brightness_by, reference.adjust_brightness, FACTORS),
        (colors.contrast_by, reference.adjust_contrast, FACTORS),
        (colors.saturation_by, reference.adjust_saturation, FACTORS),
        (colors.sharpness_by, reference.adjust_sharpness, FACTORS),
        (colors.hue_by, reference.adjust_hue, [-0.5, -0.2, 0.0, 0.1, 0.3, 0.5]),
        (colors.solarize_by, reference.solarize, [0.0, 0.2, 0.5, 102 / 255, 0.9, 1.0]),
    ],
)
def test_every_image_is_changed_by_its_own_amount_as_torchvision_changes_it(images, function, adjust, amounts):
    for batch in (images, images.contiguous(memory_format=torch.channels_last)):
        found = function(batch, torch.tensor(amounts))
        expected = torch.stack([adjust(image, amount) for image, amount in zip(images, amounts, strict=True)])
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "adjust"),
    [
        (colors.autocontrast, reference.autocontrast),
        (colors.equalize, reference.equalize),
        (colors.invert, reference.invert),
        (
            lambda images: colors.posterize_by(images, torch.full((6,), 3.0)),
            lambda image: reference.posterize(image, 3),
        ),
    ],
    ids=["autocontrast", "equalize", "invert", "posterize"],
)
def test_what_is_defined_on_levels_equals_torchvision_on_bytes(images, function, adjust):
    expected = adjust((images * 255).round().to(torch.uint8))
    assert torch.equal((function(images) * 255).round().to(torch.uint8), expected)


def test_a_value_within_rounding_of_a_level_counts_as_that_level(images):
    """Else a pixel on the threshold of solarize would turn black or white by the last bit."""
    nearly = images + torch.empty_like(images).uniform_(-1e-4, 1e-4, generator=torch.Generator().manual_seed(0))
    amounts = torch.full((6,), 128 / 255)
    assert torch.equal(colors.solarize_by(nearly, amounts), colors.solarize_by(images, amounts))
    assert torch.equal(colors.posterize_by(nearly, amounts * 8), colors.posterize_by(images, amounts * 8))
    assert torch.equal(colors.equalize(nearly), colors.equalize(images))
    assert torch.equal(colors.autocontrast(nearly), colors.autocontrast(images))


def test_hue_of_greys_and_pure_colours():
    pixels = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1]])
    turned = colors.hue_by(pixels.view(6, 3, 1, 1), torch.full((6,), 1 / 3)).view(6, 3)
    expected = torch.tensor([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1]])
    assert torch.allclose(turned, expected, atol=1e-6)
