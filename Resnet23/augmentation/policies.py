"""Published mixtures of changes, RandAugment, AutoAugment and TrivialAugment, for whole batches on the device.

Each image gets operations and strengths of its own. Operations, ranges, nearest interpolation and black fill are those
of torchvision.transforms.v2. Images are floats in [0, 1], shape (N, 3, H, W), and stay so from operation to operation;
only the operations that are defined on the 256 levels of a stored image round to them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from Resnet23.augmentation import colors
from Resnet23.augmentation.draws import Draws
from Resnet23.augmentation.geometry import warp
from Resnet23.augmentation.imagewise import change_some_
from Resnet23.config import AugmentParams

# For each image the number of an operation in OPERATIONS, and its magnitude; both (N,), on the CPU.
Step = tuple[Tensor, Tensor]
# Operation -> magnitude where it does least and magnitude where it does most.
Ranges = Mapping[str, tuple[float, float]]


def apply_policy(images: Tensor, params: AugmentParams, draws: Draws) -> Tensor:
    """Change every image as the policy that `params` names draws it."""
    height, width = images.shape[2:]
    for operations, magnitudes in POLICIES[params.policy](params, height, width, draws):
        images = apply_operations(images, operations, magnitudes)
    return images


def apply_operations(images: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Apply to each image its own operation; both (N,), on the CPU."""
    changed = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        change_some_(changed, operations == number, operation, magnitudes)
    return changed


def rand_augment(params: AugmentParams, height: int, width: int, draws: Draws) -> list[Step]:
    """Some operations one after the other, each any of CHOICES, all of one strength (Cubuk et al., 2019)."""
    ranges = standard_ranges(height, width)
    steps = []
    for _ in range(params.randaugment.operations):
        operations = draws.integers(len(CHOICES))
        levels = torch.full_like(operations, params.randaugment.magnitude)
        steps.append((operations, _magnitudes(ranges, 31, operations, levels, draws)))
    return steps


def trivial_augment(params: AugmentParams, height: int, width: int, draws: Draws) -> list[Step]:
    """One operation, any of CHOICES, of any strength, which may be great (Mueller and Hutter, 2021)."""
    operations, levels = draws.integers(len(CHOICES)), draws.integers(31)
    return [(operations, _magnitudes(WIDE_RANGES, 31, operations, levels, draws))]


def auto_augment(params: AugmentParams, height: int, width: int, draws: Draws) -> list[Step]:
    """One of the pairs of operations in CIFAR10_POLICY, each with its own probability (Cubuk et al., 2018)."""
    pairs = draws.integers(len(CIFAR10_POLICY))
    ranges = standard_ranges(height, width)
    steps = []
    for half in zip(*CIFAR10_POLICY, strict=True):
        names, probabilities, levels = zip(*half, strict=True)
        operations = torch.tensor([NUMBERS[name] for name in names])[pairs]
        skipped = draws.uniform() >= torch.tensor(probabilities)[pairs]
        operations[skipped] = NUMBERS["identity"]
        steps.append((operations, _magnitudes(ranges, 10, operations, torch.tensor(levels)[pairs], draws)))
    return steps


def _magnitudes(ranges: Ranges, bins: int, operations: Tensor, levels: Tensor, draws: Draws) -> Tensor:
    """The magnitude of each image's operation, (N,), at its level from 0 to `bins` - 1, half of them the other way."""
    table = torch.stack([torch.linspace(*ranges.get(name, (0, 0)), bins) for name in OPERATIONS])
    # What begins at 0 goes either way, such as a shift to the left or to the right; the others know one way only.
    other_way = (draws.uniform() < 0.5) & (table[operations, 0] == 0)
    magnitudes = table[operations, levels]
    return torch.where(other_way, -magnitudes, magnitudes)


# ----------------------------------------------------------------------------------------------------------------------
# The operations: (images, magnitudes (N,)) -> images


def _identity(images: Tensor, magnitudes: Tensor) -> Tensor:
    return images


