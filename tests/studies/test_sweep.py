"""Conclusions that follow from the data, and none that do not."""

from pathlib import Path

import numpy as np
import pytest
from small_studies import make_outcome, make_results, make_study

from Resnet23.errors import InputError
from Resnet23.figures.theme import DARK, LIGHT
from Resnet23.studies.importance import parameter_importances
from Resnet23.studies.outcomes import Outcome
from Resnet23.studies.settings import Setting
from Resnet23.studies.sweep import conclude, draw, epochs_to_reach

RATES = {"train.learning_rate": [0.1, 0.01, 0.001]}
NEAR = {0.1: [0.50, 0.52, 0.51], 0.01: [0.51, 0.50, 0.53], 0.001: [0.30, 0.31, 0.32]}


def rate_outcomes(accuracies: dict[float, list[float]]) -> list[Outcome]:
    return [make_outcome(f"{rate:g}", {"train.learning_rate": rate}, each) for rate, each in accuracies.items()]


def said(results) -> str:
    return " ".join(conclude(results))


def test_settings_within_the_noise_are_not_told_apart():
    text = said(make_results(make_study(vary=RATES), rate_outcomes(NEAR)))
    assert "Highest on validation is 0.01, with a test accuracy of 51.3 ± 1.5% (3 seeds)" in text
    assert "cannot be told apart from it, as the 95% interval holds 0: 0.1." in text


def test_a_clear_winner_is_called_one():
    apart = {0.1: [0.50, 0.52, 0.51], 0.01: [0.71, 0.70, 0.73], 0.001: [0.30, 0.31, 0.32]}
    text = said(make_results(make_study(vary=RATES), rate_outcomes(apart)))
    assert "clearly ahead of all others" in text
    assert "cannot be told apart" not in text


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
    assert "clearly changes with no flip -10.0 points (95% interval -12.3 to -7.7)." in text
    assert "No clear change, against all, with no crop." in text


def test_an_unknown_baseline_is_refused():
    results = make_results(make_study(vary=RATES, options={"baseline": "all"}), rate_outcomes(NEAR))
    with pytest.raises(InputError, match=r"options.baseline: found 'all', expected one of 0.1, 0.01, 0.001"):
        conclude(results)


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
    assert "1 setting ended early" in said(results)
    assert all(figure(DARK) for figure in draw(results).values())


def test_the_importance_finds_what_decides_and_that_chance_does_not():
    generator = np.random.default_rng(0)
    outcomes = [
        make_outcome(f"{a}, {b}", {"train.batch_size": a, "train.momentum": b}, 0.01 * a + 0.001 * generator.random(3))
        for a in (16, 32, 64)
        for b in (0.0, 0.5, 0.9)
    ]
    keys = ["train.batch_size", "train.momentum"]
    importances = parameter_importances(outcomes, keys)
    assert next(iter(importances)) == "train.batch_size"
    assert importances["train.batch_size"] > 0.9
    assert sum(importances.values()) == pytest.approx(1)
    study = make_study(vary={"train.batch_size": [16, 32, 64], "train.momentum": [0.0, 0.5, 0.9]})
    figures = draw(make_results(study, outcomes))
    assert {"heatmaps", "importance"} <= figures.keys()
    table = figures["heatmaps"](LIGHT).axes[0].images[0].get_array()
    assert table[0].mean() == pytest.approx(np.mean([each.samples("test_accuracy").mean() for each in outcomes[:3]]))


def test_the_epoch_at_which_an_accuracy_is_reached():
    assert epochs_to_reach(np.array([0.1, 0.4, 0.3, 0.5]), 0.35) == 2
    assert epochs_to_reach(np.array([0.1, 0.4]), 0.45) is None


def test_figures_are_drawn_in_both_themes(tmp_path: Path):
    results = make_results(make_study(vary=RATES), rate_outcomes(NEAR))
    for name, figure in draw(results).items():
        for theme in (LIGHT, DARK):
            figure(theme).savefig(tmp_path / f"{name}-{theme.name}.png")
    assert len(list(tmp_path.iterdir())) == 2 * len(draw(results)) >= 6
