"""Trainings as stage 3 records them, without training."""

import shutil
from pathlib import Path

import numpy as np
from small_checkpoint import description

from Resnet23.config import CHECKPOINT_FILE, RUN_FILE, TrackingParams
from Resnet23.modeling.checkpoint import Checkpoint, save_checkpoint
from Resnet23.tracking import start_run

RECORD = (CHECKPOINT_FILE, RUN_FILE)


def record_run(checkpoint: Checkpoint, experiment: str = "resnet23") -> str:
    """Record a training in the current directory that ended with `checkpoint`, and leave its files; its run's id."""
    save_checkpoint(CHECKPOINT_FILE, checkpoint)
    size = checkpoint.preprocessing.image_size
    with start_run(TrackingParams(experiment=experiment), {"seed": 0}) as tracker:
        tracker.log_metrics({"train_loss": 0.5}, step=1)
        tracker.log_artifact(CHECKPOINT_FILE, CHECKPOINT_FILE.parent.name)
        tracker.log_model(checkpoint.build_model(), np.zeros((2, 3, size, size), np.float32), description(checkpoint))
        tracker.write_run_file(RUN_FILE)
    return tracker.run_id


def keep_record(folder: Path) -> None:
    """Copy what the training left into `folder`."""
    for file in RECORD:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file)


def restore_record(folder: Path) -> None:
    """Bring back what `keep_record` put into `folder`, as if that training had been the last."""
    for file in RECORD:
        file.parent.mkdir(exist_ok=True)
        shutil.copy(folder / file, file)
