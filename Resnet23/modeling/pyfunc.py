"""What MLflow loads to serve a logged model: image files in, class names and probabilities out.

MLflow copies this package into the folder of every model and imports this module from there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from Resnet23.errors import IntegrityError
from Resnet23.files import printable
from Resnet23.labels import join_labels
from Resnet23.modeling.checkpoint import Decision, Preprocessing
from Resnet23.modeling.inference import Classifier, predict_images
from Resnet23.multilabel_predictions import answer_confidence

DESCRIPTION_FILE = "classifier.json"  # in the model's folder
BATCH_SIZE = 32  # images in memory at a time


class ExportedNetwork(nn.Module):
    """A network as torch.export wrote it, traced in evaluation mode, which it keeps."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.network = torch.export.load(file).module()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def train(self, mode: bool = True) -> "ExportedNetwork":
        """Do nothing, for both modes: an exported network raises when it is told one."""
        return self


@dataclass(frozen=True)
class ExportedModel:
    """An exported network and what classifier.json says about its use: what a Classifier is made of."""

    network: ExportedNetwork
    classes: list[str]
    preprocessing: Preprocessing
    decision: Decision
    task: str

    def build_model(self) -> nn.Module:
        """The network with its weights."""
        return self.network


class ImageModel:
    """A classifier as MLflow serves it."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify image files of any size and mode, one a row, their bytes in the column `image`.

        Gives the columns `class` (the most probable one), `confidence` (its probability), `prob_<class>` for every
        class, and `error`: None, or why this row's image cannot be read, and then all else in the row is None.
        Of a multi-label model `class` holds all labels that reach their thresholds, joined by `|`, and `confidence` is
        the probability that all answers are right, if they are independent. `params` are MLflow's; there are none.
        """
        classes = self.classifier.classes
        columns = ["class", "confidence", *(f"prob_{name}" for name in classes), "error"]
        answers = list(predict_images(self.classifier, (_file_bytes(value) for value in frame["image"])))
        rows = [_error_row(answer, classes) if isinstance(answer, str) else self._row(answer) for answer in answers]
        table = pd.DataFrame(rows, frame.index, columns, dtype=object)
        unread = any(isinstance(answer, str) for answer in answers)
        return table if unread else table.infer_objects()  # which would make None NaN, and that is no JSON

    def _row(self, probabilities: np.ndarray) -> list[Any]:
        """The answer for an image of these probabilities (C,)."""
        classes, values = self.classifier.classes, probabilities.tolist()
        if self.classifier.checkpoint.task == "multilabel":
            given = probabilities >= np.array(self.classifier.thresholds)
            names = [classes[label] for label in np.flatnonzero(given)]
            return [join_labels(names), float(answer_confidence(probabilities, given)), *values, None]
        best = int(probabilities.argmax())
        return [classes[best], values[best], *values, None]


def _load_pyfunc(path: str) -> ImageModel:
    """MLflow's entry point: `path` is the exported network, <folder of the model>/data/model.pt2."""
    model = read_exported_model(Path(path), Path(path).parents[1] / DESCRIPTION_FILE)
    return ImageModel(Classifier(model, torch.device("cpu"), BATCH_SIZE))


def read_exported_model(network: Path, description: Path) -> ExportedModel:
    """Read an exported network and the JSON file that says how to use it. Raises IntegrityError for a damaged one."""
    exported = ExportedNetwork(network)
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        content["preprocessing"] = Preprocessing(**content["preprocessing"])
        content["decision"] = Decision(**content["decision"])
        return ExportedModel(exported, **content)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{printable(description)}: not the description of a classifier ({type(error).__name__}: {error}); "
            "log the model again with `make train`"
        ) from None


def _file_bytes(value: Any) -> bytes:
    """A cell of the table as an image file; what holds no bytes, such as None, is an empty file."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _error_row(error: str, classes: Sequence[str]) -> list[Any]:
    return [None] * (2 + len(classes)) + [error]
