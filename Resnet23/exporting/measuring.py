"""What there is to know about a file with a model: is it right, how large is it, and how fast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from Resnet23.exporting.parity import BATCH_SIZE, Comparison, Network, Prepare, Samples, compare, worst_of

ROUNDS, SECONDS = 5, 0.5  # of a measurement of speed, whichever takes longer


@dataclass(frozen=True)
class Measurement:
    """A file, or a folder, that was loaded again."""

    comparison: Comparison
    bytes: int
    startup_seconds: float  # from the file to the first answer, all libraries imported
    images_per_second: dict[int, float]  # by the size of the batch


def measure(path: Path, read: Callable[[Path], Network], prepare: Prepare, samples: Sequence[Samples]) -> Measurement:
    """Load a file, or a folder, by `read` and run it on samples; accuracy and speed are those on the first.

    `prepare` makes what the network takes of their images.
    """
    images = samples[0].images
    first = prepare(images[:1])
    start = perf_counter()
    network = read(path)
    network(first)
    startup_seconds = perf_counter() - start
    comparison = reduce(worst_of, (compare(network, prepare, part) for part in samples))
    batches = {size: prepare(images[np.arange(size) % len(images)]) for size in (1, BATCH_SIZE)}
    speeds = {size: images_per_second(network, batch) for size, batch in batches.items()}
    return Measurement(comparison, size_of(path), startup_seconds, speeds)


def images_per_second(network: Network, images: Any) -> float:
    """The speed on this batch, by the median of several runs; the first one, which makes ready, does not count."""
    network(images)
    seconds: list[float] = []
    while len(seconds) < ROUNDS or sum(seconds) < SECONDS:
        start = perf_counter()
        network(images)
        seconds.append(perf_counter() - start)
    return len(images) / median(seconds)


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
