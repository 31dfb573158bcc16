"""A run beside the one before it, from the local store."""

import pytest

from Resnet23.config import TrackingParams
from Resnet23.tracking import NullTracker, continue_run, start_run
from Resnet23.tracking.destination import runs_page

METRICS = {"test_loss": 1.0, "test_accuracy": 0.5}


def finish_run(params: TrackingParams, epochs: int, framework: str = "PyTorch", metrics=METRICS, stage: str = "train"):
    """A tracked run of so many epochs; gives its id."""
    with start_run(params, {"train": {"epochs": epochs}}, {"stage": stage, "framework": framework}) as tracker:
        tracker.log_metrics(metrics)
        tracker.write_run_file("run.json")
        return tracker.run_id


def test_the_run_before_is_the_last_one_of_the_experiment_that_was_trained_and_tested(project, tmp_path):
    params = TrackingParams(experiment="history")
    first = finish_run(params, 1)
    finish_run(TrackingParams(experiment="another"), 2)
    finish_run(params, 3, framework="Keras")
    finish_run(params, 4, metrics={"train_loss": 1.0})  # never tested
    finish_run(params, 5, stage="heads")
    with pytest.raises(RuntimeError), start_run(params, {}, {"stage": "train", "framework": "PyTorch"}) as failed:
        failed.log_metrics(METRICS)
        raise RuntimeError("it failed")
    last = finish_run(params, 6)
    with continue_run(params, tmp_path / "run.json") as tracker:
        history = tracker.read_history()
    assert (history.current.run_id, history.previous.run_id) == (last, first)
    assert (history.current.params["epochs"], history.previous.params["epochs"]) == ("6", "1")
    assert history.previous.metrics == METRICS
    assert history.remote is None
    with continue_run(params, tmp_path / "run.json") as tracker:
        assert tracker.read_history() == history, "the same however often the page is made"


def test_the_first_run_has_none_before_it(project, tmp_path):
    params = TrackingParams(experiment="first")
    finish_run(params, 1)
    with continue_run(params, tmp_path / "run.json") as tracker:
        assert tracker.read_history().previous is None


def test_what_is_not_tracked_has_no_history(project, tmp_path, log_lines):
    assert NullTracker().read_history() is None
    assert start_run(TrackingParams(enabled=False), {}).read_history() is None
    finish_run(TrackingParams(), 1)
    with continue_run(TrackingParams(), tmp_path / "run.json") as tracker:
        tracker.run_id = "no such run"
        assert tracker.read_history() is None
        assert tracker.read_history() is None
        tracker.run_id = None
    assert len([line for line in log_lines if line.startswith("WARNING: tracking stops")]) == 1


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, None),
        ({"DAGSHUB_REPO_OWNER": "o", "DAGSHUB_REPO_NAME": "a b"}, "https://dagshub.com/o/a%20b/experiments"),
        ({"MLFLOW_TRACKING_URI": "https://user@dagshub.com/o/r.mlflow/"}, "https://dagshub.com/o/r/experiments"),
        ({"MLFLOW_TRACKING_URI": "http://user@host:5000/"}, "http://host:5000"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlruns.db"}, None),
        ({"MLFLOW_TRACKING_URI": "http://host:port"}, None),
        ({"DAGSHUB_REPO_OWNER": "o"}, None),
    ],
)
def test_people_find_the_runs_of_the_remote_at_an_address_without_secrets(environment, address):
    assert runs_page(environment) == address
