"""The Keras pipeline's training: features -> models/keras/model.keras, its history and what it did on validation."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, PresetOption, SetOption, run_command
from Resnet23.config import REPORTS_DIR
from Resnet23.errors import InputError
from Resnet23.files import atomic_write, require_writable
from Resnet23.history import EpochRecord, write_history
from Resnet23.keras_variant.architectures import check_image_size, check_model, find_weights
from Resnet23.keras_variant.calibration import calibrated, fit_temperature
from Resnet23.keras_variant.fit import Fitted, fit
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParams, KerasParamsOption, load_keras_params
from Resnet23.keras_variant.precision import Precision, choose_precision
from Resnet23.keras_variant.resume import RESUME_DIR, ResumeFolder, resume_folder
from Resnet23.keras_variant.saved import KerasClassifier, predict_logits, save
from Resnet23.outputs import KERAS
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.resuming import FreshOption, remove_old_states, training_lock
from Resnet23.revision import git_revision
from Resnet23.tracking import Tracker, continue_run, start_run


@dataclass(frozen=True)
class KerasTrained:
    """What the stage leaves."""

    classifier: KerasClassifier
    fitted: Fitted
    val_predictions: Predictions


def main(
    params_file: KerasParamsOption = KERAS_PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Train the network that pipelines/keras/params.yaml describes and keep the epoch that is best on validation."""
    params = load_keras_params(params_file, preset, assignments)
    check_model(params.model.name, params.model.weights)
    for file in (KERAS.checkpoint, KERAS.history):
        require_writable(file.parent)
    import_keras()
    features = read_features()
    check_training(features, params)
    precision = choose_precision(params.train.precision)
    with training_lock(RESUME_DIR):
        resume = resume_folder(params, features, precision.policy)
        if fresh:
            resume.remove()
        remove_old_states(resume.folder)
        train_tracked(features, params, precision, resume)
        resume.remove()


def check_training(features: Features, params: KerasParams) -> None:
    """Raise InputError when `params` asks for a training that is not possible on `features`, or for missing weights."""
    if features.task != "multiclass":
        raise InputError(
            f"data/features is labelled for {features.task}; the Keras pipeline takes images with one class each, "
            "`make train` all of them"
        )
    check_image_size(params.model.name, features.image_size)
    if params.train.patience and not len(features.val_indices):
        raise InputError(
            f"train.patience: found {params.train.patience}, but features.val_fraction 0 leaves no validation images "
            "to stop by; set train.patience to 0, or hold some images out"
        )
    if params.train.freeze_epochs and params.model.weights is None:
        raise InputError(
            f"train.freeze_epochs: found {params.train.freeze_epochs}, but model.weights null leaves random layers; "
            "set train.freeze_epochs to 0, or name weights"
        )
    find_weights(params.model.name, params.model.weights)


def train_tracked(features: Features, params: KerasParams, precision: Precision, resume: ResumeFolder) -> None:
    """Train, show and record the course of it, and write everything that the stage leaves."""
    logger.info(f"training {params.model.name} on {precision.device} in {precision.policy} ({precision.reason})")
    tensorboard = REPORTS_DIR / "tensorboard" / f"keras-{resume.folder.name}" if params.tracking.tensorboard else None
    with _open_run(features, params, precision, resume) as tracker:
        logged = tracker.last_step("train_loss")

        def on_epoch(record: EpochRecord) -> None:
            logger.info(_line(record, params.train.epochs))
            if record.epoch > logged:  # a training that goes on may repeat some
                tracker.log_metrics(_metrics(record), step=record.epoch)

        trained = train(features, params, precision.policy, resume, on_epoch, tensorboard)
        save_trained(trained)
        tracker.write_run_file(KERAS.run)
        tracker.log_metrics({"best_epoch": trained.fitted.best_epoch})
        tracker.log_artifact(KERAS.checkpoint, "models")
    best = trained.fitted.history[trained.fitted.best_epoch - 1]
    logger.info(f"{KERAS.checkpoint}: epoch {best.epoch} of {len(trained.fitted.history)}{_validation(best)}")


