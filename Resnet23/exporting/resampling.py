"""Pillow's antialiased bicubic resizing as PyTorch operations, so that it can become a part of an exported network.

Resizing is linear and separable: each output pixel is a weighted mean of input pixels, first along the row, then along
the column. The weights are two small matrices, computed from the image's height and width when the network runs. Unlike
`interpolate` and ONNX's Resize this knows a box that begins between two pixels, as Pillow's centre crop has, and rounds
where Pillow rounds: no value of a pixel differs by more than one level of 255 from what `Resnet23.images` gives.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from Resnet23.images import ResizeRule

SUPPORT = 2  # the cubic kernel reaches two pixels to each side


class _Axis(NamedTuple):
    """A part of the image's height or width, `extent` pixels from `start` on, becomes `count` pixels from `offset`.

    All are scalar tensors rather than numbers, which would be fixed when the network is traced.
    """

    start: Tensor
    extent: Tensor
    offset: Tensor
    count: Tensor


def resize_images(images: Tensor, size: int, rule: ResizeRule) -> Tensor:
    """Images (N, H, W, 3) uint8 -> (N, 3, size, size) float32 from 0 to 1, as `images.resize_image` makes them."""
    height, width = images.shape[1:3]
    rows, columns = _place(_scalar(height), _scalar(width), _scalar(size), rule)
    pixels = images.float().permute(0, 3, 1, 2)  # (N, 3, H, W)
    pixels = _to_levels(pixels @ _weights(width, size, columns).T)  # (N, 3, H, size)
    return _to_levels(_weights(height, size, rows) @ pixels) / 255  # (N, 3, size, size)


def _place(height: Tensor, width: Tensor, size: Tensor, rule: ResizeRule) -> tuple[_Axis, _Axis]:
    """Which part of the image goes where in the square, for rows and columns."""
    zero = torch.zeros_like(size)
    if rule == "stretch":
        return _Axis(zero, height, zero, size), _Axis(zero, width, zero, size)
    if rule == "crop":
        side = torch.minimum(height, width)
        return _Axis((height - side) / 2, side, zero, size), _Axis((width - side) / 2, side, zero, size)
    longest = torch.maximum(height, width)
    counts = [torch.round(side / longest * size) for side in (height, width)]
    offsets = [torch.round((size - count) / 2) for count in counts]
    return _Axis(zero, height, offsets[0], counts[0]), _Axis(zero, width, offsets[1], counts[1])


def _weights(length: int, size: int, axis: _Axis) -> Tensor:
    """How much each of `length` input pixels counts for each output pixel: (size, length), rows of sum 1 or all 0."""
    output = torch.arange(size, dtype=torch.float32) - axis.offset  # (size,)
    scale = axis.extent / axis.count
    centres = axis.start + (output + 0.5) * scale
    pixels = torch.arange(length, dtype=torch.float32) + 0.5  # (length,)
    weights = _cubic((pixels - centres[:, None]) / scale.clamp(min=1.0))  # (size, length), wider where it shrinks
    is_inside = (output >= 0) & (output < axis.count)  # outside are the black bars
    return torch.where(is_inside[:, None], weights / weights.sum(dim=1, keepdim=True), 0.0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, as in Pillow: "Cubic convolution interpolation" (1981)."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < SUPPORT, far, 0.0))


def _to_levels(pixels: Tensor) -> Tensor:
    """Round to whole levels, halves upwards, and cut off what bicubic weights overshoot."""
    return (pixels + 0.5).floor().clamp(0, 255)


def _scalar(value: int) -> Tensor:
    return torch.full((), value, dtype=torch.float32)
