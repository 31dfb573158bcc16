"""The presets of CIFAR-100: the network is torchvision's with a stem for small images, the recipes are those meant."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet34

from Resnet23.augmentation.draws import Draws
from Resnet23.config import Params, load_params
from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.batches import BatchSource
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.zoo import create_model
from Resnet23.sources.cifar import CIFAR100
from Resnet23.superclasses import CIFAR100_SUPERCLASSES, find_superclasses

FULL = ("cifar100-resnet34", "cifar100-best")
SMALL = "cifar100-small"


@pytest.fixture
def preset(repository, monkeypatch):
    """A function that reads a preset of the repository."""
    monkeypatch.chdir(repository)
    return lambda name, *assignments: load_params(preset=name, assignments=assignments)


def build(params: Params, classes: int) -> nn.Module:
    """The network of the parameters."""
    return create_model(num_classes=classes, **params.model.model_dump())


@pytest.mark.parametrize("name", FULL)
def test_the_network_is_torchvisions_with_a_stem_for_small_images(preset, name):
    model, reference = build(preset(name), 100), resnet34(num_classes=100)
    reference.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_328_292
    ours, theirs = model.state_dict(), reference.state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    reference.load_state_dict(ours)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), reference.eval()(images))
        assert model.layer1(model.maxpool(model.conv1(images))).shape == (2, 64, 32, 32)  # nothing is shrunk yet
    assert not any(isinstance(module, nn.Dropout | nn.Dropout2d) for module in model.modules())


@pytest.mark.parametrize("name", FULL)
def test_all_images_are_trained_on_and_tested_for_120_epochs(preset, name):
    params = preset(name)
    assert (params.data.dataset, params.data.image_size, params.data.classes) == ("cifar100", 32, None)
    assert params.data.max_per_class.train is params.data.max_per_class.test is None
    assert (params.features.val_fraction, params.train.epochs) == (0, 120)
    assert params.train.patience == 0


def test_the_small_setting_has_four_whole_superclasses(preset):
    classes = preset(SMALL).data.classes
    families = set(find_superclasses("cifar100", classes).values())
    assert len(classes) == 20 and set(classes) <= set(CIFAR100.classes)
    assert sorted(classes) == sorted(name for family in families for name in CIFAR100_SUPERCLASSES[family].split())


def test_the_small_setting_learns_as_the_full_one_does(preset):
    small, full = preset(SMALL).train, preset(FULL[0]).train
    shortened = {"epochs", "batch_size"}
    assert small.model_dump(exclude=shortened) == full.model_dump(exclude=shortened)


def images(count: int = 64) -> FeatureDataset:
    """Random images of 32 pixels in 20 classes."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return FeatureDataset(pixels, np.arange(count) % 20, (0.5,) * 3, (0.25,) * 3)


def test_mixup_and_cutmix_each_change_about_half_of_the_images(preset):
    """A box leaves pixels as they were; blending, with shares from Beta(0.2, 0.2), next to none in between."""
    params, data = preset("cifar100-best", "train.augment.policy=none", "train.augment.flip=none").train, images(256)
    params = params.model_copy(update={"augment": params.augment.model_copy(update={"crop_padding": 0})})
    source = BatchSource(data, get_task("multiclass"), 20, params, 0, torch.device("cpu"))
    raw, targets = data.raw_batch(np.arange(256))
    changed, soft = source.change(raw, targets, Draws(0, 1, 0, np.arange(256)))
    same = (changed == raw / 255).all(dim=1).flatten(1).float().mean(dim=1)  # (256,) share of pixels
    pasted = ((same > 0) & (same < 1)).float().mean().item()
    assert 0.35 < pasted < 0.65
    assert soft.shape == (256, 20) and torch.allclose(soft.sum(dim=1), torch.ones(256))


@pytest.mark.parametrize("name", [*FULL, SMALL])
def test_the_recipe_trains(preset, name):
    tiny = ["model.name=resnet10", "model.width=4", "train.epochs=1", "train.batch_size=32", "train.warmup_epochs=0"]
    params = preset(name, *tiny, "train.precision=fp32", "train.device=cpu")
    result = fit(build(params, 20), images(), None, get_task("multiclass"), 20, params.train, seed=0)
    assert np.isfinite(result.history[0].train_loss)
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())
