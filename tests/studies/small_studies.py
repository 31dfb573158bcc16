"""Outcomes of a study that nobody has run, with accuracies as a test wants them."""

from collections.abc import Mapping, Sequence
from typing import Any

from Resnet23.config import Params
from Resnet23.studies.analyses import find_analysis
from Resnet23.studies.definition import Study
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import Setting

SCALE = {"preset": "study-smoke", "seeds": [0, 1, 2], "cost": "nothing"}


def make_study(**content: Any) -> Study:
    """A study with what every one needs, and `content`."""
    basic = {
        "name": "made-up",
        "question": "Why?",
        "analysis": "sweep",
        "expected": "That.",
        "scales": {"smoke": SCALE},
    }
    return Study.model_validate(basic | content)


def make_measurement(accuracy: float, diverged: bool = False, epochs: int = 3) -> Measurement:
    """A training whose validation accuracy rises evenly to `accuracy`, the same as on the test images."""
    numbers = {"val_accuracy": accuracy, "test_accuracy": accuracy, "train_accuracy": accuracy + 0.1, "gap": 0.1}
    numbers |= {"test_loss": 1.0, "best_epoch": epochs, "seconds": 2.0, "diverged": int(diverged)}
    if diverged:
        return Measurement(numbers)
    rising = [accuracy * epoch / epochs for epoch in range(1, epochs + 1)]
    falling = [0.1 / epoch for epoch in range(1, epochs + 1)]
    return Measurement(
        numbers,
        {
            "val_accuracy": rising,
            "train_accuracy": rising,
            "val_loss": falling,
            "train_loss": falling,
            "learning_rate": falling,
        },
    )


def make_outcome(name: str, values: Mapping[str, Any], accuracies: Sequence[float], diverged: bool = False) -> Outcome:
    """A setting with one accuracy for each seed."""
    measured = {seed: make_measurement(accuracy, diverged) for seed, accuracy in enumerate(accuracies)}
    return Outcome(Setting(name, dict(values)), "complete", measured)


def make_results(study: Study, outcomes: Sequence[Outcome], tuning: Sequence[Outcome] = ()) -> Results:
    """The results of a study of ten classes."""
    options = find_analysis(study.analysis).options.model_validate(study.options)
    return Results(study, "smoke", Params(), options, [str(n) for n in range(10)], list(outcomes), list(tuning))
