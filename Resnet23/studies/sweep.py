"""The analysis that compares settings: which trains best, what difference it makes, and is it more than chance."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from Resnet23.errors import InputError
from Resnet23.figures.findings import counted
from Resnet23.figures.sweeps import (
    plot_curves,
    plot_effects,
    plot_gaps,
    plot_heatmaps,
    plot_importances,
    plot_responses,
    plot_schedules,
    plot_search,
    plot_tuning,
)
from Resnet23.figures.theme import Theme
from Resnet23.studies.definition import Part
from Resnet23.studies.importance import SEED, parameter_importances
from Resnet23.studies.measuring import Job, new_network, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import label
from Resnet23.studies.statistics import compare, effect_size, seed_noise
from Resnet23.studies.wording import accuracy, points

MOST_CURVES = 14  # settings whose curves can still be told apart
MOST_BARS = 40
NEAR_CHANCE = 1.5  # times the accuracy of guessing: such a network has learnt next to nothing
SHARE_REACHED = 0.9  # of the best setting's final accuracy: how soon it is reached tells how fast a setting learns


class Options(Part):
    """The setting that all others are compared with, by name; None compares them with each other."""

    baseline: str | None = None


def measure(job: Job) -> Measurement:
    """Train the network that the parameters describe."""
    return train_network(job, new_network(job))


def draw(results: Results) -> dict[str, Callable[[Theme], Figure]]:
    """The figures that suit what is varied."""
    outcomes, keys, baseline = results.complete, _varied_keys(results), find_baseline(results)
    figures: dict[str, Callable[[Theme], Figure]] = {}
    if len(outcomes) <= MOST_CURVES:
        figures["curves"] = partial(plot_curves, outcomes)
    if results.study.search == "grid" and len(keys) == 1 and _is_numeric(outcomes, keys[0]):
        figures["response"] = partial(plot_responses, outcomes, keys[0], results.chance)
    if results.study.search != "grid":
        figures["search"] = partial(plot_search, outcomes, keys)
    elif len(keys) >= 2:
        figures["heatmaps"] = partial(plot_heatmaps, outcomes, keys)
    if len(keys) >= 2:
        figures["importance"] = partial(plot_importances, parameter_importances(outcomes, keys))
    if baseline:
        figures["effects"] = partial(plot_effects, outcomes, baseline)
    if len(outcomes) <= MOST_BARS:
        figures["gaps"] = partial(plot_gaps, outcomes)
    if any("train.schedule" in outcome.setting.values for outcome in outcomes):
        figures["schedules"] = partial(plot_schedules, outcomes)
    if results.tuning:
        figures["tuning"] = partial(plot_tuning, results.tuning, next(iter(results.study.tune)))
    return figures


def conclude(results: Results) -> list[str]:
    """What follows from the numbers, and what does not."""
    outcomes, baseline = results.complete, find_baseline(results)
    if len(outcomes) < 2:
        return ["Fewer than two settings were trained to the end: there is nothing to compare."]
    sentences = [_noise_sentence(outcomes), _best_sentence(outcomes)]
    sentences += _baseline_sentences(outcomes, baseline) if baseline else [_ties_sentence(outcomes)]
    sentences += _failure_sentences(results) + _tuning_sentences(results)
    sentences.append(_speed_sentence(outcomes))
    keys = _varied_keys(results)
    if len(keys) >= 2:
        sentences.append(_importance_sentence(parameter_importances(outcomes, keys)))
    return [sentence for sentence in sentences if sentence]


def find_baseline(results: Results) -> Outcome | None:
    """The outcome that `options.baseline` names. Raises InputError when no setting has that name."""
    wanted = results.options.baseline
    if wanted is None:
        return None
    names = [outcome.setting.name for outcome in results.outcomes]
    if wanted not in names:
        raise InputError(f"options.baseline: found {wanted!r}, expected one of {', '.join(names)}")
    return next((outcome for outcome in results.complete if outcome.setting.name == wanted), None)


def best_on_validation(outcomes: Sequence[Outcome]) -> Outcome:
    """The setting of the highest mean validation accuracy."""
    return max(outcomes, key=lambda outcome: outcome.samples("val_accuracy").mean())


def epochs_to_reach(curve: np.ndarray, target: float) -> int | None:
    """The first epoch, from 1, whose accuracy in `curve` (epochs,) is at least `target`; None when there is none."""
    reached = np.flatnonzero(curve >= target)
    return int(reached[0]) + 1 if len(reached) else None


def _varied_keys(results: Results) -> list[str]:
    """The parameters that are varied over the same values in every setting; none with variants by name."""
    return list(results.study.varied(results.scale))


def _is_numeric(outcomes: Sequence[Outcome], key: str) -> bool:
    values = [outcome.setting.values[key] for outcome in outcomes]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _noise_sentence(outcomes: Sequence[Outcome]) -> str:
    groups = [outcome.samples("test_accuracy") for outcome in outcomes]
    between = 100 * float(np.std([group.mean() for group in groups], ddof=1))
    noise, size = seed_noise(groups), effect_size(groups)
    if noise is None:
        return (
            f"The settings' test accuracies scatter by {between:.1f} points (standard deviation). Each had "
            "a single seed, so chance may be all of it."
        )
    times = f", {size:.1f} times as much" if size else ""
    return (
        f"Between settings the mean test accuracy scatters by {between:.1f} points (standard deviation), between seeds "
        f"of one setting by {100 * noise:.1f}{times}."
    )


def _best_sentence(outcomes: Sequence[Outcome]) -> str:
    best = best_on_validation(outcomes)
    samples = best.samples("test_accuracy")
    if len(samples) < 2:
        return ""
    return (
        f"Highest on validation is {best.setting.name}, with a test accuracy of {accuracy(samples)} "
        f"({counted(len(samples), 'seed')})."
    )


def _ties_sentence(outcomes: Sequence[Outcome]) -> str:
    """Which settings the best one can and cannot be told apart from."""
    best = best_on_validation(outcomes)
    samples = best.samples("test_accuracy")
    if len(samples) < 2:
        return ""
    others = [outcome for outcome in outcomes if outcome is not best]
    clear = [compare(samples, outcome.samples("test_accuracy")).is_clear for outcome in others]
    tied = [outcome.setting.name for outcome, apart in zip(others, clear, strict=True) if not apart]
    if not tied:
        return (
            "On the test images it is clearly ahead of all others: every 95% interval of the difference leaves out 0."
        )
    listed = _listing(tied)
    return f"On the test images these cannot be told apart from it, as the 95% interval holds 0: {listed}."


def _baseline_sentences(outcomes: Sequence[Outcome], baseline: Outcome) -> list[str]:
    """The change that each setting makes, largest first, and which of them are no more than noise."""
    reference = baseline.samples("test_accuracy")
    changes = {
        outcome.setting.name: compare(outcome.samples("test_accuracy"), reference)
        for outcome in outcomes
        if outcome is not baseline
    }
    clear = sorted((name for name in changes if changes[name].is_clear), key=lambda name: changes[name].mean)
    unclear = [name for name in changes if not changes[name].is_clear]
    sentences = []
    if clear:
        listed = "; ".join(f"{name} {points(changes[name])}" for name in clear)
        sentences.append(f"Against {baseline.setting.name}, test accuracy clearly changes with {listed}.")
    if unclear:
        sentences.append(f"No clear change, against {baseline.setting.name}, with {_listing(unclear)}.")
    return sentences


def _failure_sentences(results: Results) -> list[str]:
    diverged = [
        f"{each.setting.name} ({each.diverged} of {len(each.measured)})" for each in results.complete if each.diverged
    ]
    limit = NEAR_CHANCE * results.chance
    weak = [
        outcome.setting.name
        for outcome in results.complete
        if not outcome.diverged and outcome.samples("test_accuracy").mean() < limit
    ]
    pruned = sum(outcome.state == "pruned" for outcome in results.outcomes)
    return [
        *(
            [f"The loss became infinite in trainings with {_listing(diverged)}; these count as guessing."]
            if diverged
            else []
        ),
        *([f"Hardly better than guessing ({results.chance:.0%}): {_listing(weak)}."] if weak else []),
        *([f"{counted(pruned, 'setting')} ended early for being worse than most at the same epoch."] if pruned else []),
    ]


def _tuning_sentences(results: Results) -> list[str]:
    """The tuned value of each setting, and those that lie at the edge of what was tried."""
    if not results.tuning:
        return []
    (key, values), *_ = results.study.tune.items()
    chosen = {outcome.setting.name: outcome.setting.values[key] for outcome in results.outcomes}
    listed = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
    edges = [name for name, value in chosen.items() if value in (min(values), max(values))]
    sentences = [f"Best {label(key)} of each on validation, with a seed of its own: {listed}."]
    if edges:
        sentences.append(f"At the edge of the values tried, so that a better one may lie beyond: {_listing(edges)}.")
    return sentences


def _speed_sentence(outcomes: Sequence[Outcome]) -> str:
    """How many epochs each setting takes to a common accuracy."""
    if len(outcomes) > MOST_CURVES:
        return ""
    target = SHARE_REACHED * best_on_validation(outcomes).samples("val_accuracy").mean()
    reached, missed = {}, []
    for outcome in outcomes:
        epochs = [epochs_to_reach(curve, target) for curve in outcome.curves("val_accuracy")]
        if len(epochs) < len(outcome.measured) or None in epochs:
            missed.append(outcome.setting.name)
        else:
            reached[outcome.setting.name] = float(np.mean(epochs))
    listed = ", ".join(f"{name} {reached[name]:.1f}" for name in sorted(reached, key=reached.__getitem__))
    text = (
        f"Epochs to a validation accuracy of {target:.1%} ({SHARE_REACHED:.0%} of the best), mean over seeds: {listed}"
    )
    return text + (f"; not reached with every seed: {_listing(missed)}." if missed else ".")


def _importance_sentence(importances: dict[str, float]) -> str:
    """Which parameters matter, with the seed as the measure of nothing."""
    listed = ", ".join(f"{label(key) if key != SEED else SEED} {share:.0%}" for key, share in importances.items())
    idle = [label(key) for key, share in importances.items() if key != SEED and share <= importances[SEED]]
    text = f"Share of each in what decides the test accuracy (fANOVA): {listed}."
    return text + (f" Not above what the seed does: {_listing(idle)}." if idle else "")


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names)
