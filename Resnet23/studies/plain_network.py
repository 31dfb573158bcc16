"""A plain convolutional network whose layers all have one geometry, and what that geometry makes of an image's size."""

from itertools import pairwise
from typing import NamedTuple, Self

from torch import Tensor, nn

from Resnet23.errors import InputError


class ReceptiveField(NamedTuple):
    """Which pixels along a side of the image a unit of a layer sees.

    `size` pixels; those of unit 0 begin at pixel `start`, negative in the padding, and those of each next unit `jump`
    further. (Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, 2019.)
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def next(self, kernel_size: int, stride: int, padding: int) -> Self:
        """The receptive field after one more layer."""
        size = self.size + (kernel_size - 1) * self.jump
        return type(self)(size, self.jump * stride, self.start - padding * self.jump)

    def pixels(self, unit: int, image_size: int) -> range:
        """The pixels that a unit sees, less those outside of the image."""
        first = self.start + unit * self.jump
        return range(max(first, 0), min(first + self.size, image_size))


class PlainNetwork(nn.Module):
    """Convolutions with BatchNorm and ReLU, all of one geometry, then the mean over space and a linear classifier.

    Images (N, 3, S, S) -> logits (N, num_classes). Every layer has `width` channels, so that neither stride nor padding
    changes the number of weights. Raises InputError when images of `image_size` pixels are too small.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        stride: int = 1,
        padding: int = 1,
        kernel_size: int = 3,
        layers: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__()
        output_sizes(image_size, stride, padding, kernel_size, layers)
        channels = [3, *[width] * layers]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, kernel_size, stride, padding, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for before, after in pairwise(channels)
            )
        )
        self.classifier = nn.Linear(width, num_classes)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """The output (N, width, s, s) of each layer."""
        found = [images]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found[1:]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean(dim=(2, 3)))


def output_sizes(image_size: int, stride: int, padding: int, kernel_size: int, layers: int) -> list[int]:
    """The side of each layer's output: floor((n + 2p - k) / s) + 1 of an input with n places a side.

    (Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, arXiv:1603.07285, relationship 6.)
    Raises InputError, naming the layer, when a kernel does not fit into its padded input.
    """
    sizes = [image_size]
    for layer in range(1, layers + 1):
        padded = sizes[-1] + 2 * padding
        if padded < kernel_size:
            raise InputError(
                f"images of {image_size} pixels are too small for stride {stride} and padding {padding}: the input of "
                f"layer {layer} has {padded} places a side with its padding, expected at least the kernel's "
                f"{kernel_size}; take larger images, fewer layers or a smaller stride"
            )
        sizes.append((padded - kernel_size) // stride + 1)
    return sizes[1:]


def receptive_fields(stride: int, padding: int, kernel_size: int, layers: int) -> list[ReceptiveField]:
    """The receptive field after each layer."""
    fields = [ReceptiveField()]
    for _ in range(layers):
        fields.append(fields[-1].next(kernel_size, stride, padding))
    return fields[1:]
