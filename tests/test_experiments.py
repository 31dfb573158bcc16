"""Experiments of DVC and runs of the tracker find each other, wherever DVC runs the stages."""

import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import pytest
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import load_params
from Resnet23.project import write_params
from Resnet23.tracking.store import STORE_FILE

QUEUE_SECONDS = 300


def call(folder: Path, *command: str) -> str:
    """Run a command with this Python's programs first on the path, and the package of the folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=True
    )
    return result.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the project's tracked files, and small parameters."""
    folder = tmp_path_factory.mktemp("repository")
    files = call(REPOSITORY, "git", "ls-files", "-z").split("\0")
    for file in (Path(name) for name in files if name and name != "dvc.lock"):
        if (REPOSITORY / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((REPOSITORY / file).read_bytes())
    with chdir(REPOSITORY):
        write_params(folder / "params.yaml", load_params(assignments=SHRUNK).model_dump(), "tests/test_experiments.py")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        call(folder, "git", *command)
    return folder


def shown_runs(repository: Path) -> dict[str, str]:
    """What `dvc exp show` says: for each experiment the id of its run."""
    table = csv.DictReader(io.StringIO(call(repository, "dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row["run_id"] for row in table if row["typ"] in ("branch_base", "branch_commit")}


def wait_for_queue(repository: Path) -> None:
    """Wait until the queue's only task has succeeded."""
    end = time.monotonic() + QUEUE_SECONDS
    while "Success" not in (status := call(repository, "dvc", "queue", "status")):
        assert "Failed" not in status and time.monotonic() < end, status
        time.sleep(2)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--temp"], ["--queue"]], ids=["here", "temp", "queue"])
def test_an_experiment_and_its_run_name_each_other(repository: Path, how: Sequence[str]) -> None:
    from mlflow import MlflowClient

    before = shown_runs(repository)
    epochs = 1 + len(before)  # another one each time: DVC would not train twice for the same parameters
    call(repository, "dvc", "exp", "run", *how, "-S", f"train.epochs={epochs}")
    if how == ["--queue"]:
        call(repository, "dvc", "queue", "start")
        wait_for_queue(repository)
    [(name, run_id)] = shown_runs(repository).items() - before.items()

    run = MlflowClient(f"sqlite:///{repository / STORE_FILE}").get_run(run_id)
    baseline = call(repository, "git", "rev-parse", "HEAD").strip()
    assert (run.info.run_name, run.info.status) == (name, "FINISHED")
    assert {"dvc_exp_name": name, "dvc_exp_baseline": baseline, "dvc_stage": "train"}.items() <= run.data.tags.items()
    assert {"test_accuracy", "train_loss"} <= run.data.metrics.keys()  # prediction has added to the same run
    figure = repository / "mlruns/artifacts" / run_id / "artifacts/figures/confusion_matrix.png"
    assert figure.is_file()
