"""Random changes of the training images, for whole batches on the device, a draw of its own for every image.

Batches are floats in [0, 1], shape (N, 3, H, W). The random numbers come from the CPU, so that the stream is the same
on every device; the work is done by functions that take explicit amounts, in colors, geometry and policies.
"""

import math

import torch
from torch import Tensor

from Resnet23.augmentation.colors import brightness_by, contrast_by, hue_by, saturation_by
from Resnet23.augmentation.draws import Draws
from Resnet23.augmentation.geometry import affine_by, crop_by, inside, mirror, resized_crop_by
from Resnet23.augmentation.imagewise import change_some
from Resnet23.augmentation.policies import apply_policy
from Resnet23.config import AffineParams, AugmentParams, ColorJitterParams, ResizedCropParams


def augment(images: Tensor, params: AugmentParams, mean: tuple[float, ...], draws: Draws) -> Tensor:
    """Apply everything that `params` switches on but MixUp and CutMix; `mean` is the colour of the cutout squares."""
    # Colours first: contrast and equalize look at the whole image, and black that a shift brings in is none of it.
    # Cutout last, so that its square keeps its size, colour and straight sides. AutoAugment's authors do the same.
    if params.color_jitter.probability > 0:
        images = color_jitter(images, params.color_jitter, draws)
    if params.policy != "none":
        images = apply_policy(images, params, draws)
    if params.resized_crop.probability > 0:
        images = resized_crop(images, params.resized_crop, draws)
    if params.affine.probability > 0:
        images = affine(images, params.affine, draws)
    if params.flip != "none":
        images = flip(images, params.flip, draws)
    if params.crop_padding > 0:
        images = crop(images, params.crop_padding, params.crop_mode, draws)
    if params.cutout > 0:
        images = cutout(images, params.cutout, mean, draws)
    return images


def color_jitter(images: Tensor, params: ColorJitterParams, draws: Draws) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image with probability `params.probability`."""
    chosen = draws.uniform() < params.probability
    largest = torch.tensor([params.brightness, params.contrast, params.saturation, params.hue])
    return change_some(images, chosen, color_jitter_by, (2 * draws.uniform(4) - 1) * largest)


def color_jitter_by(images: Tensor, changes: Tensor) -> Tensor:
    """Change brightness, contrast, saturation (factors 1 + change) and hue (turns) by `changes` (N, 4)."""
    images = brightness_by(images, 1 + changes[:, 0])
    images = contrast_by(images, 1 + changes[:, 1])
    images = saturation_by(images, 1 + changes[:, 2])
    return hue_by(images, changes[:, 3])


def resized_crop(images: Tensor, params: ResizedCropParams, draws: Draws) -> Tensor:
    """Bring a random part of each image to full size, with probability `params.probability`; bilinear.

    Its area is uniform in [`min_area`, 1], the logarithm of its stretch uniform up to `max_aspect` either way, or as
    far as the box fits into the image (Szegedy et al., "Going Deeper with Convolutions", 2015).
    """
    chosen = draws.uniform() < params.probability
    area, stretch, *places = draws.uniform(4).unbind(dim=1)  # (N,) each
    area = params.min_area + (1 - params.min_area) * area
    stretch = torch.exp((2 * stretch - 1) * (-area.log()).clamp(max=math.log(params.max_aspect)))
    sides = torch.tensor(images.shape[2:])
    shares = torch.stack([(area / stretch).sqrt(), (area * stretch).sqrt()], dim=1)  # (N, 2) of height and width
    sizes = (shares * sides).round().clamp(min=1)
    starts = (torch.stack(places, dim=1) * (sides - sizes + 1)).floor()
    return change_some(images, chosen, resized_crop_by, torch.cat([starts, sizes], dim=1))


def affine(images: Tensor, params: AffineParams, draws: Draws) -> Tensor:
    """Turn and shift each image, with probability `params.probability`; what enters from outside is black."""
    chosen = draws.uniform() < params.probability
    amounts = 2 * draws.uniform(3) - 1
    return change_some(images, chosen, affine_by, amounts[:, 0] * params.degrees, amounts[:, 1:] * params.translate)


def flip(images: Tensor, mode: str, draws: Draws) -> Tensor:
    """Mirror half of the images left-right: a "random" half, or "alternating" from epoch to epoch.

    Alternating, an image is seen both ways in every two epochs; Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single
    GPU" (2024, arXiv 2404.00498).
    """
    return mirror(images, draws.alternating() if mode == "alternating" else draws.uniform() < 0.5)


def crop(images: Tensor, padding: int, mode: str, draws: Draws) -> Tensor:
    """Pad every side by `padding` pixels ("reflect" or "zero") and cut the original size out at a random place."""
    return crop_by(images, padding, mode, draws.integers(2 * padding + 1, 2))


def cutout(images: Tensor, size: int, mean: tuple[float, ...], draws: Draws) -> Tensor:
    """Fill a square of side `size` around a random pixel with the mean colour; it may hang over the border.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """
    starts = (draws.uniform(2) * torch.tensor(images.shape[2:])).long() - size // 2
    fill = torch.tensor(mean, dtype=images.dtype).to(images.device, non_blocking=True).view(1, 3, 1, 1)
    return torch.where(inside(torch.cat([starts, starts + size], dim=1), images), fill, images)
