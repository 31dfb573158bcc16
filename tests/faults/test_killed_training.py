"""A training killed a hundred times, also while it writes: what has a final name is whole, and the end is the same."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_processes import Command, start
from small_features import make_features
from small_project import SHRUNK

from Resnet23.config import CHECKPOINT_FILE, HISTORY_FILE, INSPECTION_FILE, RUN_FILE, VAL_PREDICTIONS_FILE
from Resnet23.files import TEMPORARY_NAME
from Resnet23.history import read_history
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.predictions import read_predictions
from Resnet23.resuming import RESUME_DIR

TRAIN = "Resnet23.modeling.train"
EPOCHS = 8  # of 6 steps each
CHANGES = [
    *SHRUNK,
    f"train.epochs={EPOCHS}",
    "train.checkpoint_steps=1",
    "train.ema_decay=0.9",
    "train.augment.mixup=0.2",
    "model.dropout=0.1",
    "tracking.enabled=false",
]
KILLS = 100
WHILE_WRITING = 20  # at least so many of them hit a moment at which a file was half written
KILLS_OF_STATES, KILLS_OF_RESULTS = 9, 4  # of one training, which then comes to its end
CLOCK = ("seconds", "images_per_second", "data_wait")
START_SECONDS = 0.4  # about what a training takes before its first step

pytestmark = pytest.mark.slow  # a fast one is in tests/modeling/test_resume.py


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its features made."""
    folder = tmp_path_factory.mktemp("made")
    make_features(folder, CHANGES)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(made: Path) -> Path:
    """The same after a training that nobody disturbed."""
    folder = made.with_name("uninterrupted")
    shutil.copytree(made, folder)
    command = start(folder, TRAIN)
    assert command.wait() == 0, command.lines()
    return folder


def unfinished_writes(folder: Path) -> list[Path]:
    """The files that somebody is writing, or had begun to write when he was killed."""
    tops = [RESUME_DIR, *(folder / RESUME_DIR).glob("*/"), CHECKPOINT_FILE.parent, HISTORY_FILE.parent]
    return [Path(entry) for top in tops for entry in scan(folder / top) if TEMPORARY_NAME.match(entry.name)]


def scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder that may have gone."""
    try:
        yield from os.scandir(folder)
    except FileNotFoundError:
        return


def at_any_moment(folder: Path, command: Command, chance: random.Random) -> None:
    """Wait for a random time, which may end before the first step."""
    command.process.join(chance.uniform(0, 3 * START_SECONDS))


def while_a_state_is_written(folder: Path, command: Command, chance: random.Random) -> None:
    """Wait until one of the next five states is being written."""
    wait_for_write(command, lambda: (folder / RESUME_DIR).glob("*/.writing-*.pt"), chance.randint(1, 5), chance)


def while_results_are_written(folder: Path, command: Command, chance: random.Random) -> None:
    """Wait until one of the five files that the training leaves is being written."""

    def writes() -> Iterator[Path]:
        for top in (CHECKPOINT_FILE.parent, HISTORY_FILE.parent):
            yield from (folder / top).glob(".writing-*")

    wait_for_write(command, writes, chance.randint(1, 5), chance)


def wait_for_write(command: Command, writes: Callable[[], Iterator[Path]], number: int, chance: random.Random) -> None:
    """Wait until so many files have been begun by this process, then for up to a millisecond."""
    seen: set[str] = set()
    prefix = f".writing-{command.process.pid}-"
    while len(seen) < number and command.process.is_alive():
        seen.update(path.name for path in writes() if path.name.startswith(prefix))
    time.sleep(chance.uniform(0, 0.001))


def assert_whole(folder: Path) -> None:
    """Every file that has its final name can be read."""
    for state in (folder / RESUME_DIR).glob("*/state.pt"):
        assert torch.load(state, weights_only=True)["key"] == state.parent.name
    for run_file in [*(folder / RESUME_DIR).glob("*/run.json"), *folder.glob(str(RUN_FILE))]:
        assert "run_id" in json.loads(run_file.read_text())
    readers = {
        CHECKPOINT_FILE: lambda path: load_checkpoint(path).build_model(),
        HISTORY_FILE: read_history,
        VAL_PREDICTIONS_FILE: read_predictions,
        INSPECTION_FILE: lambda path: dict(np.load(path)),
    }
    for file, read in readers.items():
        if (folder / file).exists():
            read(folder / file)


def assert_same_results(folder: Path, expected: Path) -> None:
    """The same bytes; in the history that does not hold for what depends on the clock."""
    for file in (CHECKPOINT_FILE, VAL_PREDICTIONS_FILE, INSPECTION_FILE, RUN_FILE):
        assert (folder / file).read_bytes() == (expected / file).read_bytes(), file
    found, wanted = (read_history(path / HISTORY_FILE) for path in (folder, expected))
    for name in wanted.keys() - set(CLOCK):
        assert np.array_equal(found[name], wanted[name]), name


def kill_once(
    folder: Path, wait: Callable[[Path, Command, random.Random], None], chance: random.Random
) -> tuple[bool, bool]:
    """Start the training and kill it at such a moment; whether it was still running, and in the middle of a write."""
    before = set(unfinished_writes(folder))
    command = start(folder, TRAIN)
    wait(folder, command, chance)
    command.process.kill()
    code = command.wait()
    assert code in (0, -signal.SIGKILL), command.lines()
    left = set(unfinished_writes(folder))
    if any(line.startswith("training on") for line in command.lines()):
        assert not left & before, "what was left by an earlier process is swept at the next start"
    assert_whole(folder)
    return code == -signal.SIGKILL, bool(left - before)


def kill_until_done(made: Path, folder: Path, chance: random.Random) -> tuple[int, int]:
    """A training killed many times and in the end left alone; how often, and how often while it was writing."""
    shutil.copytree(made, folder)
    moments = [at_any_moment, while_a_state_is_written, while_a_state_is_written]
    plan = [chance.choice(moments) for _ in range(KILLS_OF_STATES)] + [while_results_are_written] * KILLS_OF_RESULTS
    outcomes = [kill_once(folder, moment, chance) for moment in plan]
    last = start(folder, TRAIN)
    assert last.wait() == 0, last.lines()
    kills, hits = (sum(values) for values in zip(*outcomes, strict=True))
    return kills, hits


@pytest.mark.fault(13)
def test_killed_a_hundred_times_it_loses_no_file_and_ends_with_the_same_bytes(
    made, uninterrupted, tmp_path, record_property
):
    chance, kills, hits, trainings = random.Random(0), 0, 0, 0
    while kills < KILLS:
        folder = tmp_path / f"training-{trainings}"
        killed, hit = kill_until_done(made, folder, chance)
        kills, hits, trainings = kills + killed, hits + hit, trainings + 1
        assert_same_results(folder, uninterrupted)
        assert unfinished_writes(folder) == []
        assert not list((folder / RESUME_DIR).glob("*/"))
        shutil.rmtree(folder)
    record_property("faults", kills)
    record_property("killed while writing", hits)
    assert hits >= WHILE_WRITING


@pytest.mark.fault(13)
def test_killed_while_it_writes_a_state_it_goes_on_from_the_one_before(made, uninterrupted, tmp_path, record_property):
    folder, chance, hits = tmp_path / "training", random.Random(1), []
    shutil.copytree(made, folder)
    while sum(hits) < 2 or not list(folder.glob(f"{RESUME_DIR}/*/state.pt")):
        hits.append(kill_once(folder, while_a_state_is_written, chance)[1])
        assert len(hits) < 20
    record_property("faults", len(hits))
    command = start(folder, TRAIN)
    assert command.wait() == 0, command.lines()
    assert any(line.startswith("going on from the saved state") for line in command.lines())
    assert_same_results(folder, uninterrupted)
    assert unfinished_writes(folder) == []
