"""Stage 3: features -> a trained, self-describing checkpoint, its history and what it did on validation.

Run alone, under DVC, or on several processes and hosts by `accelerate launch` or `torchrun`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from loguru import logger
from torch import nn

from Resnet23.arrays import Features, read_features
from Resnet23.command import (
    DebugOption,
    ParamsOption,
    PresetOption,
    SetOption,
    is_main_process,
    run_command,
)
from Resnet23.config import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    INSPECTION_FILE,
    PARAMS_FILE,
    RUN_FILE,
    VAL_PREDICTIONS_FILE,
    Params,
    TrainParams,
    load_params,
)
from Resnet23.files import atomic_write, require_writable, sweep
from Resnet23.history import EpochRecord, write_history
from Resnet23.interrupts import opening
from Resnet23.modeling.batches import BatchSource
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing, save_checkpoint
from Resnet23.modeling.consistency import check_consistency
from Resnet23.modeling.device import gpu_name
from Resnet23.modeling.evaluate import Evaluation
from Resnet23.modeling.fit import fit
from Resnet23.modeling.inference import calibrated
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.losses import check_loss, fit_temperature, get_task, training_task
from Resnet23.modeling.new_network import new_network
from Resnet23.modeling.optim import check_names
from Resnet23.modeling.phases import resolve_phases
from Resnet23.modeling.resume import NOT_SAVED, ResumeFile, resume_file
from Resnet23.modeling.selection import FitResult
from Resnet23.modeling.thresholds import fit_thresholds
from Resnet23.modeling.watch import NOT_WATCHED, Watch
from Resnet23.modeling.zoo import check_model
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions, write_predictions
from Resnet23.resuming import FreshOption, remove_old_states, training_lock
from Resnet23.revision import git_revision
from Resnet23.tracking import Tracker, continue_run, start_run

INSPECTED_IMAGES = 64


@dataclass(frozen=True)
class Trained:
    """What stage 3 leaves: the checkpoint, the course of the training, and what the plots stage wants to see."""

    checkpoint: Checkpoint
    result: FitResult
    val_predictions: Predictions | MultilabelPredictions
    inspection: dict[str, np.ndarray]


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Train the network that params.yaml describes and keep the epoch that is best on validation."""
    params = load_params(params_file, preset, assignments)
    check_model(params.model.name, params.model.pretrained, params.model.stem)
    check_names(params.train)
    check_loss(params.train.loss)
    for file in (CHECKPOINT_FILE, HISTORY_FILE):
        require_writable(file.parent)
    features = read_features()
    check_consistency(features, params)
    if not is_main_process():
        train(features, params)
        return
    with training_lock():
        resume = resume_file(params, features)
        if fresh:
            resume.remove()
        remove_old_states(resume.folder)
        for file in (CHECKPOINT_FILE, HISTORY_FILE):
            sweep(file.parent)
        train_tracked(features, params, resume)
        resume.remove()


def train_tracked(features: Features, params: Params, resume: ResumeFile) -> None:
    """Train, show and record the course of it, and write everything that the stage leaves."""
    with (
        Watch(params.tracking, resume.folder.name) as watch,
        opening(lambda: _open_run(features, params, resume)) as tracker,
    ):
        logged = tracker.last_step("train_loss")

        def on_epoch(record: EpochRecord) -> None:
            logger.info(_line(record, params, features.task))
            watch.epoch(record)
            if record.epoch > logged:  # a training that goes on may repeat some
                tracker.log_metrics(_metrics(record), step=record.epoch)

        training = train(features, params, on_epoch, watch, resume)
        save(training)
        tracker.write_run_file(RUN_FILE)
        tracker.log_metrics({"best_epoch": training.result.best_epoch})
        tracker.log_artifact(CHECKPOINT_FILE, "models")
        example = _example_input(features, training.checkpoint.preprocessing)
        tracker.log_model(training.checkpoint.build_model(), example, _classifier(training.checkpoint))
    best = training.result.history[training.result.best_epoch - 1]
    logger.info(f"{CHECKPOINT_FILE}: epoch {best.epoch} of {len(training.result.history)}, {_validation(best)}")


def train(
    features: Features,
    params: Params,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    watch: Watch = NOT_WATCHED,
    resume: ResumeFile = NOT_SAVED,
) -> Trained:
    """Train as `params` says on the training rows of `features`, choosing the epoch on the validation rows.

    Raises InputError when params and features contradict each other.
    """
    check_consistency(features, params)
    classes = len(features.classes)
    model = new_network(features, params)
    how = network_preprocessing(features, params)
    train_data = network_images(features.train, how, features.train_indices)
    val_data = network_images(features.train, how, features.val_indices) if len(features.val_indices) else None
    task = training_task(features.task, params.train.loss, train_data.targets)
    source = BatchSource(train_data, task, classes, params.train, params.seed, torch.device("cpu"))
    batch, labels = first_batch(source)
    watch.images(batch)
    result = fit(
        model, train_data, val_data, task, classes, params.train, params.seed, on_epoch, watch.on_gradients, resume
    )
    decision = fit_decision(features, params.train, result.validation)
    checkpoint = _checkpoint(features, params, how, result, decision)
    inspection = {"batch": batch, "labels": labels, "kernels": first_kernels(checkpoint.build_model())}
    if features.task == "multilabel" and val_data:
        inspection["val_mAP"] = np.array([record.val_mAP for record in result.history])  # by which the epoch was kept
    return Trained(checkpoint, result, _val_predictions(features, result.validation, decision), inspection)