def _shear_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Push each row to the left by `magnitudes` times its distance from the top."""
    matrices = _unchanged(magnitudes)
    matrices[:, 0, 1] = magnitudes
    matrices[:, 0, 2] = magnitudes * images.shape[2] / 2
    return warp(images, matrices, "nearest")


def _shear_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Push each column up by `magnitudes` times its distance from the left."""
    matrices = _unchanged(magnitudes)
    matrices[:, 1, 0] = magnitudes
    matrices[:, 1, 2] = magnitudes * images.shape[3] / 2
    return warp(images, matrices, "nearest")


def _translate_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Move to the right by so many pixels, less the fraction."""
    matrices = _unchanged(magnitudes)
    matrices[:, 0, 2] = -magnitudes.trunc()
    return warp(images, matrices, "nearest")


def _translate_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Move down by so many pixels, less the fraction."""
    matrices = _unchanged(magnitudes)
    matrices[:, 1, 2] = -magnitudes.trunc()
    return warp(images, matrices, "nearest")


def _rotate(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Turn counterclockwise by so many degrees."""
    angles = torch.deg2rad(magnitudes)
    matrices = _unchanged(magnitudes)
    matrices[:, 0, 0] = matrices[:, 1, 1] = angles.cos()
    matrices[:, 1, 0] = angles.sin()
    matrices[:, 0, 1] = -angles.sin()
    return warp(images, matrices, "nearest")


def _unchanged(magnitudes: Tensor) -> Tensor:
    """Matrices (N, 2, 3) that leave every pixel in its place."""
    return torch.eye(2, 3).repeat(len(magnitudes), 1, 1)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": _identity,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": lambda images, magnitudes: colors.brightness_by(images, 1 + magnitudes),
    "color": lambda images, magnitudes: colors.saturation_by(images, 1 + magnitudes),
    "contrast": lambda images, magnitudes: colors.contrast_by(images, 1 + magnitudes),
    "sharpness": lambda images, magnitudes: colors.sharpness_by(images, 1 + magnitudes),
    "posterize": colors.posterize_by,
    "solarize": colors.solarize_by,
    "autocontrast": lambda images, magnitudes: colors.autocontrast(images),
    "equalize": lambda images, magnitudes: colors.equalize(images),
    "invert": lambda images, magnitudes: colors.invert(images),
}
NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
# What RandAugment and TrivialAugment choose from; invert, which comes last, is AutoAugment's alone.
CHOICES = [name for name in OPERATIONS if name != "invert"]


# ----------------------------------------------------------------------------------------------------------------------
# The policies


def standard_ranges(height: int, width: int) -> Ranges:
    """The ranges of AutoAugment and RandAugment for images of this size; operations without a magnitude have none."""
    return {
        "shear_x": (0, 0.3),  # pixels sideways for each pixel down
        "shear_y": (0, 0.3),
        "translate_x": (0, 150 / 331 * width),  # pixels; the paper moved images of 331 pixels by up to 150
        "translate_y": (0, 150 / 331 * height),
        "rotate": (0, 30),  # degrees
        "brightness": (0, 0.9),  # factors 1 +- magnitude
        "color": (0, 0.9),
        "contrast": (0, 0.9),
        "sharpness": (0, 0.9),
        "posterize": (8, 4),  # bits kept
        "solarize": (1, 0),  # share of the highest level
    }


# The ranges of TrivialAugment's space "wide", in the same units.
WIDE_RANGES: Ranges = {
    "shear_x": (0, 0.99),
    "shear_y": (0, 0.99),
    "translate_x": (0, 32),
    "translate_y": (0, 32),
    "rotate": (0, 135),
    "brightness": (0, 0.99),
    "color": (0, 0.99),
    "contrast": (0, 0.99),
    "sharpness": (0, 0.99),
    "posterize": (8, 2),
    "solarize": (1, 0),
}

# AutoAugment's policy for CIFAR-10: twice operation, probability, level from 0 to 9 (0 where there is no magnitude).
CIFAR10_POLICY = [
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
]

POLICIES: dict[str, Callable[[AugmentParams, int, int, Draws], list[Step]]] = {
    "randaugment": rand_augment,
    "autoaugment": auto_augment,
    "trivialaugment": trivial_augment,
}
