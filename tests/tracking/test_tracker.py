"""The tracker against a real MLflow store in a temporary project."""

import json
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from local_store import FirstProject, make_first_project, python_process, store_client

from Resnet23.config import Params, TrackingParams
from Resnet23.errors import Terminated
from Resnet23.tracking import continue_run, start_run
from Resnet23.tracking.store import STORE_FILE, local_folder

TRACKING = TrackingParams()
RUN_PARAMS = Params().model_dump(include={"seed", "data", "features", "model", "train"})
CLASSIFIER = {
    "classes": ["ant", "bee"],
    "preprocessing": {"image_size": 8, "resize": "crop", "mean": [0.5] * 3, "std": [0.25] * 3},
    "decision": {"thresholds": None, "temperature": 1.5},
    "task": "multiclass",
}
RUN_FILE = Path("reports/run.json")


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

    run = store_client().get_run(tracker.run_id)
    expected = {"batch_size": "64", "optimizer": "adam", "learning_rate": "0.001", "epochs": "20", "seed": "0"}
    expected |= {"model.width": "64", "data.dataset": "cifar10", "augment.affine.degrees": "15.0"}
    assert expected.items() <= run.data.params.items()
    assert run.data.metrics == {"train_loss": 0.5, "per_class.ants _ bees_ ü.f1": 0.5, "test_f1/cat": 0.25}
    assert [(x.step, x.value) for x in store_client().get_metric_history(tracker.run_id, "train_loss")] == [
        (1, 1.0),
        (2, 0.5),
    ]
    assert {"stage": "train", "plots.dpi": "120", "version.torch": version("torch")}.items() <= run.data.tags.items()
    assert (project / "mlruns/artifacts" / tracker.run_id / "artifacts/reports/history.csv").is_file()
    assert (run.info.status, run.info.run_name[:17]) == ("FINISHED", "resnet23-cifar10-")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (Terminated(signal.SIGTERM), "KILLED"), (ValueError(), "FAILED")],
    ids=["interrupt", "termination", "failure"],
)
def test_how_the_block_ends_becomes_the_status(project: Path, error: BaseException, status: str) -> None:
    tracker = start_run(TRACKING, {})
    assert store_client().get_run(tracker.run_id).info.status == "RUNNING"
    with pytest.raises(type(error)), tracker:
        raise error
    assert store_client().get_run(tracker.run_id).info.status == status


def test_metrics_beyond_one_request_all_arrive(project: Path) -> None:
    with start_run(TRACKING, {}) as tracker:
        tracker.log_metrics({f"m{number}": number for number in range(1001)})
        tracker.log_tags({f"t{number}": number for number in range(101)})
    data = store_client().get_run(tracker.run_id).data
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
        assert store_client().get_run(training.run_id).info.status == "RUNNING"
        prediction.log_metrics({"accuracy": 0.75})
    run = store_client().get_run(training.run_id)
    assert (prediction.run_id, run.info.status, run.data.metrics) == (training.run_id, "FINISHED", {"accuracy": 0.75})


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "unknown"])
def test_a_run_the_store_does_not_have_gets_a_successor(project: Path, log_lines: list[str], deleted: bool) -> None:
    with start_run(TRACKING, {}) as training:
        training.write_run_file(RUN_FILE)
    if deleted:
        store_client().delete_run(training.run_id)
    else:
        RUN_FILE.write_text(RUN_FILE.read_text().replace(training.run_id, "f" * 32))
    with continue_run(TRACKING, RUN_FILE) as prediction:
        prediction.log_metrics({"accuracy": 0.75})
    run = store_client().get_run(prediction.run_id)
    assert run.data.tags["source_run_id"] == (training.run_id if deleted else "f" * 32)
    assert len(log_lines) == 1 and "source_run_id" in log_lines[0]


def test_a_deleted_experiment_is_restored(project: Path) -> None:
    start_run(TRACKING, {})
    store_client().delete_experiment(store_client().get_experiment_by_name("resnet23").experiment_id)
    with start_run(TRACKING, {}):
        pass
    assert store_client().get_experiment_by_name("resnet23").lifecycle_stage == "active"


def test_the_run_names_its_model_which_loads_back(project: Path) -> None:
    import mlflow

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    with start_run(TRACKING, RUN_PARAMS) as tracker:
        tracker.log_model(model, np.zeros((2, 3, 8, 8), dtype=np.float32), CLASSIFIER)

    [output] = store_client().get_run(tracker.run_id).outputs.model_outputs
    logged = store_client().get_logged_model(output.model_id)
    assert (logged.status, logged.source_run_id) == ("READY", tracker.run_id)
    batch = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(mlflow.pytorch.load_model(logged.artifact_location)(batch), model(batch))
    described = mlflow.models.Model.load(local_folder(logged.artifact_location))
    assert (described.run_id, described.model_id) == (tracker.run_id, logged.model_id)
    assert described.signature.inputs.input_names() == ["image"]


