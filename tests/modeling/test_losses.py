"""Loss, activation and decision of each task, and the temperature."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from Resnet23.errors import InputError
from Resnet23.modeling.losses import (
    LOSSES,
    TASKS,
    check_loss,
    fit_temperature,
    get_task,
    positive_weights,
    training_task,
)

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


NAMED = [(task, loss) for task, losses in LOSSES.items() for loss in losses]


def loss_of(task: str, loss: str | None, targets: Tensor):
    """The loss that `train.loss` names, for training images with these targets."""
    return training_task(task, loss, targets.numpy()).loss


@pytest.mark.parametrize(("task", "loss"), [("multiclass", "cross_entropy"), ("multilabel", "bce")])
def test_a_tasks_own_loss_is_the_first_of_its_losses(task, loss, logits):
    targets = targets_for(task, logits)
    assert next(iter(LOSSES[task])) == loss
    for name in (None, loss):
        assert torch.equal(loss_of(task, name, targets)(logits, targets, 0.1), TASKS[task].loss(logits, targets, 0.1))


def weighted_targets(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (N, C) of rare and frequent labels, and the weights of their yes (C,)."""
    targets = targets_for("multilabel", logits) & (torch.arange(COUNT)[:, None] % torch.arange(1, CLASSES + 1) == 0)
    return targets, positive_weights(targets.numpy())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_weights_make_both_answers_of_each_label_weigh_the_same(smoothing, logits):
    targets, weights = weighted_targets(logits)
    counts = targets.sum(dim=0)
    assert torch.allclose(weights * counts, (COUNT - counts).double())
    wanted = smoothed("multilabel", targets, smoothing)
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    expected = torch.where(targets > 0, weights * losses, losses).mean(dim=1)  # what smoothing adds to a no stays light
    assert torch.allclose(loss_of("multilabel", "weighted_bce", targets)(logits, targets, smoothing), expected)


def test_without_smoothing_the_weights_are_pytorchs_pos_weight_of_mixtures_as_well(logits):
    targets, weights = weighted_targets(logits)
    loss = loss_of("multilabel", "weighted_bce", targets)
    hard = targets.double()
    for answers in (targets, hard, 0.3 * hard + 0.7 * hard.flip(0)):
        expected = F.binary_cross_entropy_with_logits(logits, answers.double(), pos_weight=weights, reduction="none")
        torch.testing.assert_close(loss(logits, answers, 0.0), expected.mean(dim=1), rtol=1e-12, atol=1e-12)


def test_the_weighted_loss_of_a_mixture_is_the_mixture_of_the_losses(logits):
    targets, _ = weighted_targets(logits)
    loss, hard = loss_of("multilabel", "weighted_bce", targets), targets.double()
    mixed = loss(logits, 0.3 * hard + 0.7 * hard.flip(0), 0.2)
    assert torch.allclose(mixed, 0.3 * loss(logits, hard, 0.2) + 0.7 * loss(logits, hard.flip(0), 0.2))


def test_a_label_that_no_image_or_every_image_has_keeps_its_weight():
    assert positive_weights(np.array([[0, 1, 1], [0, 1, 0], [0, 1, 0]], dtype=np.uint8)).tolist() == [1, 1, 2]


def test_the_focal_loss_of_labels_is_torchvisions(logits):
    targets = targets_for("multilabel", logits)
    expected = sigmoid_focal_loss(logits, targets.double(), alpha=0.25, gamma=2).mean(dim=1)
    assert torch.allclose(loss_of("multilabel", "focal", targets)(logits, targets, 0.0), expected)


def test_the_focal_loss_of_two_classes_is_that_of_the_difference_of_their_logits(logits):
    pair, targets = logits[:, :2], targets_for("multiclass", logits[:, :2])
    expected = sigmoid_focal_loss(pair[:, 1] - pair[:, 0], targets.double(), alpha=-1, gamma=2)
    loss = loss_of("multiclass", "focal", targets)
    assert torch.allclose(loss(pair, targets, 0.0), expected)
    assert torch.allclose(loss(pair, F.one_hot(targets), 0.0), expected)
    assert (loss(pair, targets, 0.2) > expected)[expected < 1e-3].all()  # being sure is no longer right


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_asymmetric_loss_is_the_papers(smoothing, logits):
    targets = targets_for("multilabel", logits)
    wanted = smoothed("multilabel", targets, smoothing)
    p = 1 / (1 + (-logits).exp())
    shifted = torch.where(p > 0.05, p - 0.05, 0.0)
    expected = -(wanted * p.log() + (1 - wanted) * shifted**4 * (1 - shifted).log()).mean(dim=1)
    assert torch.allclose(loss_of("multilabel", "asymmetric", targets)(logits, targets, smoothing), expected)


@pytest.mark.parametrize(("task", "loss"), NAMED)
def test_losses_and_their_gradients_are_finite_however_wrong_the_network_is(task, loss):
    targets = targets_for(task, torch.zeros(COUNT, CLASSES))
    logits = torch.linspace(-200, 200, COUNT * CLASSES).view(COUNT, CLASSES).requires_grad_()
    value = loss_of(task, loss, targets)(logits, targets, 0.0)
    value.sum().backward()
    assert value.shape == (COUNT,) and value.isfinite().all() and (value >= 0).all()
    assert logits.grad.isfinite().all() and logits.grad.any()


def test_a_loss_that_does_not_exist_or_fit_the_task_is_refused():
    for call in (check_loss, lambda name: training_task("multilabel", name, np.zeros((2, 3)))):
        with pytest.raises(InputError, match=r"train\.loss: found 'focl'.*did you mean focal"):
            call("focl")
    with pytest.raises(
        InputError, match=r"train\.loss: found bce, which does not train multiclass; .*cross_entropy, focal"
    ):
        check_loss("bce", "multiclass")
    check_loss(None, "multiclass")


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
