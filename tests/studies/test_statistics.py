"""Effects against noise, compared with scipy and with the formulas."""

import numpy as np
import pytest
from scipy import stats

from Resnet23.studies.statistics import compare, effect_size, pooled_noise, spread

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


def test_samples_without_any_spread_say_nothing_of_chance():
    assert compare(np.array([0.5, 0.5]), np.array([0.4, 0.4])).interval is None


def test_with_noise_of_both_the_interval_is_students():
    difference = compare(OURS, THEIRS, noise=pooled_noise([OURS, THEIRS]))
    interval = stats.ttest_ind(OURS, THEIRS).confidence_interval(0.95)
    assert difference.interval == pytest.approx((interval.low, interval.high))


def test_several_comparisons_hold_together():
    noise = pooled_noise([OURS, THEIRS])
    single, many = (compare(OURS, THEIRS, count, noise).interval for count in (1, 13))
    interval = stats.ttest_ind(OURS, THEIRS).confidence_interval(1 - 0.05 / 13)
    assert many == pytest.approx((interval.low, interval.high))
    assert many[0] < single[0] < single[1] < many[1]


def test_chance_alone_makes_any_of_many_differences_clear_in_one_study_of_twenty():
    random, studies = np.random.default_rng(0), 400
    found = 0
    for _ in range(studies):
        groups = list(random.normal(0.5, 0.01, (14, 3)))
        noise = pooled_noise(groups)
        found += any(compare(group, groups[0], 13, noise).is_clear for group in groups[1:])
    assert found / studies < 0.08


def test_noise_is_pooled_over_the_settings():
    groups = [OURS, THEIRS, np.array([0.3])]
    squares = sum(((group - group.mean()) ** 2).sum() for group in groups)
    noise = pooled_noise(groups)
    assert noise.deviation == pytest.approx(np.sqrt(squares / (3 + 2)))
    assert noise.freedom == 5
    assert pooled_noise([np.array([0.3]), np.array([0.4])]) is None


def test_the_effect_size_is_in_units_of_the_noise():
    groups = [OURS, THEIRS]
    expected = np.std([OURS.mean(), THEIRS.mean()], ddof=1) / pooled_noise(groups).deviation
    assert effect_size(groups) == pytest.approx(expected)
    assert effect_size([OURS]) is None
    assert effect_size([np.array([0.1]), np.array([0.2])]) is None
