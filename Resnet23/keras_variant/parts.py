"""What all networks have: an input of pixels, their normalisation, and a classifier as the last layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from Resnet23.config import CIFAR10_MEAN, CIFAR10_STD
from Resnet23.keras_variant.library import import_keras

if TYPE_CHECKING:
    import keras

PIXEL_MAX = 255
CLASSIFIER = "classifier"
NORMALIZATION = "normalization"
CLASSIFIER_STD = 0.01  # of its first weights, as in the PyTorch networks


@dataclass(frozen=True)
class Options:
    """What a network is built for: images of `image_size` x `image_size` pixels, of `num_classes` classes.

    `dropout` is the share of features zeroed before the classifier while training. `mean` and `std`, for each channel
    in [0, 1], and `width`, a number of channels, belong to our own networks.
    """

    num_classes: int
    image_size: int
    width: int = 64
    dropout: float = 0.0
    mean: Sequence[float] = CIFAR10_MEAN
    std: Sequence[float] = CIFAR10_STD


def image_input(options: Options) -> "keras.KerasTensor":
    """Where images go in: (N, S, S, 3) float32 from 0 to 255."""
    keras = import_keras()
    return keras.Input((options.image_size, options.image_size, 3), dtype="float32", name="images")


def normalization(options: Options) -> "keras.Layer":
    """Pixels from 0 to 255 -> pixels less their mean, divided by their standard deviation."""
    keras = import_keras()
    mean = [PIXEL_MAX * value for value in options.mean]
    variance = [(PIXEL_MAX * value) ** 2 for value in options.std]
    # In mixed precision too: a pixel less its mean would be rounded before it is divided.
    return keras.layers.Normalization(mean=mean, variance=variance, dtype="float32", name=NORMALIZATION)


def mean_and_std(model: "keras.Model") -> tuple[Sequence[float], Sequence[float]] | None:
    """The mean and standard deviation in [0, 1] that a network normalises with; None where it has them elsewhere."""
    layers = {layer.name: layer for layer in model.layers}
    if NORMALIZATION not in layers:
        return None
    config = layers[NORMALIZATION].get_config()
    return [x / PIXEL_MAX for x in config["mean"]], [x**0.5 / PIXEL_MAX for x in config["variance"]]


def classifier(options: Options) -> "list[keras.Layer]":
    """Features (N, F) -> logits (N, num_classes) float32, whatever the precision of the layers before."""
    keras = import_keras()
    start = keras.initializers.RandomNormal(stddev=CLASSIFIER_STD)
    return [
        keras.layers.Dropout(options.dropout, name="final_dropout"),
        keras.layers.Dense(options.num_classes, kernel_initializer=start, dtype="float32", name=CLASSIFIER),
    ]
