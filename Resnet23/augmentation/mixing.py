"""MixUp and CutMix: training images and their targets mixed in pairs, every image with its own partner and share."""

import torch
from torch import Tensor

from Resnet23.augmentation.draws import Draws
from Resnet23.augmentation.geometry import inside
from Resnet23.augmentation.imagewise import per_image
from Resnet23.config import AugmentParams


def mix(images: Tensor, targets: Tensor, params: AugmentParams, draws: Draws) -> tuple[Tensor, Tensor]:
    """Mix each image (N, 3, H, W), and its row of the targets (N, C), with another one of this part of the batch.

    Targets are floats: one 1 in each row for classes, any number of them for labels. With `params.mixup` and
    `params.cutmix` both above 0, either is as likely for each image; one of the two has to be.
    """
    partners = draws.permutation().to(images.device, non_blocking=True)
    kept = _kept(images, params, draws)
    shares = kept.mean(dim=(2, 3)).flatten()
    return mix_by(images, partners, kept), mix_by(targets, partners, shares.view(-1, 1))


def mix_by(values: Tensor, partners: Tensor, kept: Tensor) -> Tensor:
    """Of each row of `values` keep the share `kept`, and fill up with the row whose number `partners` (N,) holds."""
    return torch.lerp(values[partners], values, kept)


def mixup_shares(images: Tensor, shares: Tensor) -> Tensor:
    """How much of each pixel is kept when images are blended, (N, 1, H, W): everywhere the image's share (N,).

    Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2017).
    """
    return per_image(shares, images).expand(-1, 1, *images.shape[2:])


def cutmix_shares(images: Tensor, shares: Tensor, centers: Tensor) -> Tensor:
    """How much of each pixel is kept when a box is pasted, (N, 1, H, W): 0 inside the box, 1 outside.

    The box has the image's proportions, the area 1 - `shares` (N,) and its middle at `centers` (N, 2), row and column;
    what hangs over the border is lost. Yun et al., "CutMix" (2019).
    """
    sides = torch.tensor(images.shape[2:])
    halves = (sides * (1 - shares).sqrt().unsqueeze(1) / 2).long()  # (N, 2), rounded down as in the paper
    boxes = torch.cat([centers - halves, centers + halves], dim=1)
    return 1 - inside(boxes, images).to(images.dtype)


def _kept(images: Tensor, params: AugmentParams, draws: Draws) -> Tensor:
    """How much of each pixel is kept, (N, 1, H, W), by MixUp or CutMix as drawn for each image."""
    if params.cutmix == 0:
        return mixup_shares(images, draws.beta(params.mixup))
    centers = (draws.uniform(2) * torch.tensor(images.shape[2:])).long()
    pasted = cutmix_shares(images, draws.beta(params.cutmix), centers)
    if params.mixup == 0:
        return pasted
    blended = mixup_shares(images, draws.beta(params.mixup))
    return torch.where(per_image(draws.uniform() < 0.5, images), pasted, blended)
