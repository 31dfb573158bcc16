"""The benchmark of a GPU, without one: what it refuses, and what it makes of what trainings say."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from Resnet23.errors import InputError

RECORD = Path("reports/benchmarks/gpu-cuda.json")
RUN = {
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m benchmarks.gpu",
    "machine": {"gpu": "A GPU", "cpu": "A CPU", "cores": 2},
    "versions": {"torch": "2.0", "python": "3.11", "git_revision": "one"},
}


class FakeTrainings:
    """Trainings of 10 epochs of 1,000 images, each twice as fast as the one before, the first in 16 seconds."""

    def __init__(self) -> None:
        self.seconds = 16.0
        self.projects = []

    def project(self, name, preset, changes):
        self.projects.append((name, preset, changes))
        return nullcontext()

    def train(self):
        found = {
            "training_accuracy": 1.0,
            "test_accuracy": 0.5,
            "training_images": 1000,
            "test_images": 100,
            "images_seen": 10_000,
            "epochs": 10,
            "pflop": 0.1,
            "seconds": {"training": self.seconds, "command": 2 * self.seconds},
        }
        self.seconds /= 2
        return found


@pytest.fixture
def trainings(benchmark, bench, monkeypatch):
    """The benchmark as on a machine with a GPU; nothing is trained."""
    gpu, fake = benchmark("gpu"), FakeTrainings()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "describe_run", lambda module: RUN)
    monkeypatch.setattr(gpu, "choose_precision", lambda setting, device: ("bf16", "it does"))
    monkeypatch.setattr(gpu, "project_with_data", fake.project)
    monkeypatch.setattr(gpu, "train_and_test", fake.train)
    return fake


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(benchmark, project):
    with pytest.raises(InputError, match="bench-gpu: PyTorch sees no CUDA GPU here"):
        benchmark("gpu").main()
    assert list(project.iterdir()) == [project / "params.yaml"]


def test_the_training_that_compiles_does_not_count(benchmark, trainings):
    benchmark("gpu").main(parts=["shipped"], repeats=2)
    found = json.loads(RECORD.read_text(encoding="utf-8"))["shipped"]["results"]
    assert found["seconds"]["samples"] == [8, 4]
    assert found["seconds_with_compilation"] == 16
    assert "| G14: under 5 s |  | 6.00 s |" in Path("docs/benchmarks.md").read_text(encoding="utf-8")


def test_precisions_take_turns(benchmark, trainings):
    benchmark("gpu").main(parts=["shipped", "precision"], repeats=1)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(record) == {"shipped", "precision"}
    asked = [changes[-1] for _, _, changes in trainings.projects[1:]]
    assert asked == ["train.precision=bf16", "train.precision=fp32"] * 2
    assert record["precision"]["results"]["mixed_divided_by_fp32"]["samples"] == [0.5]


def test_the_epochs_of_the_long_training_fill_the_time(benchmark, trainings):
    gpu = benchmark("gpu")
    gpu.main(parts=["long"], preset="reference", minutes=2)
    first, long = (changes[-1] for _, _, changes in trainings.projects)
    assert first == f"train.epochs={gpu.TRIAL_EPOCHS}"
    assert long == f"train.epochs={int(0.97 * 120 * gpu.TRIAL_EPOCHS / 8)}", "by the second training, which is compiled"
    with pytest.raises(InputError, match="found phases with epochs of their own"):
        gpu.main(parts=["long"], preset="resnet50")
