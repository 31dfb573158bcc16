"""An interrupted training goes on where it was, to the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from forked_processes import PROCESSES
from small_project import REPOSITORY
from small_training import resumable

from Resnet23 import resuming
from Resnet23.arrays import Features
from Resnet23.config import load_params, read_yaml
from Resnet23.errors import InputError, ResourceError
from Resnet23.modeling import resume
from Resnet23.modeling.resume import ResumeFile, resume_file
from Resnet23.resuming import training_lock

KILLS = 5  # a hundred: tests/faults/test_killed_training.py
STOPS = 2


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    resumable(folder)
    return folder


def assert_same_result(folder: Path, expected: Path) -> None:
    assert json.loads((folder / "history.json").read_text()) == json.loads((expected / "history.json").read_text())
    found, wanted = (torch.load(path / "weights.pt", weights_only=True) for path in (folder, expected))
    for kind in wanted:
        for name, value in wanted[kind].items():
            assert torch.equal(found[kind][name], value), (kind, name)


def wait_for_progress(state: Path, process: BaseProcess) -> None:
    """Wait until another state was saved than the one that is there."""
    before = state.stat().st_ino if state.exists() else None
    while process.is_alive() and (not state.exists() or state.stat().st_ino == before):
        time.sleep(0.001)


@pytest.mark.fault(13, 15)
def test_killed_at_random_moments_it_ends_with_the_same_bits(uninterrupted, tmp_path, record_property):
    state, chance, kills = tmp_path / "resume" / "state.pt", random.Random(0), 0
    while not (tmp_path / "history.json").exists():
        process = PROCESSES.Process(target=resumable, args=(tmp_path,))
        process.start()
        if kills < KILLS:
            wait_for_progress(state, process)
            time.sleep(chance.uniform(0, 0.04))  # seconds; a step takes about 0.01
            process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        assert process.exitcode in (0, -signal.SIGKILL)
    assert kills == KILLS
    record_property("faults", kills)
    assert_same_result(tmp_path, uninterrupted)


@pytest.mark.fault(14, 15)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_saves_and_goes_on_with_the_same_bits(number, uninterrupted, tmp_path, record_property):
    state, chance, stops = tmp_path / "resume" / "state.pt", random.Random(1), 0
    while not (tmp_path / "history.json").exists():
        process = PROCESSES.Process(target=resumable, args=(tmp_path,), kwargs={"stoppable": True})
        process.start()
        if stops < STOPS:
            wait_for_progress(state, process)
            time.sleep(chance.uniform(0, 0.04))
            os.kill(process.pid, number)
        process.join(60)
        stops += process.exitcode == 128 + number
        assert process.exitcode in (0, 128 + number)
    assert stops == STOPS
    record_property("faults", stops)
    assert_same_result(tmp_path, uninterrupted)


@pytest.mark.fault(15)
@pytest.mark.parametrize("epoch", [1, 8, 30])
def test_stopped_between_epochs_phases_or_at_the_end_it_goes_on_with_the_same_bits(epoch, uninterrupted, tmp_path):
    """The first phase ends with epoch 8, the training with epoch 30."""
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path, stop_after=epoch)
    resumable(tmp_path)
    assert_same_result(tmp_path, uninterrupted)


@pytest.mark.fault(13)
def test_a_damaged_state_is_as_good_as_none(tmp_path):
    file = ResumeFile(tmp_path)
    file.save({"epoch": 3, "weights": torch.ones(100)})
    assert file.load()["epoch"] == 3
    content = (tmp_path / "state.pt").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"text"):
        (tmp_path / "state.pt").write_bytes(damaged)
        assert file.load() is None
    file.remove()
    assert not tmp_path.exists()


def test_a_state_in_the_wrong_folder_is_not_picked_up(tmp_path):
    ResumeFile(tmp_path / "one").save({"epoch": 3})
    (tmp_path / "one").rename(tmp_path / "other")
    assert ResumeFile(tmp_path / "other").load() is None


def test_a_full_disk_does_not_end_the_training(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ResourceError("the disk is full")

    monkeypatch.setattr(resume, "atomic_write", full)
    ResumeFile(tmp_path).save({"epoch": 1})
    assert not (tmp_path / "state.pt").exists()


def features(digest: str = "a") -> Features:
    return Features({"digests": {"train": digest}, "val_indices": [1, 2]}, None, None, Path())


def key(*assignments: str, **changes) -> str:
    return resume_file(load_params(assignments=assignments), features(**changes)).folder.name


def test_another_result_has_another_key(repository, monkeypatch):
    monkeypatch.chdir(repository)
    different = [
        key(), key(digest="b"), key("seed=1"), key("model.width=8"), key("train.epochs=3"),
        key("train.augment.cutout=3"), key("train.phases=[{epochs: 3}]"),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_what_changes_no_result_changes_no_key(repository, monkeypatch):
    monkeypatch.chdir(repository)
    free = [
        "train.checkpoint_steps=7",
        "train.num_workers=2",
        "plots.dpi=60",
        "tracking.enabled=false",
        "predict.batch_size=8",
    ]
    assert {key(), *(key(assignment) for assignment in free)} == {key()}


def test_other_code_has_another_key(repository, monkeypatch):
    monkeypatch.chdir(repository)
    before = key()
    monkeypatch.setattr(resuming, "code_digest", lambda: "other code")
    assert key() != before


def test_the_code_that_counts_is_what_dvc_watches():
    """In a process that has imported the stage and nothing else."""
    program = """
import json
from pathlib import Path
import Resnet23.modeling.train
from Resnet23.resuming import code_files
print(json.dumps(sorted(str(Path("Resnet23", file).as_posix()) for file in code_files())))
"""
    output = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    deps = read_yaml(REPOSITORY / "dvc.yaml")["stages"]["train"]["deps"]
    assert json.loads(output.stdout) == sorted(path for path in deps if path.endswith(".py"))


@pytest.mark.fault(24)
def test_one_training_at_a_time_works_in_a_project(project):
    holder = PROCESSES.Process(target=hold_lock, args=(project,))
    holder.start()
    while not (project / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(InputError, match=f"process {holder.pid}"), training_lock():
        pass
    holder.kill()
    holder.join()
    with training_lock():
        pass


def hold_lock(folder: Path) -> None:
    os.chdir(folder)
    with training_lock():
        (folder / "held").touch()
        time.sleep(60)
