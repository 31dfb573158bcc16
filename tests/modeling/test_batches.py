"""Every image once an epoch, in shares for every process, from arrays and from files, with and without workers."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_fit import CPU, TASK, assert_equal, params
from small_images import PROCESSED, SIDE, write_images
from small_training import comparable
from squares import MEAN, STD, coloured_squares
from torch import nn

from Resnet23.arrays import Features, read_features
from Resnet23.config import DataParams, FeaturesParams, Params, TrainParams
from Resnet23.dataset import FeatureDataset, normalize, resize, to_unit_range
from Resnet23.errors import InputError
from Resnet23.features import make_features
from Resnet23.interrupts import SIGNALS
from Resnet23.modeling.batches import Batch, BatchSource, batch_slices, epoch_order
from Resnet23.modeling.fit import fit
from Resnet23.modeling.selection import FitResult
from Resnet23.modeling.shares import share, shares

CHANGED = params(batch_size=8, augment={"flip": "random", "crop_padding": 1, "cutout": 2})


@pytest.fixture
def data() -> FeatureDataset:
    return FeatureDataset(*coloured_squares(27), MEAN, STD)


def source_of(data: FeatureDataset, settings: TrainParams = CHANGED, processes: int = 1, process: int = 0):
    return BatchSource(data, TASK, 3, settings, 0, CPU, processes, process)


def assert_same_batches(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
        assert (one.count, one.total) == (other.count, other.total)


def test_the_order_is_a_permutation_of_seed_and_epoch():
    assert sorted(epoch_order(50, 0, 1)) == list(range(50))
    assert np.array_equal(epoch_order(50, 3, 4), epoch_order(50, 3, 4))
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(90, 32, [32, 32, 26]), (65, 32, [32, 33]), (64, 32, [32, 32]), (1, 32, [1]), (33, 32, [33]), (3, 2, [3])],
)
def test_batches_cover_every_image_once_and_none_is_of_one_image(count, size, expected):
    order = np.arange(count)
    batches = [order[batch] for batch in batch_slices(count, size)]
    assert [len(batch) for batch in batches] == expected
    assert np.array_equal(np.concatenate(batches), order)


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_shares_cover_everything_once_and_differ_by_one_at_most(count, parts):
    slices = [share(count, parts, part) for part in range(parts)]
    assert np.array_equal(np.concatenate([np.arange(count)[part] for part in slices]), np.arange(count))
    sizes = [part.stop - part.start for part in slices]
    assert max(sizes) - min(sizes) <= 1
    assert shares(count, parts) == slices


def test_an_epoch_without_changes_is_the_data_in_order(data):
    batches = list(source_of(data, params(batch_size=8)).epoch(2))
    order = epoch_order(27, 0, 2)
    assert [batch.total for batch in batches] == [8, 8, 8, 3]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), torch.stack([data[row][0] for row in order]))
    assert np.array_equal(torch.cat([batch.targets for batch in batches]), data.targets[order])


def test_an_epoch_goes_on_from_any_step_with_the_same_bits(data):
    source = source_of(data)
    whole = list(source.epoch(3))
    for first in range(len(source) + 1):
        assert_same_batches(list(source.epoch(3, first)), whole[first:])


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_the_shares_of_the_processes_are_the_batch_of_one(data, processes):
    """27 images in batches of 8 leave 3 at the end: with 5 processes, two have a share that is empty."""
    alone = list(source_of(data).epoch(1))
    shared = [list(source_of(data, CHANGED, processes, process).epoch(1)) for process in range(processes)]
    for whole, *parts in zip(alone, *shared, strict=True):
        for name in ("inputs", "targets"):
            together = torch.cat([getattr(part, name)[: part.count] for part in parts])
            assert torch.equal(together, getattr(whole, name))
        assert sum(part.count for part in parts) == whole.total
        assert all(len(part.inputs) == max(part.count, 1) for part in parts)


def test_the_first_images_are_those_of_the_first_step_before_normalisation(data):
    source = source_of(data)
    images, targets = source.first_images(5)
    first = next(source.epoch(1))
    assert torch.equal(normalize(images, MEAN, STD), first.inputs[:5])
    assert torch.equal(targets, first.targets[:5])


def test_mixed_targets_are_shares_of_the_classes(data):
    batch = next(source_of(data, params(batch_size=8, augment={"mixup": 0.4})).epoch(1))
    assert (batch.targets.shape, batch.targets.dtype) == ((8, 3), torch.float32)
    assert torch.allclose(batch.targets.sum(dim=1), torch.ones(8))


@pytest.mark.parametrize("resolution", [None, 8, 12, 5])
def test_images_are_brought_to_a_resolution(data, resolution):
    images = to_unit_range(data.raw_batch(np.arange(4))[0])
    resized = resize(images, resolution)
    assert resized.shape == (4, 3, *[resolution or 8] * 2)
    assert resized.mean().item() == pytest.approx(images.mean().item(), rel=0.05)
    assert (resized is images) == (resolution in (None, 8))
    if resolution == 5:
        plain = F.interpolate(images, 5, mode="bilinear", align_corners=False)
        assert not torch.allclose(resized, plain, atol=1e-3)  # smaller images are smoothed first


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Features]:
    """The same 30 images of 12 pixels in one array and in files."""
    monkeypatch.chdir(tmp_path)
    write_images()
    features = {}
    for storage in ("array", "files"):
        settings = FeaturesParams.model_validate({"storage": storage, "val_fraction": 0.2})
        make_features(Params(data=DataParams(dataset="folder", image_size=SIDE), features=settings))
        features[storage] = read_features()
    return features


def datasets(features: Features) -> tuple[FeatureDataset, FeatureDataset]:
    """Its training and its validation images."""
    split = features.train
    return tuple(
        FeatureDataset(split.images, split.targets, features.mean, features.std, rows)
        for rows in (features.train_indices, features.val_indices)
    )


def train(features: Features, workers: int) -> FitResult:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 2))
    settings = params(batch_size=8, epochs=2, num_workers=workers, augment={"crop_padding": 1, "mixup": 0.2})
    return fit(model, *datasets(features), TASK, 2, settings, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_files_train_as_arrays_do_with_and_without_workers(stored, workers):
    expected, found = train(stored["array"], workers=0), train(stored["files"], workers)
    assert comparable(found) == comparable(expected)
    assert_equal(found.state_dict, expected.state_dict)
    assert all(0 < record.data_wait < 1 and record.images_per_second > 0 for record in found.history)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_cannot_be_read_is_one_line_from_a_worker_too(stored, workers):
    features = stored["files"]
    file = PROCESSED / features.train.files[features.train_indices[7]]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError) as caught:
        train(features, workers)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_all_processes_leaves_the_workers_to_the_training(stored, number):
    data, _ = datasets(stored["files"])
    batches = source_of(data, params(batch_size=2, num_workers=2)).epoch(1)
    found = [next(batches), next(batches)]  # one from each worker
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid, number)
    found += list(batches)
    assert len(workers) == 2
    assert_same_batches(found, list(source_of(datasets(stored["array"])[0], params(batch_size=2)).epoch(1)))
