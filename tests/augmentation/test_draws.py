"""The random numbers of a batch: fixed by the seed, each image its own, the same on any number of processes."""

import numpy as np
import pytest
import torch

from Resnet23.augmentation.draws import Draws

KINDS = {
    "uniform": lambda draws: draws.uniform(2),
    "integers": lambda draws: draws.integers(1000, 3),
    "beta": lambda draws: draws.beta(0.4),
    "alternating": lambda draws: draws.alternating(),
}


def draws(seed=0, epoch=1, step=0, count=100, part=slice(None)) -> Draws:
    return Draws(seed, epoch, step, np.arange(count), part)


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_the_parts_of_all_processes_are_the_whole(draw):
    whole = draw(draws())
    parts = [draw(draws(part=part)) for part in (slice(0, 34), slice(34, 67), slice(67, 100))]
    assert len(whole) == 100
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("draw", [*KINDS.values(), lambda draws: draws.permutation()], ids=[*KINDS, "permutation"])
def test_the_stream_goes_on_alike_on_every_process(draw):
    whole, part = draws(), draws(part=slice(10, 20))
    draw(whole), draw(part)
    assert torch.equal(whole.uniform()[10:20], part.uniform())


def test_seed_epoch_and_step_decide():
    first = draws().uniform()
    assert torch.equal(first, draws().uniform())
    for other in (draws(seed=1), draws(epoch=2), draws(step=1)):
        assert not torch.equal(first, other.uniform())


def test_the_first_step_is_not_drawn_like_the_order_of_the_images():
    """NumPy takes the seeds (0, 1) and (0, 1, 0) for the same."""
    order = np.random.default_rng((0, 1)).random(100, dtype=np.float32)
    assert not np.array_equal(draws().uniform().numpy(), order)


def test_numbers_stay_in_their_range_and_reach_all_of_it():
    many = draws(count=20_000)
    uniform, integers = many.uniform(), many.integers(5)
    assert uniform.dtype == torch.float32 and uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert integers.dtype == torch.int64
    assert torch.all((torch.bincount(integers, minlength=5) - 4000).abs() < 250)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_beta_has_the_mean_and_the_variance_of_the_distribution(alpha):
    numbers = draws(count=20_000).beta(alpha)
    expected = torch.distributions.Beta(alpha, alpha)
    assert numbers.dtype == torch.float32 and numbers.min() >= 0 and numbers.max() <= 1
    assert abs(numbers.mean() - expected.mean) < 0.01
    assert abs(numbers.var() - expected.variance) < 0.005


def test_a_permutation_holds_every_image_of_the_part_once():
    found = draws(part=slice(30, 60)).permutation()
    assert found.sort().values.tolist() == list(range(30))
    assert found.tolist() != list(range(30))


def test_alternating_shows_every_image_both_ways_in_two_epochs():
    odd, even, next_odd = (draws(epoch=epoch, count=10_000).alternating() for epoch in (1, 2, 3))
    assert torch.equal(odd, ~even)
    assert torch.equal(odd, next_odd)
    assert 4800 < odd.sum() < 5200
    other_seed = draws(seed=1, count=10_000).alternating()
    assert 4800 < (odd == other_seed).sum() < 5200


def test_alternating_follows_the_image_and_not_its_place_in_the_batch():
    forwards, backwards = np.arange(100), np.arange(100)[::-1]
    found = [Draws(0, 1, step, order).alternating() for step, order in enumerate((forwards, backwards))]
    assert torch.equal(found[0], found[1].flip(0))
