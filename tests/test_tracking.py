"""The tracker against a real MLflow store in a temporary project."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from loguru import logger

from Resnet23.config import Params, TrackingParams
from Resnet23.errors import Terminated
from Resnet23.tracking import STORE_FILE, continue_run, start_run

TRACKING = TrackingParams()
RUN_PARAMS = Params().model_dump(include={"seed", "data", "features", "model", "train"})
RUN_FILE = Path("reports/run.json")
REPOSITORY = Path(__file__).resolve().parents[1]

REFUSE_NETWORK = """
import os, socket
def refuse(*arguments):  # an exception might be swallowed by whoever connects
    os.write(2, f"network: {arguments}".encode())
    os._exit(9)
socket.socket.connect = socket.getaddrinfo = refuse
"""
TRACKED_RUN = """
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
with start_run(TrackingParams(), {"seed": 0}) as tracker:
    tracker.log_metrics({"loss": 1.0}, step=1)
"""


class FirstProject(NamedTuple):
    folder: Path
    outputs: list[tuple[int, str, str]]


@pytest.fixture(scope="session")
def first_project(tmp_path_factory: pytest.TempPathFactory) -> FirstProject:
    """Two processes make the store at once. That takes MLflow seconds: the other tests start with a copy of it."""
    folder = tmp_path_factory.mktemp("first project")
    processes = [python_process(REFUSE_NETWORK + TRACKED_RUN, folder) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    return FirstProject(folder, [(p.returncode, *output) for p, output in zip(processes, outputs, strict=True)])


def python_process(code: str, folder: Path) -> subprocess.Popen[str]:
    """As a user runs it: without the variables by which MLflow recognises a test or a build machine."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    environment["PYTHONPATH"] = str(REPOSITORY)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, **pipes)


@pytest.fixture
def project(tmp_path: Path, first_project: FirstProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / STORE_FILE).parent.mkdir()
    shutil.copy(first_project.folder / STORE_FILE, tmp_path / STORE_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(f"{message.record['level'].name}: {message.record['message']}"))
    yield lines
    logger.remove(handler)


def client():
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path.cwd() / STORE_FILE}")


