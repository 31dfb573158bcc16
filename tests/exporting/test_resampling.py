"""Resizing inside an exported network, beside Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image

from Resnet23.exporting.resampling import resize_images
from Resnet23.images import resize_image

SIZES = [(32, 32), (40, 50), (33, 32), (301, 200), (97, 1333), (20, 17), (8, 100), (500, 700), (1, 1), (64, 5)]


def photo(height: int, width: int) -> np.ndarray:
    """Soft colours with hard edges and noise, (height, width, 3) uint8."""
    generator = np.random.default_rng(height * width)
    coarse = generator.integers(0, 256, (max(height // 9, 1), max(width // 9, 1), 3), np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    image[: height // 3, width // 2 :] = generator.choice([0, 255], 3)
    return np.clip(image + generator.integers(-20, 21, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("rule", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_pillows(size, rule):
    image = photo(*size)
    expected = resize_image(Image.fromarray(image), 32, rule).astype(float)
    found = resize_images(torch.from_numpy(image[None]), 32, rule)
    assert found.shape == (1, 3, 32, 32)
    differences = np.abs(found[0].permute(1, 2, 0).numpy() * 255 - expected)
    assert differences.max() < 1.01, "one level of 255"
    assert (differences > 0.5).mean() < 0.01


def test_the_images_of_a_batch_do_not_mix():
    images = np.stack([photo(50, 40), photo(50, 40)[::-1]])
    together = resize_images(torch.from_numpy(images), 16, "crop")
    alone = [resize_images(torch.from_numpy(image[None]), 16, "crop") for image in images.copy()]
    assert torch.equal(together, torch.cat(alone))
