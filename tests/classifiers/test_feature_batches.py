"""Encoding once: what is cached and for how long, what is not and why."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_encoders import (
    CLASSES,
    FEATURES,
    LabelledImages,
    binary_loaders,
    counting_encoder,
    loaders,
)
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, default_collate

from Resnet23.classifiers import create_multiclass_classifier_head, train_multiclass_classifier
from Resnet23.classifiers.cache import ENCODED_DIR
from Resnet23.classifiers.encoders import Encoder
from Resnet23.classifiers.feature_batches import open_batches
from Resnet23.classifiers.objectives import multiclass_objective
from Resnet23.classifiers.training import train_head
from Resnet23.errors import InputError, ResourceError

CPU = torch.device("cpu")
PROBE = 15 + 1  # images that are encoded to see whether the encoder can be cached; of 60


def features_of(model: nn.Module, loader: DataLoader) -> torch.Tensor:
    return torch.cat([features for features, _ in open_batches(Encoder(model), loader, CPU, FEATURES)])


@pytest.fixture
def in_project(lines: list[str]) -> list[Path]:
    """A project as the current directory; gives the files of its cache whenever it is called."""
    Path("params.yaml").touch()
    return lambda: sorted(ENCODED_DIR.iterdir()) if ENCODED_DIR.exists() else []


def test_a_project_keeps_its_encoded_images_whatever_the_labels_and_the_batches(in_project):
    encoder, (train, _) = counting_encoder(), loaders(shuffle=False)
    features = features_of(encoder, train)
    assert torch.allclose(features, encoder(train.dataset.images), atol=1e-6)
    assert [file.suffix for file in in_project()] == [".npy"]
    encoder.images = 0
    assert torch.equal(features_of(encoder, binary_loaders(shuffle=False, batch_size=7)[0]), features)
    assert encoder.images == PROBE + 8, "the file was found; a few images see that it is still right"
    assert len(in_project()) == 1


def test_other_images_weights_or_structure_make_another_file(in_project):
    encoder, (train, val) = counting_encoder(), loaders()
    features_of(encoder, train)
    features_of(encoder, val)
    features_of(counting_encoder(seed=1), train)
    train.dataset.images[59, 0, 0, 0] += 1
    features_of(encoder, train)
    encoder.layers[2] = nn.LeakyReLU(0.0)
    features_of(encoder, train)
    assert len(in_project()) == 5


@pytest.mark.fault(21)
def test_a_file_that_is_not_what_the_encoder_gives_is_replaced(in_project):
    encoder, (train, _) = counting_encoder(), loaders(shuffle=False)
    features = features_of(encoder, train)
    (file,) = in_project()
    for damage in (b"no array", None):
        if damage:
            file.write_bytes(damage)
        else:
            np.save(file, features.numpy() + 1)
        assert torch.equal(features_of(encoder, train), features)
        assert in_project() == [file]


def test_outside_of_a_project_nothing_is_left(lines, no_project):
    train_multiclass_classifier(counting_encoder(), *loaders(), "cpu", 1, 0.01, FEATURES, 16, num_classes=CLASSES)
    assert list(no_project.iterdir()) == []


def test_a_full_disk_is_noticed_before_it_is_written_to(in_project, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 60 * FEATURES * 4 - 1}))
    with pytest.raises(ResourceError, match="the features of 60 images need"):
        features_of(counting_encoder(), loaders()[0])
    assert in_project() == []


def test_views_of_random_images_are_encoded_once_each_and_take_turns(lines):
    encoder, (train, val) = counting_encoder(), loaders(flip=True, shuffle=False)
    head = create_multiclass_classifier_head(FEATURES, 16, num_classes=CLASSES)
    train_head(encoder, head, multiclass_objective(), train, val, CPU, 7, 0.01, FEATURES, views=2)
    assert encoder.images == 2 * 60 + 30 + 2 * PROBE
    assert not any("anew" in line for line in lines)
    batches = open_batches(Encoder(encoder), train, CPU, FEATURES, views=2)
    first, second, third = (torch.cat([features for features, _ in batches]) for _ in range(3))
    assert torch.equal(first, third) and not torch.equal(first, second)


class Stream(IterableDataset):
    """40 labelled images one after the other."""

    def __iter__(self):
        data = LabelledImages(40)
        return (data[index] for index in range(40))


class OwnLoader(DataLoader):
    """A DataLoader that changes its batches."""

    def __iter__(self):
        return ((images * 2, labels) for images, labels in super().__iter__())


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (DataLoader(Stream(), 16), "an IterableDataset"),
        (DataLoader(LabelledImages(40), 16, collate_fn=lambda items: default_collate(items)), "collate_fn"),
        (DataLoader([default_collate([LabelledImages(4)[0]])], batch_size=None), "batch_size=None"),
        (OwnLoader(LabelledImages(40), 16), "OwnLoader is no plain DataLoader"),
        ([default_collate([LabelledImages(4)[0]])], "list is no plain DataLoader"),
    ],
    ids=["stream", "collate_fn", "whole batches", "own loader", "list"],
)
def test_any_loader_serves_and_a_line_says_why_it_is_not_cached(lines, loader, reason):
    encoder = counting_encoder()
    found = features_of(encoder, loader)
    expected = torch.cat([encoder(images) for images, _ in loader])
    assert torch.allclose(found, expected, atol=1e-6)
    assert sum("encoded anew in each epoch" in line and reason in line for line in lines) == 1


def test_features_that_depend_on_the_rest_of_the_batch_are_not_cached(lines):
    encoder = counting_encoder()
    encoder.layers[1] = nn.BatchNorm2d(FEATURES, track_running_stats=False)
    features_of(encoder, loaders()[0])
    assert any("depend on the rest of its batch" in line for line in lines)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "the loader gives no batches"),
        (DataLoader(LabelledImages(0), 16), "the loader's data set is empty"),
        ([torch.zeros(2, 3, 16, 16)], r"expected batches \(images, labels\)"),
        ([{"pixel_values": torch.zeros(2, 3, 16, 16)}], "gives a dict"),
    ],
    ids=["no batches", "no images", "no labels", "dictionary"],
)
def test_loaders_without_images_and_labels_are_refused(lines, loader, message):
    with pytest.raises(InputError, match=message):
        train_multiclass_classifier(counting_encoder(), loader, loader, "cpu", 1, 0.01, FEATURES, num_classes=CLASSES)