def fit_decision(features: Features, params: TrainParams, validation: Evaluation | None) -> Decision:
    """Temperature and, with labels, thresholds that suit the validation images best; nothing where there are none."""
    if validation is None:
        return Decision()
    temperature = fit_temperature(get_task(features.task), validation.logits, validation.targets)
    if features.task != "multilabel" or params.thresholds.goal is None:
        return Decision(temperature=temperature)
    probabilities = calibrated(features.task, validation.logits, temperature)
    targets = validation.targets.numpy()
    return Decision(fit_thresholds(targets, probabilities, features.classes, params.thresholds), temperature)


def save(trained: Trained) -> None:
    """Write the checkpoint, the history, the validation predictions and the inspection arrays."""
    save_checkpoint(CHECKPOINT_FILE, trained.checkpoint)
    write_predictions(VAL_PREDICTIONS_FILE, trained.val_predictions)
    write_history(trained.result.history)
    with atomic_write(INSPECTION_FILE, "wb") as file:
        np.savez_compressed(file, **trained.inspection)


def first_batch(source: BatchSource) -> tuple[np.ndarray, np.ndarray]:
    """The first images of the training as the network sees them, (B, H, W, 3) uint8, and their labels.

    These are (B,), of a mixture of images the class of the larger share; or (B, C) of 0 and 1, in a mixture the labels
    of at least half of it.
    """
    images, targets = source.first_images(INSPECTED_IMAGES, resolve_phases(source.params)[0].resolution)
    pixels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)  # (B, H, W, 3)
    if source.data.targets.ndim == 2:
        return pixels.numpy(), (targets >= 0.5).to(torch.uint8).numpy()
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return pixels.numpy(), labels.numpy()


def first_kernels(model: nn.Module) -> np.ndarray:
    """The weights of the first convolution, (K, 3, h, w); K is 0 when no convolution sees the image's colours."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.shape[1] == 3:
            return module.weight.detach().float().cpu().numpy()
    return np.empty((0, 3, 1, 1), dtype=np.float32)


def _open_run(features: Features, params: Params, resume: ResumeFile) -> Tracker:
    """The tracker's run of an interrupted training, or a new one."""
    if resume.run_file.exists():
        return continue_run(params.tracking, resume.run_file)
    logged = params.model_dump(include={"seed", "data", "features", "model", "train"})
    tags = {"stage": "train", "framework": "PyTorch", "machine.gpu": gpu_name()}
    tracker = start_run(params.tracking, logged, tags)
    tracker.log_dataset(features.info["dataset"], features.digest, features.folder, features.info["counts"])
    tracker.write_run_file(resume.run_file)
    return tracker


def _checkpoint(
    features: Features, params: Params, how: Preprocessing, result: FitResult, decision: Decision
) -> Checkpoint:
    return Checkpoint(
        state_dict=result.state_dict,
        model=params.model.model_dump(),
        classes=features.classes,
        preprocessing=how,
        decision=decision,
        task=features.task,
        params=params.model_dump(exclude={"predict", "plots", "tracking"}),
        git_revision=git_revision(),
    )


def _val_predictions(
    features: Features, validation: Evaluation | None, decision: Decision
) -> Predictions | MultilabelPredictions:
    """What the chosen epoch says about the validation images; no rows when there are none."""
    files = [features.train.files[row] for row in features.val_indices]
    classes, targets = features.classes, features.train.targets[features.val_indices]
    probabilities = np.empty((0, len(classes)), dtype=np.float32)
    if validation is not None:
        probabilities = calibrated(features.task, validation.logits, decision.temperature)
    if features.task == "multilabel":
        given = probabilities >= np.array(decision.label_thresholds(len(classes)))
        return MultilabelPredictions(files, classes, targets.astype(bool), given, probabilities)
    return Predictions(files, classes, targets, probabilities)


def _example_input(features: Features, how: Preprocessing) -> np.ndarray:
    """Two normalised test images (2, 3, H, W) float32: what the network takes."""
    data = network_images(features.test, how)
    return torch.stack([data[0][0], data[1][0]]).numpy()


def _classifier(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the network's inputs and outputs mean, as plain values."""
    meaning = ("classes", "preprocessing", "decision", "task")
    return {key: value for key, value in asdict(replace(checkpoint, state_dict={})).items() if key in meaning}


def _metrics(record: EpochRecord) -> dict[str, float]:
    """The numbers of an epoch under the names that the tracker shows."""
    return {name: value for name, value in asdict(record).items() if name != "epoch" and value is not None}


def _line(record: EpochRecord, params: Params, task: str) -> str:
    """An epoch in one line."""
    epochs = resolve_phases(params.train)[-1].last
    accuracy = "every label right on" if task == "multilabel" else "accuracy"
    line = f"epoch {record.epoch}/{epochs}: "
    line += f"training loss {record.train_loss:.3f}, {accuracy} {record.train_accuracy:.1%}"
    if record.val_loss is not None:
        line += f"; validation loss {record.val_loss:.3f}, {accuracy} {record.val_accuracy:.1%}"
        line += "" if record.val_mAP is None else f", mAP {record.val_mAP:.3f}"
    return f"{line}; {record.images_per_second:.0f} images/s"


def _validation(record: EpochRecord) -> str:
    """How good the kept epoch is."""
    if record.val_accuracy is None:
        return "validation accuracy not measured"
    if record.val_mAP is None:
        return f"validation accuracy {record.val_accuracy:.1%}"
    return f"validation mAP {record.val_mAP:.3f}, every label right on {record.val_accuracy:.1%} of the images"


if __name__ == "__main__":
    run_command(main)