def random_state() -> tuple:
    """The states of all three global generators."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_a_run_holds_parameters_under_their_usual_names_metrics_by_epoch_tags_and_files(project: Path) -> None:
    (project / "history.csv").write_text("epoch\n1\n")
    with start_run(TRACKING, RUN_PARAMS, {"stage": "train"}) as tracker:
        for epoch in (1, 2):
            tracker.log_metrics({"train_loss": 1 / epoch, "val_loss": None, "val_accuracy": float("nan")}, step=epoch)
        tracker.log_metrics(
            {"per_class": {"ants & bees: ü": {"f1": np.float32(0.5)}}, "test_f1/cat": 0.25, "note": "text"}
        )
        tracker.log_tags({"plots": {"dpi": 120}, "long": "x" * 10_000})
        tracker.log_artifact("history.csv", "reports")

    run = client().get_run(tracker.run_id)
    expected = {"batch_size": "64", "optimizer": "adam", "learning_rate": "0.001", "epochs": "20", "seed": "0"}
    expected |= {"model.width": "64", "data.dataset": "cifar10", "augment.affine.degrees": "15.0"}
    assert expected.items() <= run.data.params.items()
    assert run.data.metrics == {"train_loss": 0.5, "per_class.ants _ bees_ ü.f1": 0.5, "test_f1/cat": 0.25}
    assert [(x.step, x.value) for x in client().get_metric_history(tracker.run_id, "train_loss")] == [
        (1, 1.0),
        (2, 0.5),
    ]
    assert {"stage": "train", "plots.dpi": "120", "torch": version("torch")}.items() <= run.data.tags.items()
    assert (project / "mlruns/artifacts" / tracker.run_id / "artifacts/reports/history.csv").is_file()
    assert (run.info.status, run.info.run_name[:17]) == ("FINISHED", "resnet23-cifar10-")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (Terminated(signal.SIGTERM), "KILLED"), (ValueError(), "FAILED")],
    ids=["interrupt", "termination", "failure"],
)
def test_how_the_block_ends_becomes_the_status(project: Path, error: BaseException, status: str) -> None:
    tracker = start_run(TRACKING, {})
    assert client().get_run(tracker.run_id).info.status == "RUNNING"
    with pytest.raises(type(error)), tracker:
        raise error
    assert client().get_run(tracker.run_id).info.status == status


def test_metrics_beyond_one_request_all_arrive(project: Path) -> None:
    with start_run(TRACKING, {}) as tracker:
        tracker.log_metrics({f"m{number}": number for number in range(1001)})
        tracker.log_tags({f"t{number}": number for number in range(101)})
    data = client().get_run(tracker.run_id).data
    assert (len(data.metrics), data.tags["t100"]) == (1001, "100")


def test_later_stages_add_to_the_run_that_training_opened(project: Path) -> None:
    with start_run(TRACKING, RUN_PARAMS) as training:
        training.write_run_file(RUN_FILE)
    assert json.loads(RUN_FILE.read_text()) == {
        "run_id": training.run_id,
        "experiment": "resnet23",
        "store": "mlruns/mlflow.db",
    }
    with continue_run(TRACKING, RUN_FILE) as prediction:
        assert client().get_run(training.run_id).info.status == "RUNNING"
        prediction.log_metrics({"accuracy": 0.75})
    run = client().get_run(training.run_id)
    assert (prediction.run_id, run.info.status, run.data.metrics) == (training.run_id, "FINISHED", {"accuracy": 0.75})


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "unknown"])
def test_a_run_the_store_does_not_have_gets_a_successor(project: Path, log_lines: list[str], deleted: bool) -> None:
    with start_run(TRACKING, {}) as training:
        training.write_run_file(RUN_FILE)
    if deleted:
        client().delete_run(training.run_id)
    else:
        RUN_FILE.write_text(RUN_FILE.read_text().replace(training.run_id, "f" * 32))
    with continue_run(TRACKING, RUN_FILE) as prediction:
        prediction.log_metrics({"accuracy": 0.75})
    run = client().get_run(prediction.run_id)
    assert run.data.tags["source_run_id"] == (training.run_id if deleted else "f" * 32)
    assert len(log_lines) == 1 and "source_run_id" in log_lines[0]


def test_a_deleted_experiment_is_restored(project: Path) -> None:
    start_run(TRACKING, {})
    client().delete_experiment(client().get_experiment_by_name("resnet23").experiment_id)
    with start_run(TRACKING, {}):
        pass
    assert client().get_experiment_by_name("resnet23").lifecycle_stage == "active"


def test_the_logged_model_loads_back_and_answers_the_same_for_any_batch_size(project: Path) -> None:
    import mlflow

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(144, 5),
    ).to(memory_format=torch.channels_last)
    example = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    with start_run(TRACKING, RUN_PARAMS) as tracker:
        tracker.log_model(model, example)
    assert model.training and model[0].weight.is_contiguous(memory_format=torch.channels_last)

    batch = np.random.default_rng(1).random((7, 3, 8, 8), dtype=np.float32)
    expected = model.eval()(torch.from_numpy(batch)).detach().numpy()
    [logged] = client().get_run(tracker.run_id).outputs.model_outputs
    folder = client().get_logged_model(logged.model_id).artifact_location
    [requirements] = project.glob("mlruns/artifacts/models/*/artifacts/requirements.txt")
    assert [line.partition("==")[0] for line in requirements.read_text().split()] == ["mlflow", "numpy", "torch"]
    np.testing.assert_allclose(mlflow.pyfunc.load_model(folder).predict(batch), expected, atol=1e-5)
    np.testing.assert_allclose(
        mlflow.pytorch.load_model(folder)(torch.from_numpy(batch)).detach().numpy(), expected, atol=1e-5
    )


def test_a_model_without_a_usable_example_costs_one_warning(project: Path, log_lines: list[str]) -> None:
    with start_run(TRACKING, {}) as tracker:
        tracker.log_model(torch.nn.Linear(3, 2), np.zeros((1, 3), dtype=np.float32))
        tracker.log_metrics({"loss": 1.0})
    assert len(log_lines) == 1 and "at least 2" in log_lines[0]
    assert client().get_run(tracker.run_id).info.status == "FINISHED"


def test_random_numbers_and_global_state_are_untouched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that weights are the same with and without tracking."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # never asked
    model = torch.nn.Linear(3, 2)
    before = random_state()
    with start_run(TRACKING, RUN_PARAMS) as tracker:
        tracker.write_run_file(RUN_FILE)
        tracker.log_metrics({"loss": 1.0}, step=1)
        tracker.log_model(model, np.zeros((2, 3), dtype=np.float32))
        assert mlflow.active_run() is None
    with continue_run(TRACKING, RUN_FILE) as tracker:
        tracker.log_artifact(RUN_FILE)
    assert random_state() == before
    assert mlflow.get_tracking_uri() == "http://127.0.0.1:9"


def test_off_means_that_neither_mlflow_nor_dagshub_is_imported_and_nothing_is_written(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from Resnet23.config import TrackingParams
from Resnet23.tracking import continue_run, start_run
off = TrackingParams(enabled=False)
with start_run(off, {"seed": 0}) as tracker:
    tracker.log_metrics({"loss": 1.0}, step=1)
    tracker.log_tags({"a": 1})
    tracker.log_artifact("missing")
    tracker.log_model(None, None)
    tracker.write_run_file("run.json")
with continue_run(off, Path("run.json")) as tracker:
    tracker.log_metrics({"loss": 1.0})
# tracking is on again, but there is nothing to add to
assert continue_run(TrackingParams(), Path("run.json")).run_id is None
assert continue_run(TrackingParams(), Path("missing.json")).run_id is None
print({"mlflow", "dagshub", "torch"} & set(sys.modules))
"""
    output, errors = python_process(code, tmp_path).communicate(timeout=300)
    assert output.strip() == "set()", errors
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": None, "experiment": None, "store": None}


