"""What one process measures during an epoch: loss, right images, seconds, waiting."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from Resnet23.errors import Diverged


class EpochMeter:
    """Sums over the images of an epoch so far. They stay on the device: reading them there makes a GPU wait."""

    def __init__(self, epoch: int, device: torch.device) -> None:
        self.epoch = epoch
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, right images
        self.seconds = 0.0  # of training, validation not among them
        self.waited = 0.0  # seconds of these in which the next batch was not ready
        self.learning_rate = 0.0  # of the last step
        self.last_loss = 0.0  # summed over the images of the last step that was checked
        self._clock = time.perf_counter()
        self._unchecked: list[tuple[int, float, Tensor]] = []  # step, learning rate, loss

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Count images with this summed loss and this number of right ones."""
        self.sums += torch.stack([loss.double(), correct.double()])

    def start_clock(self) -> None:
        """Training begins, or goes on."""
        self._clock = time.perf_counter()

    def read_clock(self) -> None:
        """Add the seconds since it was started or read last."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def end_step(self, step: int, learning_rate: float, loss: Tensor, waited: float) -> None:
        """Note a step whose work has been handed to the device; its loss is looked at later, by `check`."""
        self._unchecked.append((step, learning_rate, loss))
        self.learning_rate = learning_rate
        self.waited += waited
        self.read_clock()

    def check(self) -> None:
        """Raise Diverged, naming the first such step, when a loss since the last check is not a finite number."""
        if not self._unchecked:
            return
        losses = torch.stack([loss for _, _, loss in self._unchecked]).tolist()
        for (step, learning_rate, _), loss in zip(self._unchecked, losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss is not a finite number at epoch {self.epoch}, step {step + 1}, "
                    f"learning rate {learning_rate:g}; try a lower train.learning_rate"
                )
        self.last_loss = losses[-1]
        self._unchecked.clear()

    def state_dict(self) -> dict[str, Any]:
        """The numbers as they stand."""
        return {
            "sums": self.sums,
            "seconds": self.seconds,
            "waited": self.waited,
            "learning_rate": self.learning_rate,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from numbers that were saved."""
        self.sums.copy_(state["sums"])
        self.seconds, self.waited, self.learning_rate = state["seconds"], state["waited"], state["learning_rate"]
