"""The training itself: Keras's `fit`, in one phase or two, and the weights of the best epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from Resnet23.arrays import Features
from Resnet23.history import EpochRecord
from Resnet23.keras_variant.architectures import create_model
from Resnet23.keras_variant.augment import augmentation_layers
from Resnet23.keras_variant.callbacks import CROSS_ENTROPY, Course, Training, build_callbacks, records_from, reseed
from Resnet23.keras_variant.data import Batches
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasParams, KerasTrainParams
from Resnet23.keras_variant.parts import CLASSIFIER, mean_and_std
from Resnet23.keras_variant.resume import ResumeFolder

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9  # of SGD
INSPECTED_IMAGES = 64


@dataclass(frozen=True)
class Phase:
    """Epochs, counted from 0, with an optimizer of their own and the same layers trained."""

    epochs: range
    rate: float
    trained: Literal["all", "classifier", "all but BatchNorm"]


@dataclass(frozen=True)
class Fitted:
    """The network of the best epoch, in float32, and how the training went."""

    network: "keras.Model"
    history: list[EpochRecord]
    best_epoch: int
    inspection: dict[str, np.ndarray]  # what the plots stage shows of it


def fit(
    features: Features,
    params: KerasParams,
    policy: str,
    resume: ResumeFolder,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    tensorboard: Path | None = None,
) -> Fitted:
    """Train on the training rows of `features`, or go on with what `resume` holds.

    `policy` is the dtype policy; `on_epoch` is told of every epoch as it ends. Raises Diverged when the loss is no
    longer a finite number.
    """
    keras = import_keras()
    keras.utils.set_random_seed(params.seed)
    keras.config.set_dtype_policy(policy)
    try:
        model = build_trainer(features, params)
        state = resume.load()
        course = Course(records_from(state["records"] if state else []), len(features.train_indices), on_epoch)
        training = Training(model, params, course, resume, len(features.val_indices) > 0, tensorboard)
        for phase in split_phases(params.train):
            done, patience = len(course.records), params.train.patience
            if done < phase.epochs.stop and not (patience and course.epochs_without_progress >= patience):
                _run_phase(phase, training, features, state)
                state = None  # the next phase follows on this one
    finally:
        keras.config.set_dtype_policy("float32")
    final = build_trainer(features, params, model.layers[-1])
    final.load_weights(resume.best(course.best_epoch))
    return Fitted(final.layers[-1], course.records, course.best_epoch, inspect(final, features, params))


def split_phases(params: KerasTrainParams) -> list[Phase]:
    """One phase, or first the classifier alone and then the other layers as well.

    BatchNorm stays as it is in that second phase: statistics of few images at a time would undo what it has learnt from
    many.
    """
    frozen, epochs = min(params.freeze_epochs, params.epochs), params.epochs
    if not frozen:
        return [Phase(range(epochs), params.learning_rate, "all")]
    head = Phase(range(frozen), params.learning_rate, "classifier")
    return [head, Phase(range(frozen, epochs), params.fine_tune_rate, "all but BatchNorm")]


def build_trainer(features: Features, params: KerasParams, trained: "keras.Model | None" = None) -> "keras.Model":
    """Augmentation and, as the last layer, the network: images (N, S, S, 3) from 0 to 255 -> logits (N, C).

    With `trained` the network is one for the weights of that one, and reads none of its own.
    """
    keras = import_keras()
    about, mean, std = params.model.model_dump(), features.mean, features.std
    if trained is not None:
        about["weights"] = None
        mean, std = mean_and_std(trained) or (mean, std)  # those of a file, perhaps
    network = create_model(
        num_classes=len(features.classes), image_size=features.image_size, mean=mean, std=std, **about
    )
    return keras.Sequential([keras.Input(network.input_shape[1:]), *augmentation_layers(params.train.augment), network])


def set_trained(network: "keras.Model", trained: str) -> None:
    """Choose the layers that learn, as `Phase.trained` names them.

    BatchNorm that does not learn normalises by its statistics, as in use. Dropout and stochastic depth stay on.
    """
    normalizations = import_keras().layers.BatchNormalization
    network.trainable = True
    for layer in leaf_layers(network):
        if trained == "classifier":
            layer.trainable = layer.name == CLASSIFIER
        elif trained == "all but BatchNorm":
            layer.trainable = not isinstance(layer, normalizations)


def leaf_layers(model: "keras.Model") -> "Iterator[keras.Layer]":
    """The layers of a network and of the networks in it, in their order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer


