"""The benchmark of the training loop, on a network and images so small that only its bookkeeping is measured."""

import json
import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from Resnet23.config import AugmentParams, load_params
from Resnet23.errors import InputError


@pytest.fixture
def benchmarks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules under test; their folder is no part of the installed package."""
    monkeypatch.syspath_prepend(repository)
    return SimpleNamespace(**{name: import_module(f"benchmarks.{name}") for name in ("arms", "images", "loop")})


@pytest.mark.slow
def test_the_command_leaves_a_complete_record_and_nothing_else(project, repository):
    options = ["--width", "16", "--steps", "1", "--repeats", "2", "--set", "tracking.enabled=false"]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.loop", *options],
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    files = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert files == {"params.yaml", "reports/benchmarks/loop-cpu.json"}
    record = json.loads((project / "reports/benchmarks/loop-cpu.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("python -m benchmarks.loop --width 16")
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert "digits" in record["data"]["origin"]
    (measured,) = record["results"]
    assert (measured["width"], measured["steps"]) == (16, 4)
    speeds = measured["images_per_second"]
    assert all(speed["n"] == 2 and min(speed["samples"]) > 0 for speed in speeds.values())
    for name, ratio in measured["engine_divided_by"].items():
        pairs = zip(speeds["engine"]["samples"], speeds[name]["samples"], strict=True)
        assert ratio["samples"] == pytest.approx([ours / theirs for ours, theirs in pairs])
        assert f"{ratio['mean']:.3f}" in result.stderr


def test_all_arms_train_on_the_same_images(project, benchmarks):
    params = load_params()
    unchanged = params.train.model_copy(update={"augment": AugmentParams()})
    params = params.model_copy(update={"train": unchanged})
    with benchmarks.images.images_to_train_on(Path("params.yaml")) as images:
        stretch = benchmarks.loop.create_stretch(images, params, width=64, steps=2, repeats=1)
        ours = benchmarks.images.dataset(images.features, stretch.rows)
        plain = benchmarks.arms.plain_dataset(stretch)
        assert len(ours) == len(plain) == 64
        assert len(np.unique(ours.targets)) == 10
        for (image, target), (plain_image, plain_target) in zip(ours, plain, strict=True):
            torch.testing.assert_close(image, plain_image)
            assert target == plain_target
    assert list(project.iterdir()) == [project / "params.yaml"]


@pytest.mark.parametrize(("steps", "rows", "epochs"), [(3, 96, 1), (20, 96, 7), (1, 32, 1)])
def test_a_stretch_has_whole_batches_and_as_many_epochs_as_the_images_ask_for(steps, rows, epochs, project, benchmarks):
    features = SimpleNamespace(train_indices=np.arange(100))
    images = benchmarks.images.Images(features, Path(), "made")
    stretch = benchmarks.loop.create_stretch(images, load_params(), width=64, steps=steps, repeats=2)
    assert (len(stretch.rows), stretch.epochs) == (rows, epochs)


def test_too_few_images_for_a_batch_are_refused(project, benchmarks):
    images = benchmarks.images.Images(SimpleNamespace(train_indices=np.arange(31)), Path(), "made")
    with pytest.raises(InputError, match="found 31 images, expected at least the 32"):
        benchmarks.loop.create_stretch(images, load_params(), width=64, steps=1, repeats=1)


def test_a_pair_is_compared_with_itself(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository)
    record = import_module("benchmarks.record")
    ratios = record.paired_ratios([2.0, 6.0, 20.0], [1.0, 2.0, 5.0])
    assert ratios == {"n": 3, "mean": 3.0, "spread": 1.0, "median": 3.0, "samples": [2.0, 3.0, 4.0]}
    assert record.summarize([5.0])["spread"] is None
    assert math.isclose(record.summarize([1.0, 3.0])["spread"], math.sqrt(2))
