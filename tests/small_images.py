"""Small random images in data/processed, as stage 1 leaves them."""

import hashlib
from pathlib import Path

import numpy as np

from Resnet23.images import encode_png
from Resnet23.processed import ManifestRow, write_processed

SIDE = 12
PROCESSED = Path("data/processed")
COUNTS = {("train", "ant"): 20, ("train", "honey bee"): 10, ("test", "ant"): 4, ("test", "honey bee"): 3}


def write_images(
    counts: dict[tuple[str, str], int] = COUNTS, side: int = SIDE, **changed: np.ndarray
) -> list[ManifestRow]:
    """Random PNG files, as many as `counts` says; `changed` gives the pixels of some, as in train_ant_0=..."""
    generator = np.random.default_rng(0)
    images = []
    for (split, name), count in counts.items():
        for number in range(count):
            pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
            png = encode_png(changed.get(f"{split}_{name}_{number}", pixels))
            file = f"{split}/{name}/{number:05d}.png"
            images.append((ManifestRow(split, name, file, "made", hashlib.sha256(png).hexdigest()), png))
    return write_processed(images, PROCESSED)
