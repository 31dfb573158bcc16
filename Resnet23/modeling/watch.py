"""Watching a training: its course in TensorBoard, and whether a gradient reaches every layer."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from loguru import logger
from torch import nn
from torchvision.utils import make_grid

from Resnet23.config import REPORTS_DIR, TrackingParams
from Resnet23.errors import InputError, missing_package
from Resnet23.history import EpochRecord

TENSORBOARD_DIR = REPORTS_DIR / "tensorboard"


class Watch:
    """What `tracking.tensorboard` and `tracking.gradients` ask for; with both off it does nothing.

    TensorBoard reads reports/tensorboard/`name`. A training that goes on under the same name replaces the points of
    the epochs that it repeats. Raises InputError when the package tensorboard is asked for and missing.
    """

    def __init__(self, params: TrackingParams, name: str) -> None:
        self.folder = TENSORBOARD_DIR / name
        self.on_gradients = self._gradients if params.gradients else None
        self._open = _summary_writer() if params.tensorboard else None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def images(self, batch: np.ndarray) -> None:
        """Show training images (N, H, W, 3) uint8 as the network sees them; once for all trainings of this name."""
        if self._open and not any(self.folder.glob("events.*")):
            grid = make_grid(torch.from_numpy(batch).permute(0, 3, 1, 2))  # (3, height, width)
            self._write(0, lambda writer: writer.add_image("augmented batch", grid, 0))

    def epoch(self, record: EpochRecord) -> None:
        """Add a point to the curve of every column of the history."""
        columns = {name: value for name, value in asdict(record).items() if name != "epoch" and value is not None}
        self._add_scalars("history", columns, record.epoch)

    def _gradients(self, epoch: int, network: nn.Module) -> None:
        """Log the mean absolute gradient of each layer, from input to output, and name the layers that get none."""
        sizes = mean_absolute_gradients(network)
        logger.info(
            f"epoch {epoch}, mean absolute gradients: {', '.join(f'{name} {size:.1e}' for name, size in sizes.items())}"
        )
        if silent := [name for name, size in sizes.items() if size == 0]:
            logger.warning(f"epoch {epoch}: no gradient reaches {', '.join(silent)}, which therefore cannot learn")
        self._add_scalars("gradient", sizes, epoch)

    def _add_scalars(self, group: str, values: Mapping[str, float], epoch: int) -> None:
        def add(writer: Any) -> None:
            for name, value in values.items():
                writer.add_scalar(f"{group}/{name}", value, epoch)

        self._write(epoch, add)

    def _write(self, step: int, add: Callable[[Any], None]) -> None:
        """Let `add` write to TensorBoard's file. A full disk is reported once and does not end the training."""
        if self._open is None:
            return
        try:
            # purge_step: TensorBoard forgets what an interrupted training has written of this step and later ones.
            self._writer = self._writer or self._open(str(self.folder), purge_step=step)
            add(self._writer)
            self._writer.flush()
        except OSError as error:
            logger.warning(f"{self.folder}: TensorBoard shows nothing from here on ({error}); the training goes on")
            self._open = self._writer = None


NOT_WATCHED = Watch(TrackingParams(), "")


def mean_absolute_gradients(network: nn.Module) -> dict[str, float]:
    """The mean absolute gradient of every layer that is trained, by name, in the order of their definition.

    A layer is a weight of two dimensions or more: biases and normalisation follow their layer, and would triple the
    list. A weight without gradient, which no output depends on, counts as 0.
    """
    weights = {
        name.removesuffix(".weight"): weight
        for name, weight in network.named_parameters()
        if weight.requires_grad and weight.ndim >= 2
    }
    means = [weight.new_zeros(()) if weight.grad is None else weight.grad.abs().mean() for weight in weights.values()]
    return dict(zip(weights, torch.stack(means).tolist(), strict=True))  # a GPU is waited for once


def _summary_writer() -> Callable[..., Any]:
    """TensorBoard's writer, kept from loading TensorFlow, beside which PyTorch can crash."""
    try:
        # Where there is a module of this name, TensorBoard writes files by itself even if TensorFlow is installed.
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        reason = missing_package("tensorboard", "tensorboard")
        raise InputError(f"tracking.tensorboard: found true, but {reason}") from None
    return SummaryWriter
