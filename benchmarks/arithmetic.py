"""How much arithmetic a training takes: forward and backward of every image it learns from, counted by PyTorch.

Convolutions, linear layers, attention and matrix products count, a multiplication and an addition as two operations.
Normalisation, activations, random changes and validation do not, as in published figures.
"""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from Resnet23.config import TrainParams
from Resnet23.modeling.batches import batch_slices
from Resnet23.modeling.optim import create_optimizer
from Resnet23.modeling.phases import Phase, resolve_phases
from Resnet23.modeling.stages import freeze, train_mode

PETA = 1e15
COUNTED = 2  # images of the step that is counted; BatchNorm has no variance to learn from one


def training_arithmetic(
    model: nn.Module, params: TrainParams, image_size: int, images: int, epochs: int
) -> dict[str, Any]:
    """The operations of `epochs` epochs of a training on `images` images, which is as `params` says.

    `flop_per_image` has a value for each phase, forward and backward; `pflop` is of all images as often as they are
    seen. What the optimizer computes in matrix products, as Muon does, stands beside it as `optimizer_pflop`.
    `image_size` is the side in pixels where a phase has no resolution. The model's gradients are lost.
    """
    steps = len(batch_slices(images, params.batch_size))
    per_image, total, optimizers = [], 0.0, 0.0
    for phase in resolve_phases(params):
        done = max(0, min(epochs, phase.last) - phase.first + 1)
        image, step = count_step(model, params, phase, phase.resolution or image_size)
        per_image.append(image)
        total += image * images * done
        optimizers += step * steps * done
    return {"flop_per_image": per_image, "pflop": total / PETA, "optimizer_pflop": optimizers / PETA}


def count_step(model: nn.Module, params: TrainParams, phase: Phase, image_size: int) -> tuple[float, float]:
    """The operations of one image, forward and backward, and of the optimizer in one step; the weights do change."""
    stages = freeze(model, phase.trainable)
    train_mode(model, phase.trainable, phase.freeze_statistics)
    optimizer = create_optimizer(stages, params, phase.learning_rate, phase.rate_decay_by_depth)
    model.zero_grad()
    with FlopCounterMode(display=False) as of_images:
        model(torch.rand(COUNTED, 3, image_size, image_size)).sum().backward()
    with FlopCounterMode(display=False) as of_optimizer:
        optimizer.step()
    return of_images.get_total_flops() / COUNTED, of_optimizer.get_total_flops()
