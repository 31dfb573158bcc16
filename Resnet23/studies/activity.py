"""How the channels of chosen layers respond to images: how often, and how much that depends on the class.

Only positive responses count, as ReLU lets no others pass. A layer is any module whose output is a grid of places in
the image, by its name in `named_modules()`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError, name_some
from Resnet23.explaining.grids import grid_side, to_grid
from Resnet23.modeling.inference import predict_logits

RARE = 0.01  # share of places below which a channel counts as rarely active


@dataclass(frozen=True)
class Activity:
    """The responses of the K channels of a layer to N images.

    `strength` (N, K) is the mean positive response over the places, `frequency` (N, K) the share of places with one.
    """

    strength: np.ndarray
    frequency: np.ndarray

    @property
    def dead(self) -> float:
        """The share of channels that respond at no place of any image."""
        return float((self.frequency.max(axis=0) == 0).mean())

    @property
    def rare(self) -> float:
        """The share of channels that respond at fewer than 1% of all places, the dead ones among them."""
        return float((self.frequency.mean(axis=0) < RARE).mean())

    @property
    def active(self) -> float:
        """The share of all responses that are positive."""
        return float(self.frequency.mean())

    def selectivity(self, members: np.ndarray) -> float:
        """The mean class selectivity of the channels that respond at all, 0 where none does.

        `members` (N, C) is 1 where an image is of a class.
        """
        index = class_selectivity(self.strength, members)
        return float(np.nanmean(index)) if np.isfinite(index).any() else 0.0


def class_selectivity(strength: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The class selectivity index of each channel (K,): 0 responds to all classes alike, 1 to a single one.

    It is (a - b) / (a + b) of the mean response a to the class with the highest and b to all others (Morcos et al.,
    On the importance of single directions for generalization, 2018, arXiv:1803.06959). NaN for a channel without any
    response. `strength` (N, K) is not negative; `members` (N, C) is 1 where an image is of a class.
    """
    present = members[:, members.any(axis=0)].astype(np.float64)
    means = present.T @ strength / present.sum(axis=0)[:, None]  # (C, K)
    highest = means.max(axis=0)
    others = (means.sum(axis=0) - highest) / max(len(means) - 1, 1)
    return np.divide(highest - others, highest + others, out=np.full(len(highest), np.nan), where=highest > 0)


def measure_activity(
    model: nn.Module, data: FeatureDataset, layers: Sequence[str], batch_size: int, device: torch.device
) -> dict[str, Activity]:
    """The activity of each layer on the images of `data`, by name; `model` is on `device`."""
    strength: dict[str, list[Tensor]] = {name: [] for name in layers}
    frequency: dict[str, list[Tensor]] = {name: [] for name in layers}

    def see(name: str, maps: Tensor) -> None:
        strength[name].append(maps.mean(dim=(2, 3)).cpu())
        frequency[name].append((maps > 0).float().mean(dim=(2, 3)).cpu())

    with watch_layers(model, layers, see):
        predict_logits(model, data, batch_size, device)
    return {name: Activity(torch.cat(strength[name]).numpy(), torch.cat(frequency[name]).numpy()) for name in layers}


def feature_maps(
    model: nn.Module, data: FeatureDataset, layers: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """The positive responses (N, K, s, s) of each layer to the images of `data`, few enough for one batch."""
    maps: dict[str, Tensor] = {}
    with watch_layers(model, layers, lambda name, found: maps.update({name: found.cpu()})):
        predict_logits(model, data, len(data), device)
    return maps


def find_layers(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Module]:
    """Modules of a network by name. Raises InputError for a name that it does not have."""
    modules = dict(model.named_modules())
    for name in layers:
        if not name or name not in modules:
            known = sorted(filter(None, modules), key=lambda each: each.count("."))  # outer modules first
            raise InputError(
                f"options.layers: found {name!r}, which this network does not have; it has {name_some(known)}"
            )
    return {name: modules[name] for name in layers}


@contextmanager
def watch_layers(model: nn.Module, layers: Sequence[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Show `see` the name and the positive responses (N, K, s, s) of each layer whenever the network runs.

    Raises InputError for a layer that the network does not have, or whose output is no grid.
    """

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, output: see(name, _responses(name, output))

    handles = [module.register_forward_hook(hook(name)) for name, module in find_layers(model, layers).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def settle_statistics(model: nn.Module, data: FeatureDataset, batch_size: int, device: torch.device, seed: int) -> None:
    """Give BatchNorm the statistics of these images, so that an untrained network is not judged with none."""
    order = torch.Generator().manual_seed(seed)  # images come sorted by class, which batches must not be
    whole_batches = len(data) > batch_size  # a rest of one image has no variance
    update_bn(DataLoader(data, batch_size, shuffle=True, drop_last=whole_batches, generator=order), model, device)


def _responses(name: str, output: Any) -> Tensor:
    if grid_side(output) == 0:
        raise InputError(
            f"options.layers: found {name!r}, whose output is no grid of places in the image; expected a layer before "
            "the pooling, such as a stage"
        )
    return to_grid(output).float().relu()
