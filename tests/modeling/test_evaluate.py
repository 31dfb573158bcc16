"""Evaluation is a plain forward pass, whatever the task and the batch."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from small_fit import CPU, small_net
from squares import MEAN, STD
from torch import nn

from Resnet23.dataset import FeatureDataset, normalize, to_unit_range
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.inference import predict_logits
from Resnet23.modeling.losses import TASKS

TARGETS = {"multiclass": (), "multilabel": (3,)}


def labelled_noise(task: str, rows: np.ndarray | None = None) -> FeatureDataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (23, 8, 8, 3), dtype=np.uint8)
    return FeatureDataset(images, generator.integers(2, size=(23, *TARGETS[task])), MEAN, STD, rows)


def plain_logits(model: nn.Module, data: FeatureDataset) -> torch.Tensor:
    images, _ = data.raw_batch(np.arange(len(data)))
    with torch.no_grad():
        return model.eval()(normalize(to_unit_range(images), MEAN, STD))


def expected_loss_and_accuracy(task: str, logits: torch.Tensor, targets: np.ndarray) -> tuple[float, float]:
    """By the definitions, of logits (N, 3)."""
    logits = logits.double()
    if task == "multiclass":
        probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
        return log_loss(targets, probabilities, labels=range(3)), accuracy_score(targets, logits.argmax(dim=1))
    probabilities = 1 / (1 + torch.exp(-logits))
    right = torch.where(torch.from_numpy(targets) == 1, probabilities, 1 - probabilities)
    return -right.log().mean().item(), accuracy_score(targets, logits > 0)


@pytest.mark.parametrize("rows", [None, np.array([5, 3, 22, 0, 3, 11, 7])], ids=["all", "some"])
@pytest.mark.parametrize("task", TASKS)
def test_it_equals_a_plain_forward_whatever_the_batch(task, rows):
    model, data = small_net(dropout=0.5), labelled_noise(task, rows)
    logits = plain_logits(model, data)
    for batch_size in (1, 7, 23, 100):
        found = evaluate(model, data, TASKS[task], batch_size, CPU)
        expected = expected_loss_and_accuracy(task, found.logits, data.targets)
        assert torch.allclose(found.logits, logits, atol=1e-5)
        assert torch.allclose(found.probabilities, TASKS[task].activation(logits), atol=1e-5)
        assert (found.loss, found.accuracy) == pytest.approx(expected, rel=1e-5)
        assert np.array_equal(found.targets, data.targets)


def test_images_are_brought_to_the_size_of_the_network():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    data = FeatureDataset(images, np.zeros(5, np.int64), MEAN, STD, image_size=16)
    seen = []
    predict_logits(nn.Sequential(Recorder(seen), nn.Flatten(), nn.Linear(3 * 16 * 16, 2)), data, 5, CPU)
    assert torch.equal(seen[0], torch.stack([image for image, _ in data]))


class Recorder(nn.Module):
    """Keeps what it is given."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.seen.append(inputs)
        return inputs


def test_it_leaves_weights_statistics_and_gradients_alone():
    model, data = small_net(), labelled_noise("multiclass")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = evaluate(model.train(), data, TASKS["multiclass"], 8, CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not found.logits.requires_grad