def build_optimizer(params: KerasTrainParams, rate: float) -> "keras.optimizers.Optimizer":
    """The optimizer that `params` names, at this learning rate; biases and BatchNorm keep their size."""
    optimizers = import_keras().optimizers
    kinds = {
        "sgd": lambda **options: optimizers.SGD(momentum=MOMENTUM, nesterov=True, **options),
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
        "rmsprop": optimizers.RMSprop,
    }
    optimizer = kinds[params.optimizer](learning_rate=rate, weight_decay=params.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def inspect(model: "keras.Model", features: Features, params: KerasParams) -> dict[str, np.ndarray]:
    """The first images of the training as the network saw them, their labels, and the kernels of the first layer.

    batch (B, S, S, 3) uint8, labels (B,), kernels (K, 3, h, w), where K is 0 if no convolution sees the colours.
    """
    rows, size = features.train_indices, params.train.batch_size
    images, targets = next(iter(_batches(features).training(rows, size, params.seed, range(1))))
    reseed(model, params.seed, 0)
    for layer in model.layers[:-1]:
        images = layer(images, training=True)
    pixels = np.asarray(images).round().clip(0, 255).astype(np.uint8)[:INSPECTED_IMAGES]
    labels = np.asarray(targets).argmax(axis=1)[: len(pixels)]
    return {"batch": pixels, "labels": labels, "kernels": _first_kernels(model.layers[-1])}


def _run_phase(phase: Phase, training: Training, features: Features, state: dict[str, Any] | None) -> None:
    """Train the epochs of a phase that are not done yet; `state` is that of a training to go on with."""
    model, params, done = training.model, training.params, len(training.course.records)
    is_interrupted = state is not None and done > phase.epochs.start
    if state and not is_interrupted:
        model.load_weights(training.resume.weights(done))  # before there is an optimizer: this phase gets a new one
    set_trained(model.layers[-1], phase.trained)
    _compile(model, params.train, phase.rate)
    if is_interrupted:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(training.resume.weights(done))
    batches, epochs = _batches(features), range(max(done, phase.epochs.start), phase.epochs.stop)
    rows, size = features.train_indices, params.train.batch_size
    validation = batches.ordered(features.val_indices, params.predict.batch_size) if training.has_validation else None
    with batches.own_errors():
        model.fit(
            batches.training(rows, size, params.seed, epochs),
            steps_per_epoch=math.ceil(len(rows) / size),
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            validation_data=validation,
            callbacks=build_callbacks(training, state["plateau"] if is_interrupted else None),
            shuffle=False,  # the batches come in their own order
            verbose=0,
        )


def _compile(model: "keras.Model", params: KerasTrainParams, rate: float) -> None:
    """Give a network its optimizer, loss and metrics."""
    keras = import_keras()
    model.compile(
        build_optimizer(params, rate),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=params.label_smoothing),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.CategoricalCrossentropy(from_logits=True, name=CROSS_ENTROPY),
        ],
        jit_compile=False,  # the layers of augmentation cannot be compiled
    )


def _batches(features: Features) -> Batches:
    """The training and the validation images."""
    return Batches(features.train, len(features.classes))


def _first_kernels(network: "keras.Model") -> np.ndarray:
    """(K, 3, h, w)"""
    for layer in leaf_layers(network):
        if isinstance(layer, import_keras().layers.Conv2D) and layer.kernel.shape[2] == 3:
            return np.asarray(layer.kernel).transpose(3, 2, 0, 1)
    return np.empty((0, 3, 1, 1), dtype=np.float32)
