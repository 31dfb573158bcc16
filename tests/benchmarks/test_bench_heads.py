"""The benchmark of heads, on an encoder and images so small that only its bookkeeping is measured."""

import json
import os
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
import torch

from Resnet23.classifiers.encoders import Encoder
from Resnet23.errors import InputError

transformers = pytest.importorskip("transformers")


@pytest.fixture
def heads(repository, monkeypatch) -> ModuleType:
    """The module under test; its folder is no part of the installed package."""
    monkeypatch.syspath_prepend(repository)
    return import_module("benchmarks.heads")


@pytest.mark.slow
def test_the_command_leaves_a_complete_record(project, repository):
    shape = {"embedding_size": 4, "hidden_sizes": [4, 4, 4, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    transformers.ResNetModel(transformers.ResNetConfig(**shape)).save_pretrained(project / "models/encoder")
    options = ["--images", "100", "--epochs", "2", "--repeats", "2", "--device", "cpu"]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.heads", *options],
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    record = json.loads((project / "reports/benchmarks/heads-cpu.json").read_text(encoding="utf-8"))
    assert not (project / "data").exists()
    assert record["settings"]["input_features"] == 8
    speed, quality = record["speed"], record["quality"]
    assert speed["images"] == {"train": 100, "val": 10}
    cached, encoded = (speed["epochs_per_second"][name]["samples"] for name in ("cached", "encoded"))
    assert speed["cached_divided_by_encoded"]["samples"] == pytest.approx(np.divide(cached, encoded))
    assert len(quality["one_vs_rest"]) == 10
    assert 0 < quality["multiclass_accuracy"] < 1
    assert f"{quality['mean_auroc']:.4f}" in result.stderr


def test_the_encoder_runs_in_every_epoch_of_one_arm_only(heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no project, so that nothing is left for the next training
    encoder = Encoder(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)))
    calls = []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    images = torch.utils.data.TensorDataset(torch.rand(20, 3, 8, 8), torch.arange(20) % 2)
    loaders = [torch.utils.data.DataLoader(images, batch_size=10)] * 2
    setup = FixedSetup(encoder)
    heads.time_epochs(setup, loaders, 3)
    few = len(calls)
    heads.time_epochs(setup, loaders, 6)
    assert 0 < len(calls) == 2 * few
    calls.clear()
    heads.time_epochs(setup, [heads.EveryEpoch(loader) for loader in loaders], 3)
    assert len(calls) == 4 * 4  # epochs, of two batches to train on and two to validate
    assert list(tmp_path.iterdir()) == []


class FixedSetup:
    """Two classes, four features."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.encoder, self.device, self.seed, self.input_features = encoder, torch.device("cpu"), 0, 4
        self.features = type("Features", (), {"classes": ["one", "two"]})


def test_a_missing_encoder_is_named_before_anything_is_measured(project, heads):
    with pytest.raises(InputError, match="make encoder"):
        heads.main()
    assert list(project.iterdir()) == [project / "params.yaml"]
