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
from Resnet23.keras_variant.data import ordered_batches, training_batches
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasParams, KerasTrainParams
from Resnet23.keras_variant.parts import CLASSIFIER
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
    model = build_trainer(features, params)
    state = resume.load() or {"records": [], "plateau": None}
    course = Course(records_from(state["records"]), len(features.train_indices), on_epoch)
    training = Training(model, params, course, resume, len(features.val_indices) > 0, tensorboard)
    for phase in split_phases(params.train):
        done, patience = len(course.records), params.train.patience
        if done < phase.epochs.stop and not (patience and course.epochs_without_progress >= patience):
            _run_phase(phase, training, features, state if done == len(state["records"]) > 0 else None)
    keras.config.set_dtype_policy("float32")
    final = build_trainer(features, params)
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


def build_trainer(features: Features, params: KerasParams) -> "keras.Model":
    """Augmentation and, as the last layer, the network: images (N, S, S, 3) from 0 to 255 -> logits (N, C)."""
    keras = import_keras()
    network = create_model(
        num_classes=len(features.classes),
        image_size=features.image_size,
        mean=features.mean,
        std=features.std,
        **params.model.model_dump(),
    )
    return keras.Sequential([keras.Input(network.input_shape[1:]), *augmentation_layers(params.train.augment), network])


def set_trained(network: "keras.Model", trained: str) -> None:
    """Choose the layers that learn, as `Phase.trained` names them; the others compute as in use, BatchNorm included."""
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
    images, targets = next(iter(_training_batches(features, params, range(1))))
    reseed(model, params.seed, 0)
    for layer in model.layers[:-1]:
        images = layer(images, training=True)
    pixels = np.asarray(images).round().clip(0, 255).astype(np.uint8)[:INSPECTED_IMAGES]
    labels = np.asarray(targets).argmax(axis=1)[: len(pixels)]
    return {"batch": pixels, "labels": labels, "kernels": _first_kernels(model.layers[-1])}


def _run_phase(phase: Phase, training: Training, features: Features, state: dict[str, Any] | None) -> None:
    """Train the epochs of a phase that are not done yet; `state` is that of a training to go on with."""
    keras, model, params = import_keras(), training.model, training.params
    done = len(training.course.records)
    is_interrupted = state is not None and done > phase.epochs.start
    if state and not is_interrupted:
        model.load_weights(training.resume.weights)  # before there is an optimizer: this phase gets a new one
    set_trained(model.layers[-1], phase.trained)
    model.compile(
        build_optimizer(params.train, phase.rate),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=params.train.label_smoothing),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.CategoricalCrossentropy(from_logits=True, name=CROSS_ENTROPY),
        ],
        jit_compile=False,  # the layers of augmentation cannot be compiled
    )
    if is_interrupted:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(training.resume.weights)
    epochs = range(max(done, phase.epochs.start), phase.epochs.stop)
    model.fit(
        _training_batches(features, params, epochs),
        steps_per_epoch=math.ceil(len(features.train_indices) / params.train.batch_size),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        validation_data=_validation_batches(features, params) if training.has_validation else None,
        callbacks=build_callbacks(training, state["plateau"] if is_interrupted else None),
        shuffle=False,  # the batches come in their own order
        verbose=0,
    )


def _training_batches(features: Features, params: KerasParams, epochs: range) -> Any:
    size, classes = params.train.batch_size, len(features.classes)
    return training_batches(features.train, features.train_indices, classes, size, params.seed, epochs)


def _validation_batches(features: Features, params: KerasParams) -> Any:
    return ordered_batches(features.train, features.val_indices, len(features.classes), params.predict.batch_size)


def _first_kernels(network: "keras.Model") -> np.ndarray:
    """(K, 3, h, w)"""
    for layer in leaf_layers(network):
        if isinstance(layer, import_keras().layers.Conv2D) and layer.kernel.shape[2] == 3:
            return np.asarray(layer.kernel).transpose(3, 2, 0, 1)
    return np.empty((0, 3, 1, 1), dtype=np.float32)
