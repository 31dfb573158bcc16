"""The servers that other tests rely on do what they say."""

import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests
from servers import (
    HOST,
    FaultyServer,
    MlflowServer,
    after,
    answer,
    child_process,
    die,
    environment_for,
    first,
    hang,
    late,
    old_server,
    server_command,
)

TIMEOUT = 2  # seconds, of a request


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """MLflow's client as a user's environment makes it; it tries a request once and waits `TIMEOUT` for it."""

    def make(server: MlflowServer | FaultyServer, **changes: str):
        from mlflow import MlflowClient

        settings = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        for key, value in (settings | environment_for(server) | changes).items():
            monkeypatch.setenv(key, value)
        return MlflowClient(tracking_uri=server.url, registry_uri=server.url)

    return make


@pytest.fixture
def experiment(mlflow_server: MlflowServer) -> str:
    """The id of a new experiment on the server."""
    return mlflow_server.client().create_experiment(secrets.token_hex(8))


def runs_on(server: MlflowServer, experiment: str) -> list[str]:
    return [run.info.run_id for run in server.client().search_runs([experiment])]


def wait_until(condition: Callable[[], object]) -> None:
    """Return once `condition` is true, which takes a few milliseconds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def page(server: MlflowServer | FaultyServer, path: str) -> tuple[int, str, str]:
    """Status, kind and text of the answer to a request of the server's user."""
    response = requests.post(server.url + path, auth=(server.username, server.password), json={}, timeout=30)
    return response.status_code, response.headers["Content-Type"], response.text


def test_the_server_lets_its_user_in_and_nobody_else(mlflow_server: MlflowServer, connect: Callable) -> None:
    from mlflow.exceptions import MlflowException

    assert connect(mlflow_server).search_experiments()
    for changes in ({"MLFLOW_TRACKING_PASSWORD": "wrong"}, {"MLFLOW_TRACKING_USERNAME": "nobody"}):
        with pytest.raises(MlflowException, match="401"):
            connect(mlflow_server, **changes).search_experiments()
    assert mlflow_server.client().search_experiments(), "asserting clients do not use the environment"
    assert mlflow_server.password not in repr(mlflow_server) + str(server_command(mlflow_server, Path("runs.db")))


def test_what_goes_through_the_proxy_is_on_the_server(
    mlflow_server: MlflowServer, faulty_server: FaultyServer, connect: Callable, experiment: str, tmp_path: Path
) -> None:
    contents = {"large.bin": secrets.token_bytes(3_000_000), "empty.bin": b""}
    client = connect(faulty_server, MLFLOW_HTTP_REQUEST_TIMEOUT="30")
    run_id = client.create_run(experiment).info.run_id
    client.log_metric(run_id, "loss", 0.5, step=3)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        client.log_artifact(run_id, tmp_path / name, "files")

    [metric] = mlflow_server.client().get_metric_history(run_id, "loss")
    assert (metric.step, metric.value) == (3, 0.5)
    folder = mlflow_server.artifact_folder(run_id) / "files"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == contents
    assert Path(client.download_artifacts(run_id, "files/large.bin", tmp_path)).read_bytes() == contents["large.bin"]
    assert faulty_server.requests[0][:3] == ("POST", "/api/2.0/mlflow/runs/create", "Basic")
    assert {request.authorization for request in faulty_server.requests} == {"Basic"}
    assert [request.seconds for request in faulty_server.requests] == sorted(r.seconds for r in faulty_server.requests)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refused_request_has_no_effect(
    mlflow_server: MlflowServer, faulty_server: FaultyServer, connect: Callable, experiment: str, status: int
) -> None:
    from mlflow.exceptions import MlflowException

    faulty_server.fault = answer(status)
    with pytest.raises(MlflowException, match=str(status)):
        connect(faulty_server).create_run(experiment)
    assert len(faulty_server.requests) == 1
    assert runs_on(mlflow_server, experiment) == []


@pytest.mark.parametrize(("fault", "effects"), [(hang, 0), (late, 1)])
def test_a_client_gives_up_on_a_slow_server_whether_or_not_the_request_took_effect(
    mlflow_server: MlflowServer,
    faulty_server: FaultyServer,
    connect: Callable,
    experiment: str,
    fault: Callable,
    effects: int,
) -> None:
    from mlflow.exceptions import MlflowException

    faulty_server.fault = fault(60)
    start = time.monotonic()
    with pytest.raises(MlflowException, match="timed out"):
        connect(faulty_server).create_run(experiment)
    assert TIMEOUT <= time.monotonic() - start < 30
    faulty_server.stop()  # does not wait for the 60 seconds, but for the server
    assert len(runs_on(mlflow_server, experiment)) == effects


