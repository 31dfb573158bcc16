"""Changes of the colours of a batch of images, every image by an amount of its own.

Images are floats in [0, 1], shape (N, 3, H, W); amounts are (N,), on any device. The operations that are defined on the
256 levels of a stored image (posterize, solarize, autocontrast, equalize) round to the nearest level first.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from Resnet23.augmentation.imagewise import per_image

# Weights of red, green and blue in the perceived brightness (ITU-R BT.601), as Pillow and torchvision use them.
LUMA = (0.2989, 0.587, 0.114)


def brightness_by(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply every pixel by its image's factor."""
    return (images * per_image(factors, images)).clamp_(0, 1)


def contrast_by(images: Tensor, factors: Tensor) -> Tensor:
    """Move every pixel away from its image's mean brightness by a factor; 0 leaves nothing but that brightness."""
    center = _luma(images).mean(dim=(2, 3), keepdim=True)
    return torch.lerp(center, images, per_image(factors, images)).clamp_(0, 1)


def saturation_by(images: Tensor, factors: Tensor) -> Tensor:
    """Move every pixel away from its own grey by its image's factor; 0 makes the image grey."""
    return torch.lerp(_luma(images), images, per_image(factors, images)).clamp_(0, 1)


def sharpness_by(images: Tensor, factors: Tensor) -> Tensor:
    """Move every pixel away from the mean around it by its image's factor; 0 blurs; the outermost pixels stay.

    In that mean, of 3 x 3 pixels, the pixel itself counts 5 times and each neighbour once, as in Pillow.
    """
    columns = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    squares = columns[..., :-2] + columns[..., 1:-1] + columns[..., 2:]
    blurred = images.clone()
    blurred[:, :, 1:-1, 1:-1] = (squares + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return torch.lerp(blurred, images, per_image(factors, images)).clamp_(0, 1)


def hue_by(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each image by `turns` of the colour wheel; 1 is all the way round."""
    red, green, blue = images.unbind(dim=1)  # (N, H, W) each
    highest = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    hue = _hue(red, green, blue, highest, lowest).add_(6 * per_image(turns, images)[:, 0]).remainder_(6)
    # How far each channel of that hue is from the lowest to the highest: clipped triangle waves over the wheel (Smith,
    # "Color Gamut Transform Pairs", 1978).
    waves = [(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()]
    return torch.lerp(lowest.unsqueeze(1), highest.unsqueeze(1), torch.stack(waves, dim=1).clamp_(0, 1))


def posterize_by(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` of the 8 of every level; a fraction of a bit is rounded."""
    steps = per_image(2 ** (8 - bits.round()), images)
    return (_levels(images) / steps).floor_().mul_(steps).div_(255)


def solarize_by(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the pixels whose value is at least their image's threshold, a number in [0, 1]."""
    levels = _levels(images)
    return torch.where(levels >= 255 * per_image(thresholds, images), 255 - levels, levels).div_(255)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to the full range; a channel of one level stays."""
    return _on_bytes(functional.autocontrast, images)


def equalize(images: Tensor) -> Tensor:
    """Spread the levels of every channel of every image so that each is about equally frequent."""
    return _on_bytes(functional.equalize, images)


def invert(images: Tensor) -> Tensor:
    """Turn every channel upside down, so that black becomes white."""
    return 1 - images


def _levels(images: Tensor) -> Tensor:
    """Every value as the nearest level, a whole number from 0 to 255 in a float."""
    return (255 * images).round_()


def _on_bytes(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a function of uint8 images."""
    # Channel after channel in memory: torchvision's functions reduce over each, ten times slower on channels last.
    levels = _levels(images).to(torch.uint8, memory_format=torch.contiguous_format)
    return function(levels).to(images.dtype).div_(255)


def _hue(red: Tensor, green: Tensor, blue: Tensor, highest: Tensor, lowest: Tensor) -> Tensor:
    """The hue of every pixel in sixths of the wheel, in [-1, 5]: red is 0, green 2, blue 4, and greys are 0."""
    is_red, is_green = highest == red, highest == green
    start = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)).to(red.dtype)
    difference = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    chroma = highest - lowest
    return start + difference / torch.where(chroma > 0, chroma, 1)


def _luma(images: Tensor) -> Tensor:
    """The brightness of every pixel, (N, 1, H, W)."""
    red, green, blue = images.unbind(dim=1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(1)
