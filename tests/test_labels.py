"""Labels as text and as numbers, and a split in which each label has its share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Resnet23.labels import hold_out, join_labels, multi_hot, split_labels


@pytest.mark.parametrize("labels", [(), ("apple",), ("a b", "c,d", "é")])
def test_text_holds_any_number_of_labels(labels):
    assert split_labels(join_labels(labels)) == labels


def test_multi_hot_targets():
    targets = multi_hot([("b",), (), ("c", "a")], ["a", "b", "c"])
    assert targets.dtype == np.uint8
    assert targets.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]


def random_targets(seed: int, images: int, frequencies: list[float]) -> np.ndarray:
    return (np.random.default_rng(seed).random((images, len(frequencies))) < frequencies).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_each_label_and_the_images_without_one_have_their_share(seed):
    targets = random_targets(seed, 2000, [0.5, 0.3, 0.05, 0.01])
    without = ~targets.any(axis=1)
    held_out = hold_out(targets, 0.2, seed)
    assert held_out.tolist() == sorted(set(held_out.tolist()))
    found = [*targets[held_out].sum(axis=0), without[held_out].sum()]
    np.testing.assert_allclose(found, [*(0.2 * targets.sum(axis=0)), 0.2 * without.sum()], rtol=0.1, atol=1)


def test_the_rarest_label_is_exact_where_chance_would_miss_it():
    targets = np.zeros((1000, 2), np.uint8)
    targets[:, 0] = 1
    targets[:4, 1] = 1
    for seed in range(20):
        held_out = hold_out(targets, 0.25, seed)
        assert (targets[held_out, 1].sum(), len(held_out)) == (1, 250)


def test_the_seed_decides():
    targets = random_targets(0, 200, [0.5, 0.2])
    assert hold_out(targets, 0.2, 3).tolist() == hold_out(targets, 0.2, 3).tolist()
    assert hold_out(targets, 0.2, 3).tolist() != hold_out(targets, 0.2, 4).tolist()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6), st.floats(0.01, 0.99))
def test_of_every_label_one_image_stays(seed, images, labels, fraction):
    targets = random_targets(seed, images, [0.3] * labels)
    kept = np.delete(targets, hold_out(targets, fraction, seed), axis=0)
    assert (kept.sum(axis=0) >= np.minimum(targets.sum(axis=0), 1)).all()
