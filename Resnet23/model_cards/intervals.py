"""How far a figure can be trusted: 95% intervals from the test images alone.

A share of images has Wilson's interval. Figures made of several counts (F1, means over classes) have the 2.5th and the
97.5th percentile over test sets that are drawn from the test images with replacement (Efron's bootstrap, percentiles).
Both are about other images of the same kind. Neither knows of another training with another seed.
"""

from dataclasses import dataclass

import numpy as np

from Resnet23.figures.findings import accuracy_interval

DRAWS = 1000
ROWS_AT_A_TIME = 50  # draws in memory at once
PERCENTILES = (2.5, 97.5)
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; without one `low` and `high` are None."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DrawnCounts:
    """For each drawn test set and each class: true positives, false positives, false negatives, (draws, C) each."""

    hits: np.ndarray
    false_alarms: np.ndarray
    misses: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """(draws, C); 0 for a class that is neither there nor predicted."""
        return 2 * self.hits / np.maximum(2 * self.hits + self.false_alarms + self.misses, 1)

    @property
    def recall(self) -> np.ndarray:
        """(draws, C); NaN for a class that is not there."""
        there = self.hits + self.misses
        return np.where(there > 0, self.hits / np.maximum(there, 1), np.nan)

    @property
    def micro_f1(self) -> np.ndarray:
        """(draws,): F1 of all answers in one pot."""
        hits, others = self.hits.sum(axis=1), (self.false_alarms + self.misses).sum(axis=1)
        return 2 * hits / np.maximum(2 * hits + others, 1)


def share(part: int, whole: int) -> Estimate | None:
    """`part` of `whole` images with Wilson's interval; None of no images."""
    return Estimate(part / whole, *accuracy_interval(part / whole, whole)) if whole else None


def draw_counts(true: np.ndarray, given: np.ndarray) -> DrawnCounts:
    """Count again on 1,000 drawn test sets; true and given (N, C) bool say which classes images have and were given."""
    generator = np.random.default_rng(SEED)
    images = len(true)
    outcomes = [(true & given), (~true & given), (true & ~given)]
    columns = np.concatenate(outcomes, axis=1).astype(np.float32)  # (N, 3 C)
    parts = []
    for start in range(0, DRAWS, ROWS_AT_A_TIME):
        draws = min(ROWS_AT_A_TIME, DRAWS - start)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=draws)  # (draws, N) times drawn
        parts.append(weights.astype(np.float32) @ columns)
    return DrawnCounts(*np.split(np.concatenate(parts), 3, axis=1))


def drawn(value: float, values: np.ndarray) -> Estimate:
    """A figure with the percentiles of its values (draws,) on the drawn test sets.

    Without an interval when all values are equal, as those of a class without mistakes: the bootstrap draws none where
    none are, and would call certain what is not.
    """
    low, high = np.nanpercentile(values, PERCENTILES)
    return Estimate(value) if low == high else Estimate(value, float(low), float(high))
