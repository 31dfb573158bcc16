"""How conclusions put accuracies and differences into words."""

import numpy as np

from Resnet23.studies.statistics import Difference, spread


def accuracy(samples: np.ndarray) -> str:
    """Mean and spread of accuracies, as in 61.3 ± 0.8%."""
    deviation = spread(samples)
    return f"{100 * samples.mean():.1f}" + ("%" if deviation is None else f" ± {100 * deviation:.1f}%")


def points(difference: Difference) -> str:
    """A difference of accuracies, as in +1.3 points (95% interval 0.4 to 2.2)."""
    text = f"{100 * difference.mean:+.1f} points"
    if difference.interval is None:
        return text
    low, high = difference.interval
    return f"{text} (95% interval {100 * low:+.1f} to {100 * high:+.1f})"
