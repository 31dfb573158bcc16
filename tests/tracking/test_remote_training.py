"""A training whose remote is well, slow, broken or gone: its weights are the same, and nothing is lost."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from local_store import python_process, store_client
from servers import (
    FaultyServer,
    MlflowServer,
    after,
    answer,
    die,
    environment_for,
    forward,
    hang,
    late,
    new_server,
    old_server,
    serving_process,
)
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, RUN_FILE, Params, TrackingParams, load_params
from Resnet23.modeling import train
from Resnet23.modeling.resume import NOT_SAVED, ResumeFile
from Resnet23.tracking import Tracker, continue_run, sender_process, start_run
from Resnet23.tracking.destination import Remote
from Resnet23.tracking.sync import Sent, sync
from Resnet23.tracking.transfer import LOCAL_RUN

if TYPE_CHECKING:
    from mlflow import MlflowClient

SERVER_WARNING = "is not filled now"
ORIGINAL = Tracker.log_metrics


@pytest.fixture(scope="session")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    make_features(folder, SHRUNK)
    return folder


@pytest.fixture
def params(project: Path, features_folder: Path, request: pytest.FixtureRequest) -> Params:
    """The parameters of the project in the current directory, which has features; the experiment is the test's own."""
    for name in ("data", "params.yaml"):
        (project / name).symlink_to(features_folder / name)
    return load_params(assignments=[f"tracking.experiment={request.node.name}"])


