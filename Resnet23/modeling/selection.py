"""Which epoch of a training is kept: the best on validation, without validation the last, never by the test images."""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from torch import Tensor, nn

from Resnet23.history import EpochRecord
from Resnet23.modeling.evaluate import Evaluation


@dataclass
class FitResult:
    """The history of a training, its best epoch, the weights of that epoch and how they do on validation."""

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    validation: Evaluation | None = None

    def add(self, record: EpochRecord, model: nn.Module, validation: Evaluation | None) -> None:
        """Append an epoch; keep a copy of the weights of `model` when it is the best so far, or nothing validates.

        The best has the highest validation score, of equals the lowest validation loss, of those it is the first.
        """
        self.history.append(record)
        if validation is None or self.validation is None or _rank(validation) > _rank(self.validation):
            self.best_epoch, self.validation = record.epoch, validation
            self.state_dict = copy.deepcopy(model.state_dict())

    def epochs_without_progress(self) -> int:
        """How many epochs have passed since the best one."""
        return len(self.history) - self.best_epoch

    def to_plain(self) -> dict[str, Any]:
        """Plain values and tensors, to be saved."""
        history = [asdict(record) for record in self.history]
        validation = vars(self.validation) if self.validation else None
        return {**vars(self), "history": history, "validation": validation}

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Self:
        """What `to_plain` gave, as it was."""
        history = [EpochRecord(**record) for record in content["history"]]
        validation = Evaluation(**content["validation"]) if content["validation"] else None
        return cls(history, content["best_epoch"], content["state_dict"], validation)


def _rank(validation: Evaluation) -> tuple[float, float]:
    return validation.score, -validation.loss
