"""What changed since the last run of the experiment: parameters and results, as the tracker has them."""

from collections.abc import Mapping
from typing import Any

from Resnet23.places import without_ways
from Resnet23.tracking.previous import RunHistory, TrackedRun

# The name in the tracker -> the name on the page, whether it is a percentage, and whether more of it is better.
HEADLINES = {
    "test_accuracy": ("test accuracy", True, True),
    "test_top5_accuracy": ("top-5 accuracy", True, True),
    "test_superclass_accuracy": ("superclass accuracy", True, True),
    "test_balanced_accuracy": ("balanced accuracy", True, True),
    "test_mAP": ("mAP", False, True),
    "test_f1": ("F1", False, True),
    "test_f1_macro": ("F1, mean of the labels", False, True),
    "test_subset_accuracy": ("every label right", True, True),
    "test_hamming_loss": ("Hamming loss", False, False),
    "test_loss": ("cross-entropy", False, False),
    "test_ece": ("calibration error", False, False),
    "final_train_accuracy": ("training accuracy", True, True),
    "final_train_mAP": ("training mAP", False, True),
}
ELSEWHERE = "the same name at another address"  # two places that differ in what is not shown
CLOSE = 5e-5  # differences below are not seen in the digits shown


def describe_changes(history: RunHistory | None) -> dict[str, Any]:
    """For the template: `state` is "untracked", "first" or "compared"; then the run before, and what differs.

    Only what both runs have is compared. Parameters have the tracker's names, without the prefix of training.
    """
    if history is None:
        return {"state": "untracked"}
    if history.previous is None:
        return {"state": "first"}
    current, previous = history.current, history.previous
    return {
        "state": "compared",
        "previous": previous,
        "params": compare_params(current.params, previous.params),
        "are_params_known": bool(current.params and previous.params),
        "metrics": compare_metrics(current, previous),
        "revisions": (previous.tags.get("git_revision"), current.tags.get("git_revision")),
    }


def compare_params(current: Mapping[str, str], previous: Mapping[str, str]) -> list[dict[str, Any]]:
    """The parameters that differ, in alphabetical order; None for one that a run does not have.

    None at all when a run was recorded without parameters, as the successor of one that is recorded elsewhere.
    Of paths and URLs only the last part is shown.
    """
    if not (current and previous):
        return []
    differing = [name for name in sorted(current.keys() | previous.keys()) if current.get(name) != previous.get(name)]
    before, now = (without_ways(params) for params in (previous, current))
    return [
        {
            "name": name,
            "previous": before.get(name),
            "current": ELSEWHERE if before.get(name) == now.get(name) else now.get(name),
        }
        for name in differing
    ]


def compare_metrics(current: TrackedRun, previous: TrackedRun) -> list[dict[str, Any]]:
    """The headline metrics that both runs have: name, both values as text, their difference, and which way it goes."""
    rows = []
    for key, (name, is_share, more_is_better) in HEADLINES.items():
        if key not in current.metrics or key not in previous.metrics:
            continue
        values = [previous.metrics[key], current.metrics[key]]
        difference = values[1] - values[0]
        shown = [f"{100 * value:.1f}%" if is_share else f"{value:.3f}" for value in values]
        step = f"{100 * difference:+.1f} points" if is_share else f"{difference:+.3f}"
        rows.append(
            {"name": name, "previous": shown[0], "current": shown[1], **_judge(difference, more_is_better, step)}
        )
    return rows


def _judge(difference: float, more_is_better: bool, step: str) -> dict[str, str]:
    if abs(difference) < CLOSE:
        return {"step": "the same", "direction": "same"}
    return {"step": step, "direction": "better" if (difference > 0) == more_is_better else "worse"}
