"""ResNet-23 with a whitening convolution as the first layer of its stem."""

from torch import Tensor, nn

from Resnet23.modeling.model23 import BLOCKS_PER_STAGE, ResNet
from Resnet23.modeling.whitening import WhiteningConvolution


class WhitenedResNet(ResNet):
    """A ResNet whose stem is a fixed 3x3 whitening convolution, ReLU and a learned 1x1 convolution, then as before.

    The arguments are those of ResNet. With random weights it wants to see training images first: `prepare`.
    """

    def __init__(self, *arguments: object, width: int = 64, **options: object) -> None:
        super().__init__(*arguments, width=width, **options)
        whitening = WhiteningConvolution(3, padding=1)
        projection = nn.Conv2d(whitening.out_channels, width, kernel_size=1, bias=False)
        nn.init.kaiming_normal_(projection.weight, mode="fan_out", nonlinearity="relu")
        self.conv1 = nn.Sequential(whitening, nn.ReLU(), projection)

    def prepare(self, images: Tensor) -> None:
        """Compute the whitening from normalised training images (N, 3, H, W)."""
        self.conv1[0].prepare(images)


def resnet23_whitened(num_classes: int = 10, **options: object) -> WhitenedResNet:
    """ResNet-23 with a whitened stem; see `ResNet` for the options."""
    return WhitenedResNet(BLOCKS_PER_STAGE["resnet23"], num_classes, **options)
