"""Sharpness-aware minimisation beside plain training, as params.yaml describes it, by validation accuracy.

    python -m benchmarks.sharpness --radius 0 --radius 0.05 --seed 0 --seed 1

SAM (Foret et al., "Sharpness-Aware Minimization", 2021) takes the gradient not where the weights are but at the worst
place within a small radius. That is a second forward and backward pass in each step: twice the arithmetic, which the
record counts. It needs data/features of the project in the current directory; the record goes to
reports/benchmarks/sharpness-DEVICE.json.
"""

from typing import Annotated

import torch
import typer
from loguru import logger
from torch import Tensor, nn

from benchmarks.record import describe_run, summarize, write_record
from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, Params, load_params
from Resnet23.errors import InputError
from Resnet23.modeling.batches import Batch
from Resnet23.modeling.fit import GradientWatcher, Training
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.losses import training_task
from Resnet23.modeling.new_network import new_network

TINY = 1e-12  # so that a gradient of zero divides nothing by zero

RadiusOption = Annotated[
    list[float] | None, typer.Option("--radius", min=0.0, help="Of the ball, 0 for plain training. Repeatable.")
]
SeedOption = Annotated[list[int] | None, typer.Option("--seed", help="Repeatable.")]


class SharpnessAwareTraining(Training):
    """The engine's training with SAM's gradient; `radius` is the length of the step to the worst place."""

    radius: float

    def train_batch(self, batch: Batch, on_gradients: GradientWatcher | None = None) -> Tensor:
        """One optimizer step. The loss that is counted is that of the worst place nearby."""
        if self.radius:
            self._move_to_worst_place(batch)
        return super().train_batch(batch, on_gradients)

    def _move_to_worst_place(self, batch: Batch) -> None:
        """Go uphill by `radius`. BatchNorm's statistics stay, for the second pass to bring up to date."""
        statistics = [value.clone() for value in self.network.buffers()]
        with self.accelerator.autocast():
            loss = self.task.loss(self.model(batch.inputs), batch.targets, self.params.label_smoothing).mean()
        gradients = torch.autograd.grad(loss, self._trained())
        length = torch.linalg.vector_norm(torch.stack([gradient.norm() for gradient in gradients])) + TINY
        self.steps = [gradient * (self.radius / length) for gradient in gradients]
        self._shift(1.0)
        for value, before in zip(self.network.buffers(), statistics, strict=True):
            value.copy_(before)

    def _update_weights(self, on_gradients: GradientWatcher | None) -> None:
        """Go back before the optimizer takes its step."""
        if self.radius:
            self._shift(-1.0)
        super()._update_weights(on_gradients)

    @torch.no_grad()
    def _shift(self, factor: float) -> None:
        for parameter, step in zip(self._trained(), self.steps, strict=True):
            parameter.add_(step, alpha=factor)

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]


def main(
    radii: RadiusOption = None,
    seeds: SeedOption = None,
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Train with each radius and seed, and compare the best validation accuracy of each training."""
    params, features = load_params(params_file, preset, assignments), read_features()
    if not len(features.val_indices):
        raise InputError("data/features: found no validation images, by which the trainings are compared")
    record = describe_run("benchmarks.sharpness")
    record["settings"] = params.model_dump(include={"model", "train"})
    record["trainings"] = []
    for radius in radii if radii is not None else [0.0, 0.05]:
        accuracies = [train(features, params, radius, seed) for seed in (seeds if seeds is not None else [0])]
        passes = 2 if radius else 1
        record["trainings"].append({"radius": radius, "passes": passes, "val_accuracy": summarize(accuracies)})
        path = write_record("sharpness", params.train.device, record)
        logger.info(f"{path}: radius {radius:g}, validation accuracy {record['trainings'][-1]['val_accuracy']}")


def train(features: Features, params: Params, radius: float, seed: int) -> float:
    """The validation accuracy of the best epoch."""
    model = new_network(features, params.model_copy(update={"seed": seed}))
    how = network_preprocessing(features, params)
    data, validation = (
        network_images(features.train, how, rows) for rows in (features.train_indices, features.val_indices)
    )
    task = training_task(features.task, params.train.loss, data.targets)
    training = SharpnessAwareTraining(model, data, validation, task, len(features.classes), params.train, seed)
    training.radius = radius
    with training.progress_bar() as bar:
        while not training.is_finished():
            training.train_epoch(bar)
            training.end_epoch()
    return max(record.val_accuracy for record in training.result.history)


if __name__ == "__main__":
    run_command(main)
