"""A small learnable task for the tests of the engine and the stages around it."""

import numpy as np
import pytest

from Resnet23.dataset import FeatureDataset

MEAN, STD = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)


def coloured_squares(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8-pixel images (N, 8, 8, 3) uint8 whose brightest colour is their class, 0 to 2."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    images = generator.integers(0, 150, (count, 8, 8, 3), dtype=np.uint8)
    images[np.arange(count), :, :, targets] += 90
    return images, targets


@pytest.fixture
def squares() -> FeatureDataset:
    return FeatureDataset(*coloured_squares(90), MEAN, STD)


@pytest.fixture
def other_squares() -> FeatureDataset:
    return FeatureDataset(*coloured_squares(45, seed=1), MEAN, STD)
