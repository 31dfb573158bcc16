"""How a network does on labelled images: one function for training, heads and studies."""

from dataclasses import dataclass

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.inference import predict_logits
from Resnet23.modeling.losses import Task
from Resnet23.modeling.shares import share


@dataclass(frozen=True)
class Evaluation:
    """How a model does on some images: mean loss, accuracy; logits (N, C), probabilities (N, C), targets on the CPU."""

    loss: float
    accuracy: float
    logits: Tensor
    probabilities: Tensor
    targets: Tensor


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: FeatureDataset,
    task: Task,
    batch_size: int,
    device: torch.device,
    processes: int = 1,
    process: int = 0,
    description: str | None = None,
) -> Evaluation:
    """Loss, accuracy, logits and probabilities of `model` on the images of `data`, in fp32 and without augmentation.

    With several processes each computes its share, and all get the whole. With a `description` a progress bar is shown.
    """
    part = share(len(data), processes, process)
    logits = [predict_logits(model, data, batch_size, device, part, description)] if part.start < part.stop else []
    all_logits = torch.cat(gather_object(logits) if processes > 1 else logits)
    targets = torch.from_numpy(data.targets)
    loss = task.loss(all_logits, targets, 0.0).mean().item()
    accuracy = int(task.correct(all_logits, targets).sum()) / len(targets)
    return Evaluation(loss, accuracy, all_logits, task.activation(all_logits), targets)
