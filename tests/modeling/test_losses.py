"""Loss, activation and decision of each task, and the temperature."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from Resnet23.modeling.losses import fit_temperature, get_task

TASK = get_task("multiclass")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    targets = (logits + 2 * torch.randn(500, 4, generator=generator)).argmax(dim=1)
    return logits, targets


def test_loss_is_the_cross_entropy_of_each_image(batch):
    logits, targets = batch
    losses = TASK.loss(logits, targets, 0.0)
    assert losses.shape == (500,)
    assert losses.mean().item() == pytest.approx(log_loss(targets, TASK.activation(logits)))


def test_label_smoothing_equals_the_formula(batch):
    logits, targets = batch
    smooth = torch.full((500, 4), 0.2 / 4, dtype=torch.float64)
    smooth[torch.arange(500), targets] += 0.8
    expected = -(smooth * logits.log_softmax(dim=1)).sum(dim=1)
    assert torch.allclose(TASK.loss(logits, targets, 0.2), expected)


def test_correct_counts_the_most_probable_class(batch):
    logits, targets = batch
    expected = logits.numpy().argmax(axis=1) == targets.numpy()
    assert np.array_equal(TASK.correct(logits, targets).numpy(), expected)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_temperature_is_the_best_divisor(batch, scale):
    logits, targets = batch[0] * scale, batch[1]
    found = fit_temperature(TASK, logits, targets)
    best = minimize_scalar(
        lambda value: TASK.loss(logits / value, targets, 0.0).mean().item(), bounds=(0.05, 20), method="bounded"
    )
    assert found == pytest.approx(best.x, rel=1e-3)


def test_temperature_stays_finite_when_every_image_is_right():
    logits = torch.eye(3) * 4
    assert 0.04 < fit_temperature(TASK, logits, torch.arange(3)) < 1
