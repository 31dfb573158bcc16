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
from Resnet23.studies.comparisons import against, best_on_validation
from Resnet23.studies.definition import Part, Study
from Resnet23.studies.importance import SEEDS, TOGETHER, search_importances, variance_shares
from Resnet23.studies.measuring import Job, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import label, settings_of, show
from Resnet23.studies.statistics import effect_size, pooled_noise, spread
from Resnet23.studies.wording import accuracy, points

MOST_CURVES = 14  # settings whose curves can still be told apart
MOST_BARS = 40
MOST_LISTED = 10  # names in a sentence
NEAR_CHANCE = 1.5  # times the accuracy of guessing: such a network has learnt next to nothing
SHARE_REACHED = 0.9  # of the best setting's final accuracy: how soon it is reached tells how fast a setting learns


class Options(Part):
    """The setting that all others are compared with, by name; None compares them with each other."""

    baseline: str | None = None


def measure(job: Job) -> Measurement:
    """Train the network that the parameters describe."""
    return train_network(job, job.network())


def draw(results: Results) -> dict[str, Callable[[Theme], Figure]]:
    """The figures that suit what is varied; none with fewer than two settings."""
    outcomes, keys, baseline = results.complete, _varied_keys(results), find_baseline(results)
    if len(outcomes) < 2:
        return {}
    is_grid = results.study.search == "grid"
    figures: dict[str, Callable[[Theme], Figure]] = {}
    if len(outcomes) <= MOST_CURVES and any(len(outcome.curves("val_accuracy")) for outcome in outcomes):
        figures["curves"] = partial(plot_curves, outcomes)
    if not is_grid:
        figures["search"] = partial(plot_search, outcomes, keys)
    elif len(keys) == 1 and _is_numeric(outcomes, keys[0]):
        figures["response"] = partial(plot_responses, outcomes, keys[0], results.chance)
    elif len(keys) >= 2:
        figures["heatmaps"] = partial(plot_heatmaps, outcomes, keys)
    if importances := _importances(results):
        figures["importance"] = partial(plot_importances, importances)
    if baseline:
        figures["effects"] = partial(plot_effects, outcomes, baseline)
    if len(outcomes) <= MOST_BARS:
        figures["gaps"] = partial(plot_gaps, outcomes)
    if any("train.schedule" in outcome.setting.values for outcome in outcomes):
        figures["schedules"] = partial(plot_schedules, outcomes)
    if results.tuning and _is_numeric(results.tuning, key := next(iter(results.study.tune))):
        figures["tuning"] = partial(plot_tuning, results.tuning, key)
    return figures


def conclude(results: Results) -> list[str]:
    """What follows from the numbers, and what does not."""
    outcomes, baseline = results.complete, find_baseline(results)
    if len(outcomes) < 2:
        return ["Fewer than two settings were trained to the end: there is nothing to compare."]
    sentences = [_noise_sentence(outcomes), _best_sentence(outcomes)]
    sentences += _baseline_sentences(outcomes, baseline) if baseline else _order_sentences(outcomes)
    sentences += [_range_sentence(results), *_failure_sentences(results), *_tuning_sentences(results)]
    sentences += [_speed_sentence(outcomes), _importance_sentence(_importances(results))]
    return [sentence for sentence in sentences if sentence]


def check_baseline(study: Study, scale: str, options: Options) -> None:
    """Raise InputError when `options.baseline` names no setting."""
    names = [setting.name for setting in settings_of(study, scale)] if study.search == "grid" else []
    if options.baseline is not None and options.baseline not in names:
        raise InputError(f"options.baseline: found {options.baseline!r}, expected one of {', '.join(names) or 'none'}")


