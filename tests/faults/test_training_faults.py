"""A training that is told to stop, diverges, or runs out of memory: through the real commands, in forked processes."""

import csv
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from forked_processes import PRELOADED, PROCESSES, Command, start
from little_memory import leave_little_of_the_gpu, run_out_of_memory_in_the_21st_step
from small_encoders import save_hugging_face_encoder
from small_features import make_features
from small_project import REPOSITORY, SHRUNK

from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, HISTORY_FILE, MODELS_DIR, REPORTS_DIR, VAL_PREDICTIONS_FILE
from Resnet23.files import TEMPORARY_NAME
from Resnet23.resuming import RESUME_DIR
from Resnet23.studies.definition import read_study
from Resnet23.studies.runner import Run, gather, work_on
from Resnet23.studies.workplace import scale_params

TRAIN = "Resnet23.modeling.train"
EPOCHS = 10  # of 6 steps each
CHANGES = [*SHRUNK, f"train.epochs={EPOCHS}", "train.checkpoint_steps=2", "train.augment.mixup=0.2"]
UNTRACKED = ("--set", "tracking.enabled=false")
CLOCK = ("seconds", "images_per_second", "data_wait")
MIB = 1 << 20
TRAININGS, STOPS = 5, 4  # and how often each of them is told to stop

