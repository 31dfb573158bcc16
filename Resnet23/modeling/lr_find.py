"""The learning-rate finder: train while the rate rises from step to step, and see where the loss falls fastest.

This is the range test of L. N. Smith, Cyclical Learning Rates for Training Neural Networks (2015, arXiv:1506.01186).
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated

import numpy as np
import typer
from loguru import logger
from matplotlib.figure import Figure
from torch.optim.lr_scheduler import ExponentialLR
from tqdm import tqdm

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import EXTRAS_DIR, PARAMS_FILE, Params, TrainParams, load_params
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.figures.range_test import end_of_the_fall, plot_range_test
from Resnet23.figures.theme import Theme, draw_picture
from Resnet23.files import atomic_write, require_writable
from Resnet23.modeling.batches import Batch
from Resnet23.modeling.consistency import check_consistency
from Resnet23.modeling.fit import Training
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.losses import check_loss, training_task
from Resnet23.modeling.new_network import new_network
from Resnet23.modeling.optim import check_names
from Resnet23.modeling.phases import resolve_phases
from Resnet23.modeling.zoo import check_model

TABLE_FILE = EXTRAS_DIR / "lr_finder.csv"
FIGURE_FILE = EXTRAS_DIR / "lr_finder.png"
COLUMNS = ("learning_rate", "loss", "smoothed_loss")
SMOOTHING = 0.15  # decades of the learning rate: the standard deviation of the kernel
DIVERGED = 4.0  # times the lowest loss so far: no higher rate will bring it down again

LowestOption = Annotated[float, typer.Option("--lowest", help="The learning rate of the first step.")]
HighestOption = Annotated[float, typer.Option("--highest", help="The learning rate of the last step.")]
StepsOption = Annotated[
    int, typer.Option("--steps", min=20, help="Optimizer steps, if the loss does not diverge before.")
]


@dataclass(frozen=True)
class RangeTest:
    """The loss of each step (S,), the mean of its batch before the step, at the learning rate of that step (S,)."""

    rates: np.ndarray
    losses: np.ndarray

    @property
    def smoothed(self) -> np.ndarray:
        """(S,): each loss averaged with its neighbours, on either side, so that the curve does not lag behind."""
        return smooth(self.rates, self.losses)

    @property
    def suggestion(self) -> float | None:
        """The rate, to two digits, at which the smoothed loss falls fastest from step to step, before it first rises.

        None where it nowhere falls by more than the scatter of the single losses around it.
        """
        smoothed = self.smoothed
        lowest = end_of_the_fall(smoothed)
        scatter = (self.losses - smoothed)[: lowest + 1].std()
        if lowest == 0 or smoothed[0] - smoothed[lowest] <= scatter:
            return None
        steepest = np.gradient(smoothed)[: lowest + 1].argmin()
        return float(f"{self.rates[steepest]:.2g}") if steepest else None


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    lowest: LowestOption = 1e-5,
    highest: HighestOption = 10.0,
    steps: StepsOption = 200,
    debug: DebugOption = False,
) -> None:
    """Suggest a train.learning_rate for the training that params.yaml describes; its model is not kept."""
    params = load_params(params_file, preset, assignments)
    check_model(params.model.name, params.model.pretrained, params.model.stem)
    check_names(params.train)
    check_loss(params.train.loss)
    if not 0 < lowest < highest < math.inf:
        raise InputError(f"--lowest {lowest:g}, --highest {highest:g}: expected 0 < lowest < highest")
    require_writable(EXTRAS_DIR)
    features = read_features()
    check_consistency(features, params)
    result = find_learning_rate(features, params, lowest, highest, steps)
    write_result(result, params)
    logger.info(f"{FIGURE_FILE} shows the curve, {TABLE_FILE} holds its numbers")
    print(_answer(result, params.train))


def find_learning_rate(features: Features, params: Params, lowest: float, highest: float, steps: int) -> RangeTest:
    """Train on the training rows of `features` for at most `steps` steps, from rate `lowest` to rate `highest`.

    Model, data, augmentation, optimizer and precision are those of `params`, of its first phase where it has several.
    """
    model = new_network(features, params)
    data = network_images(features.train, network_preprocessing(features, params), features.train_indices)
    train_params = range_test_params(
        params.train, lowest, epochs=math.ceil(steps * params.train.batch_size / len(data))
    )
    task = training_task(features.task, params.train.loss, data.targets)
    training = Training(model, data, None, task, len(features.classes), train_params, params.seed)
    return range_test(training, highest / lowest, steps)


def range_test_params(params: TrainParams, lowest: float, epochs: int) -> TrainParams:
    """The recipe's first phase, beginning at the lowest rate, without what belongs to a whole training."""
    phase = params.phases[0].model_copy(update={"epochs": epochs, "learning_rate": lowest})
    return params.model_copy(update={"phases": [phase], "schedule": "constant", "warmup_epochs": 0.0, "ema_decay": 0.0})


