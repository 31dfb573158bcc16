"""Datasets and transforms: order, labels, and the same numbers from folders and from arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from Resnet23.config import CIFAR10_MEAN, CIFAR10_STD
from Resnet23.dataset import CIFARCustomDataset, FeatureDataset, get_default_transform, get_train_transform
from Resnet23.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of 4, 3 and 2 random images, with strays among them."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for count, name in ((3, "big cat"), (2, "dog"), (4, "ant")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index:05}.png")
    (tmp_path / "images" / ".hidden").mkdir()
    (tmp_path / "images" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "dog" / "._00000.png").write_text("what macOS leaves beside a file")
    return tmp_path / "images"


def test_folders_are_read_in_sorted_order(folder):
    data = CIFARCustomDataset(folder)
    reference = ImageFolder(
        folder, is_valid_file=lambda path: path.endswith(".png") and "._" not in path, allow_empty=True
    )
    assert data.classes == ["ant", "big cat", "dog"]
    assert data.labels == data.targets == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert [str(path) for path in data.image_paths] == [path for path, label in reference.samples]
    image, label = data[5]
    assert (image.mode, label, type(label)) == ("RGB", 1, int)


def test_an_item_is_a_tensor_and_a_label_and_goes_through_a_loader(folder):
    data = CIFARCustomDataset(folder, get_default_transform())
    images, labels = next(iter(DataLoader(data, batch_size=9)))
    assert (images.shape, images.dtype) == ((9, 3, 32, 32), torch.float32)
    assert labels.tolist() == data.labels


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_images_is_refused_by_name(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        CIFARCustomDataset(tmp_path / name)


@pytest.mark.fault(8)
def test_alpha_is_laid_on_white(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a" / "x.png")
    assert CIFARCustomDataset(tmp_path)[0][0].getpixel((0, 0)) == (255, 255, 255)


def test_the_default_transform_normalises_as_published(folder):
    data = CIFARCustomDataset(folder)
    found = get_default_transform()(data[0][0])
    pixels = np.asarray(data[0][0]).transpose(2, 0, 1) / 255
    expected = (pixels - np.reshape(CIFAR10_MEAN, (3, 1, 1))) / np.reshape(CIFAR10_STD, (3, 1, 1))
    assert np.allclose(found, expected, atol=1e-5)


def test_the_default_transform_resizes_larger_photos(folder):
    assert get_default_transform()(Image.new("RGB", (100, 60))).shape == (3, 32, 32)


def test_the_training_transform_changes_images_and_holds_the_documented_steps(folder):
    transform = get_train_transform()
    kinds = [type(step) for step in transform.transforms]
    assert kinds[:3] == [v2.RandomHorizontalFlip, v2.RandomApply, v2.RandomAffine]
    image = CIFARCustomDataset(folder)[0][0]
    torch.manual_seed(0)
    assert not torch.equal(transform(image), transform(image))


def test_arrays_and_folders_give_the_same_numbers(folder):
    files = CIFARCustomDataset(folder, get_default_transform())
    images = np.stack([np.asarray(Image.open(path)) for path in files.image_paths])
    arrays = FeatureDataset(images, np.asarray(files.targets), CIFAR10_MEAN, CIFAR10_STD)
    for index in range(len(files)):
        assert torch.allclose(arrays[index][0], files[index][0], atol=1e-6)
        assert arrays[index][1] == files[index][1]


def test_rows_choose_and_order_what_the_arrays_hold(folder):
    images = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    data = FeatureDataset(images, np.arange(5), CIFAR10_MEAN, CIFAR10_STD, rows=np.array([4, 0, 2]))
    batch, targets = data.raw_batch(np.array([2, 0]))
    assert (len(data), data.targets.tolist(), targets.tolist()) == (3, [4, 0, 2], [2, 4])
    assert np.array_equal(batch.permute(0, 2, 3, 1), images[[2, 4]])
    assert batch.is_contiguous(memory_format=torch.channels_last)