def test_two_processes_may_create_the_store_at_once_without_a_word_or_a_network(first_project: FirstProject) -> None:
    assert first_project.outputs == [(0, "", "")] * 2
    with sqlite3.connect(first_project.folder / STORE_FILE) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone() == (2,)
    assert sorted(path.name for path in (first_project.folder / "mlruns").iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_sigterm_in_a_training_closes_the_run_as_killed(project: Path) -> None:
    code = (
        "import signal, time\nfrom Resnet23.command import run_command\n"
        + """
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
def main() -> None:
    with start_run(TrackingParams(), {}) as tracker:
        print(tracker.run_id, flush=True)
        time.sleep(60)
run_command(main)
"""
    )
    process = python_process(code, project)
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert client().get_run(run_id).info.status == "KILLED"


def corrupt() -> None:
    STORE_FILE.write_bytes(b"no database" * 1000)


def make_newer() -> None:
    with sqlite3.connect(STORE_FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fffffffffff1'")


def make_a_folder() -> None:
    STORE_FILE.unlink()
    STORE_FILE.mkdir()


def block() -> None:
    shutil.rmtree(STORE_FILE.parent)
    STORE_FILE.parent.write_text("a file where the store's folder should be")


@pytest.mark.parametrize(
    ("moment", "damage"),
    [
        ("before", corrupt),
        ("before", make_newer),
        ("before", make_a_folder),
        ("before", block),
        ("during", corrupt),
        ("during", make_a_folder),
        ("during", block),
    ],
)
def test_a_broken_store_costs_one_warning_and_no_training(
    project: Path, log_lines: list[str], moment: str, damage: Callable[[], None]
) -> None:
    start = time.perf_counter()
    if moment == "before":
        damage()
    with start_run(TRACKING, RUN_PARAMS) as tracker:
        if moment == "during":
            damage()
        for epoch in (1, 2, 3):
            tracker.log_metrics({"loss": 1.0}, step=epoch)
        tracker.log_artifact(__file__)
        tracker.write_run_file(RUN_FILE)
    assert time.perf_counter() - start < 10
    [line] = log_lines
    assert line.startswith("WARNING: tracking stops") and "\n" not in line
    assert json.loads(RUN_FILE.read_text())["run_id"] == tracker.run_id


def test_a_damaged_run_file_costs_one_warning(project: Path, log_lines: list[str]) -> None:
    Path("run.json").write_text("{")
    with continue_run(TRACKING, Path("run.json")) as tracker:
        tracker.log_metrics({"accuracy": 1.0})
    [line] = log_lines
    assert line.startswith("WARNING: tracking stops") and "run.json" in line


def test_a_moved_project_keeps_its_files_and_gets_new_ones(project: Path) -> None:
    Path("old.txt").write_text("old")
    with start_run(TRACKING, {}) as tracker:
        tracker.log_artifact("old.txt", "figures")
        tracker.write_run_file("run.json")
    moved = project.with_name(f"{project.name} moved; 100% sure? #ü")
    project.rename(moved)
    code = """
from pathlib import Path
from mlflow import MlflowClient
from Resnet23.config import TrackingParams
from Resnet23.tracking import continue_run
with continue_run(TrackingParams(), Path("run.json")) as tracker:
    Path("new.txt").write_text("new")
    tracker.log_artifact("new.txt", "figures")
files = MlflowClient("sqlite:///mlruns/mlflow.db").list_artifacts(tracker.run_id, "figures")
print(sorted(file.path for file in files))
"""
    output, errors = python_process(code, moved).communicate(timeout=300)
    assert (output.strip(), errors) == ("['figures/new.txt', 'figures/old.txt']", "")
    assert not project.exists()