def test_a_patient_client_gets_the_late_answer(faulty_server: FaultyServer, connect: Callable, experiment: str) -> None:
    faulty_server.fault = late(0.5)
    client, start = connect(faulty_server, MLFLOW_HTTP_REQUEST_TIMEOUT="30"), time.monotonic()
    assert client.get_experiment(experiment).experiment_id == experiment
    assert time.monotonic() - start >= 0.5


def test_a_closed_port_opens_again(faulty_server: FaultyServer, connect: Callable, experiment: str) -> None:
    from mlflow.exceptions import MlflowException

    client = connect(faulty_server)
    client.create_run(experiment)
    faulty_server.refuse()
    with pytest.raises(MlflowException, match="refused"):
        client.create_run(experiment)
    assert len(faulty_server.requests) == 1
    faulty_server.accept()
    client.create_run(experiment)


def test_a_server_dies_in_the_middle(
    mlflow_server: MlflowServer, faulty_server: FaultyServer, connect: Callable, experiment: str
) -> None:
    from mlflow.exceptions import MlflowException

    client, faulty_server.fault = connect(faulty_server), after(2, die)
    created = {client.create_run(experiment).info.run_id for _ in range(2)}
    for reason in ("without response|reset", "refused"):
        with pytest.raises(MlflowException, match=reason):
            client.create_run(experiment)
    assert len(faulty_server.requests) == 3
    assert set(runs_on(mlflow_server, experiment)) == created


def test_a_server_recovers(faulty_server: FaultyServer, connect: Callable, experiment: str) -> None:
    from mlflow.exceptions import MlflowException

    client, faulty_server.fault = connect(faulty_server), first(2, answer(500))
    for _ in range(2):
        with pytest.raises(MlflowException, match="500"):
            client.create_run(experiment)
    client.create_run(experiment)


def test_an_old_server_tracks_runs_but_knows_neither_registry_nor_logged_models(
    mlflow_server: MlflowServer, faulty_server: FaultyServer, connect: Callable, experiment: str
) -> None:
    from mlflow.entities import Dataset, DatasetInput
    from mlflow.exceptions import MlflowException

    client, faulty_server.fault = connect(faulty_server), old_server
    run_id = client.create_run(experiment).info.run_id
    client.log_metric(run_id, "loss", 0.5)
    assert client.get_metric_history(run_id, "loss")[0].value == 0.5
    data = DatasetInput(Dataset("digits", "0", "local", "here"))
    for ask in (
        lambda: client.create_logged_model(experiment),
        lambda: client.create_registered_model("classifier"),
        lambda: client.search_model_versions(),
        lambda: client.log_inputs(run_id, [data]),
        lambda: client.log_outputs(run_id, []),
    ):
        with pytest.raises(MlflowException, match="404"):
            ask()
    mlflow_server.client().log_inputs(run_id, [data])
    missing = page(faulty_server, "/api/2.0/mlflow/registered-models/create")
    assert missing == page(mlflow_server, "/api/2.0/mlflow/no-such-models/create")
    assert missing[0] == 404


def test_stop_leaves_no_thread_and_no_port(mlflow_server: MlflowServer) -> None:
    before = threading.active_count()
    faulty = FaultyServer(mlflow_server)
    faulty.fault = hang(120)
    with socket.create_connection((HOST, faulty.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_until(lambda: faulty.requests)
        faulty.stop()
    wait_until(lambda: threading.active_count() == before)
    assert socket.socket().connect_ex((HOST, faulty.port)) != 0


def test_a_child_process_ends_with_its_own_children_even_if_it_will_not(tmp_path: Path) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(os.getpid(), flush=True)
time.sleep(600)
"""
    log = tmp_path / "log"
    with child_process([sys.executable, "-c", code], os.environ, log, end_seconds=0.2) as process:
        wait_until(lambda: len(log.read_text().split()) == 2)
    assert process.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in log.read_text().split()]
    wait_until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids))
