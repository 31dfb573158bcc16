"""How much each parameter decides the result, beside how much the seeds do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from Resnet23.errors import missing_package
from Resnet23.studies.definition import Value
from Resnet23.studies.outcomes import Outcome

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SEEDS, TOGETHER = "seeds", "parameters together"
DECADES = 100
TINY = 1e-12  # a variance that only rounding makes


def variance_shares(outcomes: Sequence[Outcome], keys: Sequence[str]) -> dict[str, float]:
    """The shares of a grid's variance in test accuracy: of each parameter by itself, largest first, then of the rest.

    The rest is what parameters do only together, and what seeds do. Analysis of variance, for a whole grid with the
    same number of seeds in each setting. Empty where nothing varies.
    """
    accuracies = np.stack([outcome.samples("test_accuracy") for outcome in outcomes])  # (settings, seeds)
    means, total = accuracies.mean(axis=1), accuracies.var()
    if total < TINY:
        return {}
    shares = {}
    for key in keys:
        values = np.array([str(outcome.setting.values[key]) for outcome in outcomes])
        main = np.array([means[values == value].mean() for value in values])  # (settings,)
        shares[key] = float(main.var() / total)
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    together = float(means.var() / total) - sum(ordered.values())
    return {**ordered, TOGETHER: max(together, 0.0), SEEDS: float(accuracies.var(axis=1).mean() / total)}


def search_importances(outcomes: Sequence[Outcome], keys: Sequence[str]) -> dict[str, float]:
    """Each parameter's share in the variance of the mean test accuracy over a search, largest first.

    By functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown 2014), as Optuna has it. Empty where nothing
    varies. Raises InputError when optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise missing_package("optuna", "studies") from None
    values = {key: {outcome.setting.values[key] for outcome in outcomes} for key in keys}
    distributions = {key: _distribution(choices) for key, choices in values.items()}
    study = optuna.create_study()
    for outcome in outcomes:
        params = {key: outcome.setting.values[key] for key in keys}
        accuracy = outcome.samples("test_accuracy").mean()
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=accuracy))
    if len({trial.value for trial in study.trials}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in found.items()}


def _distribution(values: set[Value]) -> "BaseDistribution":
    """Numbers keep their order, and those over two decades or more their factors; all else are names."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numeric or len(values) < 2:
        return CategoricalDistribution(sorted(values, key=str))
    low, high = min(values), max(values)
    return FloatDistribution(low, high, log=low > 0 and high >= DECADES * low)
