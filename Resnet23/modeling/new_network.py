"""The network that a training begins with: its first weights are random, pretrained, or follow from training images."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from Resnet23.arrays import Features
from Resnet23.config import Params
from Resnet23.dataset import normalize, resize, to_unit_range
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.zoo import create_model

SEEN_PIXELS = 5000 * 32**2  # at most, that a network is shown: 5,000 images of 32 pixels, 61 MB


@runtime_checkable
class SeesImagesFirst(Protocol):
    """A network some of whose weights follow from training images before the training, such as whitening."""

    def prepare(self, images: Tensor) -> None:
        """Compute these weights from normalised images (N, 3, S, S), without drawing any random number.

        It is called once, after the other weights have been drawn, in every process of a training with the same images.
        """


def new_network(features: Features, params: Params) -> nn.Module:
    """The network of `params` as a training on `features` begins with it; the random weights are those of the seed.

    A network that wants to see training images first is shown some, unless its weights are pretrained. Raises
    InputError and IntegrityError as `create_model` does.
    """
    torch.manual_seed(params.seed)
    classes = features.classes
    model = create_model(num_classes=len(classes), class_names=classes, **params.model.model_dump())
    if isinstance(model, SeesImagesFirst) and not params.model.pretrained:
        model.prepare(first_images(features, params))
    return model


def first_images(features: Features, params: Params) -> Tensor:
    """Training images (N, 3, S, S) as the network takes them, not augmented: all, or evenly spread ones where many."""
    how = network_preprocessing(features, params)
    rows = features.train_indices
    count = min(len(rows), max(1, SEEN_PIXELS // how.image_size**2))
    chosen = np.linspace(0, len(rows), count, endpoint=False).astype(np.int64)  # classes may follow one another
    data = network_images(features.train, how, rows[chosen])
    images, _ = data.raw_batch(np.arange(len(data)))
    return normalize(resize(to_unit_range(images), data.image_size), data.mean, data.std)
