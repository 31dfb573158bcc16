"""A trained classifier as a file: models/keras/model.keras, which also says what its outputs mean."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from Resnet23.arrays import Features, Split
from Resnet23.errors import InputError, IntegrityError, Resnet23Error, name_some, one_line
from Resnet23.files import atomic_path, printable
from Resnet23.keras_variant.calibration import calibrated
from Resnet23.keras_variant.data import Batches
from Resnet23.keras_variant.library import import_keras
from Resnet23.outputs import KERAS

if TYPE_CHECKING:
    import keras

DESCRIPTION = "classifier.json"  # as in every exported file


class _Preprocessing(BaseModel):
    """What was done to the images before the network."""

    image_size: int = Field(ge=1)


class _Decision(BaseModel):
    """What turns logits into probabilities."""

    temperature: float | None = Field(gt=0)


class _Description(BaseModel):
    """The keys of a description that other code relies on; further keys pass unchecked."""

    classes: list[str] = Field(min_length=1)
    preprocessing: _Preprocessing
    decision: _Decision


@dataclass(frozen=True)
class KerasClassifier:
    """A network, images (N, S, S, 3) float32 from 0 to 255 -> logits (N, C), and its description as in exported files.

    The description holds classes, task, preprocessing {image_size, resize, mean, std}, decision {temperature,
    thresholds}, model and git_revision.
    """

    network: "keras.Model"
    description: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs."""
        return self.description["classes"]

    @property
    def temperature(self) -> float:
        """The divisor of the logits; 1 where none was fitted."""
        return self.description["decision"]["temperature"] or 1.0

    def probabilities(self, split: Split, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """What it says about the images of `rows` (N,), (N, C) float32."""
        return calibrated(predict_logits(self.network, split, rows, batch_size), self.temperature)


def predict_logits(network: "keras.Model", split: Split, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """The outputs (N, C) for the images of `rows` (N,), unchanged and in this order."""
    classes = network.output_shape[-1]
    if not len(rows):
        return np.empty((0, classes), dtype=np.float32)
    batches = Batches(split, classes)
    with batches.own_errors():
        return network.predict(batches.ordered(rows, batch_size), verbose=0)


def save(model: "keras.Model", path: Path, description: Mapping[str, Any]) -> None:
    """Write a network as a .keras file, a zip archive that also holds `description`, as exported files do."""
    with atomic_path(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(DESCRIPTION, json.dumps(description, ensure_ascii=False))


def load_classifier(path: Path = KERAS.checkpoint) -> KerasClassifier:
    """Read what the training stage wrote.

    Raises InputError when there is no such file and IntegrityError when it is damaged, has no description or holds
    code, which does not run.
    """
    try:
        description = read_description(path)
        return KerasClassifier(import_keras().saving.load_model(path, compile=False, safe_mode=True), description)
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `{KERAS.command('train')}` writes it") from None
    except (Resnet23Error, MemoryError):
        raise
    except Exception as error:  # of a dozen kinds, as the damage may be
        reason = one_line(" ".join(str(error).split())[:300])
        raise IntegrityError(
            f"{printable(path)}: not a classifier that this project has saved ({reason}); "
            f"run `{KERAS.command('train')}` again"
        ) from None


def read_description(path: Path) -> dict[str, Any]:
    """What a .keras file says of its classifier, once all of the file is what its checksums say.

    Raises FileNotFoundError, ValueError for a wrong description, and what zipfile raises.
    """
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"wrong checksum of {damaged}")
        description = json.loads(archive.read(DESCRIPTION))
    check_description(description)
    return description


def check_description(description: Any) -> None:
    """Raise ValueError naming the first key of a classifier's description that is missing or wrong."""
    try:
        _Description.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "its content"
        raise ValueError(f"{DESCRIPTION}: {key}: {first['msg']}") from None


def check_fit(classifier: KerasClassifier, features: Features) -> None:
    """Raise InputError unless the classifier knows the classes of the features, in their order, and their size."""
    trained = (classifier.classes, classifier.description["preprocessing"]["image_size"])
    if trained != (features.classes, features.image_size):
        found, expected = (
            f"{name_some(each[0], 3)} in images of {each[1]} pixels"
            for each in (trained, (features.classes, features.image_size))
        )
        raise InputError(
            f"the model was trained for {found}, data/features has {expected}; "
            f"train again with `{KERAS.command('train')}`"
        )
