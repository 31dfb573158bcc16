"""A small learnable task: which colour is the brightest."""

import numpy as np

MEAN, STD = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)


def coloured_squares(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8-pixel images (N, 8, 8, 3) uint8 whose brightest colour is their class, 0 to 2."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    images = generator.integers(0, 150, (count, 8, 8, 3), dtype=np.uint8)
    images[np.arange(count), :, :, targets] += 90
    return images, targets
