"""What happens beside the steps of a training: Keras's callbacks, and the rows of history.csv."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Resnet23.errors import Diverged, Terminated
from Resnet23.history import EpochRecord, best_epoch
from Resnet23.interrupts import dvc_process, has_ended
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasParams
from Resnet23.keras_variant.resume import ResumeFolder

if TYPE_CHECKING:
    import keras

# Between two states, which are saved as an epoch ends: an interruption costs the epoch under way and up to a minute.
SAVE_SECONDS = 60.0
LOOK_SECONDS = 0.2  # between looks at the process of DVC
CROSS_ENTROPY = "cross_entropy"  # without label smoothing, so that it compares between trainings
BEST = "best_epoch"  # among Keras's logs: rises exactly when an epoch is the best so far
NOT_MEASURED = math.nan  # how long a step waits for data: Keras reads and computes in one call
SEED_STATE = "seed_generator_state"  # Keras's name for the variable behind the random numbers of a layer


class Course:
    """The epochs that a training has behind it, and the clock of the one under way."""

    def __init__(self, records: list[EpochRecord], images: int, on_epoch: Callable[[EpochRecord], None]) -> None:
        self.records = records
        self.images = images  # of an epoch
        self.on_epoch = on_epoch
        self.rate = self.started = self.stepped = 0.0

    @property
    def best_epoch(self) -> int:
        """The best epoch on validation by the rule of the whole project, without validation the last; 0 before any."""
        if not self.records:
            return 0
        rows = [asdict(record) for record in self.records]
        names = ("train_loss", "val_loss", "val_accuracy")
        columns = {name: np.array([row[name] for row in rows], dtype=float) for name in names}
        return best_epoch(columns) + 1

    @property
    def epochs_without_progress(self) -> int:
        """How many epochs have passed since the best one."""
        return len(self.records) - self.best_epoch

    def begin_epoch(self, rate: float) -> None:
        """An epoch begins, at this learning rate."""
        self.rate, self.started = rate, time.perf_counter()

    def end_step(self, step: int, loss: float) -> None:
        """A step, counted from 0, is done; what comes after the last one of an epoch is validation.

        Raises Diverged when `loss`, the mean of the epoch so far, is no finite number.
        """
        self.stepped = time.perf_counter()
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is not a finite number at epoch {len(self.records) + 1}, step {step + 1}, "
                f"learning rate {self.rate:g}; try a lower train.learning_rate or train.fine_tune_rate"
            )

    def add(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add the record of an epoch, counted from 0, and to `logs` the number of the best one, for other callbacks."""
        seconds = self.stepped - self.started
        record = EpochRecord(
            epoch=epoch + 1,
            train_loss=logs["loss"],
            train_accuracy=logs["accuracy"],
            val_loss=logs.get(f"val_{CROSS_ENTROPY}"),
            val_accuracy=logs.get("val_accuracy"),
            learning_rate=self.rate,
            seconds=seconds,
            images_per_second=self.images / seconds,
            data_wait=NOT_MEASURED,
        )
        self.records.append(record)
        logs[BEST] = float(self.best_epoch)
        self.on_epoch(record)

    def to_plain(self) -> list[dict[str, Any]]:
        """The records as values that JSON can hold."""
        return [
            {name: value for name, value in asdict(record).items() if name != "data_wait"} for record in self.records
        ]


def records_from(plain: Iterable[Mapping[str, Any]]) -> list[EpochRecord]:
    """What `Course.to_plain` gave, as it was."""
    return [EpochRecord(**row, data_wait=NOT_MEASURED) for row in plain]


@dataclass(frozen=True)
class Training:
    """What the callbacks of a training know of it."""

    model: "keras.Model"
    params: KerasParams
    course: Course
    resume: ResumeFolder
    has_validation: bool
    tensorboard: Path | None  # the folder


