"""Whether an exported network says what the original says, on the same images; for networks of any library."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

BATCH_SIZE = 64

Network = Callable[[Any], Any]  # what it takes -> probabilities (N, C), something that NumPy reads as an array
Prepare = Callable[[np.ndarray], Any]  # images (N, H, W, 3) uint8 -> what a network takes


@dataclass(frozen=True)
class Samples:
    """Images (N, H, W, 3) uint8 with their targets, (N,) or (N, C), and the original's probabilities (N, C).

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
    """How an exported network does beside the original; with labels, agreement and accuracy are those of the labels."""

    max_difference: float  # of a probability
    mean_difference: float  # over the images, of the probability that differs most
    agreement: float  # share of cases in which both decide the same
    accuracy: float
    original_accuracy: float


@dataclass(frozen=True)
class Tolerance:
    """How much an export may differ from the original, in the figures of a Comparison."""

    max_difference: float = 1.0
    mean_difference: float = 1.0
    agreement: float = 0.0
    accuracy_loss: float = 1.0

    def complaint(self, found: Comparison, original: str) -> str | None:
        """What is beyond the tolerance, None when nothing is; `original` names what was exported, as in PyTorch."""
        difference = f"its probabilities differ from {original}'s by"
        if not found.max_difference <= self.max_difference:  # NaN is neither
            return f"{difference} {found.max_difference:.1e}, more than {self.max_difference:.0e}"
        if found.mean_difference > self.mean_difference:
            return f"{difference} {found.mean_difference:.3f} in a usual image, more than {self.mean_difference:g}"
        if found.agreement < self.agreement:
            return f"it decides as {original} does in {found.agreement:.2%} of cases, less than {self.agreement:.2%}"
        if found.original_accuracy - found.accuracy > self.accuracy_loss:
            loss = f"{found.accuracy:.2%} instead of {found.original_accuracy:.2%}"
            return f"its accuracy is {loss}, a loss of more than {self.accuracy_loss:.2%}"
        return None


FLOAT = Tolerance(max_difference=1e-4, agreement=0.995)
EIGHT_BITS = Tolerance(mean_difference=0.05, accuracy_loss=0.03)


def compare(network: Network, prepare: Prepare, samples: Samples) -> Comparison:
    """Run an exported network on the samples, which `prepare` makes what it takes."""
    found = np.concatenate([np.asarray(network(prepare(images))) for images in _batches(samples.images)])
    differences = np.abs(found - samples.probabilities).max(axis=1)
    return Comparison(
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        agreement=float((samples.decide(found) == samples.decide(samples.probabilities)).mean()),
        accuracy=samples.accuracy(found),
        original_accuracy=samples.accuracy(samples.probabilities),
    )


def worst_of(comparison: Comparison, other: Comparison) -> Comparison:
    """The first with the larger differences and the smaller agreement of both."""
    return replace(
        comparison,
        max_difference=float(np.maximum(comparison.max_difference, other.max_difference)),  # NaN when either is
        mean_difference=float(np.maximum(comparison.mean_difference, other.mean_difference)),
        agreement=min(comparison.agreement, other.agreement),
    )


def spread(total: int, count: int) -> np.ndarray:
    """At most `count` of the rows 0 to `total` - 1, at equal distances, so that sorted classes all take part."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
