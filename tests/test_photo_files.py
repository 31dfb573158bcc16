"""`features.storage: files`: photos that stay in data/processed do what the array of them does, and take no room."""

import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_images import COUNTS, PROCESSED, SIDE, write_images
from torch.utils.data import DataLoader, Dataset

from Resnet23 import decoding
from Resnet23 import features as features_stage
from Resnet23.arrays import Features, read_features
from Resnet23.config import DataParams, FeaturesParams, Params
from Resnet23.datadownload import main as datadownload
from Resnet23.dataset import FeatureDataset, get_default_transform
from Resnet23.errors import InputError
from Resnet23.features import make_features
from Resnet23.imagefiles import ImageFiles
from Resnet23.images import encode_png

FEATURES = Path("data/features")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with 37 images, among them one that is in both splits and one that is nearly so."""
    monkeypatch.chdir(tmp_path)
    plain, shaded = np.full((SIDE, SIDE, 3), 90, np.uint8), np.full((SIDE, SIDE, 3), 200, np.uint8)
    shaded[:, : SIDE // 2] = 30
    write_images(train_ant_1=plain, test_ant_0=plain, train_ant_2=shaded, test_ant_3=shaded + 1)
    return tmp_path


def features_of(storage: str, **features: Any) -> Features:
    """The features of the images in data/processed, made anew with this storage."""
    data = DataParams(dataset="folder", image_size=SIDE)
    settings = FeaturesParams(**{"storage": storage, "val_fraction": 0.2} | features)
    make_features(Params(data=data, features=settings))
    return read_features()


@pytest.fixture
def arrays(folder: Path) -> Features:
    """The features with the images in arrays; they stay readable when others take their place."""
    return features_of("array")


@pytest.fixture
def files(arrays: Features) -> Features:
    """The same images' features with the images in files."""
    return features_of("files")


def written() -> list[str]:
    return sorted(path.relative_to(FEATURES).as_posix() for path in FEATURES.rglob("*") if path.is_file())


def test_files_and_arrays_are_described_alike(arrays: Features, files: Features) -> None:
    one, other = arrays.info, files.info
    assert (one.pop("storage"), other.pop("storage")) == ("array", "files")
    digests, others = one.pop("digests"), other.pop("digests")
    assert one == other
    for kind in ("identical", "near_identical"):
        assert one["duplicates"][kind]["train-test"]["count"] == 1
    for split in ("train", "test"):
        assert digests[split]["targets"] == others[split]["targets"]
        assert digests[split]["images"] != others[split]["images"]
    for one, other in ((arrays.train, files.train), (arrays.test, files.test)):
        assert one.files == other.files and np.array_equal(one.targets, other.targets)


def test_changing_the_storage_leaves_nothing_behind(folder: Path) -> None:
    kept = [
        "features.json",
        *(f"{split}/{name}" for split in ("test", "train") for name in ("files.json", "targets.npy")),
    ]
    for storage in ("files", "array", "files"):
        features_of(storage)
        images = ["test/images.npy", "train/images.npy"] if storage == "array" else []
        assert written() == sorted(kept + images)


