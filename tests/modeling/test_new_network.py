"""The network at the beginning of a training: seeded, and shown training images when it wants to see some."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import Features, read_features
from Resnet23.config import Params, load_params
from Resnet23.modeling import new_network as module
from Resnet23.modeling import train
from Resnet23.modeling.checkpoint import save_checkpoint
from Resnet23.modeling.new_network import first_images, new_network
from Resnet23.modeling.whitening import whitening_filters
from Resnet23.modeling.zoo import create_model
from Resnet23.studies.measuring import Job
from Resnet23.studies.sweep import Options

SIDE = 16
FILTERS = {"resnet23_whitened": "conv1.0.weight", "fast_cnn": "layers.0.weight"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of 16 pixels with their features."""
    folder = tmp_path_factory.mktemp("digits")
    make_features(folder, [*SHRUNK, f"data.image_size={SIDE}"])
    return folder


@pytest.fixture
def features(project: Path, monkeypatch: pytest.MonkeyPatch) -> Features:
    """Those of the current directory."""
    monkeypatch.chdir(project)
    return read_features()


def params(name: str, *changes: str) -> Params:
    return load_params(assignments=[f"model.name={name}", "model.width=4", *changes])


def training_images(features: Features) -> torch.Tensor:
    """All of them (N, 3, S, S), normalised, by hand."""
    pixels = np.stack([features.train.images[row] for row in features.train_indices]) / 255
    return torch.from_numpy((pixels - features.mean) / features.std).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("name", FILTERS)
def test_the_filters_whiten_the_training_images(name, features):
    model = new_network(features, params(name))
    filters = model.state_dict()[FILTERS[name]]
    expected = whitening_filters(training_images(features), filters.shape[-1])
    # Digits are grey, so that some directions vary as little as others: what all filters do together is not arbitrary.
    found, wanted = (each.flatten(1).T @ each.flatten(1) for each in (filters, expected))
    assert torch.allclose(found, wanted, atol=1e-3 * wanted.max())
    assert not torch.allclose(found, torch.eye(len(found)) * found.trace() / len(found), rtol=0.5)


@pytest.mark.parametrize("name", ["resnet10", *FILTERS])
def test_all_other_weights_are_those_of_the_seed(name, features):
    found = new_network(features, params(name, "seed=3")).state_dict()
    torch.manual_seed(3)
    plain = create_model(num_classes=len(features.classes), **params(name).model.model_dump()).state_dict()
    changed = {key for key in plain if not torch.equal(found[key], plain[key])}
    assert changed == ({FILTERS[name]} if name in FILTERS else set())


def test_many_images_are_seen_in_part_but_of_every_class(features, monkeypatch):
    monkeypatch.setattr(module, "SEEN_PIXELS", 20 * SIDE**2)
    images = first_images(features, params("fast_cnn"))
    everything = training_images(features)
    rows = np.linspace(0, len(everything), 20, endpoint=False).astype(int)
    assert torch.allclose(images, everything[rows], atol=1e-5)
    assert set(features.train.targets[features.train_indices[rows]]) == set(range(len(features.classes)))


@pytest.mark.parametrize("name", FILTERS)
def test_a_training_keeps_the_filters_and_a_study_begins_with_the_same(name, features):
    settings = params(name, "train.epochs=1", "train.ema_decay=0.9", "tracking.enabled=false")
    trained = train.train(features, settings).checkpoint
    begun = Job(settings, Options(), features).network().state_dict()
    assert torch.equal(trained.state_dict[FILTERS[name]], begun[FILTERS[name]])
    assert not torch.equal(trained.state_dict["classifier.weight"], begun["classifier.weight"])
    images = torch.randn(2, 3, SIDE, SIDE)
    assert torch.isfinite(trained.build_model()(images)).all()


@pytest.mark.parametrize("name", FILTERS)
def test_pretrained_weights_keep_their_own_filters(name, features):
    checkpoint = train.train(features, params(name, "train.epochs=1")).checkpoint
    other = checkpoint.state_dict[FILTERS[name]] * 2
    checkpoint.state_dict[FILTERS[name]] = other
    save_checkpoint("body.pth", checkpoint)
    found = new_network(features, params(name, "model.pretrained=body.pth")).state_dict()
    assert torch.equal(found[FILTERS[name]], other)
