"""The command: what it lists, what it refuses, and a whole run through DVC and MLflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import REPOSITORY

from Resnet23.errors import InputError
from Resnet23.studies.__main__ import list_studies, main
from Resnet23.studies.definition import study_names
from Resnet23.tracking.store import STORE_FILE


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def test_the_list_has_every_study_with_its_question_and_costs():
    text = list_studies()
    for name in study_names():
        assert f"\n{name}: " in f"\n{text}"
    assert "?" in text
    assert text.count("small: ") == len(study_names())


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("learning-rat", "smoke", "did you mean learning-rate"),
        ("learning-rate", "smok", "found 'smok', expected one of smoke, small, full"),
    ],
)
def test_mistakes_are_one_line(name, scale, message):
    with pytest.raises(InputError, match=message):
        main(name, scale)


def test_a_worker_cannot_forget_what_others_have_in_hand():
    with pytest.raises(InputError, match="--fresh: found with --worker or --storage"):
        main("learning-rate", "smoke", worker=True, fresh=True)


@pytest.mark.slow
def test_a_study_runs_from_the_command_and_its_trials_are_runs_below_its_own(tmp_path: Path):
    from mlflow import MlflowClient

    pytest.importorskip("optuna", reason="the extra studies is not installed")
    (tmp_path / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    for name in ("studies", "presets", "reports/extras"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "Resnet23.studies", "learning-rate"]
    for _ in range(2):  # the second time there is nothing left to train
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "validation accuracy" not in done.stderr
    assert (tmp_path / "reports/studies/learning-rate/smoke/results.csv").exists()
    client = MlflowClient(f"sqlite:///{tmp_path / STORE_FILE}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    parents = [run for run in runs if run.data.tags.get("study") == "learning-rate"]
    assert len(parents) == 1
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert {run.data.params["train.learning_rate"] for run in children} == {"0.1", "0.01", "0.001", "0.0001"}
    assert all(0 <= run.data.metrics["test_accuracy"] <= 1 for run in children)
