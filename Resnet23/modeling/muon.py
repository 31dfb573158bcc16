"""Muon for whole networks: the convolutions by Muon, everything else by AdamW, behind one optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.optimizer import ParamsT


class Muon(Optimizer):
    """Steps convolution kernels (four dimensions) by torch.optim.Muon and all other parameters by AdamW.

    Muon replaces the averaged gradient of a matrix by the nearest orthogonal one (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). PyTorch's takes matrices only, so it is given each kernel
    (out, in, h, w) as a matrix (out, in * h * w) that shares the kernel's memory. Its steps are scaled to the size of
    AdamW's (Liu et al. 2025, arXiv 2502.16982), so that one learning rate serves both.

    Parameter groups hold the network's own parameters: schedules, loss scaling and clipping work as for any optimizer.
    A saved momentum has the column order of its kernel's memory format and is resumed in the same one.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})
        self._create_parts()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also what `load_state_dict` ends with: the new state has to reach the two parts."""
        super().__setstate__(state)
        self._create_parts()

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; returns the closure's loss, as all optimizers do."""
        loss = None if closure is None else closure()
        for group, muon, adamw in zip(
            self.param_groups, self._muon.param_groups, self._adamw.param_groups, strict=True
        ):
            adamw.update({key: group[key] for key in ("lr", "weight_decay")})
            muon.update({key: group[key] for key in ("lr", "weight_decay", "momentum", "nesterov")})
            for kernel, matrix in zip(_kernels(group), muon["params"], strict=True):
                _follow(matrix, kernel)
        self._adamw.step()
        self._muon.step()
        self._muon.zero_grad()  # else the matrices would keep the gradients in memory
        return loss

    def _create_parts(self) -> None:
        """The two optimizers that do the work, group by group as here, on the state that is kept here."""
        matrices = [[_rows(kernel.detach(), kernel) for kernel in _kernels(group)] for group in self.param_groups]
        others = [[parameter for parameter in group["params"] if parameter.ndim != 4] for group in self.param_groups]
        self._muon = torch.optim.Muon([{"params": group} for group in matrices], adjust_lr_fn="match_rms_adamw")
        self._adamw = AdamW([{"params": group} for group in others])
        self._adamw.state = self.state
        for group, own in zip(self.param_groups, matrices, strict=True):
            for kernel, matrix in zip(_kernels(group), own, strict=True):
                self._muon.state[matrix] = self.state[kernel]


def _kernels(group: dict[str, Any]) -> list[Tensor]:
    """The convolution kernels of a parameter group."""
    return [parameter for parameter in group["params"] if parameter.ndim == 4]


def _follow(matrix: Tensor, kernel: Tensor) -> None:
    """Make `matrix` the memory of `kernel` as it now is (moving a model gives it new memory), gradient included."""
    matrix.data = _rows(kernel.detach(), kernel)
    matrix.grad = None if kernel.grad is None else _rows(kernel.grad.to(memory_format=_memory_format(kernel)), kernel)


def _rows(tensor: Tensor, kernel: Tensor) -> Tensor:
    """A view of `tensor` (out, in, h, w) as (out, in * h * w); the order of the columns is that of kernel's memory.

    Which order does not matter to Muon. That it is a view does: steps on a copy would not reach the network.
    """
    ordered = tensor if _memory_format(kernel) == torch.contiguous_format else tensor.permute(0, 2, 3, 1)
    return ordered.view(len(tensor), -1)


def _memory_format(kernel: Tensor) -> torch.memory_format:
    return torch.contiguous_format if kernel.is_contiguous() else torch.channels_last
