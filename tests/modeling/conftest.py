"""A small learnable task for the tests of the engine and the stages around it."""

import pytest
from squares import MEAN, STD, coloured_squares

from Resnet23.dataset import FeatureDataset


@pytest.fixture
def squares() -> FeatureDataset:
    return FeatureDataset(*coloured_squares(90), MEAN, STD)


@pytest.fixture
def other_squares() -> FeatureDataset:
    return FeatureDataset(*coloured_squares(45, seed=1), MEAN, STD)
