"""How a network does on labelled images: one function for training, heads and studies."""

from dataclasses import dataclass

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.inference import predict_logits
from Resnet23.modeling.losses import Task
from Resnet23.modeling.multilabel_metrics import mean_average_precision
from Resnet23.modeling.shares import share


@dataclass(frozen=True)
class Evaluation:
    """How a model does on some images: mean loss, accuracy; logits (N, C), probabilities (N, C), targets on the CPU.

    With labels, targets (N, C), accuracy is the share of images with every label right at a threshold of 0.5. That is
    coarse, so they have their mean average precision as well, which needs no threshold.
    """

    loss: float
    accuracy: float
    logits: Tensor
    probabilities: Tensor
    targets: Tensor
    mAP: float | None = None

    @property
    def score(self) -> float:
        """What epochs are compared by: the mean average precision of labels, the accuracy of classes."""
        return self.accuracy if self.mAP is None else self.mAP


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
    mAP = mean_average_precision(data.targets, all_logits.numpy()) if targets.ndim == 2 else None
    return Evaluation(loss, accuracy, all_logits, task.activation(all_logits), targets, mAP)
