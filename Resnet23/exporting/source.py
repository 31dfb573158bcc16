"""What the writers of all formats start from; what several of them need is computed once."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from Resnet23.dataset import to_unit_range
from Resnet23.exporting.networks import PixelClassifier
from Resnet23.exporting.tracing import to_onnx, trace
from Resnet23.modeling.checkpoint import Checkpoint
from Resnet23.modeling.inference import TrainedModel

DESCRIPTION = "classifier.json"
TRACED_IMAGES = 2  # a batch of one image would be taken for the only size of batches


@dataclass(frozen=True)
class Source:
    """A trained model to export.

    Every file holds the JSON `description` under the name `description_name`. `calibration` (N, S, S, 3) uint8 are the
    images on which a quantised network's ranges are measured.
    """

    trained: TrainedModel
    description: Mapping[str, Any]
    description_name: str = DESCRIPTION
    calibration: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Side in pixels of the images that the network takes."""
        return self.trained.preprocessing.image_size

    @property
    def metadata(self) -> dict[str, str]:
        """The description as JSON, by its name."""
        return {self.description_name: json.dumps(self.description, ensure_ascii=False)}

    @cached_property
    def network(self) -> PixelClassifier:
        """The classifier of pixels from 0 to 1. Raises as building the trained model does."""
        return PixelClassifier(self.trained)

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph of that classifier, for any number of images."""
        return trace(self.network, self.example, ["batch"])

    @cached_property
    def onnx(self) -> bytes:
        """The same graph as a file."""
        return to_onnx(self.program, ["batch"], self.metadata)

    @property
    def example(self) -> Tensor:
        """Grey images as the classifier of pixels takes them."""
        return torch.full((TRACED_IMAGES, 3, self.size, self.size), 0.5)


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a user of an exported model has to know, in plain values; `model` are the arguments of create_model."""
    model = {**checkpoint.model, "pretrained": False}  # the weights are in the file
    return {
        "model": model,
        "classes": checkpoint.classes,
        "task": checkpoint.task,
        "preprocessing": asdict(checkpoint.preprocessing),
        "decision": asdict(checkpoint.decision),
        "git_revision": checkpoint.git_revision,
    }


def as_pixels(images: np.ndarray) -> Tensor:
    """Images (N, S, S, 3) uint8 -> pixels (N, 3, S, S) float32 from 0 to 1."""
    return to_unit_range(torch.from_numpy(images).permute(0, 3, 1, 2)).contiguous()
