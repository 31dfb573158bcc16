"""What is measured during an epoch, and the losses that are looked at late."""

import math
from itertools import count

import pytest
import torch
from small_fit import CPU

from Resnet23.errors import Resnet23Error
from Resnet23.modeling import meter as meter_module
from Resnet23.modeling.meter import EpochMeter


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> None:
    """Time that goes on by half a second whenever somebody looks at it."""
    times = (0.5 * number for number in count())
    monkeypatch.setattr(meter_module.time, "perf_counter", lambda: next(times))


def losses(meter: EpochMeter, *values: float) -> None:
    """Steps of half a second with these losses and falling learning rates."""
    meter.start_clock()
    for step, value in enumerate(values):
        meter.end_step(step, 0.1 / (step + 1), torch.tensor(value), waited=0.125)


def test_it_sums_over_images_and_steps():
    meter = EpochMeter(1, CPU)
    for loss, correct in ((2.5, 3), (0.25, 4)):
        meter.add(torch.tensor(loss), torch.tensor(correct))
    losses(meter, 2.5, 0.25)
    assert meter.sums.tolist() == [2.75, 7]
    assert (meter.seconds, meter.waited, meter.learning_rate) == (1.0, 0.25, 0.05)
    meter.check()
    assert meter.last_loss == 0.25


def test_a_long_sum_of_small_losses_is_exact():
    meter = EpochMeter(1, CPU)
    meter.add(torch.tensor(2.0**25), torch.tensor(0))
    for _ in range(100):
        meter.add(torch.tensor(1.0), torch.tensor(1))
    assert meter.sums.tolist() == [2.0**25 + 100, 100]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_loss_that_is_no_number_is_named_however_late_it_is_looked_at(value):
    meter = EpochMeter(7, CPU)
    losses(meter, 1.0, value, math.nan)
    with pytest.raises(Resnet23Error, match=r"epoch 7, step 2, learning rate 0\.05; try a lower train\.learning_rate"):
        meter.check()


def test_losses_are_looked_at_once():
    meter = EpochMeter(1, CPU)
    meter.check()
    losses(meter, 1.0, 2.0)
    meter.check()
    meter.check()
    assert meter.last_loss == 2.0


def test_it_goes_on_from_saved_numbers():
    meter, other = EpochMeter(3, CPU), EpochMeter(3, CPU)
    meter.add(torch.tensor(2.5), torch.tensor(3))
    losses(meter, 2.5)
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        each.add(torch.tensor(1.0), torch.tensor(1))
        losses(each, 1.0)
    assert other.sums.tolist() == meter.sums.tolist() == [3.5, 4]
    assert (other.seconds, other.waited, other.learning_rate) == (meter.seconds, meter.waited, meter.learning_rate)
