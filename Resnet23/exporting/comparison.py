"""Whether an exported network says what the original says, on the same images."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Resnet23.exporting.source import as_pixels
from Resnet23.images import resize_image
from Resnet23.modeling.checkpoint import Preprocessing
from Resnet23.modeling.inference import Classifier

BATCH_SIZE = 64

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Samples:
    """Images (N, H, W, 3) uint8 with their targets, (N,) or (N, C), and PyTorch's probabilities (N, C).

    `thresholds` (C,) are those of a multi-label task, None otherwise.
    """

    images: np.ndarray
    targets: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray | None

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """What the probabilities (N, C) say: the class (N,), or for a multi-label task each label or not, (N, C)."""
        return probabilities.argmax(axis=1) if self.thresholds is None else probabilities >= self.thresholds

    def accuracy(self, probabilities: np.ndarray) -> float:
        """The share of images that are right; in a multi-label task, of all labels of all images."""
        return float((self.decide(probabilities) == self.targets).mean())


@dataclass(frozen=True)
class Comparison:
    """How an exported network does beside PyTorch's; with labels, agreement and accuracy are those of the labels."""

    max_difference: float  # of a probability
    mean_difference: float  # over the images, of the probability that differs most
    agreement: float  # share of cases in which both decide the same
    accuracy: float
    accuracy_in_torch: float


@dataclass(frozen=True)
class Tolerance:
    """How much an export may differ from PyTorch, in the figures of a Comparison."""

    max_difference: float = 1.0
    mean_difference: float = 1.0
    agreement: float = 0.0
    accuracy_loss: float = 1.0

    def complaint(self, found: Comparison) -> str | None:
        """What is beyond the tolerance, None when nothing is."""
        difference = "its probabilities differ from PyTorch's by"
        if not found.max_difference <= self.max_difference:  # NaN is neither
            return f"{difference} {found.max_difference:.1e}, more than {self.max_difference:.0e}"
        if found.mean_difference > self.mean_difference:
            return f"{difference} {found.mean_difference:.3f} in a usual image, more than {self.mean_difference:g}"
        if found.agreement < self.agreement:
            return f"it decides as PyTorch does in {found.agreement:.2%} of cases, less than {self.agreement:.2%}"
        if found.accuracy_in_torch - found.accuracy > self.accuracy_loss:
            loss = f"{found.accuracy:.2%} instead of {found.accuracy_in_torch:.2%}"
            return f"its accuracy is {loss}, a loss of more than {self.accuracy_loss:.2%}"
        return None


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
    starts = range(0, len(samples.images), BATCH_SIZE)
    batches = (samples.images[start : start + BATCH_SIZE] for start in starts)
    with torch.no_grad():
        found = np.concatenate([network(as_input(images, takes_images)).numpy() for images in batches])
    differences = np.abs(found - samples.probabilities).max(axis=1)
    return Comparison(
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        agreement=float((samples.decide(found) == samples.decide(samples.probabilities)).mean()),
        accuracy=samples.accuracy(found),
        accuracy_in_torch=samples.accuracy(samples.probabilities),
    )


def worst_of(comparison: Comparison, other: Comparison) -> Comparison:
    """The first with the larger differences and the smaller agreement of both."""
    return replace(
        comparison,
        max_difference=float(np.maximum(comparison.max_difference, other.max_difference)),  # NaN when either is
        mean_difference=float(np.maximum(comparison.mean_difference, other.mean_difference)),
        agreement=min(comparison.agreement, other.agreement),
    )


def as_input(images: np.ndarray, takes_images: bool) -> Tensor:
    """Images (N, H, W, 3) uint8 as a network takes them: as they are, or as pixels (N, 3, H, W) from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)) if takes_images else as_pixels(images)


def spread(total: int, count: int) -> np.ndarray:
    """At most `count` of the rows 0 to `total` - 1, at equal distances, so that sorted classes all take part."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
