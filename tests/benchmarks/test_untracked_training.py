"""Training without tracking, where neither the tracker nor DVC is installed."""

import os
import subprocess
import sys

import pytest
from small_features import make_features
from small_project import SHRUNK

BLOCKED = ("mlflow", "dagshub", "dvc")
PROGRAM = """
import runpy, sys
sys.modules.update(dict.fromkeys({blocked}))  # importing them raises ModuleNotFoundError
sys.argv = {arguments}
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_without(folder, repository, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module's command in `folder` where these packages cannot be imported."""
    program = PROGRAM.format(blocked=BLOCKED, arguments=list(arguments))
    environment = os.environ | {"PYTHONPATH": str(repository)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_training_needs_neither_tracker_nor_dvc(tmp_path, repository):
    make_features(tmp_path, [*SHRUNK, "train.epochs=1", "tracking.enabled=false"])
    for stage in ("train", "predict"):
        result = run_without(tmp_path, repository, f"Resnet23.modeling.{stage}")
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "reports/metrics.json").is_file()
    assert "WARNING" not in result.stderr and "not installed" not in result.stderr


@pytest.mark.slow
def test_neither_do_the_benchmarks_that_train(tmp_path, repository):
    for name in ("gpu", "steps_to_58"):
        result = run_without(tmp_path, repository, f"benchmarks.{name}", "--help")
        assert result.returncode == 0, result.stderr
        assert "--preset" in result.stdout
