"""What PyTorch says about images, and what exported networks are given to see of the same."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Resnet23.exporting import parity
from Resnet23.exporting.parity import Comparison, Network, Samples, spread
from Resnet23.exporting.source import as_pixels
from Resnet23.images import resize_image
from Resnet23.modeling.checkpoint import Preprocessing
from Resnet23.modeling.inference import Classifier


def make_samples(classifier: Classifier, images: np.ndarray, targets: np.ndarray) -> Samples:
    """Images (N, S, S, 3) uint8 of the network's size, with what PyTorch says about them."""
    probabilities = classifier.probabilities(classifier.dataset(images, targets), "PyTorch")
    is_multilabel = classifier.checkpoint.task == "multilabel"
    return Samples(images, targets, probabilities, np.asarray(classifier.thresholds) if is_multilabel else None)


def with_another_size(classifier: Classifier, samples: Samples, count: int) -> Samples:
    """`count` of the samples, neither square nor of the network's size, with what PyTorch says about those."""
    rows = spread(len(samples.images), count)
    how = classifier.checkpoint.preprocessing
    size = (2 * how.image_size + 3, how.image_size + how.image_size // 2 + 1)  # width, height
    stretched = np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in samples.images[rows]])
    expected = make_samples(classifier, resize_to(stretched, how), samples.targets[rows])
    return replace(expected, images=stretched)


def resize_to(images: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Images (N, H, W, 3) uint8 brought to a network's size, (N, S, S, 3), as prediction does with image files."""
    if images.shape[1:3] == (how.image_size, how.image_size):
        return images
    return np.stack([resize_image(Image.fromarray(image), how.image_size, how.resize) for image in images])


def compare(network: Network, takes_images: bool, samples: Samples) -> Comparison:
    """Run an exported network on the samples; `takes_images` says whether it wants bytes or pixels from 0 to 1."""
    with torch.no_grad():
        return parity.compare(network, lambda images: as_input(images, takes_images), samples)


def as_input(images: np.ndarray, takes_images: bool) -> Tensor:
    """Images (N, H, W, 3) uint8 as a network takes them: as they are, or as pixels (N, 3, H, W) from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)) if takes_images else as_pixels(images)
