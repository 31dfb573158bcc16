"""What the page says about an image: the same answers as `python -m Resnet23.modeling.predict`, and a warning."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Resnet23.errors import InputError
from Resnet23.explaining.maps import Explainer, import_captum
from Resnet23.explaining.questions import Side, ask_of_image
from Resnet23.images import load_image
from Resnet23.modeling.checkpoint import Checkpoint
from Resnet23.modeling.inference import Classifier, FilePrediction, calibrated
from Resnet23.modeling.prediction_table import labels_row, table_row
from Resnet23.webapp.novelty import choose_rule, logits_of

BATCH_SIZE = 64  # images in memory at once


@dataclass(frozen=True)
class Upload:
    """An image file that somebody sent, and what they call it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Evidence:
    """An image as the network sees it, (S, S, 3) uint8, and how much each pixel speaks for the answer, (S, S).

    Without a map `method` says what is missing to make one.
    """

    seen: np.ndarray
    heat: np.ndarray | None
    caption: str
    method: str


class Answerer:
    """A checkpoint that answers questions about images, one at a time, from whatever thread they come."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Make the network ready and fit the rule of the warning."""
        self.classifier = Classifier(checkpoint, device, BATCH_SIZE)
        self.rule = choose_rule(self.classifier)
        self.captum_is_missing = _why_no_maps()
        self._explainer: Explainer | None = None
        self._lock = threading.Lock()  # maps are made with the help of hooks, which any other pass would run into

    @property
    def has_labels(self) -> bool:
        """Whether an answer is any number of labels; a single class is a yes-or-no question, whatever the task."""
        return self.classifier.checkpoint.task == "multilabel" and len(self.classifier.classes) > 1

    def rows(self, uploads: Sequence[Upload]) -> Iterator[dict[str, Any]]:
        """A row for each file as in the table of predictions, and whether it is `unfamiliar`.

        That is None for a file that cannot be read, whose `error` says why.
        """
        for start in range(0, len(uploads), BATCH_SIZE):
            yield from self._rows(uploads[start : start + BATCH_SIZE])

    def _rows(self, uploads: Sequence[Upload]) -> Iterator[dict[str, Any]]:
        loaded = [self._load(upload) for upload in uploads]
        images = [image for image in loaded if isinstance(image, np.ndarray)]
        answers = iter(zip(*self._predict(np.stack(images)), strict=True)) if images else iter(())
        row_of = labels_row if self.has_labels else table_row
        classes, thresholds = self.classifier.classes, self.classifier.thresholds
        for upload, image in zip(uploads, loaded, strict=True):
            file = Path(upload.name)
            if isinstance(image, str):
                yield row_of(FilePrediction(file, None, image), classes, thresholds) | {"unfamiliar": None}
            else:
                probabilities, unfamiliar = next(answers)
                row = row_of(FilePrediction(file, probabilities), classes, thresholds)
                yield row | {"unfamiliar": bool(unfamiliar)}

    def explain(self, upload: Upload) -> Evidence:
        """What speaks for the answer about an image, or for its most probable label.

        Raises InputError when the file cannot be read.
        """
        image = self._load(upload)
        if isinstance(image, str):
            raise InputError(image)
        if self.captum_is_missing:
            return Evidence(image, None, "", self.captum_is_missing)
        (probabilities,), _ = self._predict(image[None])
        side = self._side(probabilities)
        with self._lock:
            inputs = self._inputs(image[None])
            self._explainer = self._explainer or Explainer(self.classifier.model, inputs)
            (heat,) = self._explainer.maps(inputs, [side.label], [side.sign])
        caption = f"{'for' if side.sign > 0 else 'against'} {self.classifier.classes[side.label]}"
        return Evidence(image, heat, caption, self._explainer.method)

    def _side(self, probabilities: np.ndarray) -> Side:
        """What the answer is: the most probable class, or the absence of the only one."""
        is_one_of_many = len(self.classifier.classes) > 1
        question = ask_of_image(0, self.classifier.classes, probabilities, self.has_labels or not is_one_of_many)
        says_no = not is_one_of_many and probabilities[0] < self.classifier.thresholds[0]
        return question.sides[1 if says_no else 0]

    def _load(self, upload: Upload) -> np.ndarray | str:
        """The image (S, S, 3) uint8 as the network wants it, or what is wrong with the file."""
        how = self.classifier.checkpoint.preprocessing
        try:
            return load_image(upload.path, how.image_size, how.resize, name="image")
        except InputError as error:
            return str(error).removeprefix("image: ")  # its name stands beside it

    def _predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities (N, C) of images (N, S, S, 3), and which of them are unfamiliar (N,)."""
        checkpoint = self.classifier.checkpoint
        data = self.classifier.dataset(images, np.zeros(len(images), np.int64))
        with self._lock:
            logits = logits_of(self.classifier, data)
        probabilities = calibrated(checkpoint.task, logits, checkpoint.decision.temperature)
        return probabilities, self.rule.find_unfamiliar(checkpoint.task, logits, probabilities)

    def _inputs(self, images: np.ndarray) -> Tensor:
        """A single image (1, S, S, 3) as the network takes it, (1, 3, S, S)."""
        data = self.classifier.dataset(images, np.zeros(len(images), np.int64))
        return data[0][0][None].to(self.classifier.device)


def _why_no_maps() -> str:
    """What is missing to make maps; the empty text where all is there."""
    try:
        import_captum()
    except InputError as error:
        return str(error)
    return ""
