"""The benchmark of the published architectures: what it computes from what the engine says."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from Resnet23.config import PRESETS_DIR, load_params
from Resnet23.history import EpochRecord


@pytest.fixture
def architectures(repository, monkeypatch) -> ModuleType:
    """The module under test; its folder is no part of the installed package."""
    monkeypatch.syspath_prepend(repository)
    monkeypatch.chdir(repository)
    return import_module("benchmarks.architectures")


def test_the_last_epoch_of_each_phase_counts(architectures, monkeypatch):
    def fit(model, data, val_data, task, classes, params, seed, on_epoch):
        for number in range(4):
            on_epoch(EpochRecord(number + 1, 0.0, 0.0, None, None, 0.0, 1.0, 10.0 * (number + 1), 0.0))

    monkeypatch.setattr(architectures, "fit", fit)
    params = load_params(preset="regnet_y_400mf")
    assert architectures.phase_speeds(params, 1) == [20.0, 40.0]
    measured = architectures.measure(params, 1)
    assert measured["images"] == 4500
    assert measured["minutes"] == pytest.approx((5 * 4500 / 20 + 10 * 4500 / 40) / 60)


def test_a_preset_is_measured_with_the_engine(architectures, monkeypatch, tmp_path):
    path = tmp_path / "architectures-cpu.json"
    monkeypatch.setattr(architectures, "write_record", lambda name, device, record: path.write_text(json.dumps(record)))
    shrunk = load_params(preset="regnet_y_400mf", assignments=["data.image_size=32", "train.batch_size=4"])
    monkeypatch.setattr(architectures, "load_params", lambda preset: shrunk)
    architectures.main(["regnet_y_400mf"], steps=1)
    phases = json.loads(path.read_text())["presets"]["regnet_y_400mf"]["phases"]
    assert [phase["trainable"] for phase in phases] == ["head", "all"]
    assert all(phase["images_per_second"] > 0 for phase in phases)


def test_there_is_a_preset_for_each(architectures):
    assert {Path(PRESETS_DIR, f"{name}.yaml").is_file() for name in architectures.PRESETS} == {True}
