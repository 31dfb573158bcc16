"""Which places of an image speak for a class, in any network: by Grad-CAM where that can tell, else by occlusion.

Grad-CAM looks at the last layer that knows of places, and is as good as that layer: Selvaraju et al., Grad-CAM: Visual
Explanations from Deep Networks via Gradient-based Localization (2016, arXiv:1610.02391). Occlusion covers one place
after another and sees how the answer changes: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks
(2013, arXiv:1311.2901). It needs a pass through the network for each place, but nothing of its layers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Resnet23.errors import missing_package
from Resnet23.explaining.grids import from_grid, last_grid, to_grid

COARSEST = 4  # places along a side of a layer's grid; fewer point at nothing
SQUARES = 7  # along a side, to cover one after another: the places that networks for 224 pixels keep in the end

# An image (1, 3, S, S) and K classes -> (K, 1, s, s), of either sign, s at most S.
Attribution = Callable[[Tensor, list[int]], Tensor]


class Explainer:
    """The maps of one network; `method` says how they are made."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        """Choose the method with the help of an image (1, 3, S, S); `model` is in evaluation mode.

        Raises InputError when captum is missing.
        """
        found = last_grid(model, example)
        if found and found[1] >= COARSEST:
            module, side = found
            name = next(key for key, value in model.named_modules() if value is module)
            self.method = f"Grad-CAM at the layer {name}, {side} x {side} places"
            self._attribute = grad_cam(model, module)
        else:
            pixels = -(-example.shape[-1] // SQUARES)
            self.method = f"occlusion by squares of {pixels} x {pixels} pixels"
            self._attribute = occlusion(model, pixels)

    def maps(self, image: Tensor, classes: Sequence[int], signs: Sequence[int]) -> np.ndarray:
        """How much each pixel of an image (1, 3, S, S) speaks for classes, or with the sign -1 against: (K, S, S).

        None is negative. The unit is that of the logits, so that maps of one image can be compared.
        """
        found = self._attribute(image, list(classes))
        signed = found * torch.tensor(signs, device=found.device).view(-1, 1, 1, 1)
        enlarged = F.interpolate(signed.relu(), image.shape[-2:], mode="bilinear")
        return enlarged[:, 0].detach().cpu().numpy()


def grad_cam(model: nn.Module, module: nn.Module) -> Attribution:
    """Grad-CAM at a module whose output is a grid."""
    grid = nn.Identity()  # the module's output passes through it in the form that captum knows, (N, C, s, s)
    method = import_captum().LayerGradCam(model, grid)

    def attribute(image: Tensor, classes: list[int]) -> Tensor:
        with _detour(module, grid):
            return method.attribute(image.expand(len(classes), -1, -1, -1), target=classes)

    return attribute


def occlusion(model: nn.Module, side: int) -> Attribution:
    """How much the logit falls when a square of `side` pixels has the mean colour of the training images.

    That is zero to the network, which takes normalised images.
    """
    method_of = import_captum().Occlusion

    def attribute(image: Tensor, classes: list[int]) -> Tensor:
        square = (3, side, side)
        with torch.no_grad():  # a function of several values has a map for each of them
            method = method_of(lambda images: model(images)[0, classes])
            return method.attribute(image, square, strides=square)[:, :1]  # the channels are equal

    return attribute


def import_captum() -> Any:
    """The library's methods. Raises InputError, with the extra to install, when it is missing."""
    try:
        import captum.attr
    except ImportError:
        raise missing_package("captum", "explain") from None
    return captum.attr


@contextmanager
def _detour(module: nn.Module, grid: nn.Module) -> Iterator[None]:
    """Lead a module's output through `grid`, and back into its own form for the layers after it."""
    handle = module.register_forward_hook(lambda _, __, output: from_grid(grid(to_grid(output)), output))
    try:
        yield
    finally:
        handle.remove()
