"""A finished run of the pipeline with several labels for each image, made up: what the plots read."""

import json
from pathlib import Path

import numpy as np
from fake_results import EPOCHS, write_results

from Resnet23.config import FEATURES_DIR, INSPECTION_FILE, METRICS_FILE, PREDICTIONS_FILE, VAL_PREDICTIONS_FILE
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import write_predictions


def write_multilabel_results(folder: Path, classes: list[str], validation: bool = True, threshold: float = 0.4) -> None:
    """Write every file that read_results expects into the project `folder`; the last image has no label."""
    write_results(folder, classes, validation)
    info = json.loads((folder / FEATURES_DIR / "features.json").read_text(encoding="utf-8"))
    count, random = info["counts"]["test"], np.random.default_rng(0)
    targets = (random.random((count, len(classes))) < 0.4).astype(np.uint8)
    targets[: len(classes)] |= np.eye(len(classes), dtype=np.uint8)
    targets[-1] = 0
    for split in ("train", "test"):
        np.save(folder / FEATURES_DIR / split / "targets.npy", targets)
    (folder / FEATURES_DIR / "features.json").write_text(json.dumps(info | {"task": "multilabel"}), encoding="utf-8")
    thresholds, files = [threshold] * len(classes), json.loads((folder / FEATURES_DIR / "test/files.json").read_text())
    test = fake_predictions(files, classes, targets, thresholds)
    rows = info["val_indices"]
    write_predictions(folder / PREDICTIONS_FILE, test)
    write_predictions(folder / VAL_PREDICTIONS_FILE, rows_of(test, rows))
    metrics = multilabel_metrics(targets, test.probabilities, classes, thresholds)
    (folder / METRICS_FILE).write_text(json.dumps({"train_mAP": 0.95, **metrics}), encoding="utf-8")
    inspection = dict(np.load(folder / INSPECTION_FILE)) | {"labels": targets[:6]}
    # Accuracy, which is in history.csv, would have chosen the second epoch.
    np.savez(folder / INSPECTION_FILE, **inspection, **({"val_mAP": np.arange(EPOCHS) / 4} if validation else {}))


def fake_predictions(
    files: list[str], classes: list[str], targets: np.ndarray, thresholds: list[float]
) -> MultilabelPredictions:
    """Right more often than not, never the same twice."""
    scores = np.random.default_rng(1).normal(size=targets.shape) + 3 * (targets - 0.5)
    probabilities = 1 / (1 + np.exp(-scores))
    return MultilabelPredictions(files, classes, targets == 1, probabilities >= np.array(thresholds), probabilities)


def rows_of(predictions: MultilabelPredictions, rows: list[int]) -> MultilabelPredictions:
    """Some of the images."""
    parts = (predictions.labels, predictions.predicted, predictions.probabilities)
    return MultilabelPredictions(
        [predictions.files[row] for row in rows], predictions.classes, *(part[rows] for part in parts)
    )
