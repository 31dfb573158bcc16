"""The same thing again and again: the same results each time, nothing left behind, and nothing that grows.

`make soak` runs the demo pipeline SOAK_RUNS times, 20 unless the environment says otherwise.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from forked_processes import PROCESSES
from small_features import make_features
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import HISTORY_FILE, METRICS_FILE
from Resnet23.history import read_history
from Resnet23.modeling import train

RUNS = int(os.environ.get("SOAK_RUNS", "20"))
COPIED = (
    "params.yaml", "dvc.yaml", "pipelines", "presets", "reports/extras/README.md", "reports/keras/extras/README.md",
    ".dvc/config",
)  # fmt: skip
CLOCK = {"seconds", "images_per_second", "data_wait"}
BOOKKEEPING = {".dvc", "mlruns"}  # DVC's, and the tracker's, which has a run more each time
MIB = 1 << 20
CACHE_GROWTH = 4 * MIB  # a run: the page, and the number of the tracked run; `dvc gc` removes those of before
MEMORY_GROWTH = 64 * MIB  # over all runs, by a straight line through the peaks
TRAININGS_GROWTH = 8 * MIB  # of the trainings of one process

needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc, which Linux has")


@dataclass(frozen=True)
class Run:
    """What there is after the demo: results, names of files, bytes on disk, and the bytes of the largest process."""

    metrics: dict[str, object]
    history: dict[str, list[float]]
    files: set[str]
    temporary: set[str]
    cache: int
    tracked: int
    memory: int


@pytest.fixture
def repository_copy(tmp_path: Path) -> Path:
    """What the demo needs of the repository, and beside it an empty folder for temporary files."""
    folder = tmp_path / "repository"
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    (folder / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    (tmp_path / "tmp").mkdir()
    return folder


def run_module(folder: Path, temporary: Path, *arguments: str) -> int:
    """Run `python -m ...` as make does; the bytes of memory that the largest of its processes took."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "TMPDIR": str(temporary)}
    log = temporary.with_name("output.txt")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text(encoding="utf-8")
    return usage.ru_maxrss * 1024


def run_demo(repository: Path) -> Run:
    """`make demo`, in which each stage runs whatever DVC knows of it, and what there is afterwards."""
    demo, temporary = repository / "demo", repository.with_name("tmp")
    run_module(repository, temporary, "Resnet23.project", "demo", "--preset", "digits")
    memory = run_module(demo, temporary, "dvc", "repro", "--force")
    history = read_history(demo / HISTORY_FILE)
    return Run(
        metrics=json.loads((demo / METRICS_FILE).read_text(encoding="utf-8")),
        history={name: column.tolist() for name, column in history.items() if name not in CLOCK},
        files={name for name in names_below(repository) if not BOOKKEEPING & set(Path(name).parts)},
        temporary=names_below(temporary),
        cache=size_of(repository / ".dvc/cache"),
        tracked=size_of(demo / "mlruns"),
        memory=memory,
    )


def names_below(folder: Path) -> set[str]:
    """All files and folders below a folder; links are not followed."""
    return {
        str(Path(top, name).relative_to(folder)) for top, *kinds in os.walk(folder) for names in kinds for name in names
    }


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(os.lstat(Path(top, name)).st_size for top, _, names in os.walk(folder) for name in names)


def growth(values: list[int]) -> float:
    """How much a straight line through the values rises from the first to the last."""
    slope, _ = np.polyfit(np.arange(len(values)), values, 1)
    return slope * (len(values) - 1)


@pytest.mark.soak
@pytest.mark.fault(31)
def test_the_demo_again_and_again(repository_copy, record_property):
    first = run_demo(repository_copy)
    assert not [name for name in first.files if ".writing-" in name]
    runs = [first]
    for number in range(2, RUNS + 1):
        runs.append(run_demo(repository_copy))
        sizes = {name: getattr(runs[-1], name) // 1024 for name in ("cache", "tracked", "memory")}
        print(f"run {number} of {RUNS}: accuracy {runs[-1].metrics['accuracy']:.4f}, KiB: {sizes}", flush=True)
        assert runs[-1].metrics == first.metrics
        assert runs[-1].history == first.history
        assert runs[-1].files == first.files
        assert runs[-1].temporary == first.temporary
        assert runs[-1].cache - runs[-2].cache < CACHE_GROWTH
    added = np.diff([run.tracked for run in runs])  # the store's database grows by pages
    assert added.max() <= 1.2 * first.tracked
    assert growth([run.memory for run in runs]) < MEMORY_GROWTH
    record_property("faults", RUNS)


@dataclass(frozen=True)
class Usage:
    """What a process holds: bytes of memory of its own, open files, threads."""

    memory: int
    files: int
    threads: int


def usage() -> Usage:
    """That of this process."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Usage(int(status["RssAnon"].split()[0]) * 1024, len(os.listdir("/proc/self/fd")), threading.active_count())


def train_again_and_again(folder: Path, count: int) -> None:
    """Run the training stage so many times in this process and write down what it holds after each."""
    os.chdir(folder)
    found = []
    for _ in range(count):
        train.main()
        found.append(vars(usage()))
    (folder / "usage.json").write_text(json.dumps(found), encoding="utf-8")


@needs_proc
@pytest.mark.fault(31)
@pytest.mark.parametrize("count", [pytest.param(6, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.soak)])
def test_trainings_in_one_process_hold_no_more_each_time(count, tmp_path, record_property):
    make_features(tmp_path, [*SHRUNK, "tracking.enabled=false"])
    process = PROCESSES.Process(target=train_again_and_again, args=(tmp_path, count))
    process.start()
    process.join(600)
    assert process.exitcode == 0
    found = [Usage(**each) for each in json.loads((tmp_path / "usage.json").read_text(encoding="utf-8"))][1:]
    print([each.memory // 1024 for each in found])
    assert {(each.files, each.threads) for each in found} == {(found[0].files, found[0].threads)}
    assert growth([each.memory for each in found]) < TRAININGS_GROWTH
    record_property("faults", count)
