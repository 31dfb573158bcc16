"""The parts of a training: each with its own rates, trainable stages and resolution."""

from dataclasses import dataclass

from Resnet23.config import TrainParams


@dataclass(frozen=True)
class Phase:
    """Epochs `first` to `last` (from 1, both included) of a training; see `config.PhaseParams` for the rest."""

    first: int
    last: int
    learning_rate: float
    trainable: str
    rate_decay_by_depth: float
    resolution: int | None
    freeze_statistics: bool = False

    @property
    def epochs(self) -> int:
        return self.last - self.first + 1


def resolve_phases(params: TrainParams) -> list[Phase]:
    """The phases of `params` one after the other, with the values that they leave to the section filled in."""
    phases: list[Phase] = []
    for entry in params.phases:
        first = phases[-1].last + 1 if phases else 1
        last = first - 1 + (entry.epochs or params.epochs)
        rate = entry.learning_rate or params.learning_rate
        how = (entry.trainable, entry.rate_decay_by_depth, entry.resolution, entry.freeze_statistics)
        phases.append(Phase(first, last, rate, *how))
    return phases


def phase_of(phases: list[Phase], epoch: int) -> Phase:
    """The phase that an epoch belongs to."""
    return next(phase for phase in phases if phase.first <= epoch <= phase.last)
