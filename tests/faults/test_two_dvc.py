"""`dvc repro` with a killed stage, a killed dvc, and a second one beside it: in a small project, by the real DVC."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pytest
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import CHECKPOINT_FILE, HISTORY_FILE, METRICS_FILE, VAL_PREDICTIONS_FILE, load_params
from Resnet23.history import read_history
from Resnet23.project import write_params

pytestmark = pytest.mark.slow  # each start of DVC and of a stage takes seconds

STAGES = ["datadownload", "features", "train", "predict", "plots"]
CLOCK = ("seconds", "images_per_second", "data_wait")
MOST_SECONDS = 600  # for one `dvc repro`, on a busy machine
CHANGES = [*SHRUNK, "train.epochs=20", "train.ema_decay=0.9", "train.checkpoint_steps=2", "tracking.enabled=false"]
WRITES_TO = {"datadownload": "data/processed", "features": "data/features", "predict": "reports", "plots": "reports"}


class Repro:
    """`dvc repro` running in a project, in a process group of its own as a terminal would start it.

    A context manager: at its end, or when it takes too long, the group is killed.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *arguments],
            cwd=folder, env={**os.environ, "PATH": path}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._limit = threading.Timer(MOST_SECONDS, self._kill)
        self._limit.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._kill()
        self.process.wait()
        self.process.stdout.close()

    def _kill(self) -> None:
        if self.process.returncode is None:  # not waited for, so that its number is still its own
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for(self, start: str) -> list[psutil.Process]:
        """Read up to a line that begins so; the processes below DVC at that moment, of which one may be a shell."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return psutil.Process(self.process.pid).children(recursive=True)
        pytest.fail("\n".join(self.lines))

    def end(self, code: int | None = None) -> str:
        """All that it has printed; its exit code has to be `code`, or any but 0."""
        rest, _ = self.process.communicate(timeout=MOST_SECONDS)
        self.lines += rest.splitlines()
        output = "\n".join(self.lines)
        assert self.process.returncode == code if code is not None else self.process.returncode != 0, output
        return output


def reproduce(folder: Path, *arguments: str, code: int | None = 0) -> str:
    """Run `dvc repro` to its end, with this exit code, or any but 0; all that it has printed."""
    with Repro(folder, *arguments) as repro:
        return repro.end(code)


def make_pipeline(folder: Path) -> None:
    """A project that the small pipeline can run in, with a training of a few seconds."""
    (folder / "reports/extras").mkdir(parents=True)
    (folder / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    shutil.copy(REPOSITORY / "reports/extras/README.md", folder / "reports/extras")
    for arguments in (["init", "--no-scm", "--quiet"], ["config", "core.no_scm", "true"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True)
    with chdir(REPOSITORY):
        params = load_params(assignments=CHANGES).model_dump()
    write_params(folder / "params.yaml", params, "tests/faults/test_two_dvc.py")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its features made."""
    folder = tmp_path_factory.mktemp("prepared")
    make_pipeline(folder)
    reproduce(folder, "features")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after `dvc repro`, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "project"
    shutil.copytree(prepared, folder, symlinks=True)
    reproduce(folder)
    return folder


@pytest.fixture
def orphans() -> Iterator[list[psutil.Process]]:
    """Processes that a test leaves behind when it fails."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_same_results(folder: Path, expected: Path) -> None:
    """The same model, predictions and metrics, and the same history but for what depends on the clock."""
    for file in (CHECKPOINT_FILE, VAL_PREDICTIONS_FILE, METRICS_FILE, Path("reports/predictions.csv")):
        assert digest(folder / file) == digest(expected / file), file
    found, wanted = (read_history(path / HISTORY_FILE) for path in (folder, expected))
    for name in wanted.keys() - set(CLOCK):
        assert np.array_equal(found[name], wanted[name]), name


def locked(folder: Path) -> str:
    """What dvc.lock holds."""
    lock = folder / "dvc.lock"
    return lock.read_text(encoding="utf-8") if lock.exists() else ""


def is_written_to(folder: Path) -> bool:
    """Whether a file or folder somewhere below is half written."""
    return any(name.startswith(".writing-") for _, *names in os.walk(folder) for name in [*names[0], *names[1]])


def kill_stage(repro: Repro, folder: Path, stage: str) -> None:
    """Kill a stage that is about to begin, with its shell: training after some epochs, the others while they write."""
    if stage == "train":
        repro.wait_for("epoch 7/")
    else:
        while not is_written_to(folder / WRITES_TO[stage]):
            assert repro.process.poll() is None, repro.end()
            time.sleep(0.0002)
    for process in psutil.Process(repro.process.pid).children(recursive=True):
        process.kill()


@pytest.mark.fault(16)
def test_every_stage_killed_once_the_pipeline_ends_as_if_none_had_been(uninterrupted, tmp_path, record_property):
    folder, outputs = tmp_path / "project", []
    make_pipeline(folder)
    for stage in STAGES:
        with Repro(folder, stage) as repro:
            repro.wait_for(f"Running stage '{stage}'")
            before = locked(folder)  # the stages before are in it
            kill_stage(repro, folder, stage)
            outputs.append(repro.end())
        assert f"failed to reproduce '{stage}'" in outputs[-1]
        assert locked(folder) == before
    outputs.append(reproduce(folder))
    assert sum("going on from the saved state: epoch " in output for output in outputs) == 1
    assert not [path for path in folder.rglob(".writing-*") if ".dvc" not in path.parts]
    assert_same_results(folder, uninterrupted)
    record_property("faults", len(STAGES))


def training_among(processes: list[psutil.Process], orphans: list[psutil.Process]) -> psutil.Process:
    """The training itself, not its shell; noted as one to be ended, whatever becomes of the test."""
    (training,) = [process for process in processes if "Resnet23.modeling.train" in process.cmdline()]
    orphans.append(training)
    return training


@pytest.mark.fault(14, 16, 24)
def test_two_at_once_then_ctrl_c_then_a_training_that_outlives_its_dvc(
    prepared, uninterrupted, tmp_path, orphans, record_property
):
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder, symlinks=True)
    before = locked(folder)

    with Repro(folder, "train") as first:
        training = training_among(first.wait_for("epoch 3/"), orphans)
        training.suspend()  # or it might be done before the second one looks
        assert f"(PID {first.process.pid}):" in reproduce(folder, "train", code=None)
        training.resume()
        os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does: it is for DVC and for the training
        assert "error: stopped by SIGINT" in first.end()
    assert locked(folder) == before

    with Repro(folder, "train") as second:
        second.wait_for("going on from the saved state: epoch ")
        training = training_among(second.wait_for("epoch "), orphans)
        training.suspend()
        second.process.kill()
        second.process.wait()
        holder = f"another training is running in this project, process {training.pid}; "
        assert f"{holder}wait for it, or stop it with: kill {training.pid}" in reproduce(folder, "train", code=None)
        training.resume()
        assert "error: stopped by SIGTERM" in second.end(-signal.SIGKILL)  # it has noticed that DVC is gone
    assert locked(folder) == before

    assert "going on from the saved state: epoch " in reproduce(folder)
    assert_same_results(folder, uninterrupted)
    record_property("faults", 4)
