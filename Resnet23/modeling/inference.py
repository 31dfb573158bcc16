"""Batched prediction from a network, a checkpoint or an exported model, in fp32 whatever it was trained in."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from Resnet23.dataset import FeatureDataset, normalize, resize, to_unit_range
from Resnet23.errors import InputError
from Resnet23.images import load_image
from Resnet23.modeling.checkpoint import Decision, Preprocessing
from Resnet23.modeling.folding import PredictionNetwork
from Resnet23.modeling.losses import get_task


@torch.no_grad()
def predict_logits(
    model: nn.Module,
    data: FeatureDataset,
    batch_size: int,
    device: torch.device,
    part: slice = slice(None),
    description: str | None = None,
) -> Tensor:
    """The logits (N, C) of the images in `part` of `data` in order, on the CPU; `model` is left in evaluation mode.

    With a `description` a progress bar is shown.
    """
    model.eval()
    first, end, _ = part.indices(len(data))
    starts = range(first, end, batch_size)
    logits = []
    for start in tqdm(starts, desc=description, unit="batch", disable=True if description is None else None):
        images, _ = data.raw_batch(np.arange(start, min(start + batch_size, end)))
        inputs = normalize(resize(to_unit_range(images.to(device)), data.image_size), data.mean, data.std)
        logits.append(model(inputs).float().cpu())
    return torch.cat(logits)


class TrainedModel(Protocol):
    """What a classifier is made of, such as a Checkpoint: a network, how to prepare images and how to read logits."""

    classes: list[str]
    preprocessing: Preprocessing
    decision: Decision
    task: str

    def build_model(self) -> nn.Module:
        """The network with its weights, in evaluation mode."""


class Classifier:
    """A checkpoint ready to predict: its network on a device, its preprocessing and its calibration.

    `model` is the network as it was trained, for whoever looks inside it.
    """

    def __init__(self, checkpoint: TrainedModel, device: torch.device, batch_size: int) -> None:
        self.checkpoint = checkpoint
        self.device = device
        self.batch_size = batch_size
        self.model = checkpoint.build_model().to(device, memory_format=torch.channels_last)

    @cached_property
    def predictor(self) -> nn.Module:
        """The same network made ready for prediction."""
        return PredictionNetwork(self.model, self.device)

    @property
    def classes(self) -> list[str]:
        return self.checkpoint.classes

    @property
    def thresholds(self) -> list[float]:
        """From which probability on each label is given, where there are labels."""
        return self.checkpoint.decision.label_thresholds(len(self.classes))

    def dataset(self, images: np.ndarray, targets: np.ndarray, rows: np.ndarray | None = None) -> FeatureDataset:
        """Arrays as this checkpoint's network takes them; images (N, H, W, 3) uint8, targets (N,) or (N, C)."""
        how = self.checkpoint.preprocessing
        return FeatureDataset(images, targets, how.mean, how.std, rows, how.image_size)

    def probabilities(self, data: FeatureDataset, description: str | None = None) -> np.ndarray:
        """Calibrated probabilities (N, C), float32."""
        logits = predict_logits(self.predictor, data, self.batch_size, self.device, description=description)
        return calibrated(self.checkpoint.task, logits, self.checkpoint.decision.temperature)


def calibrated(task: str, logits: Tensor, temperature: float | None) -> np.ndarray:
    """Logits (N, C) -> probabilities (N, C) float32, after division by the temperature where there is one."""
    return get_task(task).activation(logits / (temperature or 1.0)).numpy()


@dataclass(frozen=True)
class FilePrediction:
    """What a classifier says about one file: probabilities (C,), or the reason why it could not be read."""

    file: Path
    probabilities: np.ndarray | None
    error: str | None = None


def predict_files(classifier: Classifier, files: Sequence[Path]) -> Iterator[FilePrediction]:
    """Predict image files in the given order, a batch in memory at a time; unreadable ones give an error row."""
    answers = predict_images(classifier, tqdm(files, desc="predict", unit="image", disable=None))
    for file, answer in zip(files, answers, strict=True):
        yield FilePrediction(file, None, answer) if isinstance(answer, str) else FilePrediction(file, answer)


def predict_images(classifier: Classifier, sources: Iterable[Path | bytes]) -> Iterator[np.ndarray | str]:
    """For each image file, given by its path or as its bytes, the probabilities (C,) or why it could not be read.

    A batch is in memory at a time.
    """
    for batch in _batches(sources, classifier.batch_size):
        loaded = [_load(source, classifier) for source in batch]
        images = [image for image in loaded if isinstance(image, np.ndarray)]
        rows: Iterator[np.ndarray] = iter(())
        if images:
            data = classifier.dataset(np.stack(images), np.zeros(len(images), dtype=np.int64))
            rows = iter(classifier.probabilities(data))
        yield from (image if isinstance(image, str) else next(rows) for image in loaded)


def _load(source: Path | bytes, classifier: Classifier) -> np.ndarray | str:
    """The image (S, S, 3) uint8 as the network wants it, or what is wrong with the file."""
    preprocessing = classifier.checkpoint.preprocessing
    try:
        return load_image(source, preprocessing.image_size, preprocessing.resize, name="image")
    except InputError as error:
        return str(error).removeprefix("image: ")  # its name stands beside it


def _batches(items: Iterable[Path | bytes], size: int) -> Iterator[list[Path | bytes]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
