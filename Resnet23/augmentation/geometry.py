"""Changes of the place of the pixels in a batch of images, every image by an amount of its own.

Images are floats, shape (N, 3, H, W); amounts have a row for each image, on any device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from Resnet23.augmentation.imagewise import per_image


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the images left-right where `mirrored`, (N,) bool, says so."""
    return torch.where(per_image(mirrored, images), images.flip(dims=(3,)), images)


def crop_by(images: Tensor, padding: int, mode: str, offsets: Tensor) -> Tensor:
    """Pad every side by `padding` pixels ("reflect" or "zero") and cut the original size out.

    `offsets` (N, 2) are row and column of the cut in the padded image, whole numbers from 0 to 2 * padding.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4, mode="constant" if mode == "zero" else mode)
    cuts = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, 3, rows, columns, H, W), every possible cut, a view
    row, column = offsets.to(images.device, non_blocking=True).unbind(dim=1)
    return cuts[torch.arange(len(images), device=images.device), :, row, column]


def resized_crop_by(images: Tensor, boxes: Tensor) -> Tensor:
    """Bring the part of each image in its box back to full size, bilinear; it looks at nothing outside the box.

    `boxes` (N, 4) are top, left, height and width in whole pixels, inside the image.
    """
    height, width = images.shape[2:]
    top, left, box_height, box_width = boxes.to(images, non_blocking=True).unsqueeze(2).unbind(dim=1)  # (N, 1) each
    y = _within(_centers(height, images) * box_height / height, box_height) + top - height / 2  # (N, H)
    x = _within(_centers(width, images) * box_width / width, box_width) + left - width / 2  # (N, W)
    return _sample(images, x.unsqueeze(1), y.unsqueeze(2), "bilinear")


def affine_by(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """Turn by `degrees` (N,) clockwise, then move by `shifts` (N, 2), shares of width and height; bilinear.

    What enters from outside is black.
    """
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    x, y = -shifts[:, 0] * images.shape[3], -shifts[:, 1] * images.shape[2]
    rows = [torch.stack([cos, sin, cos * x + sin * y], dim=1), torch.stack([-sin, cos, cos * y - sin * x], dim=1)]
    return warp(images, torch.stack(rows, dim=1), "bilinear")


def warp(images: Tensor, matrices: Tensor, interpolation: str) -> Tensor:
    """Fill every pixel from the place that its image's matrix names; what lies outside is black.

    `matrices` (N, 2, 3) lead from the place (x, y, 1) in the result to (x, y) in the source, in pixels from the centre.
    `interpolation` is "nearest" or "bilinear".
    """
    height, width = images.shape[2:]
    matrices = matrices.to(images, non_blocking=True)
    x, y = _centers(width, images) - width / 2, _centers(height, images) - height / 2
    # Column by column and row by row, then added up: 50 times as fast as affine_grid on a CPU.
    by_column = matrices[:, :, :1] * x  # (N, 2, W)
    by_row = matrices[:, :, 1:2] * y + matrices[:, :, 2:]  # (N, 2, H)
    places = by_row.unsqueeze(3) + by_column.unsqueeze(2)  # (N, 2, H, W)
    return _sample(images, places[:, 0], places[:, 1], interpolation)


def inside(boxes: Tensor, images: Tensor) -> Tensor:
    """Which pixels lie in their image's box, (N, 1, H, W) bool; (N, 4) top, left, bottom, right, the last two outside.

    A box may hang over the border.
    """
    height, width = images.shape[2:]
    top, left, bottom, right = boxes.to(images.device, non_blocking=True).view(-1, 4, 1, 1, 1).unbind(dim=1)
    rows = torch.arange(height, device=images.device).view(-1, 1)
    columns = torch.arange(width, device=images.device)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return in_rows & in_columns


def _centers(side: int, images: Tensor) -> Tensor:
    """Where the centres of `side` pixels lie, (side,): 0.5, 1.5, and so on."""
    return torch.arange(side, dtype=images.dtype, device=images.device) + 0.5


def _within(places: Tensor, length: Tensor) -> Tensor:
    """Places on one axis of a box, none of them nearer to its border than the centre of the outermost pixel."""
    return places.clamp(min=0.5).minimum(length - 0.5)


def _sample(images: Tensor, x: Tensor, y: Tensor, interpolation: str) -> Tensor:
    """Images of what lies at `x` and `y`, (N, H, W) or broadcast to it, in pixels from the centre; black outside."""
    height, width = images.shape[2:]
    # grid_sample counts from -1 to 1 on both axes.
    grid = torch.stack(torch.broadcast_tensors(x * 2 / width, y * 2 / height), dim=1).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
