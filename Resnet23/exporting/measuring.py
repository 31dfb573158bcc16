"""What there is to know about a file with a model: is it right, how large is it, and how fast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from Resnet23.exporting.comparison import BATCH_SIZE, Comparison, Network, Samples, as_input, compare, worst_of

ROUNDS, SECONDS = 5, 0.5  # of a measurement of speed, whichever takes longer


@dataclass(frozen=True)
class Measurement:
    """A file that was loaded again."""

    comparison: Comparison
    bytes: int
    startup_seconds: float  # from the file to the first answer, all libraries imported
    images_per_second: dict[int, float]  # by the size of the batch


def measure(path: Path, read: Callable[[Path], Network], takes_images: bool, samples: Sequence[Samples]) -> Measurement:
    """Load a file by `read` and run it on samples; accuracy and speed are those on the first."""
    images = samples[0].images
    first = as_input(images[:1], takes_images)
    start = perf_counter()
    network = read(path)
    with torch.no_grad():
        network(first)
    startup_seconds = perf_counter() - start
    comparison = reduce(worst_of, (compare(network, takes_images, part) for part in samples))
    batches = {size: as_input(images[np.arange(size) % len(images)], takes_images) for size in (1, BATCH_SIZE)}
    speeds = {size: images_per_second(network, batch) for size, batch in batches.items()}
    return Measurement(comparison, path.stat().st_size, startup_seconds, speeds)


def images_per_second(network: Network, images: Tensor) -> float:
    """The speed on this batch, by the median of several runs; the first one, which makes ready, does not count."""
    with torch.no_grad():
        network(images)
        seconds: list[float] = []
        while len(seconds) < ROUNDS or sum(seconds) < SECONDS:
            start = perf_counter()
            network(images)
            seconds.append(perf_counter() - start)
    return len(images) / median(seconds)
