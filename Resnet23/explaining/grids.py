"""The output of a layer as a grid of places in the image: what convolutions and transformers have in common."""

from collections.abc import Iterator
from itertools import chain
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from Resnet23.modeling.stages import stages_of

MOST_EXTRA_TOKENS = 5  # before those of the image: a class token and four registers
END = 3  # stages: the head, and what may come between it and the last grid


def grid_side(output: object) -> int:
    """The places along a side of the square grid that an output is for, 0 when it is for none.

    Known are feature maps (N, C, S, S), channels last (N, S, S, C), and tokens (N, T, C), those of the image last.
    """
    if not isinstance(output, Tensor):
        return 0
    if output.ndim == 4 and (_has_channels_first(output) or output.shape[1] == output.shape[2]):
        return output.shape[2]
    if output.ndim == 3 and output.shape[1] - isqrt(output.shape[1]) ** 2 <= MOST_EXTRA_TOKENS:
        return isqrt(output.shape[1])
    return 0


def to_grid(output: Tensor) -> Tensor:
    """The part of an output that is for places in the image, (N, C, S, S)."""
    if output.ndim == 3:
        side = grid_side(output)
        return output[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))
    return output if _has_channels_first(output) else output.permute(0, 3, 1, 2)


def from_grid(grid: Tensor, output: Tensor) -> Tensor:
    """The output with `grid` (N, C, S, S) in the place of what `to_grid` gave of it."""
    if output.ndim == 3:
        tokens = grid.flatten(2).transpose(1, 2)
        return torch.cat([output[:, : -tokens.shape[1]], tokens], dim=1)
    return grid if _has_channels_first(output) else grid.permute(0, 2, 3, 1)


def last_grid(model: nn.Module, image: Tensor) -> tuple[nn.Module, int] | None:
    """The last module at the end of a network whose output is a grid, for an image (1, 3, S, S), and the grid's side.

    None when there is none, or the answer does not depend on it: after its last attention a vision transformer may read
    nothing but the class token, which has collected from all layers before.
    """
    grids: list[tuple[nn.Module, Tensor]] = []  # in the order of the calls

    def remember(module: nn.Module, _: Any, output: Any) -> None:
        if grid_side(output) > 1:
            grids.append((module, output))

    modules = chain.from_iterable(list(stages_of(model).values())[-END:])
    called = chain.from_iterable(map(_called_modules, modules))
    handles = [module.register_forward_hook(remember) for module in called]
    try:
        answer = model(image).max()
    finally:
        for handle in handles:
            handle.remove()
    if not grids:
        return None
    module, output = grids[-1]
    (gradient,) = torch.autograd.grad(answer, output, allow_unused=True)
    return None if gradient is None or not to_grid(gradient).any() else (module, grid_side(output))


def _called_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The module, or the members of a ModuleList, which is never called itself."""
    if isinstance(module, nn.ModuleList):
        yield from chain.from_iterable(map(_called_modules, module))
    else:
        yield module


def _has_channels_first(output: Tensor) -> bool:
    return output.shape[2] == output.shape[3]
