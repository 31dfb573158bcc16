"""What the trainings of a study gave: numbers, curves and arrays of each, by setting and seed."""

import base64
import io
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from Resnet23.config import Params
from Resnet23.studies.definition import Study
from Resnet23.studies.settings import Setting


@dataclass(frozen=True)
class Measurement:
    """One training, that is, one seed of one setting.

    `numbers` holds at least val_accuracy, test_accuracy, train_accuracy (shares of 1; training images without
    augmentation), gap (training minus test accuracy), seconds and diverged (1 where the loss became infinite: the
    accuracies are then those of guessing); `curves` a value for each epoch; `arrays` what an analysis draws.
    """

    numbers: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self.arrays)
        return {
            "numbers": self.numbers,
            "curves": self.curves,
            "arrays": base64.b64encode(buffer.getvalue()).decode("ascii") if self.arrays else None,
        }

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        """What `to_plain` gave, as it was."""
        arrays = {}
        if content["arrays"]:
            with np.load(io.BytesIO(base64.b64decode(content["arrays"])), allow_pickle=False) as stored:
                arrays = dict(stored)
        return cls(content["numbers"], content["curves"], arrays)


@dataclass(frozen=True)
class Outcome:
    """A setting and its trainings, by seed; one that was pruned has some of them or none."""

    setting: Setting
    state: Literal["complete", "pruned"]
    measured: dict[int, Measurement]

    def samples(self, number: str) -> np.ndarray:
        """A number of each training, (seeds,)."""
        return np.array([measurement.numbers[number] for measurement in self.measured.values()])

    def curves(self, name: str) -> np.ndarray:
        """A curve of each training that did not diverge, (seeds, epochs); shorter ones are filled up with NaN."""
        found = [measurement.curves[name] for measurement in self.measured.values() if name in measurement.curves]
        filled = np.full((len(found), max(map(len, found), default=0)), np.nan)
        for row, curve in zip(filled, found, strict=True):
            row[: len(curve)] = curve
        return filled

    @property
    def diverged(self) -> int:
        """How many of the trainings diverged."""
        return int(self.samples("diverged").sum())


@dataclass(frozen=True)
class Results:
    """All outcomes of a study at a scale, in the order of the plan; `tuning` those by which values were chosen."""

    study: Study
    scale: str
    params: Params  # before any setting is applied
    options: Any  # of the analysis, a pydantic model, before any setting is applied
    classes: list[str]
    outcomes: list[Outcome]
    tuning: list[Outcome] = field(default_factory=list)

    @property
    def complete(self) -> list[Outcome]:
        """The outcomes with all of their seeds."""
        return [outcome for outcome in self.outcomes if outcome.state == "complete"]

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / len(self.classes)
