"""How the network that params.yaml describes takes the images of the features: at which size, normalised how."""

import numpy as np

from Resnet23.arrays import Features, Split
from Resnet23.config import Params
from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.checkpoint import Preprocessing
from Resnet23.modeling.zoo import input_of


def network_preprocessing(features: Features, params: Params) -> Preprocessing:
    """Size and normalisation as the pretrained weights want them, or else as the features are.

    Where the last phase of the training has a resolution, this is the size, as the network is used at it. Raises
    InputError when the model has no such weights.
    """
    wanted = input_of(params.model.name, params.model.pretrained)
    size = wanted.image_size if wanted else features.image_size
    mean, std = (wanted.mean, wanted.std) if wanted else (features.mean, features.std)
    return Preprocessing(params.train.phases[-1].resolution or size, features.resize, list(mean), list(std))


def network_images(split: Split, how: Preprocessing, rows: np.ndarray | None = None) -> FeatureDataset:
    """These rows of the features, or all, as the network takes them."""
    return FeatureDataset(split.images, split.targets, how.mean, how.std, rows, how.image_size)