pytestmark = [
    pytest.mark.slow,  # the fast ones are in tests/modeling
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc, which Linux has"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its features made, and a run in its tracker: to make the store takes seconds."""
    PROCESSES.set_forkserver_preload([*PRELOADED, "mlflow"])  # where no other test has started it before
    folder = tmp_path_factory.mktemp("made")
    make_features(folder, CHANGES)
    command = start(folder, TRAIN, "--set", "train.epochs=1")
    assert command.wait() == 0, command.lines()
    for top in (MODELS_DIR, REPORTS_DIR):
        shutil.rmtree(folder / top)
    return folder


@pytest.fixture
def project_copy(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    return folder


@pytest.fixture(scope="module")
def seconds(made: Path) -> float:
    """How long a tracked training takes here."""
    folder = made.with_name("timed")
    shutil.copytree(made, folder)
    started = time.monotonic()
    command = start(folder, TRAIN)
    assert command.wait() == 0, command.lines()
    return time.monotonic() - started


@pytest.fixture(scope="module")
def uninterrupted(made: Path) -> Path:
    """The same after a training that nobody disturbed."""
    folder = made.with_name("uninterrupted")
    shutil.copytree(made, folder)
    command = start(folder, TRAIN, *UNTRACKED)
    assert command.wait() == 0, command.lines()
    return folder


def last_line(command: Command, code: int) -> str:
    """The line of an error, after which nothing comes and before which there is no traceback."""
    assert command.wait() == code, command.lines()
    lines = command.lines()
    assert not any(line.startswith("Traceback") for line in lines), lines
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    return lines[-1]


def unfinished_writes(folder: Path) -> list[Path]:
    """What somebody had begun to write."""
    return [path for path in folder.rglob(".writing-*") if TEMPORARY_NAME.match(path.name)]


def states(folder: Path) -> Iterator[dict]:
    """The saved states of interrupted trainings."""
    for path in (folder / RESUME_DIR).glob("*/state.pt"):
        yield torch.load(path, weights_only=True)


def tracked(folder: Path) -> list[tuple[str, list[int]]]:
    """Status and logged epochs of each run in the project's store, the newest first."""
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
        return [{name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def assert_same_results(folder: Path, expected: Path) -> None:
    """The same weights, history and predictions."""
    found, wanted = (torch.load(path / CHECKPOINT_FILE, weights_only=True) for path in (folder, expected))
    assert found["state_dict"].keys() == wanted["state_dict"].keys()
    assert all(torch.equal(value, wanted["state_dict"][name]) for name, value in found["state_dict"].items())
    assert found["decision"] == wanted["decision"]
    assert history(folder) == history(expected)
    assert (folder / VAL_PREDICTIONS_FILE).read_bytes() == (expected / VAL_PREDICTIONS_FILE).read_bytes()


def tell_to_stop(command: Command, number: int) -> float:
    """Send a signal, if the command still runs; the seconds until it has ended, as a signal ends a command."""
    sent = time.monotonic()
    if not command.process.is_alive():
        assert command.wait() == 0, command.lines()
        return 0.0
    os.kill(command.process.pid, number)
    code = command.wait()
    assert code in (0, 128 + number), command.lines()
    if code:
        assert last_line(command, code) == f"error: stopped by {signal.Signals(number).name}"
    return time.monotonic() - sent


@pytest.mark.fault(14, 15)
@pytest.mark.parametrize("seed", range(TRAININGS))
def test_told_to_stop_at_any_moment_it_saves_closes_its_run_and_ends_with_the_same_bits(
    seed, seconds, uninterrupted, project_copy, record_property
):
    chance, codes = random.Random(seed), []
    while len(codes) < STOPS and 0 not in codes:
        command = start(project_copy, TRAIN)
        command.wait_for_handlers()
        time.sleep(chance.uniform(0, 0.9 * seconds))
        assert tell_to_stop(command, chance.choice([signal.SIGTERM, signal.SIGINT])) < 30
        codes.append(command.process.exitcode)
        assert unfinished_writes(project_copy) == []
        runs = tracked(project_copy)[:-1]  # without the one that has made the store
        assert [status for status, _ in runs] in ([], ["FINISHED" if codes[-1] == 0 else "KILLED"])
    if codes[-1]:
        last = start(project_copy, TRAIN)
        assert last.wait() == 0, last.lines()
    assert tracked(project_copy)[:-1] == [("FINISHED", list(range(1, EPOCHS + 1)))]
    assert_same_results(project_copy, uninterrupted)
    record_property("faults", sum(code != 0 for code in codes))


@pytest.mark.fault(14)
def test_ctrl_c_twice_is_as_good_as_once(project_copy):
    command = start(project_copy, TRAIN)
    command.wait_for_line("epoch 2/")
    os.kill(command.process.pid, signal.SIGINT)
    assert tell_to_stop(command, signal.SIGINT) < 30
    assert command.process.exitcode == 130
    assert tracked(project_copy)[0][0] == "KILLED"
    (state,) = states(project_copy)
    assert (state["epoch"], state["step"]) >= (3, 0)
    again = start(project_copy, TRAIN)
    assert again.wait() == 0, again.lines()
    assert any(line.startswith("going on from the saved state: epoch ") for line in again.lines())


# A rate with which the loss becomes infinite at once, one with which it does after a while, one of a training of a
# single step, whose weights no loss of the training is computed with.
DIVERGING = {
    "at once": ["train.learning_rate=1e30", "train.optimizer=sgd"],
    "gradually": ["train.learning_rate=3000", "train.optimizer=sgd", "train.augment.mixup=0.0"],
    "in the last step": ["train.learning_rate=1e38", "train.optimizer=sgd", "train.epochs=1", "train.batch_size=1000"],
}
DIVERGED = r"error: (the loss|the validation loss|a weight) is not a finite number at epoch \d+, step \d+, "
DIVERGED += r"learning rate [0-9.e+]+; try a lower train.learning_rate"


@pytest.mark.fault(17)
@pytest.mark.parametrize("name", DIVERGING)
def test_a_training_that_diverges_names_the_place_and_keeps_a_good_state(name, project_copy):
    changes = [word for change in [*DIVERGING[name], "train.checkpoint_steps=1"] for word in ("--set", change)]
    command = start(project_copy, TRAIN, *UNTRACKED, *changes)
    assert re.fullmatch(DIVERGED, last_line(command, 1)), command.lines()
    for state in states(project_copy):
        for part in ("network", "average"):
            assert all(value.isfinite().all() for value in state[part].values()), part
    assert not (project_copy / CHECKPOINT_FILE).exists()
    assert unfinished_writes(project_copy) == []
    lower = start(project_copy, TRAIN, *UNTRACKED, "--set", "train.epochs=1")
    assert lower.wait() == 0, lower.lines()


@pytest.mark.fault(17)
def test_a_head_that_diverges_names_the_place(project_copy):
    save_hugging_face_encoder(project_copy / "models/encoder", image_size=32)
    rate = ("--lr", "1e38", "--epochs", "3", "--batch_size", "60", "--device", "cpu")
    command = start(project_copy, "Resnet23.validate", *rate, *UNTRACKED)
    line = last_line(command, 1)
    place = r"error: the loss is not a finite number in epoch \d, step \d, learning rate 1e\+38; try a lower one, .+"
    assert re.fullmatch(place, line), line
    assert not list(project_copy.rglob("multiclass.pth"))


@pytest.mark.fault(17)
def test_an_encoder_that_diverges_names_the_place(project_copy):
    pytest.importorskip("transformers")
    changes = ("--set", "train.learning_rate=1e38", "--set", "train.optimizer=sgd", "--set", "train.batch_size=90")
    command = start(project_copy, "Resnet23.classifiers.pretrain", *UNTRACKED, *changes)
    assert re.fullmatch(DIVERGED, last_line(command, 1)), command.lines()
    assert not (project_copy / "models/encoder").exists()


STUDY = """\
question: Which learning rate?
analysis: sweep
vary:
  train.learning_rate: [0.01, 1.0e+38]
set: {train.optimizer: sgd, train.epochs: 1}
expected: The lower one.
scales:
  smoke:
    preset: study-smoke
    seeds: [0, 1]
    cost: seconds
"""


@pytest.mark.fault(17)
def test_a_trial_that_diverges_does_not_end_its_study(made, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    for name in ("studies", "presets"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    (tmp_path / "studies/rates.yaml").write_text(STUDY)
    images = read_features(made / "data/features", made / "data/processed")
    monkeypatch.chdir(tmp_path)
    study = read_study("rates")
    storage = f"sqlite:///{tmp_path / 'trials.db'}"
    run = Run(study, "smoke", scale_params(study, "smoke"), images, storage, "abc")
    work_on(run)
    good, bad = gather(run).outcomes
    assert (good.diverged, bad.diverged) == (0, 2)
    assert bad.samples("val_accuracy").tolist() == [0.1, 0.1]  # as good as guessing, of ten classes


OUT_OF_MEMORY = "error: out of memory; take a smaller train.batch_size or predict.batch_size, or with PyTorch a larger "
OUT_OF_MEMORY += "train.accumulation"
LARGE = ("--set", "model.width=64", "--set", "train.learning_rate=0.001")  # 12.7 million weights


@pytest.mark.fault(18)
@pytest.mark.parametrize("mebibytes", [40, 80, 160])
def test_a_network_that_is_too_large_for_the_memory_says_what_to_do(mebibytes, project_copy):
    command = start(project_copy, TRAIN, *UNTRACKED, *LARGE, memory=mebibytes * MIB)
    assert last_line(command, 4) == OUT_OF_MEMORY
    assert unfinished_writes(project_copy) == []
    assert not (project_copy / CHECKPOINT_FILE).exists()
    assert start(project_copy, TRAIN, *UNTRACKED, "--set", "train.epochs=1").wait() == 0


@pytest.mark.fault(18)
def test_a_training_that_runs_out_of_memory_later_goes_on_from_its_state(project_copy, uninterrupted):
    command = start(project_copy, TRAIN, before=run_out_of_memory_in_the_21st_step)
    assert last_line(command, 4) == OUT_OF_MEMORY
    assert tracked(project_copy)[0][0] == "FAILED"
    again = start(project_copy, TRAIN)
    assert again.wait() == 0, again.lines()
    assert any(line.startswith("going on from the saved state: epoch ") for line in again.lines())
    assert_same_results(project_copy, uninterrupted)


@pytest.mark.fault(18)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA GPU here")
def test_a_gpu_that_is_too_small_says_what_to_do(project_copy):
    changes = ("--set", "train.device=cuda", *LARGE)
    command = start(project_copy, TRAIN, *UNTRACKED, *changes, before=leave_little_of_the_gpu)
    assert last_line(command, 4) == OUT_OF_MEMORY
