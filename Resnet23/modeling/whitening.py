"""A first convolution that whitens the patches of the images: computed from training images, never trained.

Neighbouring pixels are nearly equal, so that most of what a first layer sees varies along few directions, and gradient
descent is slow along all others. Filters that give every direction the variance 1 remove this. Page, How to train your
ResNet, part 8 (2019, https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/); both signs of each direction,
for the non-linearity that follows, are from Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024,
arXiv:2404.00498), section 3.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 5e-4  # Jordan's; added to variances, so that directions of hardly more than noise are not blown up
IMAGES_AT_ONCE = 100  # the patches of 3x3 pixels take 18 times the memory of the images


class WhiteningConvolution(nn.Conv2d):
    """Images (N, 3, H, W) -> (N, 6k^2, H', W'): patches of k x k pixels along their principal directions.

    The weights (6k^2, 3, k, k) are a buffer rather than a parameter: no optimizer, and no phase of a training, changes
    them. They are random until `prepare` has seen images. A bias, where there is one, begins at zero and learns.
    """

    def __init__(self, kernel_size: int, padding: int = 0, bias: bool = False) -> None:
        super().__init__(3, 6 * kernel_size**2, kernel_size, padding=padding, bias=bias)
        weight = self.weight.detach()
        del self.weight
        self.register_buffer("weight", weight)
        if bias:
            nn.init.zeros_(self.bias)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Compute the weights from normalised training images (N, 3, H, W)."""
        self.weight.copy_(whitening_filters(images, self.kernel_size[0]))


def whitening_filters(images: Tensor, kernel_size: int) -> Tensor:
    """The filters (6k^2, 3, k, k) that whiten the k x k patches of images (N, 3, H, W), as float32.

    The first half are the eigenvectors of the patches' covariance divided by the root of their eigenvalues, the
    strongest first, and the second half their negatives. The same images give the same filters: the sign of an
    eigenvector, which is arbitrary, is that with which its largest entry is positive.
    """
    variances, directions = torch.linalg.eigh(patch_covariance(images, kernel_size))  # in ascending order
    directions = directions.T.flip(0)  # (3k^2, 3k^2), an eigenvector in each row
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    filters = directions * largest.sign() / (variances.flip(0)[:, None].clamp(min=0) + EPSILON).sqrt()
    return torch.cat([filters, -filters]).view(-1, 3, kernel_size, kernel_size).float()


def patch_covariance(images: Tensor, kernel_size: int) -> Tensor:
    """The covariance (3k^2, 3k^2), float64, of all k x k patches of images (N, 3, H, W) whose mean is zero.

    It is computed in float64: the smallest variances are thousands of times smaller than the largest.
    """
    size = 3 * kernel_size**2
    sums, count = torch.zeros(size, size, dtype=torch.float64), 0
    for part in images.split(IMAGES_AT_ONCE):
        patches = F.unfold(part.double(), kernel_size).transpose(0, 1).flatten(1)  # (3k^2, patches of all images)
        sums += patches @ patches.T
        count += patches.shape[1]
    return sums / count
