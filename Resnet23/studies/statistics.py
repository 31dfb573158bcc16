"""Effects against the noise between seeds: how large a difference is, and whether seeds alone could have made it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ERROR = 0.05  # how often chance alone may make any of the differences compared together look clear


@dataclass(frozen=True)
class Difference:
    """The difference of two means and its 95% confidence interval, None where seeds give no measure of chance."""

    mean: float
    interval: tuple[float, float] | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0: seeds alone would hardly give such a difference."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class Noise:
    """The standard deviation between seeds, pooled over settings, and its degrees of freedom."""

    deviation: float
    freedom: int


def compare(ours: np.ndarray, theirs: np.ndarray, comparisons: int = 1, noise: Noise | None = None) -> Difference:
    """Mean of `ours` minus mean of `theirs`, one sample for each seed.

    With a `noise` that holds for both, by Student's t; else by the two spreads alone (Welch 1947). Of several
    `comparisons` told together each interval is wider, so that all hold at once with 95% (Bonferroni).
    """
    mean = float(ours.mean() - theirs.mean())
    confidence = 1 - ERROR / comparisons
    if noise is not None:
        error = noise.deviation * math.sqrt(1 / len(ours) + 1 / len(theirs))
        half = float(stats.t.ppf((1 + confidence) / 2, noise.freedom)) * error
        return Difference(mean, (mean - half, mean + half))
    if min(len(ours), len(theirs)) < 2 or ours.std() == theirs.std() == 0:
        return Difference(mean, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that one side hardly varies; the other one does
        interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(confidence)
    return Difference(mean, (float(interval.low), float(interval.high)))


def spread(samples: np.ndarray) -> float | None:
    """The standard deviation between seeds, None of a single one."""
    return float(samples.std(ddof=1)) if len(samples) > 1 else None


def pooled_noise(groups: Sequence[np.ndarray]) -> Noise | None:
    """The noise between seeds, pooled over settings with several; None where there is none to see."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return Noise(math.sqrt(squares / freedom), freedom) if freedom and squares else None


def effect_size(groups: Sequence[np.ndarray]) -> float | None:
    """Standard deviation between the settings' means over that between seeds; None where seeds give no spread."""
    noise = pooled_noise(groups)
    if noise is None or len(groups) < 2:
        return None
    return float(np.std([group.mean() for group in groups], ddof=1)) / noise.deviation
