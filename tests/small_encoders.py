"""Small encoders and images for the tests of the heads; what they compute takes milliseconds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from Resnet23.classifiers import one_vs_rest

FEATURES = 32
CLASSES = 4


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Images (3, 16, 16) in a colour of their class with noise, mirrored at random where `flip` says so."""

    def __init__(self, count: int = 60, seed: int = 0, flip: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = [index % CLASSES for index in range(count)]
        colours = torch.randn(CLASSES, 3, 1, 1, generator=torch.Generator().manual_seed(9))
        self.images = colours[self.targets] + 0.3 * torch.randn(count, 3, 16, 16, generator=generator)
        self.flip = flip

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        is_flipped = self.flip and bool(torch.rand(()) < 0.5)
        return (image.flip(2) if is_flipped else image), self.targets[index]


def loaders(flip: bool = False, **options: Any) -> tuple[DataLoader, DataLoader]:
    """60 training images, shuffled unless `options` say otherwise, and 30 to validate on; labels 0 to 3."""
    options = {"batch_size": 16, "shuffle": "sampler" not in options} | options
    return DataLoader(LabelledImages(60, 0, flip), **options), DataLoader(LabelledImages(30, 1), 16)


def binary_loaders(target: int = 1, **options: Any) -> tuple[DataLoader, DataLoader]:
    """The same images with labels 1.0 for one class and 0.0 for the rest."""
    train, val = loaders()
    options = {"batch_size": 16, "shuffle": "sampler" not in options} | options
    return DataLoader(one_vs_rest(train.dataset, target), **options), DataLoader(one_vs_rest(val.dataset, target), 16)


class CountingEncoder(nn.Module):
    """A convolution with BatchNorm and dropout, averaged over space; `images` counts what it was given."""

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, features, 3), nn.BatchNorm2d(features), nn.ReLU(), nn.Dropout(0.5))
        self.images = 0

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return self.layers(images).mean(dim=(2, 3))


def counting_encoder(seed: int = 0) -> CountingEncoder:
    """One whose BatchNorm has seen images, in training mode as somebody may leave it."""
    torch.manual_seed(seed)
    encoder = CountingEncoder()
    encoder(LabelledImages().images)
    encoder.images = 0
    return encoder


def hugging_face_encoder(features: int = FEATURES) -> nn.Module:
    """A ResNet of Hugging Face's with one block in each stage; skips the test where transformers is missing."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, features], "depths": [1, 1, 1, 1]}
    return transformers.ResNetModel(transformers.ResNetConfig(layer_type="basic", **shape)).eval()


def save_hugging_face_encoder(folder: Path, image_size: int = 32, features: int = FEATURES) -> Path:
    """That ResNet and its image processor as a folder."""
    transformers = pytest.importorskip("transformers")
    hugging_face_encoder(features).save_pretrained(folder)
    how = {"size": {"height": image_size, "width": image_size}, "image_mean": [0.4, 0.5, 0.6]}
    transformers.ViTImageProcessor(**how, image_std=[0.2, 0.25, 0.3]).save_pretrained(folder)
    return folder
