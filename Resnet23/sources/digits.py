"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real images that need no download."""

import numpy as np
from sklearn.datasets import load_digits

from Resnet23.config import DataParams
from Resnet23.sources.examples import Example, split_examples

WHITE = 16.0  # the highest grey level of the set


def load(data: DataParams, seed: int) -> list[Example]:
    """The digits with classes "0" to "9", split by `test_fraction` and `seed`."""
    digits = load_digits()
    grey = np.round(digits.images * (255 / WHITE)).astype(np.uint8)  # (N, 8, 8)
    images = np.repeat(grey[..., None], 3, axis=-1)  # (N, 8, 8, 3) uint8
    examples = [
        Example("train", str(digit), f"digits/{index:05d}", image)
        for index, (image, digit) in enumerate(zip(images, digits.target, strict=True))
    ]
    return split_examples(examples, data.test_fraction, seed)
