"""Identical and near-identical pairs are found, told apart, counted and listed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from Resnet23 import duplicates
from Resnet23.config import CIFAR10_MEAN, CIFAR10_STD, DataParams
from Resnet23.decoding import measure
from Resnet23.duplicates import MAX_DISTANCE, difference_hashes, find_duplicates, similar_pairs
from Resnet23.features import mean_and_std
from Resnet23.sources.cifar import load_cifar10, load_cifar100


def photos(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    """Smooth random pictures, (N, size, size, 3) uint8: 4 x 4 random colours, blended."""
    corners = np.random.default_rng(seed).integers(20, 230, (count, 4, 4, 3))
    at = np.linspace(0, 3, size)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(4)))  # (size, 4)
    return np.einsum("ya,nabc,xb->nyxc", weights, corners, weights).astype(np.uint8)


def find(train: np.ndarray, test: np.ndarray) -> dict:
    images = np.concatenate([train, test])
    digests = np.array([np.frombuffer(image.tobytes(), np.uint64) for image in images])  # the pixels themselves
    files = [f"train/{row}" for row in range(len(train))] + [f"test/{row}" for row in range(len(test))]
    return find_duplicates(train, test, digests, difference_hashes(images), files)


def noisy(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """The image, one level brighter and with a level of noise."""
    noise = np.random.default_rng(seed).integers(-1, 2, image.shape)
    return np.clip(image.astype(int) + 1 + noise, 0, 255).astype(np.uint8)


def test_different_pictures_make_no_pairs() -> None:
    found = find(photos(50), photos(20, seed=1))
    assert all(pairs == {"count": 0, "pairs": []} for kind in found.values() for pairs in kind.values())


def test_identical_pairs_are_listed_by_where_they_lie() -> None:
    train, test = photos(6), photos(4, seed=1)
    train[4], test[2], test[3] = train[1], train[1], test[0]
    identical = find(train, test)["identical"]
    assert identical["train-train"] == {"count": 1, "pairs": [["train/1", "train/4"]]}
    assert identical["test-test"] == {"count": 1, "pairs": [["test/0", "test/3"]]}
    assert identical["train-test"] == {"count": 2, "pairs": [["train/1", "test/2"], ["train/4", "test/2"]]}


def test_near_identical_pairs_do_not_count_identical_ones() -> None:
    train, test = photos(6), photos(4, seed=1)
    train[5], test[1], test[2], test[3] = noisy(train[0]), noisy(train[3]), train[2], noisy(test[0])
    found = find(train, test)
    assert found["near_identical"]["train-train"] == {"count": 1, "pairs": [["train/0", "train/5"]]}
    assert found["near_identical"]["train-test"] == {"count": 1, "pairs": [["train/3", "test/1"]]}
    assert found["near_identical"]["test-test"] == {"count": 1, "pairs": [["test/0", "test/3"]]}
    assert found["identical"]["train-test"] == {"count": 1, "pairs": [["train/2", "test/2"]]}


def test_copies_of_a_near_identical_image_make_pairs_of_their_own() -> None:
    train, test = photos(3), photos(2, seed=1)
    train[2], test[0], test[1] = train[0], noisy(train[0]), noisy(train[0])
    found = find(train, test)
    assert [pairs["count"] for pairs in found["identical"].values()] == [1, 1, 0]
    near = found["near_identical"]["train-test"]
    assert near["count"] == 4
    assert near["pairs"] == [[one, other] for one in ("train/0", "train/2") for other in ("test/0", "test/1")]


def test_noise_on_a_plain_background_is_still_near_identical() -> None:
    train = photos(10)
    train[:, :, 8:] = 250
    assert find(train, np.stack([noisy(image) for image in train]))["near_identical"]["train-test"]["count"] == 10


def test_a_brighter_picture_with_the_same_hash_is_not_near_identical() -> None:
    train = photos(3) // 2
    found = find(train, train + 60)
    assert np.array_equal(difference_hashes(train), difference_hashes(train + 60))
    assert found["near_identical"]["train-test"]["count"] == 0


def test_only_the_first_pairs_are_listed_and_the_count_is_exact() -> None:
    black = np.zeros((3000, 9, 9, 3), np.uint8)
    digests = np.zeros((3000, 4), np.uint64)
    found = find_duplicates(
        black[:2000], black[2000:], digests, difference_hashes(black), [str(i) for i in range(3000)]
    )
    assert {kind: pairs["count"] for kind, pairs in found["identical"].items()} == {
        "train-train": 2000 * 1999 // 2,
        "test-test": 1000 * 999 // 2,
        "train-test": 2000 * 1000,
    }
    assert all(len(pairs["pairs"]) == duplicates.LISTED_PAIRS for pairs in found["identical"].values())


def test_a_pair_counts_up_to_the_difference_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "COMPARED_BYTES", 1)  # one pair at a time
    train = photos(4) // 2
    limit = int(duplicates.MAX_DIFFERENCE)
    test = np.stack([train[0] + limit, train[1] + limit + 1, train[2] + 1, train[3] + 100])
    pairs = find(train, test)["near_identical"]["train-test"]["pairs"]
    assert pairs == [["train/0", "test/0"], ["train/2", "test/2"]]


@pytest.mark.parametrize("seed", range(5))
def test_similar_pairs_agree_with_comparing_everything(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, 400, dtype=np.uint64)
    for row in range(200, 400):  # at 0 to 6 bits from a row of the first half
        flipped = generator.choice(64, generator.integers(0, 7), replace=False)
        hashes[row] = hashes[row - 200] ^ np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64), initial=0)
    distances = np.bitwise_count(hashes[:, None] ^ hashes)
    expected = np.argwhere(np.triu(distances <= MAX_DISTANCE, k=1))
    assert len(expected) > 100
    np.testing.assert_array_equal(similar_pairs(hashes), expected)


def test_similar_pairs_of_one_crowded_bucket_stay_linear() -> None:
    pairs = similar_pairs(np.zeros(20_000, np.uint64))
    assert 20_000 <= len(pairs) <= 20_000 * duplicates.WINDOW


@pytest.mark.parametrize("hashes", [[], [7]])
def test_fewer_than_two_images_make_no_pairs(hashes: list[int]) -> None:
    assert similar_pairs(np.array(hashes, np.uint64)).shape == (0, 2)


@pytest.mark.parametrize("size", [9, 32, 33, 224])
def test_difference_hash_sets_the_bits_where_it_gets_brighter(size: int) -> None:
    ramp = np.broadcast_to(np.linspace(0, 250, size).astype(np.uint8)[:, None], (size, size, 3))
    brighter, darker, flat = ramp, ramp[:, ::-1], np.full_like(ramp, 9)
    hashes = difference_hashes(np.stack([brighter, darker, flat]))
    assert hashes.tolist() == [2**64 - 1, 0, 0]


def test_difference_hash_of_the_smallest_images() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 30, dtype=np.uint8)[:, None], (8, 8, 3))
    assert np.bitwise_count(difference_hashes(ramp[None])).item() == 7 * 8  # the first of 9 columns is there twice


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("load", "identical", "near"), [(load_cifar10, (0, 0, 0), (1, 0, 0)), (load_cifar100, (14, 2, 10), (19, 0, 7))]
)
def test_official_files(mirror: Path, load: Callable, identical: tuple, near: tuple) -> None:
    images = np.stack([example.image for example in load(DataParams(source=str(mirror)), seed=0)])
    records = measure(images)
    files = [str(row) for row in range(60_000)]
    found = find_duplicates(images[:50_000], images[50_000:], records["digest"], records["hash"], files)
    assert tuple(pairs["count"] for pairs in found["identical"].values()) == identical
    assert tuple(pairs["count"] for pairs in found["near_identical"].values()) == near
    if load is load_cifar10:
        mean, std = mean_and_std(records["sum"][:50_000], records["sum_of_squares"][:50_000], 32 * 32)
        assert np.round(mean, 4).tolist() == list(CIFAR10_MEAN) and np.round(std, 4).tolist() == list(CIFAR10_STD)
