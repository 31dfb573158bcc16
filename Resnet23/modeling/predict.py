"""Stage 4: what the trained network says about the test images; and, as a command, about any image files."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import (
    CHECKPOINT_FILE,
    METRICS_FILE,
    PARAMS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    load_params,
)
from Resnet23.errors import InputError
from Resnet23.files import atomic_write, printable, write_json
from Resnet23.images import IMAGE_SUFFIXES, is_image_file
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.inference import Classifier, FilePrediction, predict_files
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.tracking import continue_run

TOP = 5  # classes named for each file
COLUMNS = ["file", "class", "confidence", "top5", "error"]

ImagesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[IMAGE_OR_FOLDER]...", help="Files to classify; none: the test split.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Also write the table to this .csv or .json file.", dir_okay=False)
]
ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with exit code 2 when a file cannot be read.")]


def main(
    images: ImagesArgument = None,
    output: OutputOption = None,
    model: ModelOption = CHECKPOINT_FILE,
    strict: StrictOption = False,
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Predict the test split and measure how good it is, or classify the given image files and folders."""
    params = load_params(params_file, preset, assignments)
    _check_output(output, images)
    device = choose_device(params.predict.device)
    classifier = Classifier(load_checkpoint(model), device, params.predict.batch_size)
    if images:
        classify(classifier, images, output, strict)
        return
    predictions, metrics = evaluate_splits(classifier, read_features())
    write_predictions(PREDICTIONS_FILE, predictions)
    write_json(METRICS_FILE, metrics)
    with continue_run(params.tracking, RUN_FILE) as tracker:
        tracker.log_tags({f"predict.{key}": str(value) for key, value in params.predict.model_dump().items()})
        tracker.log_metrics(_tracked(metrics))
        tracker.log_artifact(PREDICTIONS_FILE)
        tracker.log_artifact(METRICS_FILE)
        tracker.log_text(confusion_table(metrics["confusion_matrix"], classifier.classes), "confusion_matrix.csv")
    logger.info(
        f"{METRICS_FILE}: test accuracy {metrics['accuracy']:.2%} on {len(predictions.files):,} images, "
        f"training accuracy {metrics['train_accuracy']:.2%}"
    )


def evaluate_splits(classifier: Classifier, features: Features) -> tuple[Predictions, dict[str, Any]]:
    """Predictions on the test split and all metrics; the training images count without augmentation.

    Raises InputError when the model and the features do not have the same classes in the same order.
    """
    _check_classes(classifier.classes, features.classes)
    test = classifier.dataset(features.test.images, features.test.targets)
    train = classifier.dataset(features.train.images, features.train.targets, features.train_indices)
    probabilities = classifier.probabilities(test, "test images")
    task, size, device = get_task(features.task), classifier.batch_size, classifier.device
    train_accuracy = evaluate(classifier.model, train, task, size, device, description="training images").accuracy
    metrics = classification_metrics(test.targets, probabilities, features.classes)
    predictions = Predictions(features.test.files, features.classes, test.targets, probabilities)
    return predictions, {"train_accuracy": train_accuracy, **metrics}


def classify(classifier: Classifier, paths: Sequence[Path], output: Path | None, strict: bool) -> None:
    """Print a row for every image file, write the table to `output`, and say how many could not be read.

    Raises InputError for a path that does not exist and, when `strict`, for an unreadable file.
    """
    files = find_images(paths)
    rows = []
    for prediction in predict_files(classifier, files):
        rows.append(table_row(prediction, classifier.classes))
        print(_line(rows[-1]))
    if output:
        _write_table(output, rows)
    failed = sum(bool(row["error"]) for row in rows)
    if failed:
        message = f"{failed} of {len(rows)} files could not be read; their rows say why"
        if strict:
            raise InputError(message)
        logger.warning(message)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given, in order; folders are searched for image files, all the way down, in sorted order."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if is_image_file(file))
            if not found:
                raise InputError(f"{printable(path)}: no images in this folder; expected {', '.join(IMAGE_SUFFIXES)}")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"{printable(path)}: no such file or folder")
    return files


def table_row(prediction: FilePrediction, classes: Sequence[str]) -> dict[str, Any]:
    """A row of the table: file, class, confidence, the five most probable classes, or the error."""
    if prediction.probabilities is None:
        return {
            "file": printable(prediction.file),
            "class": "",
            "confidence": None,
            "top5": {},
            "error": prediction.error,
        }
    order = np.argsort(-prediction.probabilities, kind="stable")[:TOP]
    top = {classes[index]: round(float(prediction.probabilities[index]), 6) for index in order}
    best = next(iter(top))
    return {"file": printable(prediction.file), "class": best, "confidence": top[best], "top5": top, "error": ""}


def confusion_table(counts: list[list[int]], classes: list[str]) -> str:
    """The confusion matrix (C, C) as CSV: a row for each true class, a column for each predicted one."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, counts, strict=True))
    return text.getvalue()


def _check_output(output: Path | None, images: list[Path] | None) -> None:
    if output is None:
        return
    if not images:
        raise InputError("--output: found no images to go with it; name files or folders to classify")
    if output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {printable(output)}: expected a name that ends in .csv or .json")


def _check_classes(model_classes: list[str], data_classes: list[str]) -> None:
    if model_classes == data_classes:
        return
    if sorted(model_classes) == sorted(data_classes):
        raise InputError(
            "the model and data/features list the same classes in another order; train again with `make train`"
        )
    only_model = sorted(set(model_classes) - set(data_classes))[:3]
    only_data = sorted(set(data_classes) - set(model_classes))[:3]
    raise InputError(
        f"the model knows {len(model_classes)} classes, data/features has {len(data_classes)}: "
        f"only the model has {', '.join(only_model) or 'none'}, only the data has {', '.join(only_data) or 'none'}; "
        "train again with `make train`"
    )


def _line(row: dict[str, Any]) -> str:
    """A row as people read it; names with line breaks stay on one line."""
    file = row["file"].encode("unicode_escape").decode() if not row["file"].isprintable() else row["file"]
    if row["error"]:
        return f"{file}  error: {row['error']}"
    top = ", ".join(f"{name} {probability:.1%}" for name, probability in row["top5"].items())
    return f"{file}  {row['class']}  {row['confidence']:.1%}  ({top})"


def _write_table(output: Path, rows: list[dict[str, Any]]) -> None:
    if output.suffix == ".json":
        write_json(output, rows)
        return
    with atomic_write(output, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "top5": json.dumps(row["top5"], ensure_ascii=False)} for row in rows)


def _tracked(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics under the names that the tracker shows: test_accuracy, ..., test_f1/cat, ..."""
    tracked = {f"test_{name}": value for name, value in metrics.items() if isinstance(value, float)}
    tracked["final_train_accuracy"] = tracked.pop("test_train_accuracy")
    for class_name, values in metrics["per_class"].items():
        tracked |= {f"test_{key}/{class_name}": value for key, value in values.items() if value is not None}
    return tracked


if __name__ == "__main__":
    run_command(main)
