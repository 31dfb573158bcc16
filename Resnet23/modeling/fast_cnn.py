"""A plain convolutional network that learns small images with little arithmetic.

Its layout, initial weights and constants are those with which CIFAR-10 is learnt in seconds on a GPU: Jordan, 94% on
CIFAR-10 in 3.29 Seconds on a Single GPU (2024, arXiv:2404.00498), section 3, after Page (2019).
"""

import torch
from torch import Tensor, nn

from Resnet23.modeling.flips import FlipAveraging
from Resnet23.modeling.whitening import WhiteningConvolution

STATISTICS_MOMENTUM = 0.4  # share of a batch in BatchNorm's running statistics; trainings of few steps need a high one
LOGIT_SCALE = 1 / 9


class FastCNN(FlipAveraging):
    """Fixed 2x2 whitening, three blocks of two 3x3 convolutions at 1, 4 and 4 times `width` channels, a classifier.

    Images (N, 3, H, W) of any size from 16 pixels -> logits (N, num_classes). With random weights it wants to see
    training images first: `prepare`.
    """

    def __init__(self, num_classes: int = 10, width: int = 64, average_flips: bool = False) -> None:
        super().__init__(average_flips)
        whitening = WhiteningConvolution(2, bias=True)
        self.layers = nn.Sequential(
            whitening,
            nn.GELU(),
            *_block(whitening.out_channels, width),
            *_block(width, 4 * width),
            *_block(4 * width, 4 * width),
        )
        self.classifier = nn.Linear(4 * width, num_classes, bias=False)

    def prepare(self, images: Tensor) -> None:
        """Compute the whitening from normalised training images (N, 3, H, W)."""
        self.layers[0].prepare(images)

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) as they are -> logits (N, num_classes)."""
        features = self.layers(images).amax(dim=(2, 3))  # (N, 4 * width), the strongest response of each channel
        return self.classifier(features) * LOGIT_SCALE


class ChannelBias(nn.Module):
    """Adds a learned number to each channel; (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


def fast_cnn(num_classes: int = 10, width: int = 64, average_flips: bool = False, **_: object) -> FastCNN:
    """The network; dropout rates and how a residual block begins, which other networks have, mean nothing to it."""
    return FastCNN(num_classes, width, average_flips)


def _block(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Two convolutions, halving the resolution after the first; (N, in_channels, H, W) -> (N, out_channels, H', W')."""
    first, second = (
        nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False)
        for channels in (in_channels, out_channels)
    )
    for convolution in (first, second):  # the first output channels begin as copies of the input channels
        nn.init.dirac_(convolution.weight[: convolution.in_channels])
    return [first, nn.MaxPool2d(2), *_normalization(out_channels), second, *_normalization(out_channels)]


def _normalization(channels: int) -> list[nn.Module]:
    """BatchNorm that learns a bias but no scale, and GELU."""
    norm = nn.BatchNorm2d(channels, momentum=STATISTICS_MOMENTUM, affine=False)
    return [norm, ChannelBias(channels), nn.GELU()]
