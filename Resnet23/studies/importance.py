"""How much each parameter decides the result, beside how much the seed does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from Resnet23.errors import missing_package
from Resnet23.studies.definition import Value
from Resnet23.studies.outcomes import Outcome

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SEED = "seed"
DECADES = 100


def parameter_importances(outcomes: Sequence[Outcome], keys: Sequence[str]) -> dict[str, float]:
    """Each parameter's share in the variance of the test accuracy, largest first; the seed is one of them.

    By functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown 2014), as Optuna has it. What a parameter does
    for less than the seed is not to be believed. Raises InputError when optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise missing_package("optuna", "studies") from None
    values = {key: {outcome.setting.values[key] for outcome in outcomes} for key in keys}
    values[SEED] = {str(seed) for outcome in outcomes for seed in outcome.measured}
    distributions = {key: _distribution(choices) for key, choices in values.items()}
    study = optuna.create_study()
    for outcome in outcomes:
        for seed, measurement in outcome.measured.items():
            params = {key: outcome.setting.values[key] for key in keys} | {SEED: str(seed)}
            accuracy = measurement.numbers["test_accuracy"]
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=accuracy))
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
