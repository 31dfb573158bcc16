"""A training that takes seconds, for tests that run it in processes of its own."""

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from squares import MEAN, STD, coloured_squares
from torch import nn

from Resnet23.command import is_main_process
from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import Terminated
from Resnet23.files import atomic_write
from Resnet23.history import EpochRecord
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.resume import ResumeFile
from Resnet23.modeling.selection import FitResult
from Resnet23.modeling.zoo import create_model

TIMINGS = ("seconds", "images_per_second", "data_wait")
RESUMED = TrainParams.model_validate(
    {
        "epochs": 30,
        "batch_size": 10,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "schedule": "one_cycle",
        "ema_decay": 0.9,
        "clip_norm": 1.0,
        "device": "cpu",
        "precision": "fp32",
        "checkpoint_steps": 2,
        "augment": {"flip": "alternating", "crop_padding": 1, "cutout": 2, "mixup": 0.2},
        "phases": [{"epochs": 8, "trainable": "head", "resolution": 8}, {"epochs": 22, "learning_rate": 0.02}],
    }
)


def comparable(result: FitResult) -> list[dict[str, float]]:
    """The history without what depends on the clock."""
    return [{key: value for key, value in asdict(row).items() if key not in TIMINGS} for row in result.history]


def resumable(folder: Path, stoppable: bool = False, stop_after: int | None = None) -> None:
    """Train a network with BatchNorm and dropout, or go on with it, and leave its weights in `folder`.

    When `stoppable`, SIGINT and SIGTERM end the process as they end a command. `stop_after` is an epoch after which
    KeyboardInterrupt is raised.
    """
    if stoppable:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
    torch.manual_seed(0)
    model = create_model("resnet10", num_classes=3, width=2, dropout=0.2, final_dropout=0.2)
    data = FeatureDataset(*coloured_squares(90), MEAN, STD)
    validation = FeatureDataset(*coloured_squares(30, seed=1), MEAN, STD)
    resume = ResumeFile(folder / "resume")

    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    try:
        result = fit(model, data, validation, get_task("multiclass"), 3, RESUMED, 0, on_epoch, resume=resume)
    except Terminated as error:
        sys.exit(error.exit_code)
    torch.save({"weights": result.state_dict, "last": model.state_dict()}, folder / "weights.pt")
    with atomic_write(folder / "history.json") as file:
        json.dump(comparable(result), file)


def stop(number: int, _: object) -> NoReturn:
    """Leave as a command does."""
    raise Terminated(number)


def shared_out(sizes: list[tuple[int, int, int]]) -> list[list[dict[str, float]]]:
    """The histories of a network without BatchNorm and dropout, for (images, batch size, accumulation) each."""
    histories = []
    for count, batch_size, accumulation in sizes:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
        data = FeatureDataset(*coloured_squares(count), MEAN, STD)
        validation = FeatureDataset(*coloured_squares(max(count // 2, 1), seed=1), MEAN, STD)
        params = TrainParams.model_validate(
            {
                "epochs": 3,
                "batch_size": batch_size,
                "accumulation": accumulation,
                "optimizer": "sgd",
                "learning_rate": 0.05,
                "label_smoothing": 0.1,
                "clip_norm": 1.0,
                "device": "cpu",
                "precision": "fp32",
                "augment": {"flip": "random", "crop_padding": 1, "cutout": 2},
            }
        )
        result = fit(model, data, validation, get_task("multiclass"), 3, params, 0)
        weights = torch.cat([value.flatten() for value in result.state_dict.values()])
        histories.append([*comparable(result), {"weights": np.abs(weights.numpy()).sum().item()}])
    return histories


def validated() -> tuple[float, float]:
    """With BatchNorm: the validation loss that the history names for the kept epoch, and that of the kept weights."""
    torch.manual_seed(0)
    model = create_model("resnet10", num_classes=3, width=2)
    data = FeatureDataset(*coloured_squares(41), MEAN, STD)
    validation = FeatureDataset(*coloured_squares(30, seed=1), MEAN, STD)
    params = TrainParams(epochs=3, batch_size=8, accumulation=4, device="cpu", precision="fp32")
    task = get_task("multiclass")
    result = fit(model, data, validation, task, 3, params, 0)
    kept = create_model("resnet10", num_classes=3, width=2)
    kept.load_state_dict(result.state_dict)
    again = evaluate(kept, validation, task, batch_size=30, device=torch.device("cpu"))
    return result.history[result.best_epoch - 1].val_loss, again.loss


if __name__ == "__main__":  # started by torchrun: a JSON list of sizes, a file to write to
    found = {"histories": shared_out([tuple(size) for size in json.loads(sys.argv[1])]), "validated": validated()}
    if is_main_process():
        Path(sys.argv[2]).write_text(json.dumps(found))
    torch.distributed.destroy_process_group()
