"""A finished run of the pipeline, made up: what the plots read."""

import csv
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np

from Resnet23.config import (
    CHECKPOINT_FILE,
    FEATURES_DIR,
    HISTORY_FILE,
    INSPECTION_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    VAL_PREDICTIONS_FILE,
)
from Resnet23.history import COLUMNS
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.superclass_metrics import superclass_metrics
from Resnet23.predictions import Predictions, write_predictions

SIZE = 8  # pixels
PER_CLASS = 4  # images of each class in each split
EPOCHS = 3
TEMPERATURE = 1.5
NO_PAIRS = {key: {"count": 0, "pairs": []} for key in ("train-train", "test-test", "train-test")}


def write_results(
    folder: Path, classes: list[str], validation: bool = True, superclasses: dict[str, str] | None = None
) -> None:
    """Write every file that read_results expects into the project `folder`; the classes may have superclasses."""
    random = np.random.default_rng(0)
    targets = np.repeat(np.arange(len(classes)), PER_CLASS)
    val_indices = list(range(0, len(targets), PER_CLASS)) if validation else []
    families = {"superclasses": superclasses} if superclasses else {}
    _write_features(folder / FEATURES_DIR, classes, targets, val_indices, random, families)
    (folder / "models").mkdir()
    (folder / "reports").mkdir()
    write_checkpoint(folder / CHECKPOINT_FILE, TEMPERATURE)
    files = _files("test", classes, targets)
    predictions = Predictions(files, classes, targets, fake_probabilities(targets, len(classes)))
    write_predictions(folder / PREDICTIONS_FILE, predictions)
    held_out = Predictions(
        [files[row] for row in val_indices], classes, targets[val_indices], predictions.probabilities
    )
    write_predictions(folder / VAL_PREDICTIONS_FILE, _first_rows(held_out, len(val_indices)))
    metrics = classification_metrics(targets, predictions.probabilities, classes)
    if superclasses:
        metrics |= superclass_metrics(targets, predictions.predicted, classes, superclasses)
    (folder / METRICS_FILE).write_text(json.dumps({"train_accuracy": 0.95, **metrics}), encoding="utf-8")
    (folder / RUN_FILE).write_text(json.dumps({"run_id": "f" * 32, "experiment": "a <test>", "store": "x"}))
    _write_history(folder / HISTORY_FILE, validation)
    np.savez(
        folder / INSPECTION_FILE,
        batch=random.integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8),
        labels=np.arange(6) % len(classes),
        kernels=random.normal(size=(5, 3, 3, 3)).astype(np.float32),
    )


def write_checkpoint(path: Path, temperature: float | None) -> None:
    """What a reader of the temperature sees of a PyTorch file: a zip archive with a pickle of plain values in it."""
    decision = {"thresholds": None, "temperature": temperature}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"format": "x", "decision": decision}, protocol=2))


def fake_probabilities(targets: np.ndarray, count: int) -> np.ndarray:
    """(N, count) rows that sum to 1: right more often than not, never the same twice."""
    random = np.random.default_rng(1)
    scores = random.normal(size=(len(targets), count)) + 3 * np.eye(count)[targets]
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _first_rows(predictions: Predictions, count: int) -> Predictions:
    return Predictions(
        predictions.files, predictions.classes, predictions.labels.astype(np.int64), predictions.probabilities[:count]
    )


def _files(split: str, classes: list[str], targets: np.ndarray) -> list[str]:
    return [f"{split}/{classes[label]}/{row:05d}.png" for row, label in enumerate(targets)]


def _write_features(
    folder: Path,
    classes: list[str],
    targets: np.ndarray,
    val_indices: list[int],
    random: np.random.Generator,
    families: dict[str, dict[str, str]],
) -> None:
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        images = random.integers(0, 256, (len(targets), SIZE, SIZE, 3), dtype=np.uint8)
        np.save(folder / split / "images.npy", images)
        np.save(folder / split / "targets.npy", targets)
        names = json.dumps(_files(split, classes, targets))
        (folder / split / "files.json").write_text(names, encoding="utf-8")
    held_out = len(val_indices) // len(classes)
    counts = {"train": len(targets) - len(val_indices), "val": len(val_indices), "test": len(targets)}
    per_class = {"train": PER_CLASS - held_out, "val": held_out, "test": PER_CLASS}
    leaked = {**NO_PAIRS, "train-test": {"count": 2, "pairs": []}}
    info = {
        "format": "resnet23-features",
        "version": 1,
        "dataset": "folder",
        "task": "multiclass",
        "classes": classes,
        **families,
        "image_size": SIZE,
        "resize": "crop",
        "counts": counts,
        "class_counts": {split: dict.fromkeys(classes, number) for split, number in per_class.items()},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "val_indices": val_indices,
        "digests": {split: {"images": "0" * 64, "targets": "0" * 64} for split in ("train", "test")},
        "duplicates": {"identical": leaked, "near_identical": NO_PAIRS},
        "skipped": [{"file": "train/<i>.png", "reason": "no image"}],
    }
    (folder / "features.json").write_text(json.dumps(info), encoding="utf-8")


def _write_history(path: Path, validation: bool) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for epoch in range(1, EPOCHS + 1):
            validated = [1.0, 0.5 + 0.1 * (epoch == 2)] if validation else ["", ""]
            writer.writerow([epoch, 1 / epoch, 0.25 * epoch, *validated, 0.1, 1.0, 100.0, 0.1])
