"""A disk that fills while a command writes: exit code 4, nothing half-written, and the next run has the same result."""

import csv
import hashlib
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from private_disk import PAGE, PrivateDisk, finished_project, succeed, tree
from small_checkpoint import small_checkpoint

from Resnet23.errors import ResourceError
from Resnet23.files import atomic_write, write_json
from Resnet23.modeling.checkpoint import save_checkpoint
from Resnet23.modeling.resume import ResumeFile

resource = pytest.importorskip("resource", reason="limits the size of files by the module resource, which Unix has")

TIMINGS = ("seconds", "images_per_second", "data_wait")  # columns of history.csv
VOLATILE = ("index.html", "export.json", "README.md", ".pt2")  # speeds, dates and the names of folders are in them
IGNORED = ("models/.resume/", "mlruns/")
# What each stage writes.
STAGES = {
    "datadownload": ["data/processed"],
    "features": ["data/features"],
    "modeling.train": [
        "models/resnet23_cifar.pth", "models/inspection.npz", "reports/history.csv", "reports/run.json",
        "reports/val_predictions.csv",
    ],
    "modeling.predict": ["reports/predictions.csv", "reports/metrics.json"],
    "plots": ["reports/figures", "reports/index.html"],
}  # fmt: skip
# Commands outside the pipeline, with what each writes.
COMMANDS = {
    ("export", "--formats", "safetensors,pt2"): ["models/export", "reports/extras/export.json"],
    ("explain", "--count", "2"): ["reports/extras/explanations"],
    ("modeling.lr_find", "--steps", "20"): ["reports/extras/lr_finder"],
    ("model_card",): ["reports/extras/MODEL_CARD.md"],
    ("classifiers.pretrain", "--epochs", "1"): ["models/encoder"],
    ("validate", "--epochs", "1", "--skip_layers"): ["reports/extras/heads", "data/interim/encoded"],
}
# Of the room that the files of a command need: with less than all of it, it must fail, each time elsewhere.
SHARES = (0, 0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDisk]:
    """A disk with a finished project on it."""
    with finished_project(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


def results(project: Path) -> dict[str, str]:
    """What the commands have left, by file: equal when the results are, and as a whole or not at all readable."""
    found = {name: content for name, content in tree(project).items() if not name.startswith(IGNORED)}
    return {name: digest(name, content) for name, content in found.items()}


def digest(name: str, content: bytes) -> str:
    """What two runs with the same result have in common; the test fails when the file is half-written."""
    if name.endswith(".json"):
        json.loads(content)
    if name.endswith(".html"):
        assert content.rstrip().endswith(b"</html>"), name
    if name.endswith("history.csv"):
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        content = json.dumps([{key: row[key] for key in row if key not in TIMINGS} for row in rows]).encode()
    return "volatile" if name.endswith(VOLATILE) else hashlib.sha256(content).hexdigest()


def fill_while(disk: PrivateDisk, command: Sequence[str], outputs: Sequence[str], shares: Sequence[float]) -> int:
    """Run a command again and again on a disk with too little room, then with enough; the number of failures."""
    expected = results(disk.project)
    room = sum(-(-len(content) // PAGE) * PAGE for content in written(disk, outputs).values())
    for share in shares:
        remove(disk, outputs)
        with disk.leaving(int(room * share)):
            done = disk.run(*command)
        assert done.code == 4, (share, done.stderr)
        assert "the disk is full" in done.error
        assert results(disk.project).items() <= expected.items(), share
    succeed(disk.run(*command))
    assert results(disk.project) == expected
    return len(shares)


def written(disk: PrivateDisk, outputs: Sequence[str]) -> dict[str, bytes]:
    """The files among the project's that are in these folders or are these."""
    return {name: content for name, content in tree(disk.project).items() if name.startswith(tuple(outputs))}


def remove(disk: PrivateDisk, outputs: Sequence[str]) -> None:
    for name in written(disk, outputs):
        (disk.project / name).unlink()


@pytest.mark.slow
@pytest.mark.fault(5)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fills_the_disk_leaves_whole_files_and_then_succeeds(disk, stage, record_property):
    record_property("faults", fill_while(disk, [f"Resnet23.{stage}"], STAGES[stage], SHARES))


@pytest.mark.slow
@pytest.mark.fault(5)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_that_fills_the_disk_leaves_whole_files_and_then_succeeds(disk, command, record_property):
    if command[0] in ("classifiers.pretrain", "validate"):
        pytest.importorskip("transformers", reason="transformers comes with the extra `heads`")
    if command[0] == "validate":
        succeed(disk.run("Resnet23.classifiers.pretrain", "--epochs", "1"))
    module, *arguments = command
    succeed(disk.run(f"Resnet23.{module}", *arguments))
    shares = (0, 0.6)
    record_property("faults", fill_while(disk, [f"Resnet23.{module}", *arguments], COMMANDS[command], shares))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file of more bytes: a fault that needs neither root nor a disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_array(path: Path) -> None:
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, noise=np.random.default_rng(0).random(100_000))


WRITERS: dict[str, Callable[[Path], None]] = {
    "a table": lambda path: write_json(path, list(range(100_000))),
    "an array": write_array,
    "a checkpoint": lambda path: save_checkpoint(path, small_checkpoint()),
}


@pytest.mark.fault(5)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_grow_keeps_the_old_one(tmp_path, writer):
    path = tmp_path / "file"
    path.write_text("old")
    with largest_file(50_000), pytest.raises(ResourceError, match="file: larger than the file system"):
        WRITERS[writer](path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.fault(5)
def test_a_training_goes_on_when_its_state_cannot_be_saved_and_the_old_one_loads(tmp_path):
    """PyTorch answers with an error of its own, that of a file at the wrong place."""
    file = ResumeFile(tmp_path / "key")
    file.save({"epoch": 1})
    with largest_file(50_000):
        file.save({"epoch": 2, "weights": torch.zeros(100_000)})
    assert file.load() == {"epoch": 1, "key": "key"}
    assert [path.name for path in file.folder.iterdir()] == ["state.pt"]


TRACKED = ("Resnet23.modeling.train", "--fresh", "--set", "tracking.enabled=true")


@pytest.mark.slow
@pytest.mark.fault(5, 19)
def test_a_full_store_of_runs_costs_a_warning_and_no_training(disk, record_property):
    """Without room to make the store, for a row of its database, and for the files of the run."""
    expected, rooms = results(disk.project), (None, 2 * PAGE, 50 * PAGE)
    store = disk.inside / "mlruns"
    with disk.smaller_disk(store, megabytes=6):
        for room in rooms:
            if room is not None:
                succeed(disk.run(*TRACKED))
            remove(disk, STAGES["modeling.train"])
            with disk.leaving(room or 0, store):
                done = disk.run(*TRACKED)
            succeed(done)
            assert "disk is full" in done.stderr or "No space left" in done.stderr
            assert 1 <= f"\n{done.stderr}".count("\ntracking ") <= 2  # one may be of the model only
            found = results(disk.project)
            assert {name: found[name] for name in expected if name != "reports/run.json"}.items() <= expected.items()
            assert_whole_store(disk.seen(store), disk.project)
        succeed(disk.run(*TRACKED))
    succeed(disk.run("Resnet23.modeling.train"))
    assert results(disk.project) == expected
    record_property("faults", len(rooms))


def assert_whole_store(store: Path, project: Path) -> None:
    """The database is intact where there is one, and of the run's files there is the whole of each."""
    with tempfile.TemporaryDirectory() as folder:  # SQLite does not open a file of another mount namespace
        copied = [shutil.copy(file, folder) for file in store.glob("mlflow.db*")]
        with closing(sqlite3.connect(Path(folder, "mlflow.db") if copied else ":memory:")) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    for file in store.rglob("resnet23_cifar.pth"):
        assert file.read_bytes() == (project / "models/resnet23_cifar.pth").read_bytes()
    assert not list(store.rglob(".writing-*"))