def find_baseline(results: Results) -> Outcome | None:
    """The outcome that `options.baseline` names; None where it names none, or one that was not trained to the end."""
    wanted = results.options.baseline
    return next((outcome for outcome in results.complete if outcome.setting.name == wanted), None)


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
    noise, size = pooled_noise(groups), effect_size(groups)
    if noise is None:
        return (
            f"The settings' test accuracies scatter by {between:.1f} points (standard deviation). Each had "
            "a single seed, so chance may be all of it."
        )
    times = f", {size:.1f} times as much" if size else ""
    return (
        f"Between settings the mean test accuracy scatters by {between:.1f} points (standard deviation), between seeds "
        f"of one setting by {100 * noise.deviation:.1f}{times}."
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


def _order_sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """Which settings do better or worse on the test images than the one best on validation, and which as well."""
    best = best_on_validation(outcomes)
    changes = against(outcomes, best)
    if any(change.interval is None for change in changes.values()):
        return []
    ahead = [name for name, change in changes.items() if change.is_clear and change.mean > 0]
    behind = [name for name, change in changes.items() if change.is_clear and change.mean < 0]
    level = [name for name in changes if name not in ahead and name not in behind]
    told = {"Clearly better": ahead, "Clearly worse": behind, "Not to be told apart from it": level}
    return [f"{what} on the test images: {_listing(names)}." for what, names in told.items() if names]


def _range_sentence(results: Results) -> str:
    """The values of a single numeric parameter that come close to the best one."""
    keys, outcomes = _varied_keys(results), results.complete
    if results.study.search != "grid" or len(keys) != 1 or not _is_numeric(outcomes, keys[0]):
        return ""
    limit = SHARE_REACHED * best_on_validation(outcomes).samples("test_accuracy").mean()
    near = [outcome for outcome in outcomes if outcome.samples("test_accuracy").mean() >= limit]
    listed = _listing([show(value) for value in sorted(outcome.setting.values[keys[0]] for outcome in near)])
    return (
        f"At least {SHARE_REACHED:.0%} of the test accuracy of the one best on validation: {label(keys[0])} {listed}."
    )


def _baseline_sentences(outcomes: Sequence[Outcome], baseline: Outcome) -> list[str]:
    """The clear changes against the baseline, of the test accuracy and of the gap to the training accuracy."""
    sentences = []
    for number, what in (("test_accuracy", "test accuracy"), ("gap", "training minus test accuracy")):
        changes = against(outcomes, baseline, number)
        if any(change.interval is None for change in changes.values()):
            return []
        clear = sorted((name for name in changes if changes[name].is_clear), key=lambda name: changes[name].mean)
        unclear = [name for name in changes if name not in clear]
        listed = "; ".join(f"{name} {points(changes[name])}" for name in clear) or "with none of the settings"
        sentences.append(f"Against {baseline.setting.name}, {what} clearly changes: {listed}.")
        if clear and unclear:
            sentences.append(f"No clear change of it: {_listing(unclear)}.")
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
    listed = ", ".join(f"{name} {show(value)}" for name, value in chosen.items())
    sentences = [f"Best {label(key)} of each on validation, with a seed of its own: {listed}."]
    if not _is_numeric(results.tuning, key):
        return sentences
    edges = [name for name, value in chosen.items() if value in (min(values), max(values))]
    if edges:
        sentences.append(f"At the edge of the values tried, so that a better one may lie beyond: {_listing(edges)}.")
    return sentences


def _speed_sentence(outcomes: Sequence[Outcome]) -> str:
    """How many epochs each setting takes to a common accuracy."""
    if len(outcomes) > MOST_CURVES:
        return ""
    target = SHARE_REACHED * best_on_validation(outcomes).samples("val_accuracy").mean()
    reached, missed = [], []
    for outcome in outcomes:
        epochs = [epochs_to_reach(curve, target) for curve in outcome.curves("val_accuracy")]
        if len(epochs) < len(outcome.measured) or None in epochs:
            missed.append(outcome.setting.name)
        else:
            deviation = spread(np.array(epochs))
            shown = f"{np.mean(epochs):.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")
            reached.append(f"{outcome.setting.name} {shown}")
    text = f"Epochs to a validation accuracy of {target:.1%} ({SHARE_REACHED:.0%} of the best): "
    text += _listing(reached) or "reached by no setting with every seed"
    return text + (f"; not reached with every seed: {_listing(missed)}." if reached and missed else ".")


def _importances(results: Results) -> dict[str, float]:
    """How much each of several varied parameters decides; nothing for one, or for a grid with settings left out."""
    outcomes, keys = results.complete, _varied_keys(results)
    if len(keys) < 2 or len(outcomes) < 2:
        return {}
    if results.study.search != "grid":
        return search_importances(outcomes, keys)
    return variance_shares(outcomes, keys) if len(outcomes) == len(results.outcomes) else {}


def _importance_sentence(importances: dict[str, float]) -> str:
    """Which parameters matter, with the seeds as the measure of nothing."""
    if not importances:
        return ""
    names = {key: key if key in (SEEDS, TOGETHER) else label(key) for key in importances}
    listed = ", ".join(f"{names[key]} {share:.0%}" for key, share in importances.items())
    return f"Shares in the variance of the test accuracy: {listed}."


def _listing(names: Sequence[str]) -> str:
    """The names, or of many their number; between names that hold commas there are semicolons."""
    if len(names) > MOST_LISTED:
        return counted(len(names), "setting")
    return ("; " if any("," in name for name in names) else ", ").join(names)
