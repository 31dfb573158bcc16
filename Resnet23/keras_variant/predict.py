"""The Keras pipeline's predictions: what the trained network says about the test images, and how good that is."""

from typing import Any

import numpy as np
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, PresetOption, SetOption, run_command
from Resnet23.files import require_writable, write_json
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParamsOption, load_keras_params
from Resnet23.keras_variant.saved import KerasClassifier, check_fit, load_classifier
from Resnet23.modeling.evaluation_record import confusion_table, report_text, tracked_metrics
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.superclass_metrics import superclass_metrics
from Resnet23.outputs import KERAS
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.tracking import continue_run


def main(
    params_file: KerasParamsOption = KERAS_PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Predict the test split with models/keras/model.keras and measure how good it is."""
    params = load_keras_params(params_file, preset, assignments)
    classifier, features = load_classifier(), read_features()
    require_writable(KERAS.predictions.parent)
    predictions, metrics = evaluate_splits(classifier, features, params.predict.batch_size)
    write_predictions(KERAS.predictions, predictions)
    write_json(KERAS.metrics, metrics)
    with continue_run(params.tracking, KERAS.run) as tracker:
        tracker.log_tags({f"predict.{key}": str(value) for key, value in params.predict.model_dump().items()})
        tracker.log_metrics(tracked_metrics(metrics))
        tracker.log_artifact(KERAS.predictions)
        tracker.log_artifact(KERAS.metrics)
        tracker.log_text(confusion_table(metrics["confusion_matrix"], classifier.classes), "confusion_matrix.csv")
        tracker.log_text(report_text(predictions), "classification_report.txt")
    logger.info(
        f"{KERAS.metrics}: test accuracy {metrics['accuracy']:.2%} on {len(predictions.files):,} images, "
        f"training accuracy {metrics['train_accuracy']:.2%}"
    )


def evaluate_splits(
    classifier: KerasClassifier, features: Features, batch_size: int
) -> tuple[Predictions, dict[str, Any]]:
    """Predictions on the test split and all metrics; the training images count without augmentation.

    Raises InputError when the classifier and the features are not of the same classes and image size.
    """
    check_fit(classifier, features)
    test, train, classes = features.test, features.train, features.classes
    probabilities = classifier.probabilities(test, np.arange(len(test)), batch_size)
    training = classifier.probabilities(train, features.train_indices, batch_size)
    train_accuracy = float((training.argmax(axis=1) == train.targets[features.train_indices]).mean())
    predictions = Predictions(test.files, classes, test.targets, probabilities)
    metrics = {"train_accuracy": train_accuracy, **classification_metrics(test.targets, probabilities, classes)}
    if features.superclasses:
        metrics |= superclass_metrics(test.targets, predictions.predicted, classes, features.superclasses)
    return predictions, metrics


if __name__ == "__main__":
    run_command(main)
