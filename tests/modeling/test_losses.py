"""Loss, activation and decision of each task, and the temperature."""

import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor

from Resnet23.errors import InputError
from Resnet23.modeling.losses import TASKS, fit_temperature, get_task

COUNT, CLASSES = 500, 4


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(COUNT, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def targets_for(task: str, logits: Tensor) -> Tensor:
    """Targets of which most, but not all, are as the logits say: (N,) or (N, C)."""
    noisy = logits + 2 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    return {"multiclass": noisy.argmax(dim=1), "multilabel": (noisy > 0).to(torch.uint8)}[task]


def smoothed(task: str, targets: Tensor, smoothing: float) -> Tensor:
    """What each class should get, (N, C): of one class a share goes to all of them, each label moves towards 1/2."""
    if task == "multilabel":
        return targets.double() * (1 - smoothing) + smoothing / 2
    shares = torch.full((COUNT, CLASSES), smoothing / CLASSES, dtype=torch.float64)
    shares[torch.arange(COUNT), targets] += 1 - smoothing
    return shares


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_of_each_image_equals_the_formula_with_label_smoothing(task, smoothing, logits):
    targets = targets_for(task, logits)
    wanted = smoothed(task, targets, smoothing)
    if task == "multiclass":
        probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
        expected = -(wanted * probabilities.log()).sum(dim=1)
    else:
        probabilities = 1 / (1 + (-logits).exp())
        expected = -(wanted * probabilities.log() + (1 - wanted) * (1 - probabilities).log()).mean(dim=1)
    assert torch.allclose(TASKS[task].activation(logits), probabilities)
    assert torch.allclose(TASKS[task].loss(logits, targets, smoothing), expected)


def test_the_loss_of_the_classes_is_the_log_loss(logits):
    targets = targets_for("multiclass", logits)
    task = get_task("multiclass")
    assert task.loss(logits, targets, 0.0).mean().item() == pytest.approx(log_loss(targets, task.activation(logits)))


@pytest.mark.parametrize("task", TASKS)
def test_correct_is_what_the_decision_by_probability_gets_right(task, logits):
    targets = targets_for(task, logits)
    probabilities = TASKS[task].activation(logits)
    decisions = probabilities.argmax(dim=1) if task == "multiclass" else probabilities > 0.5
    correct = TASKS[task].correct(logits, targets)
    assert (correct.shape, correct.dtype) == ((COUNT,), torch.bool)
    assert correct.double().mean().item() == pytest.approx(accuracy_score(targets, decisions))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("task", TASKS)
def test_soft_targets_mean_the_same_as_those_they_are_made_of(task, smoothing, logits):
    row, targets = TASKS[task], targets_for(task, logits)
    soft = row.soft_targets(targets, CLASSES)
    assert (soft.shape, soft.dtype) == ((COUNT, CLASSES), torch.float32)
    assert torch.allclose(row.loss(logits, soft.double(), smoothing), row.loss(logits, targets, smoothing))
    assert torch.equal(row.correct(logits, soft), row.correct(logits, targets))


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(task, logits):
    row, targets = TASKS[task], targets_for(task, logits)
    soft = row.soft_targets(targets, CLASSES).double()
    others = soft.flip(0)
    mixed = row.loss(logits, 0.3 * soft + 0.7 * others, 0.1)
    assert torch.allclose(mixed, 0.3 * row.loss(logits, soft, 0.1) + 0.7 * row.loss(logits, others, 0.1))


def test_an_unknown_task_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"train\.task: found 'multilable'.*did you mean multilabel"):
        get_task("multilable")


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("task", TASKS)
def test_temperature_is_the_best_divisor(task, scale, logits):
    targets = targets_for(task, logits)
    found = fit_temperature(TASKS[task], logits * scale, targets)
    best = minimize_scalar(
        lambda value: TASKS[task].loss(logits * scale / value, targets, 0.0).mean().item(),
        bounds=(0.05, 20),
        method="bounded",
    )
    assert found == pytest.approx(best.x, rel=1e-3)


def test_temperature_stays_finite_when_every_image_is_right():
    logits = torch.eye(3) * 4
    assert 0.04 < fit_temperature(get_task("multiclass"), logits, torch.arange(3)) < 1
