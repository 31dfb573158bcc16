"""A trained network made ready for prediction: the same answers in less time."""

import copy
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGES_AT_ONCE = 32  # on a processor: what the layers hand on stays in its cache; 256 at once take half as long again


class PredictionNetwork(nn.Module):
    """A copy of `model` for prediction on `device`; images (N, 3, H, W) -> logits (N, C), equal but for rounding.

    BatchNorm is folded into the convolutions, the memory order is channels last, and a processor takes the images of a
    batch in parts.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = fold_batch_norm(model).to(device, memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return self.network(images)
        return torch.cat([self.network(part) for part in images.split(IMAGES_AT_ONCE)])


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy of a network, in evaluation mode, whose convolutions also do what the BatchNorm after them did.

    It is `model` itself where there is nothing to fold, or where torch.fx cannot follow the way through the network.
    """
    if not any(type(module) is nn.BatchNorm2d for module in model.modules()):
        return model.eval()
    try:
        traced = symbolic_trace(copy.deepcopy(model).eval())
    except Exception:  # which one depends on the network's code; such a network works as it is
        return model.eval()
    for convolution, norm in list(_pairs(traced)):
        folded = fuse_conv_bn_eval(traced.get_submodule(convolution), traced.get_submodule(norm))
        traced.set_submodule(convolution, folded)
        traced.set_submodule(norm, nn.Identity())
    return traced


def _pairs(traced: GraphModule) -> Iterator[tuple[str, str]]:
    """The names of convolutions and of the BatchNorm that nothing but they lead to, wherever they are called."""
    before, after = defaultdict(set), defaultdict(set)
    for node in traced.graph.nodes:
        if node.op == "call_module":
            before[node.target].add(_module_of(node.args[0]))
            after[node.target].add(_module_of(*node.users) if len(node.users) == 1 else None)
    for name, module in traced.named_modules():
        (norm, *others) = after[name] or {None}
        if type(module) is not nn.Conv2d or norm is None or others or before[norm] != {name}:
            continue
        found = traced.get_submodule(norm)
        if type(found) is nn.BatchNorm2d and found.track_running_stats:
            yield name, norm


def _module_of(node: object) -> str | None:
    """The name of the module that a node of the graph calls; None when it does something else."""
    return node.target if isinstance(node, Node) and node.op == "call_module" else None