@pytest.fixture
def senders(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen]]:
    """The sender processes that a test starts; none outlives it."""
    started: list[subprocess.Popen] = []

    class Remembered(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            if "Resnet23.tracking.sender" in self.args:
                started.append(self)

    monkeypatch.setattr(sender_process.subprocess, "Popen", Remembered)
    yield started
    for process in started:
        process.kill()
        process.wait()


def weights() -> dict[str, torch.Tensor]:
    return torch.load(CHECKPOINT_FILE, weights_only=True)["state_dict"]


def run_training(params: Params) -> float:
    """Train from the beginning; seconds that it took."""
    start = time.perf_counter()
    train.train_tracked(read_features(), params, ResumeFile(Path(tempfile.mkdtemp(dir=Path()))))
    return time.perf_counter() - start


class Untracked(NamedTuple):
    """The same training without a tracker."""

    weights: dict[str, torch.Tensor]
    seconds: float


@pytest.fixture(scope="session")
def untracked(features_folder: Path) -> Untracked:
    start = time.perf_counter()
    with chdir(features_folder):
        trained = train.train(read_features(), load_params(), resume=NOT_SAVED)
    return Untracked(trained.checkpoint.state_dict, time.perf_counter() - start)


def wait_for_line(captured: Callable[[], str], text: str, seconds: float) -> str:
    """All that was printed, once `text` is in it."""
    printed, end = "", time.monotonic() + seconds
    while text not in printed and time.monotonic() < end:
        printed += captured()
        time.sleep(0.1)
    return printed


def assert_nowhere(secret: str, printed: str) -> None:
    """It is neither in what was printed nor in any file of the project in the current directory."""
    assert secret not in printed
    for file in Path().rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


def synchronize(server: FaultyServer | MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What `make sync-tracking` does. Connecting changes the environment, which is undone after the test."""
    for name in ("TRACKING_TOKEN", "HTTP_REQUEST_TIMEOUT", "HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(f"MLFLOW_{name}", "")
    return sync(Remote(server.url, server.username, server.password))


def runs_in(client: "MlflowClient", experiment: str) -> bool:
    """Whether the experiment on a server has a run with a loss."""
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return any("train_loss" in run.data.metrics for run in runs)


def copy_of(server: MlflowServer, experiment: str):
    """The only run of the experiment on the server."""
    client = server.client()
    [run] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def kill_after_epoch(process: subprocess.Popen, epoch: int, arrived: Callable[[], bool]) -> Callable[..., None]:
    """A tracker's log_metrics that waits in this epoch until something has arrived, then kills a server's processes."""

    def log_metrics(tracker: Tracker, values: Mapping[str, Any], step: int | None = None) -> None:
        ORIGINAL(tracker, values, step)
        if step == epoch:
            end = time.monotonic() + 120
            while not arrived() and time.monotonic() < end:
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)

    return log_metrics


def histories(client, run_id: str) -> dict[str, list[tuple[int, float]]]:
    metrics = client.get_run(run_id).data.metrics
    return {key: [(point.step, point.value) for point in client.get_metric_history(run_id, key)] for key in metrics}


FAULTS = {
    "well": forward,
    "500": answer(500),
    "401": answer(401),
    "hangs": hang(10),
    "late": late(10),
    "dies": after(8, die),
    "old": old_server,
}


QUICKLY = {"well", "401"}  # the others with the slow tests


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICKLY else [pytest.mark.slow]) for name in FAULTS]
)
@pytest.mark.fault(19)
def test_a_training_gives_the_same_weights_whatever_the_remote_does_and_nothing_is_lost(
    params, untracked, faulty_server, mlflow_server, senders, monkeypatch, capfd, name
):
    for key, value in environment_for(faulty_server).items():
        monkeypatch.setenv(key, value)
    faulty_server.fault = FAULTS[name]
    seconds = run_training(params)
    assert seconds < untracked.seconds + 60  # for the store and the export of the model, on a busy machine too
    torch.testing.assert_close(weights(), untracked.weights, rtol=0, atol=0)

    [sender] = senders
    if name in ("well", "old"):
        assert sender.wait(timeout=60) == 0
        printed = capfd.readouterr().err
        assert SERVER_WARNING not in printed and f"{faulty_server.url}/#/experiments/" in printed
    else:
        printed = wait_for_line(lambda: capfd.readouterr().err, SERVER_WARNING, seconds=30)
        assert printed.count(SERVER_WARNING) == 1 and "make sync-tracking" in printed
    if name == "401":
        assert sender.wait(timeout=30) == 0
        assert len(faulty_server.requests) == 1
    sender.kill()
    assert_nowhere(faulty_server.password, printed)

    faulty_server.fault = forward
    faulty_server.accept()
    synchronize(faulty_server, monkeypatch)
    copy = copy_of(mlflow_server, params.tracking.experiment)
    run_id = copy.data.tags[LOCAL_RUN]
    assert copy.info.status == "FINISHED"
    assert histories(mlflow_server.client(), copy.info.run_id) == histories(store_client(), run_id)
    assert synchronize(faulty_server, monkeypatch) == (0, 3, 0)  # the store was made with two runs


@pytest.mark.slow
@pytest.mark.fault(19)
def test_a_server_that_is_killed_in_the_middle_gets_the_rest_once_it_is_back(
    params, tmp_path_factory, senders, monkeypatch, capfd
):
    params = params.model_copy(update={"train": params.train.model_copy(update={"epochs": 6})})
    expected = train.train(read_features(), params, resume=NOT_SAVED).checkpoint.state_dict
    server = new_server(tmp_path_factory.mktemp("server"))
    for key, value in environment_for(server).items():
        monkeypatch.setenv(key, value)
    with serving_process(server) as process:
        client, name = server.client(), params.tracking.experiment
        monkeypatch.setattr(
            Tracker,
            "log_metrics",
            kill_after_epoch(process, 3, lambda: bool(client.get_experiment_by_name(name)) and runs_in(client, name)),
        )
        run_training(params)
    torch.testing.assert_close(weights(), expected, rtol=0, atol=0)
    printed = wait_for_line(lambda: capfd.readouterr().err, SERVER_WARNING, seconds=60)
    assert printed.count(SERVER_WARNING) == 1
    senders[0].kill()
    assert_nowhere(server.password, printed)
    with serving_process(server):
        synchronize(server, monkeypatch)
        copy = copy_of(server, name)
        assert copy.info.status == "FINISHED"
        assert len(histories(server.client(), copy.info.run_id)["train_loss"]) == 6
        assert histories(server.client(), copy.info.run_id) == histories(store_client(), copy.data.tags[LOCAL_RUN])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.fault(14, 19)
def test_a_training_that_is_ended_is_closed_as_killed_here_and_there(
    project, faulty_server, mlflow_server, request, number
):
    code = f"""
import time
from Resnet23.command import run_command
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
def main() -> None:
    with start_run(TrackingParams(experiment={request.node.name!r}), {{"seed": 1}}) as tracker:
        for step in range(1, 1000):
            tracker.log_metrics({{"loss": 1 / step}}, step=step)
            print(tracker.run_id, tracker._sender._process.pid, flush=True)
            time.sleep(0.2)
run_command(main)
"""
    process = python_process(code, project, no_proxy="127.0.0.1", **environment_for(faulty_server))
    run_id, sender = process.stdout.readline().split()
    client = mlflow_server.client()
    while not client.get_experiment_by_name(request.node.name):
        time.sleep(0.1)
    command_line = Path(f"/proc/{sender}/cmdline").read_bytes()  # what a list of processes shows
    assert run_id.encode() in command_line and faulty_server.password.encode() not in command_line
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)  # the sender has the same output: until it ends
    assert store_client().get_run(run_id).info.status == "KILLED"
    copy = copy_of(mlflow_server, request.node.name)
    assert copy.info.status == "KILLED"
    assert histories(client, copy.info.run_id) == histories(store_client(), run_id)
    assert faulty_server.password not in errors


@pytest.mark.slow
@pytest.mark.fault(19)
def test_whoever_reads_the_output_of_a_training_does_not_wait_for_its_sender(project, faulty_server, request):
    """With `2>&1 | tee log` the sender has the same pipe. The server takes everything but files, and those never."""
    faulty_server.fault = lambda exchange: (hang(60) if exchange.command == "PUT" else forward)(exchange)
    code = f"""
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
with start_run(TrackingParams(experiment={request.node.name!r}), {{"seed": 1}}) as tracker:
    tracker.log_text("text", "file.txt")
print(tracker._sender._process.pid)
"""
    start = time.monotonic()
    process = python_process(code, project, no_proxy="127.0.0.1", **environment_for(faulty_server))
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 45
    os.kill(int(output), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.fault(19)
def test_the_stages_of_one_run_warn_once(project, request, monkeypatch, senders, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    tracking = TrackingParams(experiment=request.node.name)
    with start_run(tracking, {}) as tracker:
        tracker.write_run_file(RUN_FILE)
    printed = wait_for_line(lambda: capfd.readouterr().err, SERVER_WARNING, seconds=30)
    senders[0].kill()
    with continue_run(tracking, RUN_FILE):
        pass
    senders[1].wait(timeout=60)
    printed += capfd.readouterr().err
    assert printed.count(SERVER_WARNING) == 1


def test_the_run_holds_what_a_reader_of_its_page_looks_for(params):
    run_training(params)
    run = store_client().get_run(json.loads(RUN_FILE.read_text())["run_id"])
    assert {"batch_size", "optimizer", "learning_rate", "epochs", "model.width", "seed"} <= run.data.params.keys()
    assert {"train_loss", "val_accuracy", "learning_rate", "best_epoch"} <= run.data.metrics.keys()
    tags = {"git_revision", "git_dirty", "mlflow.source.git.commit"}  # this project lies in no git repository
    assert not tags & run.data.tags.keys()
    assert {"stage", "machine.cpu", "machine.cores", "version.python", "version.torch"} <= run.data.tags.keys()
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", read_features().digest[:36])
    [model] = run.outputs.model_outputs
    assert store_client().get_logged_model(model.model_id).status == "READY"
    artifacts = Path("mlruns/artifacts") / run.info.run_id / "artifacts"
    assert (artifacts / "models/resnet23_cifar.pth").read_bytes() == CHECKPOINT_FILE.read_bytes()


@pytest.mark.fault(19, 26)
def test_nothing_of_the_token_is_left_in_the_project(params, faulty_server, senders, monkeypatch, capfd):
    for key, value in environment_for(faulty_server).items():
        monkeypatch.setenv(key, value)
    run_training(params)
    senders[0].wait(timeout=60)
    assert_nowhere(faulty_server.password, "".join(capfd.readouterr()))
