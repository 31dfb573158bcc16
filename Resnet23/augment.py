"""Random changes of the training images, for whole batches on the device, a draw of its own for every image.

Batches are floats in [0, 1], shape (N, 3, H, W). Every function takes the random numbers from a CPU generator, so that
the stream is the same on every device, and a `_by` function that takes explicit amounts does the work.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from Resnet23.config import AffineParams, AugmentParams, ColorJitterParams

# Weights of red, green and blue in the perceived brightness (ITU-R BT.601), as Pillow and torchvision use them.
LUMA = (0.2989, 0.587, 0.114)


def augment(images: Tensor, params: AugmentParams, mean: tuple[float, ...], generator: Generator) -> Tensor:
    """Apply everything that `params` switches on; `mean` is the colour of the cutout squares."""
    if params.color_jitter.probability > 0:
        images = color_jitter(images, params.color_jitter, generator)
    if params.affine.probability > 0:
        images = affine(images, params.affine, generator)
    if params.flip:
        images = flip(images, generator)
    if params.crop_padding > 0:
        images = crop(images, params.crop_padding, params.crop_mode, generator)
    if params.cutout > 0:
        images = cutout(images, params.cutout, mean, generator)
    return images


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image left-right with probability one half."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5  # (N,)
    return torch.where(_per_image(mirrored, images), images.flip(dims=(3,)), images)


def crop(images: Tensor, padding: int, mode: str, generator: Generator) -> Tensor:
    """Pad every side by `padding` pixels (reflect or zero) and cut the original size out at a random place."""
    offsets = torch.randint(0, 2 * padding + 1, (len(images), 2), generator=generator)  # (N, 2) row, column
    return crop_by(images, padding, mode, offsets)


def crop_by(images: Tensor, padding: int, mode: str, offsets: Tensor) -> Tensor:
    """Cut the original size out of the padded images at `offsets` (N, 2) from their top left corners."""
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4, mode="constant" if mode == "zero" else mode)
    offsets = offsets.to(images.device)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)  # (N, H)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)  # (N, W)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    pixels = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]  # (N, H, W, 3)
    return pixels.permute(0, 3, 1, 2)


def cutout(images: Tensor, size: int, mean: tuple[float, ...], generator: Generator) -> Tensor:
    """Fill a square of side `size` around a random pixel with the mean colour; it may hang over the border.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """
    height, width = images.shape[2:]
    draws = torch.rand(len(images), 2, generator=generator)
    tops = (draws[:, 0] * height).long() - size // 2
    lefts = (draws[:, 1] * width).long() - size // 2
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= tops[:, None]) & (rows < tops[:, None] + size)  # (N, H)
    in_columns = (columns >= lefts[:, None]) & (columns < lefts[:, None] + size)  # (N, W)
    inside = (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1).to(images.device)  # (N, 1, H, W)
    fill = torch.tensor(mean, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return torch.where(inside, fill, images)


def affine(images: Tensor, params: AffineParams, generator: Generator) -> Tensor:
    """Turn and shift each image, with probability `params.probability`; what enters from outside is black."""
    draws = torch.rand(len(images), 4, generator=generator)
    chosen = draws[:, 0] < params.probability
    degrees = (2 * draws[:, 1] - 1) * params.degrees * chosen
    shifts = (2 * draws[:, 2:] - 1) * params.translate * chosen[:, None]  # (N, 2) shares of width and height
    return affine_by(images, degrees, shifts)


def affine_by(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """Turn by `degrees` (N,) clockwise, then move by `shifts` (N, 2), shares of width and height; bilinear."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    # affine_grid wants the way back, from the result to the source, in coordinates from -1 to 1 on both axes.
    x, y = -2 * shifts[:, 0], -2 * shifts[:, 1]
    ratio = height / width
    top = torch.stack([cos, sin * ratio, cos * x + sin * ratio * y], dim=1)
    bottom = torch.stack([-sin / ratio, cos, -sin / ratio * x + cos * y], dim=1)
    matrices = torch.stack([top, bottom], dim=1).to(images)  # (N, 2, 3)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def color_jitter(images: Tensor, params: ColorJitterParams, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image with probability `params.probability`."""
    draws = torch.rand(len(images), 5, generator=generator)
    spread = (2 * draws[:, 1:] - 1) * (draws[:, :1] < params.probability)  # (N, 4), zero where nothing changes
    images = brightness_by(images, 1 + spread[:, 0] * params.brightness)
    images = contrast_by(images, 1 + spread[:, 1] * params.contrast)
    images = saturation_by(images, 1 + spread[:, 2] * params.saturation)
    return hue_by(images, spread[:, 3] * params.hue)


def brightness_by(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply every pixel by its image's factor (N,)."""
    return (images * _per_image(factors, images)).clamp(0, 1)


def contrast_by(images: Tensor, factors: Tensor) -> Tensor:
    """Move every pixel away from its image's mean brightness by a factor (N,)."""
    center = _luma(images).mean(dim=(2, 3), keepdim=True)
    return (center + (images - center) * _per_image(factors, images)).clamp(0, 1)


def saturation_by(images: Tensor, factors: Tensor) -> Tensor:
    """Move every pixel away from its own grey by its image's factor (N,)."""
    grey = _luma(images)
    return (grey + (images - grey) * _per_image(factors, images)).clamp(0, 1)


def hue_by(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each image by `turns` (N,) of the colour wheel; 1 is all the way round."""
    highest, lowest = images.amax(dim=1), images.amin(dim=1)  # (N, H, W)
    chroma = highest - lowest
    hue = (_hue(images, highest, chroma) + _per_image(turns, images)[:, 0]) % 1.0
    # Each channel of a pure hue is a clipped triangle wave over the wheel (Smith, "Color Gamut Transform Pairs", 1978).
    phases = torch.tensor([5.0, 3.0, 1.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    position = (phases + 6 * hue.unsqueeze(1)) % 6
    wave = torch.minimum(position, 4 - position).clamp(0, 1)
    return highest.unsqueeze(1) - chroma.unsqueeze(1) * wave


def _hue(images: Tensor, highest: Tensor, chroma: Tensor) -> Tensor:
    """The hue of every pixel in [0, 1), 0 for greys; images (N, 3, H, W), the others and the result (N, H, W)."""
    red, green, blue = images.unbind(dim=1)
    divisor = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixths = torch.where(
        highest == red,
        (green - blue) / divisor,
        torch.where(highest == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return (sixths / 6) % 1.0


def _luma(images: Tensor) -> Tensor:
    """The brightness of every pixel, (N, 1, H, W)."""
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(N,) on the CPU -> (N, 1, 1, 1) on the images' device; numbers get the images' type."""
    values = values.to(images.device)
    return (values if values.dtype == torch.bool else values.to(images.dtype)).view(-1, 1, 1, 1)
