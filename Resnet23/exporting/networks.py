"""What is exported: a trained network with everything that happens before and after it, down to probabilities."""

import torch
from torch import Tensor, nn

from Resnet23.exporting.resampling import resize_images
from Resnet23.modeling.inference import TrainedModel
from Resnet23.modeling.losses import get_task


class PixelClassifier(nn.Module):
    """All that happens to an image once it has its size: pixels (N, 3, S, S) from 0 to 1 -> probabilities (N, C).

    Normalisation, network, temperature, and softmax or sigmoid as the task wants it.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        preprocessing = trained.preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))
        self.network = trained.build_model()
        self.temperature = trained.decision.temperature or 1.0
        self.activation = get_task(trained.task).activation
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.network((images - self.mean) / self.std) / self.temperature)


class ImageClassifier(nn.Module):
    """All that happens to a decoded image: RGB pixels (N, H, W, 3) uint8 of any size -> probabilities (N, C)."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.size, self.rule = trained.preprocessing.image_size, trained.preprocessing.resize
        self.classifier = PixelClassifier(trained)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(resize_images(images, self.size, self.rule))
