"""Settings compared with each other, all in the same way: chosen by validation, compared on test images."""

from collections.abc import Sequence

from Resnet23.studies.outcomes import Outcome
from Resnet23.studies.statistics import Difference, compare, pooled_noise


def best_on_validation(outcomes: Sequence[Outcome]) -> Outcome:
    """The setting of the highest mean validation accuracy."""
    return max(outcomes, key=lambda outcome: outcome.samples("val_accuracy").mean())


def against(outcomes: Sequence[Outcome], reference: Outcome, number: str = "test_accuracy") -> dict[str, Difference]:
    """A number of every other setting minus that of `reference`, by the setting's name.

    The noise between seeds is pooled over all settings that did not diverge, and the intervals hold together.
    """
    others = [outcome for outcome in outcomes if outcome is not reference]
    noise = pooled_noise([outcome.samples(number) for outcome in outcomes if not outcome.diverged])
    samples = reference.samples(number)
    return {each.setting.name: compare(each.samples(number), samples, len(others), noise) for each in others}
