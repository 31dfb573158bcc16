"""How a head on a frozen encoder does on labelled images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from Resnet23.classifiers.encoders import place_encoder
from Resnet23.classifiers.feature_batches import FeatureBatches, Loader, open_batches
from Resnet23.classifiers.objectives import Objective, binary_objective, multiclass_objective
from Resnet23.classifiers.stacked import StackedHeads
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import Checkpoint


@dataclass(frozen=True)
class HeadEvaluation:
    """Mean loss and accuracy in percent over all images; logits (N, K) and targets (N,) on the CPU."""

    loss: float
    accuracy: float
    logits: Tensor
    targets: Tensor


def validate_binary_classifier(
    model: nn.Module | Checkpoint | str | Path,
    classifier_head: nn.Module,
    test_loader: Loader,
    device: torch.device | str,
) -> tuple[float, float]:
    """Mean loss, and accuracy in percent, of a head with one logit on batches (images, labels 0 or 1).

    `model` is whatever `train_binary_classifier` takes. Raises InputError when encoder, head and labels do not fit
    together.
    """
    evaluation = evaluate_head(model, classifier_head, binary_objective(), test_loader, device)
    return evaluation.loss, evaluation.accuracy


def validate_multiclass_classifier(
    model: nn.Module | Checkpoint | str | Path,
    classifier_head: nn.Module,
    test_loader: Loader,
    device: torch.device | str,
) -> tuple[float, float]:
    """Mean loss, and accuracy in percent, of a head with K logits on batches (images, labels 0 to K - 1).

    `model` is whatever `train_multiclass_classifier` takes. Raises InputError when encoder, head and labels do not fit
    together.
    """
    evaluation = evaluate_head(model, classifier_head, multiclass_objective(), test_loader, device)
    return evaluation.loss, evaluation.accuracy


def evaluate_head(
    model: nn.Module | Checkpoint | str | Path,
    head: nn.Module,
    objective: Objective,
    loader: Loader,
    device: torch.device | str,
) -> HeadEvaluation:
    """What the head answers for each image of `loader`, in its order, and how good that is."""
    encoder, device = place_encoder(model, device)
    batches = open_batches(encoder, loader, device, _inputs_of(head))
    return evaluate_features(head.to(device), objective, batches, device)


@torch.no_grad()
def evaluate_features(
    head: nn.Module, objective: Objective, batches: FeatureBatches, device: torch.device
) -> HeadEvaluation:
    """The same for batches that are features already; the head is left in evaluation mode."""
    head.eval()
    all_logits, all_targets = [], []
    for features, labels in tqdm(batches, desc="validate", unit="batch", leave=False, disable=None):
        logits = head(features.to(device)).float().cpu()
        all_logits.append(logits)
        all_targets.append(objective.targets(labels.cpu(), logits.shape[1]))
    if not all_logits:
        raise InputError("the loader gives no batches; expected images to validate on")
    logits, targets = torch.cat(all_logits), torch.cat(all_targets)
    accuracy = 100 * objective.correct(logits, targets).mean().item()
    return HeadEvaluation(objective.loss(logits, targets).item(), accuracy, logits, targets)


def _inputs_of(head: nn.Module) -> int:
    """How many features a head takes: the inputs of its first linear layer."""
    if isinstance(head, StackedHeads):
        return head.input_features
    linear = next((module for module in head.modules() if isinstance(module, nn.Linear)), None)
    if linear is None:
        raise InputError(f"classifier_head: {type(head).__name__} has no linear layer; expected a head")
    return linear.in_features