def train(
    features: Features,
    params: KerasParams,
    policy: str,
    resume: ResumeFolder,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    tensorboard: Path | None = None,
) -> KerasTrained:
    """Train as `params` says on the training rows of `features`, choosing the epoch on the validation rows."""
    fitted = fit(features, params, policy, resume, on_epoch, tensorboard)
    rows, classes = features.val_indices, features.classes
    targets = features.train.targets[rows]
    logits = predict_logits(fitted.network, features.train, rows, params.predict.batch_size)
    temperature = fit_temperature(logits, targets) if len(rows) else None
    predictions = Predictions(
        [features.train.files[row] for row in rows], classes, targets, calibrated(logits, temperature or 1.0)
    )
    return KerasTrained(KerasClassifier(fitted.network, describe(features, params, temperature)), fitted, predictions)


def describe(features: Features, params: KerasParams, temperature: float | None) -> dict[str, Any]:
    """What a user of the network has to know, as exported files have it."""
    return {
        "classes": features.classes,
        "task": features.task,
        "preprocessing": {
            "image_size": features.image_size,
            "resize": features.resize,
            "mean": list(features.mean),
            "std": list(features.std),
        },
        "decision": {"thresholds": None, "temperature": temperature},
        "model": params.model.model_dump(),
        "git_revision": git_revision(),
    }


def describe_features(features: Features) -> dict[str, Any]:
    """What data/features says of its own making, as the tracker shows the parameters of it in the PyTorch pipeline."""
    info = features.info
    return {
        "data": {key: info[key] for key in ("dataset", "image_size", "resize")},
        "features": {key: info[key] for key in ("storage", "counts")},
    }


def save_trained(trained: KerasTrained) -> None:
    """Write the classifier, the history, the validation predictions and the inspection arrays."""
    save(trained.classifier.network, KERAS.checkpoint, trained.classifier.description)
    write_predictions(KERAS.val_predictions, trained.val_predictions)
    write_history(trained.fitted.history, KERAS.history)
    with atomic_write(KERAS.inspection, "wb") as file:
        np.savez_compressed(file, **trained.fitted.inspection)


def _open_run(features: Features, params: KerasParams, precision: Precision, resume: ResumeFolder) -> Tracker:
    """The tracker's run of an interrupted training, or a new one."""
    if resume.run_file.exists():
        return continue_run(params.tracking, resume.run_file)
    logged = params.model_dump(include={"seed", "model", "train"}) | describe_features(features)
    how = {"precision": precision.policy, "device": precision.device}
    tracker = start_run(params.tracking, logged, {"stage": "train", "framework": KERAS.framework, **how})
    tracker.log_dataset(features.info["dataset"], features.digest, features.folder, features.info["counts"])
    tracker.write_run_file(resume.run_file)
    return tracker


def _metrics(record: EpochRecord) -> dict[str, float]:
    """The numbers of an epoch under the names that the tracker shows."""
    return {name: value for name, value in asdict(record).items() if name != "epoch" and value is not None}


def _line(record: EpochRecord, epochs: int) -> str:
    """An epoch in one line."""
    line = f"epoch {record.epoch}/{epochs}: training loss {record.train_loss:.3f}, accuracy {record.train_accuracy:.1%}"
    if record.val_loss is not None:
        line += f"; validation loss {record.val_loss:.3f}, accuracy {record.val_accuracy:.1%}"
    return f"{line}; {record.images_per_second:.0f} images/s"


def _validation(record: EpochRecord) -> str:
    """How good the kept epoch is."""
    return "" if record.val_accuracy is None else f", validation accuracy {record.val_accuracy:.1%}"


if __name__ == "__main__":
    run_command(main)