def range_test(training: Training, factor: float, steps: int) -> RangeTest:
    """Let the rate rise geometrically to `factor` times its first value, until the loss diverges.

    That is: until it is not a finite number, or its smoothed value is `DIVERGED` times the lowest before. Raises
    Resnet23Error when it diverges at once.
    """
    training.enter_phase(training.phases[0])
    training.schedule = ExponentialLR(training.optimizer.optimizer, gamma=factor ** (1 / (steps - 1)))
    rates: list[float] = []
    losses: list[float] = []
    for batch in tqdm(islice(_batches(training), steps), total=steps, unit="step", desc="range test", disable=None):
        rate = max(training.schedule.get_last_lr())
        loss = training.train_batch(batch).item() / batch.total
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        smoothed = smooth(np.array(rates), np.array(losses))
        if smoothed[-1] > DIVERGED * smoothed.min():
            break
    if len(rates) < 2:
        raise Resnet23Error("the loss is not a finite number at the lowest learning rate; try a lower --lowest")
    return RangeTest(np.array(rates), np.array(losses))


def smooth(rates: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Losses (S,) averaged with Gaussian weights over the logarithm of their rates (S,)."""
    decades = np.log10(rates)
    weights = np.exp(-0.5 * ((decades - decades[:, None]) / SMOOTHING) ** 2)  # (S, S)
    return weights @ losses / weights.sum(axis=1)


def write_result(result: RangeTest, params: Params) -> None:
    """Write the table and the figure."""
    with atomic_write(TABLE_FILE, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(result.rates.tolist(), result.losses.tolist(), result.smoothed.tolist(), strict=True))
    current = resolve_phases(params.train)[0].learning_rate

    def draw(theme: Theme) -> Figure:
        return plot_range_test(result.rates, result.losses, result.smoothed, result.suggestion, current, theme)

    picture = draw_picture("lr_finder", draw, params.plots.dpi)
    with atomic_write(FIGURE_FILE, "wb") as file:
        file.write(picture.light)


def _batches(training: Training) -> Iterator[Batch]:
    """The batches of the training, epoch after epoch, without end."""
    for epoch in count(1):
        batches = training.source.epoch(epoch, 0, training.phase.resolution)
        for step, batch in enumerate(batches):
            training.epoch, training.step = epoch, step  # they decide the dropout
            yield batch


def _answer(result: RangeTest, params: TrainParams) -> str:
    """The suggestion in one line, and how to use it."""
    first, last = f"{result.rates[0]:.2g}", f"{result.rates[-1]:.2g}"
    if result.suggestion is None:
        return (
            f"no suggestion: the loss did not fall between {first} and {last}; try other --lowest, --highest, --steps"
        )
    rate = f"{result.suggestion:g}"
    if params.phases[0].learning_rate is not None:
        return f"suggested learning_rate for the first of train.phases: {rate}, where the loss falls fastest"
    return (
        f"suggested train.learning_rate: {rate}, where the loss falls fastest; set it in params.yaml, "
        f"or try it with --set train.learning_rate={rate}"
    )


if __name__ == "__main__":
    run_command(main)