def test_a_model_that_cannot_be_exported_costs_one_warning_and_nothing_else(
    project: Path, log_lines: list[str]
) -> None:
    with start_run(TRACKING, {}) as tracker:
        tracker.log_model(torch.nn.Linear(3, 2), np.zeros((1, 3), dtype=np.float32), CLASSIFIER)
        tracker.log_metrics({"loss": 1.0})
    assert len(log_lines) == 1 and "at least 2" in log_lines[0]
    run = store_client().get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics, run.outputs.model_outputs) == ("FINISHED", {"loss": 1.0}, [])


def test_the_dataset_is_named_by_its_digest(project: Path) -> None:
    with start_run(TRACKING, {}) as tracker:
        tracker.log_dataset("cifar10", "0123456789abcdef" * 4, Path("data/features"), {"train": 4500})
    [entry] = store_client().get_run(tracker.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("cifar10", ("0123456789abcdef" * 4)[:36])
    assert json.loads(entry.dataset.profile) == {"train": 4500}
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]


def test_runs_below_a_run(project: Path) -> None:
    with start_run(TRACKING, {}) as study:
        for rate in (0.1, 0.01):
            with study.start_child(f"trial {rate}", {"learning_rate": rate}) as trial:
                trial.log_metrics({"accuracy": rate}, step=1)
    found = store_client().search_runs(["1"], f"tags.`mlflow.parentRunId` = '{study.run_id}'")
    assert sorted(run.info.run_name for run in found) == ["trial 0.01", "trial 0.1"]
    assert {run.info.status for run in found} == {"FINISHED"}


def test_experiments_of_dvc_have_its_names_and_one_parent_for_each_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, baseline in (("able-ant", "a" * 40), ("bold-bee", "a" * 40), ("calm-cat", "b" * 40)):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        monkeypatch.setenv("DVC_EXP_BASELINE_REV", baseline)
        monkeypatch.setenv("DVC_STAGE", "train")
        with start_run(TRACKING, {}) as tracker:
            tracker.write_run_file(RUN_FILE)
    runs = {run.info.run_name: run for run in store_client().search_runs(["1"])}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert parents["able-ant"] == parents["bold-bee"] == runs["experiments-on-aaaaaaa"].info.run_id
    assert parents["calm-cat"] == runs["experiments-on-bbbbbbb"].info.run_id
    tags = {"dvc_exp_name": "calm-cat", "dvc_exp_baseline": "b" * 40, "dvc_stage": "train"}
    assert tags.items() <= runs["calm-cat"].data.tags.items()

    monkeypatch.setenv("DVC_EXP_NAME", "deft-dog")  # it took the training of calm-cat from DVC's run cache
    for _ in range(2):
        with continue_run(TRACKING, RUN_FILE):
            pass
    assert store_client().get_run(runs["calm-cat"].info.run_id).data.tags["dvc_exp_name"] == "calm-cat, deft-dog"


def test_a_temporary_experiment_writes_into_the_main_project(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(project))
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.chdir(temporary)
    with start_run(TRACKING, {}) as tracker:
        (temporary / "figure.txt").write_text("figure")
        tracker.log_artifact("figure.txt")
    assert [path.name for path in temporary.iterdir()] == ["figure.txt"]
    monkeypatch.chdir(project)
    assert store_client().get_run(tracker.run_id).info.status == "FINISHED"
    assert [file.path for file in store_client().list_artifacts(tracker.run_id)] == ["figure.txt"]


def test_system_metrics_are_recorded_when_asked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    with start_run(TrackingParams(system_metrics=True), {}) as tracker:
        time.sleep(1)
    recorded = store_client().get_run(tracker.run_id).data.metrics
    assert recorded["system/system_memory_usage_megabytes"] > 0


def test_random_numbers_and_global_state_are_untouched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that weights are the same with and without tracking."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # only the sender asks it
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    before = random_state()
    with start_run(TRACKING, RUN_PARAMS) as tracker:
        tracker.write_run_file(RUN_FILE)
        tracker.log_metrics({"loss": 1.0}, step=1)
        tracker.log_model(model, np.zeros((2, 3, 8, 8), dtype=np.float32), CLASSIFIER)
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
    tracker.log_model(None, None, {})
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


def assert_one_store_of_two_runs(made: FirstProject) -> None:
    """Both processes ended without a word, and both their runs are in the store."""
    assert made.outputs == [(0, "", "")] * 2
    with sqlite3.connect(made.folder / STORE_FILE) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone() == (2,)
    assert sorted(path.name for path in (made.folder / "mlruns").iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_two_processes_may_create_the_store_at_once_without_a_word_or_a_network(first_project: FirstProject) -> None:
    assert_one_store_of_two_runs(first_project)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
def test_two_processes_may_create_the_store_at_once_every_time(tmp_path: Path, turn: int) -> None:
    assert_one_store_of_two_runs(make_first_project(tmp_path))


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
    assert store_client().get_run(run_id).info.status == "KILLED"


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
@pytest.mark.fault(19)
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


@pytest.mark.fault(19)
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
