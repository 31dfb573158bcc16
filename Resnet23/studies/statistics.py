"""Effects against the noise between seeds: how large a difference is, and whether seeds alone could have made it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The difference of two means and its 95% confidence interval, which is None where a side has a single sample."""

    mean: float
    interval: tuple[float, float] | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0: seeds alone would hardly give such a difference."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def compare(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Mean of `ours` minus mean of `theirs`, one sample for each seed; spreads may differ (Welch 1947)."""
    mean = float(ours.mean() - theirs.mean())
    if min(len(ours), len(theirs)) < 2:
        return Difference(mean, None)
    if ours.std() == theirs.std() == 0:
        return Difference(mean, (mean, mean))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that one side hardly varies; the other one does
        interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(mean, (float(interval.low), float(interval.high)))


def spread(samples: np.ndarray) -> float | None:
    """The standard deviation between seeds, None of a single one."""
    return float(samples.std(ddof=1)) if len(samples) > 1 else None


def seed_noise(groups: Sequence[np.ndarray]) -> float | None:
    """The standard deviation between seeds, pooled over settings with several; None where there is none."""
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in several)
    return math.sqrt(squares / sum(len(group) - 1 for group in several))


def effect_size(groups: Sequence[np.ndarray]) -> float | None:
    """Standard deviation between the settings' means over that between seeds; None where seeds give no spread."""
    noise = seed_noise(groups)
    if not noise or len(groups) < 2:
        return None
    return float(np.std([group.mean() for group in groups], ddof=1)) / noise
