"""`python -m Resnet23.modeling.train` told to stop, started again, and started afresh."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from loguru import logger
from small_features import make_features
from small_fit import assert_equal
from small_project import REPOSITORY, SHRUNK
from small_training import TIMINGS

from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, HISTORY_FILE, load_params
from Resnet23.errors import Resnet23Error, ResourceError
from Resnet23.modeling import train
from Resnet23.modeling.checkpoint import load_checkpoint

EPOCHS = 40  # of 6 steps each, 3 seconds and more
CHANGES = [
    *SHRUNK,
    f"train.epochs={EPOCHS}",
    "train.ema_decay=0.9",
    "train.augment.mixup=0.2",
    "model.dropout=0.1",
    "model.final_dropout=0.1",
]
GOING_ON = "going on from the saved state: epoch"


class Ended(NamedTuple):
    """A command that has ended: its project, exit code, output, and the seconds from the signal to the end."""

    folder: Path
    code: int
    lines: list[str]
    seconds: float


def run(folder: Path, stop_at: str | None = None) -> Ended:
    """Train in a process of its own, which gets a SIGTERM when it writes a line that begins with `stop_at`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "Resnet23.modeling.train"], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines, stopped = [], None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if stop_at and stopped is None and line.startswith(stop_at):
            stopped = time.monotonic()
            process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    return Ended(folder, code, lines, time.monotonic() - (stopped or time.monotonic()))


def states(folder: Path) -> list[Path]:
    """The folders in which trainings keep their state."""
    return [path for path in (folder / "models/.resume").iterdir() if path.is_dir()]


def tracked(folder: Path) -> list[tuple[str, list[int]]]:
    """Status and logged epochs of each run in the project's store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [
        (run.info.status, [point.step for point in client.get_metric_history(run.info.run_id, "train_loss")])
        for run in runs
    ]


def history(folder: Path) -> list[dict[str, str]]:
    """The rows of the history without what depends on the clock."""
    with (folder / HISTORY_FILE).open(newline="", encoding="utf-8") as file:
        return [{name: cell for name, cell in row.items() if name not in TIMINGS} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its features made."""
    folder = tmp_path_factory.mktemp("made")
    make_features(folder, CHANGES)
    return folder


@pytest.fixture(scope="module")
def stopped(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A training that got a SIGTERM after its fifth epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "project"
    shutil.copytree(made, folder)
    return run(folder, stop_at=f"epoch 5/{EPOCHS}:")


@pytest.fixture(scope="module")
def resumed(stopped: Ended, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The same training started again, in a copy of its project."""
    folder = tmp_path_factory.mktemp("resumed") / "project"
    shutil.copytree(stopped.folder, folder)
    return run(folder)


@pytest.fixture
def project_here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as the current directory."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(handler)


@pytest.mark.fault(14)
def test_sigterm_ends_it_soon_with_one_line_a_state_and_nothing_half_done(stopped):
    assert stopped.code == 143, stopped.lines
    assert stopped.seconds < 30
    assert stopped.lines[-1] == "error: stopped by SIGTERM"
    assert all(line.startswith(("training on ", "epoch ")) for line in stopped.lines[:-1]), stopped.lines
    assert len(stopped.lines) < EPOCHS
    (state,) = states(stopped.folder)
    assert sorted(path.name for path in state.iterdir()) == ["run.json", "state.pt"]
    assert not (stopped.folder / CHECKPOINT_FILE).exists()
    (run,) = tracked(stopped.folder)
    assert run[0] == "KILLED"


def test_started_again_it_goes_on_where_it_was(stopped, resumed):
    assert resumed.code == 0, resumed.lines
    (line,) = [line for line in resumed.lines if line.startswith(GOING_ON)]
    done = int(stopped.lines[-2].split("/")[0].removeprefix("epoch "))
    assert line.startswith(f"{GOING_ON} {done + 1}, after step ")
    epochs = [line.split(":")[0] for line in resumed.lines if line.startswith("epoch ")]
    assert epochs == [f"epoch {epoch}/{EPOCHS}" for epoch in range(done + 1, EPOCHS + 1)]
    assert states(resumed.folder) == []


def test_one_run_in_the_tracker_holds_every_epoch_once(resumed):
    assert tracked(resumed.folder) == [("FINISHED", list(range(1, EPOCHS + 1)))]


@pytest.mark.fault(15)
def test_the_result_is_that_of_a_training_that_was_never_stopped(resumed, project_here):
    params = load_params()
    training = train.train(read_features(), params)
    train.save(training)
    assert history(resumed.folder) == history(project_here)
    found, expected = (load_checkpoint(folder / CHECKPOINT_FILE) for folder in (resumed.folder, project_here))
    assert_equal(found.state_dict, expected.state_dict)
    assert found.decision == expected.decision


@pytest.fixture
def unfinished(project_here: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parameters of a training that failed when all but the writing was done."""

    def full(_: train.Trained) -> None:
        raise ResourceError("the disk is full")

    changes = ["train.epochs=2", "train.checkpoint_steps=1", "tracking.enabled=false"]
    with monkeypatch.context() as patch, pytest.raises(ResourceError):
        patch.setattr(train, "save", full)
        train.main(assignments=changes)
    assert len(states(project_here)) == 1
    return changes


def test_a_training_that_failed_when_it_wrote_its_result_is_not_repeated(unfinished, log):
    train.main(assignments=unfinished)
    assert f"{GOING_ON} 3, after step 0 of 6" in log
    assert not [line for line in log if line.startswith("epoch ")]
    assert states(Path()) == []


def test_fresh_starts_anew(unfinished, log):
    train.main(assignments=unfinished, fresh=True)
    assert not [line for line in log if line.startswith(GOING_ON)]
    assert [line[:9] for line in log if line.startswith("epoch ")] == ["epoch 1/2", "epoch 2/2"]
    assert states(Path()) == []


def test_other_parameters_start_anew_and_leave_the_state_alone(unfinished, log):
    state = states(Path())
    train.main(assignments=[*unfinished, "train.learning_rate=0.02"])
    assert [line[:9] for line in log if line.startswith("epoch ")] == ["epoch 1/2", "epoch 2/2"]
    assert states(Path()) == state


@pytest.mark.fault(17)
def test_a_loss_that_is_no_number_keeps_the_state_of_before(project_here):
    changes = ["train.learning_rate=1e30", "train.optimizer=sgd", "train.checkpoint_steps=1", "tracking.enabled=false"]
    with pytest.raises(Resnet23Error, match="not a finite number at epoch 1, step ") as caught:
        train.main(assignments=changes)
    assert caught.value.exit_code == 1
    (state,) = states(project_here)
    saved = torch.load(state / "state.pt", weights_only=True)
    assert f"step {saved['step'] + 1}," in str(caught.value)
