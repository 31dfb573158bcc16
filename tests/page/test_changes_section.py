"""What changed since the last run, and where a run can be looked at."""

from dataclasses import replace

from Resnet23.page.changes import compare_metrics, compare_params, describe_changes
from Resnet23.page.environment import describe_run, installed_versions
from Resnet23.tracking.previous import RunHistory, TrackedRun

BEFORE = TrackedRun(
    run_id="1" * 32,
    experiment_id="7",
    name="resnet23-digits-1",
    started="2026-01-02 03:04",
    params={"epochs": "20", "seed": "0", "gone": "x"},
    metrics={"test_accuracy": 0.5, "test_loss": 1.0, "test_f1": 0.25, "train_loss": 9.0},
    tags={"git_revision": "abc"},
)
NOW = replace(
    BEFORE,
    run_id="2" * 32,
    params={"epochs": "2", "seed": "0", "new": "y"},
    metrics={"test_accuracy": 0.75, "test_loss": 1.5, "test_f1": 0.250001, "test_ece": 0.1},
    tags={"git_revision": "def", "machine.cpu": "a <processor>", "machine.cores": "2"},
)


def test_only_what_differs_is_listed():
    assert compare_params(NOW.params, BEFORE.params) == [
        {"name": "epochs", "previous": "20", "current": "2"},
        {"name": "gone", "previous": "x", "current": None},
        {"name": "new", "previous": None, "current": "y"},
    ]
    assert compare_params({}, BEFORE.params) == []


def test_metrics_say_which_way_they_went():
    rows = {row["name"]: row for row in compare_metrics(NOW, BEFORE)}
    assert list(rows) == ["test accuracy", "F1", "cross-entropy"]
    assert rows["test accuracy"] == {
        "name": "test accuracy", "previous": "50.0%", "current": "75.0%", "step": "+25.0 points", "direction": "better",
    }  # fmt: skip
    assert (rows["cross-entropy"]["step"], rows["cross-entropy"]["direction"]) == ("+0.500", "worse")
    assert (rows["F1"]["step"], rows["F1"]["direction"]) == ("the same", "same")


def test_the_three_states():
    assert describe_changes(None) == {"state": "untracked"}
    assert describe_changes(RunHistory(NOW, None, None)) == {"state": "first"}
    described = describe_changes(RunHistory(NOW, BEFORE, None))
    assert (described["state"], described["revisions"]) == ("compared", ("abc", "def"))
    assert described["are_params_known"]


def test_the_run_is_linked():
    run = describe_run(RunHistory(NOW, None, "https://dagshub.com/o/r/experiments"))
    assert run["local"] == f"http://127.0.0.1:5000/#/experiments/7/runs/{'2' * 32}"
    assert run["remote"] == "https://dagshub.com/o/r/experiments"
    assert run["machine"] == {"processor": "a <processor>", "cores": "2"}
    assert describe_run(None)["local"] is None


def test_versions_are_those_of_installed_packages():
    versions = installed_versions(["numpy", "surely-not-installed"])
    assert list(versions) == ["Python", "numpy"]
