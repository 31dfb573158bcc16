"""Images and feature maps as a measurement keeps them: uint8 and small, as they travel through a database."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from Resnet23.dataset import FeatureDataset, resize, to_unit_range

MAP_SIDE, IMAGE_SIDE = 32, 64  # pixels that are kept at most


def kept_images(data: FeatureDataset) -> np.ndarray:
    """The images of `data`, (N, S, S, 3) uint8, of at most 64 pixels a side."""
    images, _ = data.raw_batch(np.arange(len(data)))
    small = resize(to_unit_range(images), min(images.shape[-1], IMAGE_SIDE)).clamp(0, 1)
    return (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def strongest_maps(maps: Tensor, count: int) -> np.ndarray:
    """The channels of maps (N, K, s, s) with the highest mean, strongest first, (N, at most count, s, s) uint8.

    Each channel goes from 0 to its highest value in all of the images; negative values count as 0. Larger maps are
    averaged to 32 places a side.
    """
    positive = maps.relu()
    channels = positive.mean(dim=(0, 2, 3)).argsort(descending=True)[:count]
    small = F.adaptive_avg_pool2d(positive[:, channels], min(maps.shape[-1], MAP_SIDE))
    highest = small.amax(dim=(0, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (small / highest * 255).round().to(torch.uint8).numpy()
