"""The whole pipeline as a user runs it: through DVC, in a project of its own."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from small_project import REPOSITORY, SHRUNK

from Resnet23 import datadownload, features, plots
from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, load_params
from Resnet23.history import read_history, write_history
from Resnet23.modeling import predict, train
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.predictions import read_predictions
from Resnet23.project import write_params

FIGURES = [
    "calibration", "confusion_matrix", "filters", "learning_curves", "mistakes", "per_class", "precision_recall",
    "samples",
]  # fmt: skip
STAGES = {
    "datadownload": datadownload.main,
    "features": features.main,
    "train": train.main,
    "predict": predict.main,
    "plots": plots.main,
}


def command(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Start DVC in `folder` with this Python first on the path, as in an activated environment."""
    environment = dict(os.environ, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def dvc(*arguments: str, folder: Path) -> str:
    """What DVC prints; the test fails when DVC does."""
    process = command(*arguments, folder=folder)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def set_params(folder: Path, *assignments: str) -> None:
    """Write the shrunk parameters with some changes."""
    with chdir(REPOSITORY):
        params = load_params(assignments=[*SHRUNK, *assignments]).model_dump()
    write_params(folder / "params.yaml", params, "tests/test_pipeline.py")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project, in a path with a space and a cat in it, in which `dvc repro` has run once."""
    folder = tmp_path_factory.mktemp("my project 🐈")
    (folder / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    (folder / "reports" / "extras").mkdir(parents=True)
    shutil.copy(REPOSITORY / "reports/extras/README.md", folder / "reports/extras")
    dvc("init", "--no-scm", "--quiet", folder=folder)
    shutil.copy(REPOSITORY / ".dvc/config", folder / ".dvc/config")
    dvc("config", "core.no_scm", "true", folder=folder)
    set_params(folder)
    dvc("repro", folder=folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """The MD5 of every file that the stages write, from dvc.lock's outs on disk."""
    files = [path for top in ("data", "models", "reports") for path in sorted((folder / top).rglob("*"))]
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in files
        if path.is_file()
    }


def test_one_command_makes_everything(pipeline):
    metrics = json.loads((pipeline / "reports/metrics.json").read_text())
    predictions = read_predictions(pipeline / "reports/predictions.csv")
    assert metrics["accuracy"] == (predictions.predicted == predictions.labels).mean()
    assert len(predictions.files) == 50
    assert sorted(path.stem for path in (pipeline / "reports/figures").iterdir()) == FIGURES
    assert "<h1" in (pipeline / "reports/index.html").read_text(encoding="utf-8")
    assert not list(pipeline.rglob(".writing-*"))


def test_nothing_to_do_does_nothing(pipeline):
    before = digests(pipeline)
    assert "Data and pipelines are up to date" in dvc("repro", folder=pipeline)
    assert digests(pipeline) == before


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("train.epochs=3", ["train"]),
        ("plots.dpi=60", ["plots"]),
        ("predict.batch_size=5", ["predict"]),
        ("features.val_fraction=0.2", ["features"]),
        ("data.take=last", ["datadownload"]),
        ("tracking.experiment=another", []),
    ],
)
def test_a_parameter_reruns_its_stage_and_no_earlier_one(pipeline, change, stages):
    set_params(pipeline, change)
    try:
        status = json.loads(dvc("status", "--json", folder=pipeline))
    finally:
        set_params(pipeline)
    changed = [
        name for name, causes in status.items() if any("changed deps" in c and "params.yaml" in str(c) for c in causes)
    ]
    assert changed == stages


@pytest.mark.slow
def test_a_shorter_training_reruns_training_and_what_follows(pipeline):
    set_params(pipeline, "train.epochs=1")
    try:
        output = dvc("repro", folder=pipeline)
    finally:
        set_params(pipeline)
    assert re.findall(r"Running stage '(\w+)'", output) == ["train", "predict", "plots"]
    assert len((pipeline / "reports/history.csv").read_text().splitlines()) == 2
    restored = dvc("repro", folder=pipeline)  # the run with the earlier parameters is in DVC's run cache
    assert "Running stage" not in restored
    assert len((pipeline / "reports/history.csv").read_text().splitlines()) == 3


