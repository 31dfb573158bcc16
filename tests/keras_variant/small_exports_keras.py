"""A project with a small classifier of handwritten digits to export; it takes seconds to train."""

from pathlib import Path

import numpy as np
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import Features, read_features
from Resnet23.keras_variant.saved import KerasClassifier, save

SIZE, WIDTH, TEMPERATURE = 16, 16, 1.3
EPOCHS = 8
ABOUT = {"thresholds": None, "temperature": TEMPERATURE}


def make_project(folder: Path) -> None:
    """Features and models/keras/model.keras in `folder`: 40 digits of each class to train on and 10 to test on."""
    make_features(folder, [*SHRUNK, f"data.image_size={SIZE}", "data.max_per_class={train: 40, test: 10}"])
    features = read_features(folder / "data" / "features")
    save(trained_network(features), folder / "models" / "keras" / "model.keras", describe(features))


def trained_network(features: Features):
    """A ResNet-10 that tells most of the digits apart."""
    from Resnet23.keras_variant.architectures import create_model
    from Resnet23.keras_variant.library import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(0)
    network = create_model("resnet10", len(features.classes), SIZE, width=WIDTH, mean=features.mean, std=features.std)
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(features.train.images.astype(np.float32), features.train.targets, 32, EPOCHS, verbose=0)
    return network


def describe(features: Features) -> dict:
    """What the training stage writes beside the network."""
    return {
        "classes": features.classes,
        "task": features.task,
        "preprocessing": {
            "image_size": features.image_size,
            "resize": features.resize,
            "mean": list(features.mean),
            "std": list(features.std),
        },
        "decision": ABOUT,
        "model": {"name": "resnet10", "width": WIDTH},
        "git_revision": "0123abc",
    }


def untrained_classifier(name: str, images: np.ndarray) -> KerasClassifier:
    """A network of the table with random weights, for 10 classes, that says something else of each of the images.

    Without that, its probabilities would all be alike, and an export that ignores the images would pass for right.
    """
    from Resnet23.keras_variant.architectures import create_model

    size = images.shape[1]
    network = create_model(name, 10, size, width=8)
    for layer in batch_norms(network):
        layer.momentum = 0.0  # one batch is enough for the statistics
    network(images, training=True)
    kernel = network.layers[-1].kernel
    kernel.assign(kernel / np.std(network(images), axis=0).mean())  # logits that differ by about one
    about = {"classes": list("abcdefghij"), "preprocessing": {"image_size": size}, "decision": ABOUT}
    return KerasClassifier(network, about)


def batch_norms(network) -> list:
    """The layers of that kind in a network and in those that it is made of."""
    inner = [each for layer in network.layers if hasattr(layer, "layers") for each in batch_norms(layer)]
    return inner + [layer for layer in network.layers if type(layer).__name__ == "BatchNormalization"]
