"""What the presets of the published architectures cost here: the speed of both their phases, and the time of it all.

    make bench-architectures              (or: python -m benchmarks.architectures --preset resnet50)

The engine trains each network for two epochs of each phase, on random images and from random weights, which cost what
real ones do; the second epoch counts. The minutes are those of all training steps of the preset, computed from these
speeds; validation, prediction and figures come on top. The record goes to reports/benchmarks/architectures-DEVICE.json.
"""

from typing import Annotated, Any

import numpy as np
import torch
import typer
from loguru import logger

from benchmarks.record import describe_run, write_record
from Resnet23.command import DebugOption, run_command
from Resnet23.config import Params, load_params
from Resnet23.dataset import FeatureDataset
from Resnet23.history import EpochRecord
from Resnet23.modeling.device import choose_device, choose_precision
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.zoo import create_model, input_of

PRESETS = ["regnet_y_400mf", "efficientnet_b0", "resnet50", "convnext_tiny", "swin_t", "vit_b_16"]
CLASSES = 10
EPOCHS = 2  # of each phase; the first warms up

PresetsOption = Annotated[list[str] | None, typer.Option("--preset", help="A preset to measure. Repeatable.")]
StepsOption = Annotated[int, typer.Option(min=1, help="Optimizer steps of an epoch.")]


def main(presets: PresetsOption = None, steps: StepsOption = 2, debug: DebugOption = False) -> None:
    """Measure how fast each published architecture trains, and how long its preset takes."""
    record = describe_run("benchmarks.architectures")
    record["settings"] = {"steps": steps, "threads": torch.get_num_threads()}
    record["presets"] = {}
    for name in presets or PRESETS:
        params = load_params(preset=name)
        record["presets"][name] = measured = measure(params, steps)
        speeds = " and ".join(f"{phase['images_per_second']:.1f}" for phase in measured["phases"])
        logger.info(f"{name}: {speeds} images/s in its phases, {measured['minutes']:.0f} minutes of training steps")
    path = write_record("architectures", choose_device("auto").type, record)
    logger.info(f"{path}: the record")


def measure(params: Params, steps: int) -> dict[str, Any]:
    """Images per second of each phase of the recipe, and the minutes that all its training steps take."""
    images = CLASSES * params.data.max_per_class.train * (1 - params.features.val_fraction)
    phases = [
        {"trainable": phase.trainable, "epochs": phase.epochs, "images_per_second": speed}
        for phase, speed in zip(params.train.phases, phase_speeds(params, steps), strict=True)
    ]
    seconds = sum(phase["epochs"] * images / phase["images_per_second"] for phase in phases)
    precision = choose_precision(params.train.precision, choose_device(params.train.device))[0]
    return {
        "image_size": params.data.image_size,
        "batch_size": params.train.batch_size,
        "precision": precision,
        "images": round(images),
        "phases": phases,
        "minutes": seconds / 60,
    }


def phase_speeds(params: Params, steps: int) -> list[float]:
    """Images per second in the last epoch of each phase."""
    size, count = params.data.image_size, steps * params.train.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    wanted = input_of(params.model.name, params.model.pretrained)
    data = FeatureDataset(pixels, np.arange(count) % CLASSES, wanted.mean, wanted.std)
    model = create_model(num_classes=CLASSES, **params.model.model_dump() | {"pretrained": False})
    phases = [phase.model_copy(update={"epochs": EPOCHS}) for phase in params.train.phases]
    recipe = params.train.model_copy(update={"phases": phases})
    epochs: list[EpochRecord] = []
    fit(model, data, None, get_task("multiclass"), CLASSES, recipe, params.seed, epochs.append)
    return [epoch.images_per_second for epoch in epochs[EPOCHS - 1 :: EPOCHS]]


if __name__ == "__main__":
    run_command(main)
