"""What a user may choose of an export, and which images it works on."""

from collections.abc import Collection

import numpy as np

from Resnet23.arrays import Features
from Resnet23.config import suggest
from Resnet23.errors import InputError
from Resnet23.exporting.parity import spread

CALIBRATION_IMAGES = 256


def parse_names(text: str, known: Collection[str]) -> list[str]:
    """Names of formats separated by commas. Raises InputError for an unknown one."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(f"--formats: found {name!r}, which is no known format; {suggest(name, list(known))}")
    return names


def calibration_images(features: Features) -> np.ndarray:
    """Validation images (N, S, S, 3) uint8, or training images where there are none to validate on."""
    rows = features.val_indices if len(features.val_indices) else features.train_indices
    return features.train.images[rows[spread(len(rows), CALIBRATION_IMAGES)]]
