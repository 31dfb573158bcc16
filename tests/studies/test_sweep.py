"""Conclusions that follow from the data, and none that do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_studies import make_outcome, make_results, make_study

from Resnet23.config import Params
from Resnet23.errors import InputError
from Resnet23.figures.theme import DARK, LIGHT
from Resnet23.studies.importance import SEEDS, TOGETHER, search_importances, variance_shares
from Resnet23.studies.outcomes import Outcome
from Resnet23.studies.runner import check_study
from Resnet23.studies.settings import Setting
from Resnet23.studies.statistics import pooled_noise
from Resnet23.studies.sweep import conclude, draw, epochs_to_reach

GRID = {"train.batch_size": [16, 32, 64], "train.momentum": [0.0, 0.5, 0.9]}
RATES = {"train.learning_rate": [0.1, 0.01, 0.001]}
NEAR = {0.1: [0.50, 0.52, 0.51], 0.01: [0.51, 0.50, 0.53], 0.001: [0.30, 0.31, 0.32]}


def rate_outcomes(accuracies: dict[float, list[float]]) -> list[Outcome]:
    return [make_outcome(f"{rate:g}", {"train.learning_rate": rate}, each) for rate, each in accuracies.items()]


def said(results) -> str:
    return " ".join(conclude(results))


def test_settings_within_the_noise_are_not_told_apart():
    text = said(make_results(make_study(vary=RATES), rate_outcomes(NEAR)))
    assert "Highest on validation is 0.01, with a test accuracy of 51.3 ± 1.5% (3 seeds)" in text
    assert "Clearly worse on the test images: 0.001. Not to be told apart from it on the test images: 0.1." in text


def test_a_clear_winner_is_called_one():
    apart = {0.1: [0.50, 0.52, 0.51], 0.01: [0.71, 0.70, 0.73], 0.001: [0.30, 0.31, 0.32]}
    text = said(make_results(make_study(vary=RATES), rate_outcomes(apart)))
    assert "Clearly worse on the test images: 0.1, 0.001." in text
    assert "told apart" not in text


def test_a_setting_that_validation_overlooked_is_said_to_be_better():
    outcomes = rate_outcomes({0.1: [0.50, 0.52, 0.51], 0.01: [0.60, 0.61, 0.62]})
    for measurement in outcomes[0].measured.values():
        measurement.numbers["val_accuracy"] = 0.9
    results = make_results(make_study(vary=RATES), outcomes)
    text = said(results)
    assert "Highest on validation is 0.1, with a test accuracy of 51.0" in text
    assert "Clearly better on the test images: 0.01." in text
    assert "none clearly worse than 0.1" in draw(results)["response"](LIGHT).get_suptitle()


def test_one_seed_names_no_winner():
    single = {rate: each[:1] for rate, each in NEAR.items()}
    results = make_results(make_study(vary=RATES), rate_outcomes(single))
    text = said(results)
    assert "single seed" in text
    assert "Highest" not in text
    titles = [figure(LIGHT).get_suptitle() for figure in draw(results).values()]
    assert not any("Best" in title for title in titles)


def test_diverged_and_idle_networks_are_named():
    outcomes = [
        make_outcome("0.1", {"train.learning_rate": 0.1}, [0.1, 0.1, 0.1], diverged=True),
        make_outcome("0.01", {"train.learning_rate": 0.01}, [0.5, 0.52, 0.51]),
        make_outcome("0.001", {"train.learning_rate": 0.001}, [0.11, 0.12, 0.1]),
    ]
    results = make_results(make_study(vary=RATES), outcomes)
    text = said(results)
    assert "became infinite in trainings with 0.1 (3 of 3)" in text
    assert "Hardly better than guessing (10%): 0.001." in text
    assert all(figure(LIGHT) for figure in draw(results).values())


def test_a_baseline_gets_every_change_with_its_interval():
    study = make_study(variants={"all": {}, "no flip": {}, "no crop": {}}, options={"baseline": "all"})
    outcomes = [
        make_outcome("all", {}, [0.60, 0.61, 0.62]),
        make_outcome("no flip", {}, [0.50, 0.51, 0.52]),
        make_outcome("no crop", {}, [0.61, 0.60, 0.63]),
    ]
    text = said(make_results(study, outcomes))
    half = 100 * stats.t.ppf(1 - 0.05 / 4, 6) * pooled_noise([o.samples("test_accuracy") for o in outcomes]).deviation
    low, high = (-10 + sign * half * np.sqrt(2 / 3) for sign in (-1, 1))
    assert f"test accuracy clearly changes: no flip -10.0 points (95% interval {low:+.1f} to {high:+.1f})." in text
    assert "No clear change of it: no crop." in text


def test_an_unknown_baseline_is_refused_before_anything_is_trained():
    study = make_study(vary=RATES, options={"baseline": "all"})
    with pytest.raises(InputError, match=r"options.baseline: found 'all', expected one of 0.1, 0.01, 0.001"):
        check_study(study, "smoke", Params())


def test_a_tuned_value_at_the_edge_is_said_to_be_one():
    study = make_study(variants={"SGD": {}, "Adam": {}}, tune={"train.learning_rate": [0.1, 0.01, 0.001]})
    chosen = {"SGD": 0.1, "Adam": 0.01}
    outcomes = [make_outcome(name, {"train.learning_rate": rate}, [0.5, 0.6]) for name, rate in chosen.items()]
    tried = [
        make_outcome(name, {"train.learning_rate": rate}, [0.6 if rate == best else 0.4])
        for name, best in chosen.items()
        for rate in (0.1, 0.01, 0.001)
    ]
    results = make_results(study, outcomes, tried)
    text = said(results)
    assert "Best learning rate of each on validation, with a seed of its own: SGD 0.1, Adam 0.01." in text
    assert "a better one may lie beyond: SGD." in text
    assert "tuning" in draw(results)


def test_pruned_settings_are_counted_and_left_out():
    pruned = Outcome(Setting("0.5", {"train.learning_rate": 0.5}), "pruned", {})
    results = make_results(make_study(vary=RATES), [*rate_outcomes(NEAR), pruned])
    assert not draw(make_results(make_study(vary=RATES), [pruned, pruned]))
    assert "1 setting ended early" in said(results)
    assert all(figure(DARK) for figure in draw(results).values())


def grid_outcomes(accuracy: Callable[[float, float], np.ndarray]) -> list[Outcome]:
    return [
        make_outcome(
            f"{size}, {momentum}", {"train.batch_size": size, "train.momentum": momentum}, accuracy(size, momentum)
        )
        for size in (16, 32, 64)
        for momentum in (0.0, 0.5, 0.9)
    ]


def test_the_variance_of_a_grid_falls_into_parameters_what_they_do_together_and_seeds():
    random = np.random.default_rng(0)
    outcomes = grid_outcomes(lambda size, momentum: 0.01 * size + 0.2 * momentum + 0.05 * random.random(3))
    shares = variance_shares(outcomes, list(GRID))
    assert sum(shares.values()) == pytest.approx(1)
    everything = np.concatenate([outcome.samples("test_accuracy") for outcome in outcomes])
    frame = {key: np.repeat([outcome.setting.values[key] for outcome in outcomes], 3) for key in GRID}
    for key in GRID:  # between the groups of a value, as one-way analysis of variance has it
        values = frame[key]
        groups = [everything[values == value] for value in set(values)]
        between = sum(len(group) * (group.mean() - everything.mean()) ** 2 for group in groups)
        assert shares[key] == pytest.approx(between / ((everything - everything.mean()) ** 2).sum())
    assert shares[TOGETHER] < 0.01
    assert 0 < shares[SEEDS] < 0.1


def test_equal_effects_have_equal_shares_however_far_the_values_lie_apart():
    keys = {"train.weight_decay": [0.0, 5e-4, 5e-3], "train.batch_size": [32, 64, 256]}
    outcomes = [
        make_outcome(
            f"{a}, {b}",
            {"train.weight_decay": a, "train.batch_size": b},
            [0.5 + 0.05 * (a == 0) + 0.05 * (b == 256)] * 2,
        )
        for a in keys["train.weight_decay"]
        for b in keys["train.batch_size"]
    ]
    shares = variance_shares(outcomes, list(keys))
    assert shares["train.weight_decay"] == pytest.approx(shares["train.batch_size"]) == pytest.approx(0.5)


def test_the_importance_in_a_search_finds_what_decides():
    random = np.random.default_rng(0)
    points = random.random((30, 2))
    outcomes = [
        make_outcome(f"{a}", {"train.momentum": a, "train.weight_decay": b}, [0.2 + 0.5 * a] * 2)
        for a, b in points.tolist()
    ]
    importances = search_importances(outcomes, ["train.momentum", "train.weight_decay"])
    assert importances["train.momentum"] > 0.9


def test_a_grid_gets_heat_maps_and_importances_and_one_in_which_nothing_varies_no_crash():
    study = make_study(vary=GRID)
    results = make_results(study, grid_outcomes(lambda size, momentum: [0.01 * size] * 2))
    figures = draw(results)
    assert {"heatmaps", "importance"} <= figures.keys()
    table = figures["heatmaps"](LIGHT).axes[0].images[0].get_array()
    assert table[0].mean() == pytest.approx(0.16)
    idle = make_results(
        study, [make_outcome(str(n), dict.fromkeys(GRID, n), [0.1, 0.1], diverged=True) for n in range(3)]
    )
    assert conclude(idle)
    assert "importance" not in draw(idle)
    assert all(figure(LIGHT) for figure in draw(idle).values())


def test_the_epoch_at_which_an_accuracy_is_reached():
    assert epochs_to_reach(np.array([0.1, 0.4, 0.3, 0.5]), 0.35) == 2
    assert epochs_to_reach(np.array([0.1, 0.4]), 0.45) is None


def test_figures_are_drawn_in_both_themes(tmp_path: Path):
    results = make_results(make_study(vary=RATES), rate_outcomes(NEAR))
    for name, figure in draw(results).items():
        for theme in (LIGHT, DARK):
            figure(theme).savefig(tmp_path / f"{name}-{theme.name}.png")
    assert len(list(tmp_path.iterdir())) == 2 * len(draw(results)) >= 6
