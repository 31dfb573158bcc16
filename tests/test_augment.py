"""The random changes of a training batch: what is drawn, for which images, in which order."""

import numpy as np
import pytest
import torch

from Resnet23 import augment as ours
from Resnet23.augmentation.draws import Draws
from Resnet23.augmentation.geometry import mirror
from Resnet23.config import AffineParams, AugmentParams, ColorJitterParams, ResizedCropParams

MEAN = (0.5, 0.4, 0.3)
EVERYTHING = {
    "flip": AugmentParams(flip="random"),
    "flip_alternating": AugmentParams(flip="alternating"),
    "crop": AugmentParams(crop_padding=4),
    "crop_zero": AugmentParams(crop_padding=4, crop_mode="zero"),
    "resized_crop": AugmentParams(resized_crop=ResizedCropParams(probability=1.0)),
    "cutout": AugmentParams(cutout=8),
    "color_jitter": AugmentParams(color_jitter=ColorJitterParams(probability=1.0)),
    "affine": AugmentParams(affine=AffineParams(probability=1.0)),
    "policy": AugmentParams(policy="randaugment"),
}
SOMETIMES = {
    "resized_crop": AugmentParams(resized_crop=ResizedCropParams(probability=0.5)),
    "color_jitter": AugmentParams(color_jitter=ColorJitterParams(probability=0.5)),
    "affine": AugmentParams(affine=AffineParams(probability=0.5)),
    "flip": AugmentParams(flip="random"),
}


@pytest.fixture
def image() -> torch.Tensor:
    """A smooth random picture (1, 3, 16, 20)."""
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=(16, 20), mode="bilinear")


def draws(count: int, seed: int = 0, epoch: int = 1, part: slice = slice(None)) -> Draws:
    return Draws(seed, epoch, 0, np.arange(count), part)


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_alone_decides_and_every_image_has_its_own_draw(name, image):
    same = image.expand(64, -1, -1, -1)
    first = ours.augment(same, EVERYTHING[name], MEAN, draws(64))
    assert torch.equal(first, ours.augment(same, EVERYTHING[name], MEAN, draws(64)))
    assert not torch.equal(first, ours.augment(same, EVERYTHING[name], MEAN, draws(64, seed=1)))
    different = {tuple(one.flatten().tolist()) for one in first}
    assert len(different) >= (2 if "flip" in name else 25)
    assert first.shape == same.shape
    assert first.min() >= 0 and first.max() <= 1


@pytest.mark.parametrize("name", EVERYTHING)
def test_two_processes_make_of_their_parts_what_one_makes_of_the_batch(name, image):
    images = image * torch.linspace(0.5, 1, 20).view(-1, 1, 1, 1)
    whole = ours.augment(images, EVERYTHING[name], MEAN, draws(20))
    parts = [slice(0, 12), slice(12, 20)]
    found = [ours.augment(images[part], EVERYTHING[name], MEAN, draws(20, part=part)) for part in parts]
    assert torch.equal(torch.cat(found), whole)


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_order_in_memory_changes_nothing_and_the_batch_stays_as_it_was(name, image):
    images = image * torch.linspace(0.5, 1, 20).view(-1, 1, 1, 1)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    found = ours.augment(channels_last, EVERYTHING[name], MEAN, draws(20))
    assert torch.allclose(found, ours.augment(images, EVERYTHING[name], MEAN, draws(20)), atol=1e-5)
    assert torch.equal(channels_last, images)


def test_nothing_changes_when_everything_is_off(image):
    assert torch.equal(ours.augment(image, AugmentParams(), MEAN, draws(1)), image)


@pytest.mark.parametrize("name", SOMETIMES)
def test_with_probability_one_half_about_half_stay_bit_for_bit(name, image):
    many = image.expand(200, -1, -1, -1)
    changed = ours.augment(many, SOMETIMES[name], MEAN, draws(200))
    untouched = (changed == many).flatten(1).all(dim=1).sum()
    assert 70 < untouched < 130


