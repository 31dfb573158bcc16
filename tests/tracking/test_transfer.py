"""Copying runs to a real MLflow server, through a proxy that fails in the ways servers do."""

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from local_store import python_process, store_client
from servers import FaultyServer, MlflowServer, after, answer, die, first, forward, late, old_server
from test_tracker import CLASSIFIER, RUN_FILE, RUN_PARAMS

from Resnet23.config import TrackingParams
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.tracking import Tracker, continue_run, start_run
from Resnet23.tracking import sync as sync_module
from Resnet23.tracking.destination import Remote, connect
from Resnet23.tracking.store import active_runs
from Resnet23.tracking.sync import sync
from Resnet23.tracking.transfer import DIGESTS_FILE, LOCAL_RUN, RunTransfer


@pytest.fixture
def tracking(request: pytest.FixtureRequest) -> TrackingParams:
    """An experiment of this test's own: the server is shared."""
    return TrackingParams(experiment=request.node.name)


@pytest.fixture
def remote(faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The server behind the proxy. Connecting to it changes the environment, which is undone afterwards."""
    for name in ("TIMEOUT", "MAX_RETRIES"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    monkeypatch.setattr(sync_module, "PAUSES", (0, 0, 0))
    return Remote(faulty_server.url, faulty_server.username, faulty_server.password)


@pytest.fixture
def project(project: Path) -> Path:
    """The project without the runs that its store was made with."""
    for run in active_runs(store_client()):
        store_client().delete_run(run.info.run_id)
    return project


def full_run(tracking: TrackingParams) -> Tracker:
    """A run with something of every kind."""
    with start_run(tracking, RUN_PARAMS, {"note": "text"}) as tracker:
        tracker.log_dataset("digits", "0123456789abcdef" * 4, Path("data/features"), {"train": 20})
        for epoch in range(1, 21):
            tracker.log_metrics({"train_loss": 1 / epoch, "val_loss": 2 / epoch}, step=epoch)
        tracker.log_metrics({"test_f1": {"ant": 0.25}})
        tracker.log_text("<html>", "page.html")
        tracker.log_text("epoch\n1\n", "reports/history 1.csv")
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        tracker.log_model(network, np.zeros((2, 3, 8, 8), dtype=np.float32), CLASSIFIER)
    tracker.write_run_file(RUN_FILE)
    return tracker


def points(client, run_id: str) -> dict[str, list[tuple[int, int, float]]]:
    """Every point of every metric of a run."""
    metrics = client.get_run(run_id).data.metrics
    return {
        key: sorted((x.step, x.timestamp, x.value) for x in client.get_metric_history(run_id, key)) for key in metrics
    }


def copies(server: MlflowServer, tracking: TrackingParams) -> list:
    """The runs of this test on the server."""
    experiment = server.client().get_experiment_by_name(tracking.experiment)
    return server.client().search_runs([experiment.experiment_id]) if experiment else []


def assert_whole(server: MlflowServer, tracking: TrackingParams, tracker: Tracker) -> None:
    """The server has the run once, with everything that it holds here."""
    [copy] = copies(server, tracking)
    run = store_client().get_run(tracker.run_id)
    assert points(server.client(), copy.info.run_id) == points(store_client(), run.info.run_id)
    assert copy.data.params == run.data.params
    assert run.data.tags.items() <= copy.data.tags.items()
    assert (copy.info.status, copy.info.start_time, copy.info.end_time) == (
        (run.info.status, run.info.start_time, run.info.end_time)
    )
    here = Path("mlruns/artifacts") / run.info.run_id / "artifacts"
    there = server.artifact_folder(copy.info.run_id)
    for file in (path for path in here.rglob("*") if path.is_file()):
        assert (there / file.relative_to(here)).read_bytes() == file.read_bytes()


def is_reading(method: str, path: str) -> bool:
    return method == "GET" or path.split("?")[0].endswith("/search")


def test_a_run_arrives_whole_and_a_second_time_only_reads(project, tracking, remote, faulty_server, mlflow_server):
    tracker = full_run(tracking)
    assert sync(remote) == (1, 0, 0)
    assert_whole(mlflow_server, tracking, tracker)
    [copy] = copies(mlflow_server, tracking)
    assert copy.data.tags[LOCAL_RUN] == tracker.run_id
    [entry] = copy.inputs.dataset_inputs
    assert entry.dataset.digest == ("0123456789abcdef" * 4)[:36]
    [model] = copy.outputs.model_outputs
    assert mlflow_server.client().get_logged_model(model.model_id).status == "READY"

    faulty_server.requests.clear()
    assert sync(remote) == (0, 1, 0)
    assert all(is_reading(request.method, request.path) for request in faulty_server.requests)


def test_a_run_that_grows_is_sent_bit_by_bit(project, tracking, remote, mlflow_server):
    with start_run(tracking, {}) as tracker:
        transfer = RunTransfer(store_client(), connect(remote, timeout=10), tracker.run_id)
        for epoch in (1, 2, 3):
            tracker.log_metrics({"loss": 1 / epoch}, step=epoch)
            transfer.send()
            [copy] = copies(mlflow_server, tracking)
            assert (copy.info.status, copy.data.metrics) == ("RUNNING", {"loss": 1 / epoch})
        tracker.log_text("1", "metrics.json")
    tracker.write_run_file(RUN_FILE)
    transfer.send()
    assert_whole(mlflow_server, tracking, tracker)

    with continue_run(tracking, RUN_FILE) as tracker:  # the prediction, made again with another result of equal length
        tracker.log_text("2", "metrics.json")
        sync(remote)
        assert copies(mlflow_server, tracking)[0].info.status == "RUNNING"
    assert sync(remote).sent == 1
    assert_whole(mlflow_server, tracking, tracker)
    folder = mlflow_server.artifact_folder(copies(mlflow_server, tracking)[0].info.run_id)
    digest = hashlib.sha256(b"2").hexdigest()
    assert (folder / DIGESTS_FILE).read_text() == f"{digest}  metrics.json\n"


def test_runs_below_a_run_stay_below_it(project, tracking, remote, mlflow_server):
    with start_run(tracking, {}) as parent, parent.start_child("child", {"rate": 1}):
        pass
    sync(remote)
    runs = {run.info.run_name: run for run in copies(mlflow_server, tracking)}
    child = runs.pop("child")
    [(_, parent_copy)] = runs.items()
    assert child.data.tags["mlflow.parentRunId"] == parent_copy.info.run_id


def test_an_older_server_gets_the_model_as_files_that_load(
    project, tracking, remote, faulty_server, mlflow_server, monkeypatch
):
    import mlflow

    faulty_server.fault = old_server
    tracker = full_run(tracking)
    sync(remote)
    assert_whole(mlflow_server, tracking, tracker)
    [copy] = copies(mlflow_server, tracking)
    assert copy.outputs.model_outputs == [] and copy.inputs.dataset_inputs == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.client().tracking_uri)
    network = mlflow.pytorch.load_model(f"runs:/{copy.info.run_id}/model")
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
    assert sync(remote) == (0, 1, 0)


@pytest.mark.parametrize(
    "fault",
    [
        *(after(number, first(1, die)) for number in (3, 6, 10, 15)),
        first(2, answer(500)),
        after(4, answer(503)),
        after(2, first(3, late(2))),  # what the requests ask for happens, the answer comes too late
        after(1, first(2, late(2))),
    ],
    ids=["dies", "dies at the metrics", "dies at the files", "dies later", "500", "503", "late", "late at first"],
)
@pytest.mark.fault(19)
def test_what_was_interrupted_is_completed_later(
    project, tracking, remote, faulty_server, mlflow_server, monkeypatch, fault: Callable
):
    monkeypatch.setattr(sync_module, "REQUEST_SECONDS", 1)
    tracker = full_run(tracking)
    faulty_server.fault = fault
    with contextlib.suppress(Resnet23Error):
        sync(remote)
    faulty_server.fault = forward
    faulty_server.accept()
    monkeypatch.setattr(sync_module, "REQUEST_SECONDS", 30)
    sync(remote)
    assert_whole(mlflow_server, tracking, tracker)
    [_] = copies(mlflow_server, tracking)[0].outputs.model_outputs


@pytest.mark.fault(19)
def test_wrong_credentials_are_shown_once_and_not_retried(project, tracking, remote, faulty_server):
    with start_run(tracking, {}):
        pass
    faulty_server.requests.clear()
    with pytest.raises(InputError, match=r"refuses the credentials \(HTTP 401\)"):
        sync(Remote(remote.uri, remote.username, "wrong"))
    assert len(faulty_server.requests) == 1


def test_a_copy_that_was_deleted_there_stays_deleted(project, tracking, remote, mlflow_server):
    with start_run(tracking, {}):
        pass
    sync(remote)
    [copy] = copies(mlflow_server, tracking)
    mlflow_server.client().delete_run(copy.info.run_id)
    assert sync(remote) == (0, 1, 0)
    assert copies(mlflow_server, tracking) == []


def test_of_two_copies_one_is_kept(project, tracking, remote, mlflow_server):
    tracker = full_run(tracking)
    sync(remote)
    [copy] = copies(mlflow_server, tracking)
    client = mlflow_server.client()
    client.create_run(copy.info.experiment_id, copy.info.start_time, {LOCAL_RUN: tracker.run_id}, copy.info.run_name)
    sync(remote)
    assert_whole(mlflow_server, tracking, tracker)


def test_a_value_that_is_too_long_for_the_server_is_cut(project, tracking, remote, monkeypatch):
    """Older servers take parameters of 500 characters at most."""
    from mlflow.exceptions import MlflowException

    with start_run(tracking, {f"p{number}": number for number in range(20)} | {"long": "x" * 600}) as tracker:
        client = connect(remote, timeout=10)
        log_batch = client.log_batch

        def strict(run_id, params=(), **arguments):
            if any(len(param.value) > 500 for param in params):
                raise MlflowException("API request to endpoint failed with error code 400 != 200")
            return log_batch(run_id, params=params, **arguments)

        monkeypatch.setattr(client, "log_batch", strict)
        transfer = RunTransfer(store_client(), client, tracker.run_id)
        transfer.send()
    assert transfer.copy.data.params == {f"p{number}": str(number) for number in range(20)} | {"long": "x" * 500}


def test_a_run_whose_model_was_deleted_is_sent_without_it_and_holds_up_no_other(
    project, tracking, remote, mlflow_server
):
    first = full_run(tracking)
    [output] = store_client().get_run(first.run_id).outputs.model_outputs
    store_client().delete_logged_model(output.model_id)
    second = full_run(tracking)
    shutil.rmtree(Path("mlruns/artifacts") / second.run_id)
    full_run(tracking)
    assert sync(remote) == (3, 0, 0)
    models = {copy.data.tags[LOCAL_RUN]: copy.outputs.model_outputs for copy in copies(mlflow_server, tracking)}
    assert [len(models.pop(first.run_id)), len(models.pop(second.run_id)), *map(len, models.values())] == [0, 1, 1]


@pytest.mark.fault(19)
def test_one_run_that_fails_does_not_hold_up_the_others(project, tracking, remote, monkeypatch, mlflow_server):
    with start_run(tracking, {}) as bad:
        pass
    with start_run(tracking, {}) as good:
        pass
    send = RunTransfer.send

    def failing(transfer: RunTransfer) -> bool:
        if transfer._run_id == bad.run_id:
            raise OSError("disk")
        return send(transfer)

    monkeypatch.setattr(RunTransfer, "send", failing)
    with pytest.raises(Resnet23Error, match=f"1 of the runs were not sent whole, as run {bad.run_id}: OSError: disk"):
        sync(remote)
    assert [copy.data.tags[LOCAL_RUN] for copy in copies(mlflow_server, tracking)] == [good.run_id]


@pytest.mark.fault(19)
def test_a_run_whose_process_was_killed_is_closed_before_it_is_sent(project, tracking, remote, mlflow_server):
    code = f"""
import os
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
tracker = start_run(TrackingParams(experiment={tracking.experiment!r}), {{}})
tracker.log_text("kept", "a.txt")
print(tracker.run_id, flush=True)
os._exit(9)
"""
    process = python_process(code, project)
    run_id = process.communicate(timeout=60)[0].strip()
    with start_run(tracking, {}) as alive:
        sync(remote)
        status = {copy.data.tags[LOCAL_RUN]: copy.info.status for copy in copies(mlflow_server, tracking)}
        assert status == {run_id: "KILLED", alive.run_id: "RUNNING"}
    assert sync(remote) == (1, 1, 0)


def test_an_experiment_that_was_deleted_there_is_not_brought_back(project, tracking, remote, mlflow_server):
    with start_run(tracking, {}):
        pass
    sync(remote)
    client = mlflow_server.client()
    client.delete_experiment(client.get_experiment_by_name(tracking.experiment).experiment_id)
    with pytest.raises(Resnet23Error, match="was deleted there; restore it"):
        sync(remote)
    assert client.get_experiment_by_name(tracking.experiment).lifecycle_stage == "deleted"


@pytest.mark.fault(19)
def test_a_server_that_fails_now_and_then_gets_the_model_all_the_same(
    project, tracking, remote, faulty_server, mlflow_server
):
    count = itertools.count(1)

    def now_and_then(exchange) -> None:
        (answer(502) if exchange.command == "PUT" and next(count) % 10 == 0 else forward)(exchange)

    faulty_server.fault = now_and_then
    tracker = full_run(tracking)
    assert sync(remote) == (1, 0, 0)
    assert_whole(mlflow_server, tracking, tracker)
    assert next(count) > 20
