"""RandAugment, AutoAugment and TrivialAugment on batches, against torchvision one image at a time."""

import numpy as np
import pytest
import torch
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

from Resnet23.augmentation import policies
from Resnet23.augmentation.draws import Draws
from Resnet23.config import AugmentParams, RandAugmentParams

# Our names and torchvision's.
REFERENCES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
}
GEOMETRIC = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"}
PARAMS = {name: AugmentParams(policy=name) for name in policies.POLICIES}


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(seed, 1, 0, np.arange(count))


@pytest.fixture
def levels() -> torch.Tensor:
    """Random pictures (10, 3, 16, 20) uint8, neither black nor white anywhere, the last of one colour."""
    levels = torch.randint(20, 230, (10, 3, 16, 20), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    levels[9] = 90
    return levels


def magnitudes_of(name: str, ranges: policies.Ranges) -> torch.Tensor:
    """Ten magnitudes of an operation, all over its range, and for those that begin at 0 on both sides."""
    weakest, strongest = ranges.get(name, (0, 0))
    magnitudes = torch.linspace(weakest, strongest, 10)
    return magnitudes * torch.tensor([1, -1]).repeat(5) if weakest == 0 else magnitudes.round(decimals=1)


@pytest.mark.parametrize("ranges", [policies.standard_ranges(16, 20), policies.WIDE_RANGES], ids=["standard", "wide"])
@pytest.mark.parametrize("name", policies.OPERATIONS)
def test_an_operation_equals_torchvisions_on_bytes(name, ranges, levels):
    magnitudes = magnitudes_of(name, ranges)
    if name == "posterize":
        magnitudes = magnitudes.round()
    transform = v2.RandAugment()
    expected = torch.stack(
        [
            transform._apply_image_or_video_transform(
                image, REFERENCES[name], magnitude, InterpolationMode.NEAREST, {torch.Tensor: None}
            )
            for image, magnitude in zip(levels, magnitudes.tolist(), strict=True)
        ]
    )
    found = policies.OPERATIONS[name](levels / 255, magnitudes)
    difference = (found * 255 - expected.float()).abs()
    if name in GEOMETRIC:
        assert (difference < 1e-3).float().mean() > 0.99  # nearest: a tie may fall either way
    else:
        assert difference.max() < 2


@pytest.mark.parametrize("name", policies.OPERATIONS)
def test_the_table_and_torchvisions_agree_on_ranges_and_signs(name):
    spaces = [
        (v2.RandAugment._AUGMENTATION_SPACE, policies.standard_ranges(16, 20), 31),
        (v2.AutoAugment._AUGMENTATION_SPACE, policies.standard_ranges(16, 20), 10),
        (v2.TrivialAugmentWide._AUGMENTATION_SPACE, policies.WIDE_RANGES, 31),
    ]
    number = policies.NUMBERS[name]
    for space, ranges, bins in spaces:
        make, signed = space.get(REFERENCES[name], (lambda *sizes: None, False))
        expected = make(bins, 16, 20)
        expected = torch.zeros(bins) if expected is None else expected.float()
        operations, levels = torch.full((bins * 40,), number), torch.arange(bins).repeat(40)
        found = policies._magnitudes(ranges, bins, operations, levels, draws(bins * 40)).view(40, bins)
        found = found.round() if name == "posterize" else found
        assert torch.equal(found.abs(), expected.expand(40, -1))
        assert (found < 0).any() == signed


def test_the_autoaugment_table_is_torchvisions():
    expected = v2.AutoAugment(AutoAugmentPolicy.CIFAR10)._policies
    ours = [tuple((REFERENCES[name], share, level) for name, share, level in row) for row in policies.CIFAR10_POLICY]
    assert ours == [tuple((name, share, level or 0) for name, share, level in row) for row in expected]


def test_the_choices_are_torchvisions():
    names = {REFERENCES[name] for name in policies.CHOICES}
    assert names == v2.RandAugment._AUGMENTATION_SPACE.keys() == v2.TrivialAugmentWide._AUGMENTATION_SPACE.keys()
    assert list(policies.OPERATIONS)[: len(policies.CHOICES)] == policies.CHOICES  # drawn by number


@pytest.mark.parametrize("name", PARAMS)
def test_the_seed_alone_decides_and_every_image_has_its_own_draw(name, levels):
    same = (levels[:1] / 255).expand(64, -1, -1, -1)
    first = policies.apply_policy(same, PARAMS[name], draws(64))
    assert torch.equal(first, policies.apply_policy(same, PARAMS[name], draws(64)))
    assert not torch.equal(first, policies.apply_policy(same, PARAMS[name], draws(64, seed=1)))
    assert len({tuple(image.flatten().tolist()) for image in first}) >= 20
    assert first.min() >= 0 and first.max() <= 1


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_all_choices_are_equally_likely(name):
    steps = policies.POLICIES[name](PARAMS[name], 32, 32, draws(14_000))
    assert len(steps) == {"randaugment": 2, "trivialaugment": 1}[name]
    for operations, magnitudes in steps:
        counts = torch.bincount(operations, minlength=14)
        assert len(counts) == 14
        assert torch.all((counts - 1000).abs() < 150)  # 5 standard deviations
        rotations = magnitudes[operations == policies.NUMBERS["rotate"]]
        assert 0.4 < (rotations < 0).float().mean() < 0.6


def test_the_pairs_of_autoaugment_come_with_their_probabilities():
    count = 50_000
    steps = policies.auto_augment(PARAMS["autoaugment"], 32, 32, draws(count))
    for half, (operations, _) in enumerate(steps):
        for name in {row[half][0] for row in policies.CIFAR10_POLICY}:
            expected = sum(row[half][1] for row in policies.CIFAR10_POLICY if row[half][0] == name) / 25
            found = (operations == policies.NUMBERS[name]).float().mean().item()
            assert found == pytest.approx(expected, abs=0.01), name


def test_randaugment_does_as_many_operations_of_the_strength_it_is_told():
    params = AugmentParams(policy="randaugment", randaugment=RandAugmentParams(operations=3, magnitude=30))
    steps = policies.rand_augment(params, 32, 32, draws(2000))
    assert len(steps) == 3
    for operations, magnitudes in steps:
        assert magnitudes[operations == policies.NUMBERS["rotate"]].abs().unique().tolist() == [30.0]
        assert magnitudes[operations == policies.NUMBERS["posterize"]].unique().tolist() == [4.0]


@pytest.mark.parametrize("name", policies.standard_ranges(16, 20))
def test_the_weakest_magnitude_changes_nothing(name, levels):
    weakest = torch.full((10,), float(policies.WIDE_RANGES[name][0]))
    images = levels / 255
    assert torch.allclose(policies.OPERATIONS[name](images, weakest), images, atol=1e-6)


def test_each_image_gets_its_own_operation_and_the_batch_stays_as_it_was(levels):
    images = (levels / 255).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    operations = torch.tensor([policies.NUMBERS["invert"], policies.NUMBERS["identity"]]).repeat(5)
    changed = policies.apply_operations(images, operations, torch.zeros(10))
    assert torch.equal(changed[0::2], 1 - images[0::2])
    assert torch.equal(changed[1::2], images[1::2])
    assert torch.equal(images, before)