def test_the_alternating_flip_shows_every_image_both_ways_in_two_epochs(image):
    many = image.expand(100, -1, -1, -1)
    first, second = (ours.flip(many, "alternating", draws(100, epoch=epoch)) for epoch in (1, 2))
    assert torch.equal(second, mirror(first, torch.ones(100, dtype=torch.bool)))


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 50)])
def test_resized_crop_draws_areas_and_stretches_from_all_of_their_ranges(monkeypatch, height, width):
    images, seen = torch.zeros(3000, 3, height, width), []
    monkeypatch.setattr(ours, "resized_crop_by", lambda images, boxes: seen.append(boxes) or images)
    ours.resized_crop(images, ResizedCropParams(probability=1.0, min_area=0.25, max_aspect=2.0), draws(3000))
    top, left, box_height, box_width = seen[0].unbind(dim=1)
    assert torch.equal(seen[0], seen[0].round())
    assert top.min() == left.min() == 0
    assert (top + box_height).max() == height and (left + box_width).max() == width
    area = box_height * box_width / (height * width)
    stretch = (box_width / width) / (box_height / height)
    assert 0.22 < area.min() < 0.28 and area.max() == 1
    assert 0.59 < area.mean() < 0.66  # uniform from 0.25 to 1
    assert 0.45 < stretch.min() < 0.55 and 1.8 < stretch.max() < 2.2


def test_affine_reaches_its_limits_and_keeps_to_them(monkeypatch, image):
    seen = []
    monkeypatch.setattr(ours, "affine_by", lambda images, *amounts: seen.extend(amounts) or images)
    params = AffineParams(probability=1.0, degrees=15.0, translate=0.1)
    ours.affine(image.expand(2000, -1, -1, -1), params, draws(2000))
    for amounts, limit in zip(seen, (15, 0.1), strict=True):
        assert 0.99 * limit < amounts.max() <= limit
        assert -limit <= amounts.min() < -0.99 * limit


def test_color_jitter_reaches_its_limits_and_keeps_to_them(monkeypatch, image):
    seen = []
    monkeypatch.setattr(ours, "color_jitter_by", lambda images, changes: seen.append(changes) or images)
    params = ColorJitterParams(probability=1.0, brightness=0.1, contrast=0.2, saturation=0.3, hue=0.05)
    ours.color_jitter(image.expand(2000, -1, -1, -1), params, draws(2000))
    limits = torch.tensor([0.1, 0.2, 0.3, 0.05])
    assert torch.all(seen[0].abs().amax(dim=0) <= limits)
    assert torch.all(seen[0].amax(dim=0) > 0.98 * limits) and torch.all(seen[0].amin(dim=0) < -0.98 * limits)


def test_cutout_fills_one_square_with_the_mean():
    blank = torch.ones(300, 3, 16, 20)
    cut = ours.cutout(blank, 6, MEAN, draws(300))
    filled = cut[:, 0] != 1
    assert filled.flatten(1).sum(dim=1).max() == 36
    assert filled.flatten(1).sum(dim=1).min() >= 9  # a quarter of it, in a corner
    assert torch.allclose(cut.permute(0, 2, 3, 1)[filled], torch.tensor(MEAN))
    assert filled.any(dim=0).all()  # it reaches every place


def test_the_square_of_cutout_is_laid_over_everything_else(image):
    """Nothing turns, recolours or cuts it."""
    params = AugmentParams(
        flip="random",
        crop_padding=2,
        cutout=6,
        color_jitter=ColorJitterParams(probability=1.0),
        affine=AffineParams(probability=1.0),
    )
    changed = ours.augment(image.expand(50, -1, -1, -1), params, MEAN, draws(50))
    filled = torch.isclose(changed, torch.tensor(MEAN).view(1, 3, 1, 1), atol=1e-6).all(dim=1)  # (N, H, W)
    for marks in filled:
        rows, columns = marks.any(dim=1).sum(), marks.any(dim=0).sum()
        assert rows >= 3 and columns >= 3
        assert marks.sum() == rows * columns
