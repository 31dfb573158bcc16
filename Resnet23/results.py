"""Everything the earlier stages left, read and checked to belong together."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from Resnet23.arrays import Features, read_features
from Resnet23.errors import InputError, IntegrityError, one_line
from Resnet23.extras import Explanations, Exports, read_explanations, read_exports, read_model_card
from Resnet23.files import printable, sha256_file
from Resnet23.history import read_history
from Resnet23.multilabel_predictions import MultilabelPredictions, read_multilabel_predictions
from Resnet23.outputs import PYTORCH, Outputs
from Resnet23.page.temperature import read_temperature
from Resnet23.predictions import Predictions, read_predictions

METRICS = {
    "multiclass": (
        "train_accuracy", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "mAP", "loss", "ece"
    ),
    "multilabel": (
        "train_mAP", "mAP", "f1_macro", "f1_micro", "subset_accuracy", "hamming_loss", "coverage", "loss", "ece"
    ),
}  # fmt: skip
MOST_BYTES = 1 << 30  # of an inspection file's arrays; 64 images of 1,024 pixels take a fifth of it
ACCURACY = {"multiclass": "accuracy", "multilabel": "subset_accuracy"}  # the share of images that are right
READ_PREDICTIONS = {"multiclass": read_predictions, "multilabel": read_multilabel_predictions}


@dataclass(frozen=True)
class Inspection:
    """What the training looked like from inside."""

    batch: np.ndarray  # (N, H, W, 3) uint8, augmented training images as the network saw them
    labels: np.ndarray  # (N,) int64, or (N, C) of 0 and 1
    kernels: np.ndarray  # (K, 3, h, w) float32, of the first layer; K is 0 unless that is a convolution
    val_mAP: np.ndarray | None = None  # (epochs,), multi-label only: by which the epoch was chosen


@dataclass(frozen=True)
class Results:
    """One run of a pipeline."""

    outputs: Outputs
    features: Features
    history: dict[str, np.ndarray]
    inspection: Inspection
    predictions: Predictions | MultilabelPredictions  # of the test split, in its order
    validation: Predictions | MultilabelPredictions  # without rows when there is no validation split
    metrics: dict[str, Any]
    checkpoint_sha256: str
    temperature: float | None  # by which the network's outputs were divided; None when they were not, or unknown
    exports: Exports | None
    explanations: Explanations | None
    model_card: str | None  # Markdown
    run: dict[str, Any]  # run_id, experiment, store; empty when the training was not tracked


def read_results(outputs: Outputs = PYTORCH) -> Results:
    """Read the files that one pipeline has left in the project in the current directory.

    Raises InputError when one is missing, with the command that makes it, or when they are of different runs.
    """
    for path, stage in outputs.makers.items():
        if not path.exists():
            raise InputError(f"{printable(path)}: no such file; `{outputs.command(stage)}` writes it")
    features, inspection = read_features(), read_inspection(outputs.inspection)
    read = READ_PREDICTIONS[features.task]
    mean_precision = {} if inspection.val_mAP is None else {"val_mAP": inspection.val_mAP}
    results = Results(
        outputs,
        features,
        read_history(outputs.history) | mean_precision,
        inspection,
        read(outputs.predictions),
        read(outputs.val_predictions),
        read_metrics(outputs.metrics, features.task),
        sha256_file(outputs.checkpoint),
        read_temperature(outputs),
        read_exports(outputs),
        read_explanations(outputs),
        read_model_card(outputs),
        _read_json(outputs.run) if outputs.run.exists() else {},
    )
    _check_classes(results)
    _check_run(results)
    return results


def read_metrics(path: Path, task: str = "multiclass") -> dict[str, Any]:
    """The numbers of metrics.json; raises InputError when one of the task is missing."""
    metrics = _read_json(path)
    missing = [name for name in METRICS[task] if not isinstance(metrics.get(name), int | float)]
    if missing or not isinstance(metrics.get("per_class"), Mapping):
        raise InputError(f"{printable(path)}: no number for {', '.join(missing) or 'per_class'}; run `make predict`")
    return metrics


def read_inspection(path: Path) -> Inspection:
    """The arrays of inspection.npz; raises IntegrityError when it holds anything else, such as a pickle."""
    try:
        arrays = _read_arrays(path)
        inspection = Inspection(arrays["batch"], arrays["labels"], arrays["kernels"], arrays.get("val_mAP"))
    except Exception as error:  # of a dozen kinds, as the damage may be
        reason = one_line(str(error))
        raise IntegrityError(f"{printable(path)}: not the arrays of a training ({reason}); run `make train`") from None
    batch, kernels = inspection.batch, inspection.kernels
    well_formed = batch.ndim == kernels.ndim == 4 and batch.dtype == np.uint8 and len(batch) == len(inspection.labels)
    if not well_formed:
        raise IntegrityError(
            f"{printable(path)}: found a batch {batch.shape} of {batch.dtype} and kernels {kernels.shape}, "
            "expected (N, H, W, 3) of uint8 and (K, 3, h, w); run `make train`"
        )
    return inspection


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Raises ValueError when they would fill the memory, else as NumPy and zipfile do."""
    with ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked:,} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _check_classes(results: Results) -> None:
    """Every file must be about the classes of the features, in the same order."""
    expected, outputs = results.features.classes, results.outputs
    found = {
        outputs.predictions: results.predictions.classes,
        outputs.val_predictions: results.validation.classes,
        outputs.metrics: list(results.metrics["per_class"]),
    }
    for path, classes in found.items():
        if classes != expected:
            raise InputError(
                f"{printable(path)}: found the classes {_listing(classes)}, expected those of the features, "
                f"{_listing(expected)}; run `{outputs.command(outputs.makers[path])}`"
            )


def _check_run(results: Results) -> None:
    """The predictions must be of the test images, and the metrics of the predictions."""
    predictions, test, outputs = results.predictions, results.features.test, results.outputs
    written, command = printable(outputs.predictions), outputs.command("predict")
    if predictions.files != test.files or not np.array_equal(predictions.labels, test.targets):
        raise InputError(f"{written}: not of the test images in the features; run `{command}`")
    name, accuracy = ACCURACY[results.features.task], float(predictions.right.mean())
    if abs(accuracy - results.metrics[name]) > 1e-6:
        raise InputError(
            f"{printable(outputs.metrics)}: found {name} {results.metrics[name]:.4f}, but "
            f"{written} has {accuracy:.4f}; run `{command}`"
        )


def _listing(classes: list[str]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(path)}: not valid JSON ({error}); run the pipeline again") from None
    if not isinstance(value, dict):
        raise InputError(
            f"{printable(path)}: found {type(value).__name__}, expected a JSON object; run the pipeline again"
        )
    return value
