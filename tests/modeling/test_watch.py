"""Watching a training: what TensorBoard reads back, and which layers get no gradient."""

import importlib.util
import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from loguru import logger
from PIL import Image
from small_project import REPOSITORY
from torch import nn

from Resnet23.config import TrackingParams
from Resnet23.errors import InputError
from Resnet23.history import COLUMNS, EpochRecord
from Resnet23.modeling.watch import TENSORBOARD_DIR, Watch, mean_absolute_gradients

TENSORBOARD = TrackingParams(tensorboard=True)
GRADIENTS = TrackingParams(gradients=True)
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the package tensorboard is not installed"
)
IMAGES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def record(epoch: int, train_loss: float = 1.0, val_loss: float | None = 2.0) -> EpochRecord:
    return EpochRecord(epoch, train_loss, 0.5, val_loss, None if val_loss is None else 0.4, 0.1, 3.0, 30.0, 0.01)


def read_events(name: str):
    """What TensorBoard makes of the event files of a training."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(TENSORBOARD_DIR / name))
    accumulator.Reload()
    return accumulator


def points(accumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log():
    """The lines that are logged during the test, each with its level."""
    lines: list[tuple[str, str]] = []
    handler = logger.add(lambda line: lines.append((line.record["level"].name, line.record["message"])), level="INFO")
    yield lines
    logger.remove(handler)


@needs_tensorboard
def test_every_column_of_the_history_becomes_a_curve():
    with Watch(TENSORBOARD, "a") as watch:
        watch.epoch(record(1, train_loss=2.0))
        watch.epoch(record(2, train_loss=1.5))
    accumulator = read_events("a")
    assert set(accumulator.Tags()["scalars"]) == {f"history/{column}" for column in COLUMNS if column != "epoch"}
    assert points(accumulator, "history/train_loss") == [(1, 2.0), (2, 1.5)]


@needs_tensorboard
def test_without_validation_its_curves_are_missing():
    with Watch(TENSORBOARD, "a") as watch:
        watch.epoch(record(1, val_loss=None))
    assert not {"history/val_loss", "history/val_accuracy"} & set(read_events("a").Tags()["scalars"])


@needs_tensorboard
def test_a_training_that_goes_on_doubles_nothing():
    for losses in ({1: 3.0, 2: 2.0, 3: 9.0}, {2: 2.5, 3: 1.0}):
        with Watch(TENSORBOARD, "a") as watch:
            watch.images(IMAGES)
            for epoch, loss in losses.items():
                watch.epoch(record(epoch, train_loss=loss))
    accumulator = read_events("a")
    assert points(accumulator, "history/train_loss") == [(1, 3.0), (2, 2.5), (3, 1.0)]
    assert len(accumulator.Images("augmented batch")) == 1


@needs_tensorboard
def test_the_images_are_those_of_the_batch():
    with Watch(TENSORBOARD, "a") as watch:
        watch.images(IMAGES)
    encoded = read_events("a").Images("augmented batch")[0].encoded_image_string
    shown = np.asarray(Image.open(BytesIO(encoded)))  # a border of 2 pixels around every image
    assert np.array_equal(shown[2:6, 2:6], IMAGES[0])
    assert np.array_equal(shown[2:6, 8:12], IMAGES[1])


@needs_tensorboard
def test_a_failing_disk_is_reported_once_and_ends_nothing(log):
    TENSORBOARD_DIR.parent.mkdir()
    TENSORBOARD_DIR.write_text("a file where a folder should be")
    with Watch(TENSORBOARD, "a") as watch:
        watch.images(IMAGES)
        watch.epoch(record(1))
    assert [level for level, _ in log] == ["WARNING"]


WRITE = """
from Resnet23.config import TrackingParams
from Resnet23.history import EpochRecord
from Resnet23.modeling.watch import Watch

with Watch(TrackingParams(tensorboard=True), "a") as watch:
    watch.epoch(EpochRecord(1, 1.0, 0.5, None, None, 0.1, 1.0, 10.0, 0.0))
"""


@needs_tensorboard
def test_tensorflow_is_not_loaded_where_it_is_installed(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow/__init__.py").write_text("raise SystemExit('TensorFlow was loaded')")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", WRITE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(TENSORBOARD_DIR.rglob("events.*"))


def test_a_missing_package_is_named_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for module in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(InputError, match=r"tracking\.tensorboard.*Resnet23\[tensorboard\]"):
        Watch(TENSORBOARD, "a")


def test_with_both_off_nothing_is_written(tmp_path):
    with Watch(TrackingParams(), "a") as watch:
        watch.images(IMAGES)
        watch.epoch(record(1))
    assert watch.on_gradients is None
    assert not list(tmp_path.iterdir())


def small_net() -> nn.Module:
    """Two layers and a normalisation, after one backward pass."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    network(torch.randn(8, 3, 4, 4)).square().sum().backward()
    return network


def test_the_mean_absolute_gradient_of_each_layer():
    network = small_net()
    sizes = mean_absolute_gradients(network)
    assert list(sizes) == ["0", "3"]
    assert sizes["3"] == pytest.approx(np.abs(network[3].weight.grad.numpy()).mean())


def test_frozen_layers_are_left_out_and_unused_ones_count_as_zero():
    network = small_net()
    network[0].weight.requires_grad_(False)
    network[3].weight.grad = None
    assert mean_absolute_gradients(network) == {"3": 0.0}


def test_a_layer_without_gradient_is_warned_of(log):
    network = small_net()
    with Watch(GRADIENTS, "a") as watch:
        watch.on_gradients(1, network)
        network[3].weight.grad.zero_()
        watch.on_gradients(2, network)
    levels, lines = zip(*log, strict=True)
    assert levels == ("INFO", "INFO", "WARNING")
    assert f"0 {network[0].weight.grad.abs().mean():.1e}, 3 " in lines[0]
    assert "epoch 2: no gradient reaches 3" in lines[2]


@needs_tensorboard
def test_the_gradients_become_curves():
    network = small_net()
    with Watch(TrackingParams(tensorboard=True, gradients=True), "a") as watch:
        watch.on_gradients(1, network)
        watch.epoch(record(1))
    accumulator = read_events("a")
    assert points(accumulator, "gradient/3") == [(1, pytest.approx(mean_absolute_gradients(network)["3"]))]
