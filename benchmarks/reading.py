"""PNG folders to the first batch: the features stage once, against torchvision's ImageFolder and a DataLoader.

Both read the same files: all training and test images of the project. Ours checks each file, looks for duplicates,
measures mean and standard deviation and writes the arrays, from which later epochs are read; the other decodes all
files once, as it has to in every epoch. Both pay for starting their workers, neither for starting the interpreter. Of
the DataLoader without and with two workers the faster one counts.
"""

import shutil
import time
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from loguru import logger
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.images import Images, dataset, images_to_train_on
from benchmarks.record import paired_ratios, summarize
from benchmarks.stages import measure_stage
from Resnet23.arrays import read_features
from Resnet23.config import PARAMS_FILE, PROCESSED_DIR, AugmentParams, Params
from Resnet23.files import write_json
from Resnet23.modeling.batches import BatchSource
from Resnet23.modeling.losses import get_task
from Resnet23.processed import SPLITS

WORKERS = (0, 2)


def measure_reading(params_file: Path, params: Params, repeats: int) -> dict[str, Any]:
    """Images per second of both ways in turns, `repeats` times after a turn that does not count."""
    unchanged = params.train.model_copy(update={"augment": AugmentParams()})
    params = params.model_copy(update={"train": unchanged})
    with images_to_train_on(params_file) as images:
        write_json(PARAMS_FILE, params.model_dump())  # JSON is YAML
        count = len(images.features.train) + len(images.features.test)
        turns = [take_turn(images, params, count) for _ in range(repeats + 1)][1:]
    speeds = {name: [turn[name] for turn in turns] for name in turns[0]}
    folders = max((name for name in speeds if name.startswith("folders")), key=lambda name: sum(speeds[name]))
    return {
        "images": count,
        "origin": images.origin,
        "images_per_second": {name: summarize(samples) for name, samples in speeds.items()},
        "faster_folders": folders,
        "features_divided_by_folders": paired_ratios(speeds["features"], speeds[folders]),
        "later_epochs_divided_by_folders": paired_ratios(speeds["later_epochs"], speeds[folders]),
    }


def take_turn(images: Images, params: Params, count: int) -> dict[str, float]:
    """One reading in each way; images per second."""
    made = time_features(images.processed)
    first, epoch = time_arrays(images, params)
    seconds = {"features": made + first, "later_epochs": epoch * count / len(images.features.train_indices)}
    seconds |= {f"folders_{workers}_workers": time_folders(images, params, workers) for workers in WORKERS}
    speeds = {name: count / each for name, each in seconds.items()}
    logger.info(", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()) + " images/s")
    return speeds


def time_features(processed: Path) -> float:
    """Seconds of the features stage, run on these PNG files in a folder that then disappears."""
    params = PARAMS_FILE.resolve()
    with TemporaryDirectory(prefix="benchmark-") as folder, chdir(folder):
        shutil.copy(params, PARAMS_FILE)
        PROCESSED_DIR.parent.mkdir()
        PROCESSED_DIR.symlink_to(processed.resolve(), target_is_directory=True)
        return measure_stage("features")["seconds"]


def time_arrays(images: Images, params: Params) -> tuple[float, float]:
    """Seconds until the first batch is read from finished arrays, and of a whole epoch of such batches."""
    started = time.perf_counter()
    features = read_features(images.features.folder, images.processed)
    data, task = dataset(features, features.train_indices), get_task(features.task)
    source = BatchSource(data, task, len(features.classes), params.train, params.seed, torch.device("cpu"))
    batches = source.epoch(1)
    next(batches)
    first = time.perf_counter() - started
    for _ in batches:
        pass
    return first, time.perf_counter() - started


def time_folders(images: Images, params: Params, workers: int) -> float:
    """Seconds of an epoch over the PNG files, normalised and otherwise unchanged."""
    how = [transforms.ToTensor(), transforms.Normalize(images.features.mean, images.features.std)]
    started = time.perf_counter()
    folders = [ImageFolder(str(images.processed / split), transforms.Compose(how)) for split in SPLITS]
    loader = DataLoader(ConcatDataset(folders), params.train.batch_size, shuffle=True, num_workers=workers)
    for _ in loader:
        pass
    return time.perf_counter() - started