def build_callbacks(training: Training, plateau_state: Mapping[str, float] | None) -> "list[keras.callbacks.Callback]":
    """The callbacks of one phase, in the order in which they have to run.

    `plateau_state` is where ReduceLROnPlateau stood when the phase was interrupted, None at a phase's beginning.
    """
    callbacks = import_keras().callbacks
    train, known = training.params.train, training.course.best_epoch
    best = str(training.resume.best_pattern)
    chain = [
        _course_callback(training),
        # Both go by a number that rises with every better epoch, and without validation with every epoch.
        callbacks.ModelCheckpoint(
            best, BEST, save_best_only=True, save_weights_only=True, mode="max", initial_value_threshold=known
        ),
    ]
    early = callbacks.EarlyStopping(BEST, patience=train.patience, mode="max")
    plateau = callbacks.ReduceLROnPlateau(
        f"val_{CROSS_ENTROPY}" if training.has_validation else "loss",
        factor=train.reduce_on_plateau.factor,
        patience=train.reduce_on_plateau.epochs,
        mode="min",
    )
    chain += [early] if train.patience else []
    chain += [plateau] if train.reduce_on_plateau.epochs else []
    chain += [callbacks.TensorBoard(training.tensorboard, write_graph=False)] if training.tensorboard else []
    return [*chain, _state_callback(training, early, plateau, plateau_state), _dvc_callback()]


def reseed(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the random numbers of all layers, those of augmentation and dropout, for an epoch, counted from 0.

    So an epoch draws the same numbers whether or not the training was interrupted before.
    """
    states = [variable for variable in model.variables if variable.name == SEED_STATE]
    for number, state in enumerate(states):
        state.assign(np.random.SeedSequence((seed, epoch, number)).generate_state(2))


def _course_callback(training: Training) -> "keras.callbacks.Callback":
    """Random numbers, clock, losses and record of every epoch."""
    course, model = training.course, training.model

    def begin(epoch: int, logs: Mapping[str, Any] | None) -> None:
        reseed(model, training.params.seed, epoch)
        course.begin_epoch(float(model.optimizer.learning_rate))

    return import_keras().callbacks.LambdaCallback(
        on_epoch_begin=begin,
        on_train_batch_end=lambda step, logs: course.end_step(step, logs["loss"]),
        on_epoch_end=course.add,
    )


def _state_callback(
    training: Training,
    early: "keras.callbacks.EarlyStopping",
    plateau: "keras.callbacks.ReduceLROnPlateau",
    plateau_state: Mapping[str, float] | None,
) -> "keras.callbacks.Callback":
    """Saves the state from time to time, and brings two callbacks back to where they were; Keras starts them anew."""
    course, saved = training.course, [time.monotonic()]

    def begin(logs: Mapping[str, Any] | None) -> None:
        if course.records:
            early.best, early.wait = float(course.best_epoch), course.epochs_without_progress
        if plateau_state:
            plateau.best, plateau.wait = plateau_state["best"], plateau_state["wait"]

    def end(epoch: int, logs: Mapping[str, Any] | None) -> None:
        if time.monotonic() - saved[0] >= SAVE_SECONDS:
            state = {"records": course.to_plain(), "plateau": {"best": plateau.best, "wait": plateau.wait}}
            training.resume.save(training.model, state, len(course.records), course.best_epoch)
            saved[0] = time.monotonic()

    return import_keras().callbacks.LambdaCallback(on_train_begin=begin, on_epoch_end=end)


def _dvc_callback() -> "keras.callbacks.Callback":
    """Ends the training when DVC, which has started it, has been killed; it would leave the stage running."""
    dvc, looked = dvc_process(), [time.monotonic()]

    def end(step: int, logs: Mapping[str, Any] | None) -> None:
        if dvc is not None and time.monotonic() - looked[0] >= LOOK_SECONDS:
            looked[0] = time.monotonic()
            if has_ended(dvc):
                raise Terminated(signal.SIGTERM)

    return import_keras().callbacks.LambdaCallback(on_train_batch_end=end)
