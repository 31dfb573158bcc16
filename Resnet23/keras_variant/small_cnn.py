"""Two small networks, one for each way in which Keras puts layers together."""

from typing import TYPE_CHECKING

from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.parts import Options, classifier, image_input, normalization

if TYPE_CHECKING:
    import keras

STAGES = 3  # each with half the resolution and twice the channels of the one before: images of 8 pixels become one


def build_sequential(options: Options) -> "keras.Model":
    """A list of layers; images (N, S, S, 3) from 0 to 255 -> logits (N, num_classes).

    Three stages of two convolutions and max-pooling, at 1, 2 and 4 times `width` channels.
    """
    keras = import_keras()
    layers = [image_input(options), normalization(options)]
    for stage in range(STAGES):
        for number in range(2):
            layers += _convolution(options.width * 2**stage, f"stage{stage}.{number}")
        layers.append(keras.layers.MaxPooling2D(name=f"stage{stage}.pool"))
    layers.append(keras.layers.GlobalAveragePooling2D(name="features"))
    return keras.Sequential([*layers, *classifier(options)], name="small_cnn_sequential")


def build_functional(options: Options) -> "keras.Model":
    """A graph of layers, with ways that part and meet; images (N, S, S, 3) from 0 to 255 -> logits (N, num_classes).

    As the other one, but the second convolution of a stage adds to the first one's result, and the classifier sees the
    mean and the maximum of each channel.
    """
    keras = import_keras()
    images = image_input(options)
    x = normalization(options)(images)
    for stage in range(STAGES):
        channels = options.width * 2**stage
        x = _apply(_convolution(channels, f"stage{stage}.0"), x)
        change = _apply(_convolution(channels, f"stage{stage}.1"), x)
        x = keras.layers.Add(name=f"stage{stage}.add")([x, change])
        x = keras.layers.MaxPooling2D(name=f"stage{stage}.pool")(x)
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    maximum = keras.layers.GlobalMaxPooling2D(name="maximum")(x)
    features = keras.layers.Concatenate(name="features")([mean, maximum])
    return keras.Model(images, _apply(classifier(options), features), name="small_cnn_functional")


def _convolution(channels: int, name: str) -> "list[keras.Layer]":
    keras = import_keras()
    return [
        keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}.conv"
        ),
        keras.layers.BatchNormalization(momentum=0.9, name=f"{name}.bn"),  # 0.99 is too slow for short trainings
        keras.layers.Activation("relu", name=f"{name}.relu"),
    ]


def _apply(layers: "list[keras.Layer]", x: "keras.KerasTensor") -> "keras.KerasTensor":
    for layer in layers:
        x = layer(x)
    return x