def test_the_run_in_the_tracker_holds_all_stages(pipeline):
    from mlflow import MlflowClient

    run_id = json.loads((pipeline / "reports/run.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{pipeline}/mlruns/mlflow.db")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert {"batch_size", "optimizer", "learning_rate", "epochs", "seed", "model.width"} <= set(run.data.params)
    metrics = json.loads((pipeline / "reports/metrics.json").read_text())
    assert run.data.metrics["test_accuracy"] == pytest.approx(metrics["accuracy"])
    assert [point.step for point in client.get_metric_history(run_id, "val_accuracy")] == [1, 2]
    artifacts = {artifact.path for artifact in client.list_artifacts(run_id)}
    assert {"models", "figures", "predictions.csv", "metrics.json", "index.html"} <= artifacts


def wait_for(line_start: str, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Read what DVC prints up to such a line; the processes below DVC at that moment, of which one may be a shell."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(line_start):
            return psutil.Process(process.pid).children(recursive=True)
    pytest.fail("".join(lines))


@pytest.mark.slow
@pytest.mark.fault(16)
def test_a_training_goes_on_after_it_was_killed_and_after_dvc_was(pipeline, tmp_path):
    lock = (pipeline / "dvc.lock").read_text()
    set_params(pipeline, "train.epochs=40", "train.ema_decay=0.9", "train.checkpoint_steps=2")

    killed = command("repro", "train", folder=pipeline)
    for process in wait_for("epoch 5/", killed):
        process.kill()
    killed.communicate(timeout=60)
    assert killed.returncode != 0
    assert (pipeline / "dvc.lock").read_text() == lock

    orphaned = command("repro", "train", folder=pipeline)
    wait_for("going on from the saved state: epoch ", orphaned)
    processes = wait_for("epoch ", orphaned)
    orphaned.terminate()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []
    assert "error: stopped by SIGTERM" in orphaned.communicate(timeout=60)[0]
    assert (pipeline / "dvc.lock").read_text() == lock

    assert "going on from the saved state: epoch " in dvc("repro", "train", folder=pipeline)
    with chdir(pipeline):
        uninterrupted = train.train(read_features(), load_params()).result
        found = load_checkpoint(CHECKPOINT_FILE).state_dict
    write_history(uninterrupted.history, tmp_path / "history.csv")
    for name, column in read_history(pipeline / "reports/history.csv").items():
        if name not in ("seconds", "images_per_second", "data_wait"):
            assert np.array_equal(column, read_history(tmp_path / "history.csv")[name]), name
    assert all(torch.equal(found[name], value) for name, value in uninterrupted.state_dict.items())

    set_params(pipeline)
    dvc("repro", folder=pipeline)  # what was made before comes from DVC's cache
    assert (pipeline / "dvc.lock").read_text() == lock


def test_no_stage_writes_through_a_hard_link(project, monkeypatch):
    """DVC links outs to its cache: a stage that overwrites a file in place would corrupt the cached copy."""
    (project / "reports/extras").mkdir(parents=True)
    for main in STAGES.values():
        main()
    before = digests(project)
    for name in before:
        witness = project / "witness" / name
        witness.parent.mkdir(parents=True, exist_ok=True)
        os.link(project / name, witness)
    set_params(project, "seed=1", "data.take=last", "plots.dpi=60")
    for main in STAGES.values():
        main()
    after = digests(project)
    for name, digest in before.items():
        witness = project / "witness" / name
        assert hashlib.md5(witness.read_bytes(), usedforsecurity=False).hexdigest() == digest, name
    changed = {name for name in before if after.get(name) != before[name]}
    assert {"models/resnet23_cifar.pth", "data/processed/images.tar", "data/features/train/images.npy"} <= changed


@pytest.mark.parametrize("name", ["datadownload", "features", "modeling/train", "modeling/predict", "plots"])
def test_every_stage_runs_as_a_script_and_explains_its_options(project, name):
    script = [sys.executable, str(REPOSITORY / "Resnet23" / f"{name}.py"), "--help"]
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY))
    result = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    for option in ("--params", "--preset", "--set", "--debug"):
        assert option in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_reaches_its_accuracy_whatever_the_seed(repository, tmp_path, monkeypatch, seed):
    monkeypatch.chdir(repository)
    params = load_params(preset="digits", assignments=[f"seed={seed}", "tracking.enabled=false"])
    write_params(tmp_path / "params.yaml", params.model_dump(), "tests/test_pipeline.py")
    monkeypatch.chdir(tmp_path)
    for name in ("datadownload", "features", "train", "predict"):
        STAGES[name]()
    assert json.loads((tmp_path / "reports/metrics.json").read_text())["accuracy"] >= 0.97


@pytest.mark.slow
def test_the_official_images_through_an_experiment(mirror, tmp_path):
    """`dvc exp run` on a clone, with the official CIFAR-10 files from RESNET23_DATA_MIRROR."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    changes = ["data.max_per_class.train=50", "model.width=16", "train.epochs=2"]
    flags = [word for change in changes for word in ("-S", change)]
    started = time.monotonic()
    output = dvc("exp", "run", *flags, folder=clone)
    assert all(f"Running stage '{name}'" in output for name in STAGES)
    assert len(read_predictions(clone / "reports/predictions.csv").files) == 1000
    assert "Data and pipelines are up to date" in dvc("repro", folder=clone)
    assert time.monotonic() - started < 300
