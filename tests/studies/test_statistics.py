"""Effects against noise, compared with scipy and with the formulas."""

import numpy as np
import pytest
from scipy import stats

from Resnet23.studies.statistics import compare, effect_size, seed_noise, spread

OURS, THEIRS = np.array([0.61, 0.63, 0.62, 0.64]), np.array([0.55, 0.60, 0.58])


def test_the_interval_is_welchs():
    difference = compare(OURS, THEIRS)
    variances = [samples.var(ddof=1) / len(samples) for samples in (OURS, THEIRS)]
    error = np.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(v**2 / (len(s) - 1) for v, s in zip(variances, (OURS, THEIRS), strict=True))
    half = stats.t.ppf(0.975, freedom) * error
    mean = OURS.mean() - THEIRS.mean()
    assert difference.mean == pytest.approx(mean)
    assert difference.interval == pytest.approx((mean - half, mean + half))
    assert difference.is_clear == (mean - half > 0)


def test_the_same_samples_do_not_differ():
    assert not compare(OURS, OURS).is_clear


def test_a_single_sample_gives_no_interval_and_no_clear_difference():
    difference = compare(np.array([0.9]), THEIRS)
    assert difference.interval is None
    assert not difference.is_clear
    assert spread(np.array([0.9])) is None


def test_samples_without_any_spread_are_compared_by_their_means():
    assert compare(np.array([0.5, 0.5]), np.array([0.4, 0.4])).is_clear
    assert not compare(np.array([0.5, 0.5]), np.array([0.5, 0.5])).is_clear


def test_noise_is_pooled_over_the_settings():
    groups = [OURS, THEIRS, np.array([0.3])]
    squares = sum(((group - group.mean()) ** 2).sum() for group in groups)
    assert seed_noise(groups) == pytest.approx(np.sqrt(squares / (3 + 2)))
    assert seed_noise([np.array([0.3]), np.array([0.4])]) is None


def test_the_effect_size_is_in_units_of_the_noise():
    groups = [OURS, THEIRS]
    assert effect_size(groups) == pytest.approx(np.std([OURS.mean(), THEIRS.mean()], ddof=1) / seed_noise(groups))
    assert effect_size([OURS]) is None
    assert effect_size([np.array([0.1]), np.array([0.2])]) is None
