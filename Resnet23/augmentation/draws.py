"""Random numbers for the images of a batch, each image its own, the same on any number of processes."""

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The stream of random numbers for one training batch, fixed by (seed, epoch, step).

    Numbers are drawn on the CPU for the whole batch and then cut to `part`, the share of it that this process computes.
    `positions` (B,) says which images of the data set the whole batch holds.
    """

    def __init__(self, seed: int, epoch: int, step: int, positions: np.ndarray, part: slice = slice(None)) -> None:
        self.seed, self.epoch, self.positions, self.part = seed, epoch, positions, part
        # step + 1: NumPy takes the seeds (seed, epoch) and (seed, epoch, 0) for the same, and the order of the images
        # is drawn from (seed, epoch).
        self._generator = np.random.default_rng((seed, epoch, step + 1))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), float32 (n, *shape), for the n images of this part."""
        return self._part(self._generator.random((len(self.positions), *shape), dtype=np.float32))

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to `high` - 1, int64 (n, *shape)."""
        return self._part(self._generator.integers(high, size=(len(self.positions), *shape)))

    def beta(self, alpha: float) -> Tensor:
        """Numbers in [0, 1] from Beta(alpha, alpha), float32 (n,); `alpha` is above 0."""
        return self._part(self._generator.beta(alpha, alpha, len(self.positions)).astype(np.float32))

    def permutation(self) -> Tensor:
        """The numbers from 0 to n - 1 in random order, int64 (n,): a partner in this part for each of its images."""
        return self.uniform().argsort(stable=True)

    def alternating(self) -> Tensor:
        """(n,) bool: the same random half of the data set in every odd epoch, and the other half in every even one."""
        numbers = _mix_bits(self.positions.astype(np.uint64), self.seed)
        return self._part((numbers + np.uint64(self.epoch)) % 2 == 0)

    def _part(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers[self.part])


def _mix_bits(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A random-looking 64-bit number for each whole number: SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = numbers + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
