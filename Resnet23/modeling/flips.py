"""Answers from an image and its mirror image together: a little more accurate, for twice the arithmetic."""

from torch import Tensor, nn


class FlipAveraging(nn.Module):
    """A network that, with `average_flips` and in evaluation mode, gives the mean logits of an image and its mirror.

    A subclass computes the logits in `logits`. As the mean is a part of the network, whatever uses the network has it:
    validation, calibration, prediction, exported files. (Krizhevsky et al. 2012 averaged over crops and their mirror
    images, section 4.1 of ImageNet Classification with Deep Convolutional Neural Networks.)
    """

    def __init__(self, average_flips: bool = False) -> None:
        super().__init__()
        self.average_flips = average_flips

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) as they are -> logits (N, num_classes)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.average_flips:
            return self.logits(x)
        mirrored = self.logits(x.flip(3))  # first, so that a hook, as Grad-CAM's, ends with what it saw of the image
        return (mirrored + self.logits(x)) / 2
