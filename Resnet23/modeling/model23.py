"""Residual networks for small images: one class, a table of rows.

The blocks are those of He et al., "Deep Residual Learning for Image Recognition" (2015), behind a 3x3 stem of
stride 1 without max-pooling, so that a 32-pixel image keeps its resolution through the first stage.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Resnet23.modeling.flips import FlipAveraging

# Residual blocks in each of the four stages. Twice their sum plus the stem gives the convolutions on the main path.
BLOCKS_PER_STAGE: dict[str, tuple[int, int, int, int]] = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet23": (3, 3, 3, 2),
    "resnet34": (3, 4, 6, 3),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    `dropout_rate` is the share of whole channels zeroed between the convolutions while training.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dropout_rate: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout2d(dropout_rate)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(self.dropout(out)))
        return F.relu(out + self.shortcut(x))


class ResNet(FlipAveraging):
    """Stem, four stages of basic blocks at 1, 2, 4 and 8 times `width` channels, and a linear classifier.

    Images (N, 3, H, W) of any size from 8 pixels -> logits (N, num_classes). With `zero_init_residual` every block
    begins as its shortcut alone: the scale of its last BatchNorm is zero at first (Goyal et al., Accurate, Large
    Minibatch SGD, 2017, section 5.1).
    """

    def __init__(
        self,
        blocks_per_stage: Sequence[int],
        num_classes: int = 10,
        dropout_rate: float = 0.1,
        final_dropout_rate: float = 0.2,
        width: int = 64,
        zero_init_residual: bool = False,
        average_flips: bool = False,
    ) -> None:
        super().__init__(average_flips)
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, in_channels = [], width
        for index, blocks in enumerate(blocks_per_stage):
            out_channels = width * 2**index
            stages.append(_make_stage(in_channels, out_channels, blocks, 1 if index == 0 else 2, dropout_rate))
            in_channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.final_dropout = nn.Dropout(final_dropout_rate)
        self.classifier = nn.Linear(in_channels, num_classes)
        self.apply(_initialize)
        if zero_init_residual:
            for block in self.stages.modules():
                if isinstance(block, BasicBlock):
                    nn.init.zeros_(block.bn2.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> features averaged over space (N, 8 * width)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.stages(x).mean(dim=(2, 3))

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) as they are -> logits (N, num_classes)."""
        return self.classifier(self.final_dropout(self.forward_features(images)))


def _make_stage(in_channels: int, out_channels: int, blocks: int, stride: int, dropout_rate: float) -> nn.Sequential:
    """A stage: the first block changes resolution and channels, the others keep them."""
    first = BasicBlock(in_channels, out_channels, stride, dropout_rate)
    others = [BasicBlock(out_channels, out_channels, 1, dropout_rate) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
    """Kaiming fan-out for convolutions (He et al. 2015), 1 and 0 for BatchNorm, normal 0.01 for the classifier."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _row(name: str) -> Callable[..., ResNet]:
    """The function that builds the network of one row of the table."""

    def build(
        num_classes: int = 10,
        dropout_rate: float = 0.1,
        final_dropout_rate: float = 0.2,
        width: int = 64,
        zero_init_residual: bool = False,
        average_flips: bool = False,
    ) -> ResNet:
        rates = dropout_rate, final_dropout_rate
        return ResNet(BLOCKS_PER_STAGE[name], num_classes, *rates, width, zero_init_residual, average_flips)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"A ResNet with {BLOCKS_PER_STAGE[name]} blocks in its stages; see `ResNet` for the arguments."
    return build


resnet10 = _row("resnet10")
resnet18 = _row("resnet18")
resnet23 = _row("resnet23")
resnet34 = _row("resnet34")
