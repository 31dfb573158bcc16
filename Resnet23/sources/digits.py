"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real images that need no download."""

import numpy as np
from sklearn.datasets import load_digits

from Resnet23.config import DataParams
from Resnet23.sources.examples import Example, split_examples

WHITE = 16.0  # the highest grey level of the set
# The split is part of the data set, as it is of CIFAR-10: results of different seeds stay comparable.
TEST_FRACTION, SPLIT_SEED = 0.2, 0


def load(data: DataParams, seed: int) -> list[Example]:
    """The digits with classes "0" to "9" and a fixed, stratified test split; nothing else is drawn."""
    digits = load_digits()
    grey = np.round(digits.images * (255 / WHITE)).astype(np.uint8)  # (N, 8, 8)
    images = np.repeat(grey[..., None], 3, axis=-1)  # (N, 8, 8, 3) uint8
    examples = [
        Example("train", str(digit), f"digits/{index:05d}", image)
        for index, (image, digit) in enumerate(zip(images, digits.target, strict=True))
    ]
    return split_examples(examples, TEST_FRACTION, SPLIT_SEED)
