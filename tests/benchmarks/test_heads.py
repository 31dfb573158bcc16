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
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import read_features
from Resnet23.classifiers.validation import HeadEvaluation
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import Preprocessing

transformers = pytest.importorskip("transformers")


@pytest.fixture
def heads(repository, monkeypatch) -> ModuleType:
    """The module under test; its folder is no part of the installed package."""
    monkeypatch.syspath_prepend(repository)
    return import_module("benchmarks.heads")


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
    encoder = heads.Encoder(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)))
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
        self.encoder, self.device, self.seed, self.outputs = encoder, torch.device("cpu"), 0, 4
        self.features = type("Features", (), {"classes": ["one", "two"]})


def test_figures_are_means_over_the_classes(heads):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    logits = torch.randn(60, 3, generator=generator) + torch.nn.functional.one_hot(targets, 3)
    evaluation = HeadEvaluation(0.0, 0.0, logits, targets)
    figures = heads.one_vs_rest_figures(evaluation, evaluation, ["a", "b", "c"])
    auroc = [roc_auc_score(targets == index, logits[:, index]) for index in range(3)]
    balanced = [balanced_accuracy_score(targets == index, logits[:, index] > 0) for index in range(3)]
    assert figures["mean_auroc"] == pytest.approx(np.mean(auroc))
    assert figures["mean_balanced_accuracy"] == pytest.approx(np.mean(balanced))
    assert figures["mean_balanced_accuracy_at_fitted_thresholds"] >= figures["mean_balanced_accuracy"]


def test_a_missing_encoder_is_named_before_anything_is_measured(project, heads):
    with pytest.raises(InputError, match="make encoder"):
        heads.main()
    assert list(project.iterdir()) == [project / "params.yaml"]


def test_images_are_normalised_as_the_encoder_was_trained(project, heads):
    make_features(project, SHRUNK)
    preprocessing = Preprocessing(8, "stretch", [0.0] * 3, [0.5] * 3)
    encoder = heads.Encoder(torch.nn.Flatten(), preprocessing)
    setup = heads.Setup(encoder, read_features(), torch.device("cpu"), seed=0)
    images, labels = next(iter(setup.loader("test")))
    raw = torch.from_numpy(np.array(setup.features.test.images[:50])).permute(0, 3, 1, 2)
    assert torch.allclose(images, raw / 255 / 0.5)
    assert labels.tolist() == setup.features.test.targets[:50].tolist()
    assert setup.outputs == 3 * 8 * 8