@pytest.mark.parametrize(
    "rows",
    [
        0,
        -1,
        np.int64(5),
        slice(None),
        slice(3, 20, 4),
        slice(5, 5),
        np.array([7, 2, 7, -3]),
        np.array([[0, 1], [2, 3]]),
        [4, 1],
        np.array([], np.int64),
        np.arange(30) % 7 == 2,
        np.array(3),
    ],
)
def test_every_index_gives_what_the_array_gives(arrays: Features, files: Features, rows: Any) -> None:
    expected, found = arrays.train.images[rows], files.train.images[rows]
    assert isinstance(found, np.ndarray) and (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rows", [30, -31, [0, 30], (0, 1), 1.5, np.array([0.0]), [True, False]])
def test_an_index_that_the_array_refuses_is_refused(arrays: Features, files: Features, rows: Any) -> None:
    if not isinstance(rows, tuple):  # of an array, pixel row 1 of image 0
        with pytest.raises(IndexError):
            arrays.train.images[rows]
    with pytest.raises(IndexError):
        files.train.images[rows]


def test_it_looks_like_an_array_that_only_rows_are_read_of(arrays: Features, files: Features) -> None:
    images, expected = files.test.images, arrays.test.images
    assert isinstance(images, ImageFiles)
    assert (images.shape, images.dtype, images.ndim) == (expected.shape, expected.dtype, expected.ndim)
    assert len(images) == len(expected) == 7
    np.testing.assert_array_equal(list(images), expected)
    for convert in (np.asarray, np.array, np.mean):
        with pytest.raises(TypeError, match=r"7 image files are no array; .*\[:\]"):
            convert(images)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def edit(path: Path) -> None:
    path.write_bytes(encode_png(np.zeros((SIDE, SIDE, 3), np.uint8)))


def enlarge(path: Path) -> None:
    path.write_bytes(encode_png(np.zeros((2 * SIDE, SIDE, 3), np.uint8)))


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("spoil", "reason"), [(remove, "no such file"), (cut, "damaged"), (edit, "SHA-256"), (enlarge, "SHA-256")]
)
def test_a_file_that_is_not_the_one_that_was_measured_is_named(
    files: Features, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(PROCESSED / files.train.files[22])
    assert files.train.images[21].shape == (SIDE, SIDE, 3)
    with pytest.raises(InputError, match=f"^data/processed/train/honey bee/00002.png: {reason}.*; run `make data`$"):
        files.train.images[20:]


def test_an_image_of_another_size_is_refused(folder: Path) -> None:
    row = write_images()[0]
    with pytest.raises(InputError, match=r"00000.png: 12 x 12 pixels, expected 16 x 16"):
        ImageFiles(PROCESSED, [row.file], [row.sha256], 16)[0]


def test_bad_files_are_skipped(arrays: Features) -> None:
    edit(PROCESSED / "train/ant/00007.png")
    features = features_of("files", on_bad_image="skip")
    assert "train/ant/00007.png" not in features.train.files and len(features.info["skipped"]) == 1
    np.testing.assert_array_equal(features.train.images[:], np.delete(arrays.train.images, 7, axis=0))


def test_the_digest_changes_with_the_images_alone(files: Features) -> None:
    before = files.info["digests"]
    assert features_of("files", val_fraction=0.5).info["digests"] == before
    write_images(train_ant_4=np.zeros((SIDE, SIDE, 3), np.uint8))
    after = features_of("files").info["digests"]
    assert after["train"]["images"] != before["train"]["images"]
    assert after["train"]["targets"] == before["train"]["targets"]


@pytest.mark.parametrize("counts", [COUNTS, dict.fromkeys(COUNTS, 1)])
def test_other_images_in_data_processed_need_other_features(files: Features, counts: dict) -> None:
    write_images(counts, train_ant_0=np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(
        InputError, match=r"manifest.csv: lists other train images than .*features.json .*`make features`"
    ):
        read_features()


def test_class_folders_of_another_run_are_restored_from_the_tar(arrays: Features, files: Features) -> None:
    (PROCESSED / ".stamp").unlink()
    edit(PROCESSED / "train/ant/00000.png")
    np.testing.assert_array_equal(read_features().train.images[:], arrays.train.images)


def test_the_default_transform_opens_no_images(files: Features) -> None:
    (PROCESSED / "manifest.csv").unlink()
    normalize = get_default_transform().transforms[-1]
    assert tuple(normalize.mean) == files.mean and tuple(normalize.std) == files.std


def test_stage_and_files_need_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    side, count = 128, 60
    write_images({(split, "ant"): count for split in ("train", "test")}, side=side)
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 1)
    settings = Params(
        data=DataParams(dataset="folder", image_size=side), features=FeaturesParams(storage="files", val_fraction=0)
    )
    make_features(settings)  # imports what it needs
    tracemalloc.start()
    make_features(settings)
    images = read_features().train.images
    total = sum(int(images[row].sum()) for row in range(count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 0
    assert peak < 2 * count * side**2 * 3 / 3  # a third of the images


class Batches(Dataset):
    """A data set whose items are whole batches."""

    def __init__(self, data: FeatureDataset) -> None:
        self.data = data

    def __getitem__(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.data.raw_batch(positions)


def test_raw_batches_of_files_are_those_of_arrays_in_a_process_of_its_own_too(
    arrays: Features, files: Features
) -> None:
    order = np.array_split(np.random.default_rng(0).permutation(len(files.train_indices)), 5)
    from_arrays, from_files = (
        FeatureDataset(
            features.train.images, features.train.targets, features.mean, features.std, features.train_indices
        )
        for features in (arrays, files)
    )
    loader = DataLoader(
        Batches(from_files), sampler=order, batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )
    for positions, (images, targets) in zip(order, loader, strict=True):
        expected, expected_targets = from_arrays.raw_batch(positions)
        for found, found_targets in ((images, targets), from_files.raw_batch(positions)):
            assert torch.equal(found, expected) and torch.equal(found_targets, expected_targets)
            assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(from_files[3][0], from_arrays[3][0])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts the open files as Linux lists them")
def test_a_copy_from_a_pickle_reads_the_same_and_no_file_stays_open(files: Features) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    copy = pickle.dumps(files.train.images)
    images = files.train.images[:]
    assert len(os.listdir("/proc/self/fd")) == opened
    assert len(copy) < images.nbytes / 2
    np.testing.assert_array_equal(pickle.loads(copy)[:], images)


def test_training_and_prediction_do_not_notice(project: Path) -> None:
    from Resnet23.modeling import predict, train

    datadownload()
    results = []
    for storage in ("array", "files"):
        features_stage.main(assignments=[f"features.storage={storage}"])
        train.main(assignments=["train.epochs=1", "tracking.enabled=false"])
        predict.main(assignments=["tracking.enabled=false"])
        results.append([Path("reports", name).read_bytes() for name in ("predictions.csv", "metrics.json")])
    assert results[0] == results[1]
