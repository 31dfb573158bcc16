"""The loss around a network's weights: along random directions, and how sharply it curves.

The directions are those of Li et al., "Visualizing the Loss Landscape of Neural Nets" (2018), arXiv:1712.09913: random
numbers in which each filter is as long as the filter of the network. Biases and the parameters of BatchNorm stay as
they are.

BatchNorm: running statistics belong to the weights with which they were collected. Those of a new network mean nothing,
and a step away from a trained one they are wrong, which alone would raise the loss. So at every point BatchNorm takes
its statistics anew from the images whose loss is measured. Dropout is off.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from Resnet23.dataset import FeatureDataset, normalize, resize, to_unit_range
from Resnet23.modeling.losses import LossFunction, Task
from Resnet23.modeling.shares import shares

BATCH = 256  # images at once, which have their BatchNorm statistics in common
KRYLOV = 8  # vectors of the Lanczos method, each of which costs a product with the Hessian
TOLERANCE = 0.05  # of its residual, relative; the eigenvalue, found from below, was then 4% short where it was tried

Direction = list[Tensor]  # one tensor for each of the model's parameters, of its shape
Batches = list[tuple[Tensor, Tensor]]  # images (B, 3, H, W) as a network takes them, targets (B,) or (B, C)


def draw_batches(data: FeatureDataset, count: int, device: torch.device) -> Batches:
    """`count` images of `data`, or all where it has fewer, in batches of about equal size on `device`.

    They are drawn at random, and are the same ones each time.
    """
    positions = np.sort(np.random.default_rng(0).permutation(len(data))[:count])
    batches = []
    for part in shares(len(positions), -(-len(positions) // BATCH)):
        images, targets = data.raw_batch(positions[part])
        inputs = normalize(resize(to_unit_range(images.to(device)), data.image_size), data.mean, data.std)
        batches.append((inputs, targets.to(device)))
    return batches


def filter_normalised(model: nn.Module, generator: torch.Generator) -> Direction:
    """The next random direction of `generator`, each filter of it as long as that of `model`; 0 for 1-D parameters.

    A filter is what gives one output: a convolution's (in, H, W) weights, a row of a linear layer's. Networks of the
    same shape get the same numbers from generators with the same seed, at lengths of their own.
    """
    return [_as_long_as(weights.detach(), generator) for weights in model.parameters()]


def _as_long_as(weights: Tensor, generator: torch.Generator) -> Tensor:
    if weights.ndim < 2:
        return torch.zeros_like(weights)
    numbers = torch.randn(weights.shape, generator=generator).to(weights)
    lengths, wanted = (tensor.flatten(1).norm(dim=1) for tensor in (numbers, weights))  # (filters,)
    return numbers * (wanted / lengths).view(-1, *[1] * (weights.ndim - 1))


@contextmanager
def statistics_of_the_images(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Within, BatchNorm normalises by what it is given and averages the statistics of all batches; dropout is off.

    Yields the BatchNorm layers. Afterwards weights, statistics and modes are exactly as before.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {module: module.training for module in model.modules()}
    layers = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.momentum = None  # PyTorch's way to ask for a plain average
        layer.train()
    try:
        yield layers
    finally:
        model.load_state_dict(state)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def measure_points(
    model: nn.Module, directions: Sequence[Direction], points: np.ndarray, task: Task, train: Batches, *others: Batches
) -> np.ndarray:
    """Loss and accuracy at the weights plus `points` (P, D) times the D directions; (P, 2 for each set of images).

    The statistics of BatchNorm are at every point those of the `train` images, for `others` as well. The loss is that
    of the task without label smoothing; NaN where it is no finite number.
    """
    centre = [weights.detach().clone() for weights in model.parameters()]
    rows = []
    with statistics_of_the_images(model) as layers:
        for point in points.tolist():
            for weights, middle, *steps in zip(model.parameters(), centre, *directions, strict=True):
                weights.copy_(middle + sum(size * step for size, step in zip(point, steps, strict=True)))
            for layer in layers:
                layer.train().reset_running_stats()
            row = _loss_and_accuracy(model, train, task)
            model.eval()
            rows.append(row + [value for batches in others for value in _loss_and_accuracy(model, batches, task)])
    values = np.array(rows)
    return np.where(np.isfinite(values), values, np.nan)


def _loss_and_accuracy(model: nn.Module, batches: Batches, task: Task) -> list[float]:
    """Both as means over the images."""
    sums = torch.zeros(2, dtype=torch.float64)
    for inputs, targets in batches:
        logits = model(inputs)
        sums += torch.stack([task.loss(logits, targets, 0.0).sum(), task.correct(logits, targets).sum()]).cpu()
    return (sums / sum(len(targets) for _, targets in batches)).tolist()


def largest_curvature(model: nn.Module, loss: LossFunction, batches: Batches) -> float:
    """The largest eigenvalue of the Hessian of the mean loss in all weights, BatchNorm's and biases among them.

    By the Lanczos method, which asks for products of the Hessian with vectors alone (Pearlmutter, "Fast Exact
    Multiplication by the Hessian", 1994). BatchNorm normalises by the statistics of the images, through which the
    derivatives go. It is not free of the scale of the weights, as filter-normalised directions are: before BatchNorm,
    weights of half the length compute the same at four times the curvature (Dinh et al. 2017, arXiv:1703.04933).
    """
    weights = list(model.parameters())
    sizes = [tensor.numel() for tensor in weights]
    images = sum(len(targets) for _, targets in batches)

    def times_hessian(numbers: np.ndarray) -> np.ndarray:
        vector = torch.from_numpy(numbers.ravel()).to(weights[0])
        parts = [part.view_as(tensor) for part, tensor in zip(vector.split(sizes), weights, strict=True)]
        product = torch.zeros_like(vector)
        for inputs, targets in batches:
            mean = loss(model(inputs.contiguous()), targets, 0.0).sum() / images  # see device.without_crashes
            gradient = torch.autograd.grad(mean, weights, create_graph=True)
            columns = torch.autograd.grad(gradient, weights, parts, materialize_grads=True)
            product += torch.cat([column.flatten() for column in columns])
        return product.cpu().numpy()

    count = sum(sizes)
    start = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    with statistics_of_the_images(model), torch.enable_grad():
        hessian = LinearOperator((count, count), times_hessian, dtype=np.float32)
        krylov = min(KRYLOV, count)
        found = eigsh(hessian, 1, which="LA", ncv=krylov, tol=TOLERANCE, v0=start, return_eigenvectors=False)
    return float(found[0])
