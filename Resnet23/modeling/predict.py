"""Stage 4: what the trained network says about the test images; and, as a command, about any image files."""

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
from Resnet23.files import require_writable, write_json
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.evaluation_record import confusion_table, report_text, tracked_metrics
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.modeling.prediction_table import OutputOption, StrictOption, check_output, classify
from Resnet23.modeling.superclass_metrics import superclass_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.tracking import continue_run

ImagesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[IMAGE_OR_FOLDER]...", help="Files to classify; none: the test split.")
]
ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint.")]


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
    if output and not images:
        raise InputError("--output: found no images to go with it; name files or folders to classify")
    check_output(output)
    device = choose_device(params.predict.device)
    classifier = Classifier(load_checkpoint(model), device, params.predict.batch_size)
    if images:
        classify(classifier, images, output, strict)
        return
    require_writable(PREDICTIONS_FILE.parent)
    predictions, metrics = evaluate_splits(classifier, read_features())
    write_predictions(PREDICTIONS_FILE, predictions)
    write_json(METRICS_FILE, metrics)
    with continue_run(params.tracking, RUN_FILE) as tracker:
        tracker.log_tags({f"predict.{key}": str(value) for key, value in params.predict.model_dump().items()})
        tracker.log_metrics(tracked_metrics(metrics))
        tracker.log_artifact(PREDICTIONS_FILE)
        tracker.log_artifact(METRICS_FILE)
        tracker.log_text(confusion_table(metrics["confusion_matrix"], classifier.classes), "confusion_matrix.csv")
        tracker.log_text(report_text(predictions), "classification_report.txt")
    logger.info(f"{METRICS_FILE}: {_summary(metrics, len(predictions.files))}")


def evaluate_splits(
    classifier: Classifier, features: Features
) -> tuple[Predictions | MultilabelPredictions, dict[str, Any]]:
    """Predictions on the test split and all metrics; the training images count without augmentation.

    Raises InputError when the model and the features are not for the same task, with the same classes in the same
    order.
    """
    if classifier.checkpoint.task != features.task:
        raise InputError(
            f"the model was trained for {classifier.checkpoint.task}, data/features is labelled for {features.task}; "
            "train again with `make train`"
        )
    _check_classes(classifier.classes, features.classes)
    test = classifier.dataset(features.test.images, features.test.targets)
    train = classifier.dataset(features.train.images, features.train.targets, features.train_indices)
    probabilities = classifier.probabilities(test, "test images")
    task, size, device = get_task(features.task), classifier.batch_size, classifier.device
    training = evaluate(classifier.predictor, train, task, size, device, description="training images")
    files, classes, targets = features.test.files, features.classes, test.targets
    if features.task == "multilabel":
        given = probabilities >= np.array(classifier.thresholds)
        predictions = MultilabelPredictions(files, classes, targets.astype(bool), given, probabilities)
        metrics = multilabel_metrics(targets, probabilities, classes, classifier.thresholds)
        return predictions, {"train_mAP": training.mAP, **metrics}
    predictions = Predictions(files, classes, targets, probabilities)
    metrics = {"train_accuracy": training.accuracy, **classification_metrics(targets, probabilities, classes)}
    if features.superclasses:
        metrics |= superclass_metrics(targets, predictions.predicted, classes, features.superclasses)
    return predictions, metrics


def _summary(metrics: dict[str, Any], images: int) -> str:
    """The result in one line."""
    if "accuracy" in metrics:
        return (
            f"test accuracy {metrics['accuracy']:.2%} on {images:,} images, "
            f"training accuracy {metrics['train_accuracy']:.2%}"
        )
    return (
        f"test mAP {metrics['mAP']:.3f} on {images:,} images, every label right on {metrics['subset_accuracy']:.1%} "
        f"of them, training mAP {metrics['train_mAP']:.3f}"
    )


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


if __name__ == "__main__":
    run_command(main)
