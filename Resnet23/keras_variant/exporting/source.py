"""What the writers of all formats start from: a classifier as one computation, from pixels to probabilities."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from Resnet23.keras_variant.saved import DESCRIPTION, KerasClassifier

if TYPE_CHECKING:
    import tensorflow as tf

INPUT, OUTPUT = "images", "probabilities"
ORIGIN = "sha256"  # by this name the description in an exported file has the digest of the .keras file that it is from
SIGNATURE = "serving_default"  # under which programs that run SavedModels and TFLite files look for the computation


@dataclass(frozen=True)
class Source:
    """A classifier to export, and the digest of its file.

    `calibration` (N, S, S, 3) uint8 are the images on which a quantised network's ranges are measured.
    """

    classifier: KerasClassifier
    sha256: str
    calibration: np.ndarray

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.classifier.network.name

    @property
    def metadata(self) -> dict[str, str]:
        """The description as JSON, by the name that it has in every exported file."""
        description = {**self.classifier.description, ORIGIN: self.sha256}
        return {DESCRIPTION: json.dumps(description, ensure_ascii=False)}

    @cached_property
    def function(self) -> "tf.types.experimental.PolymorphicFunction":
        """What is exported."""
        return computation(self.classifier)


def computation(classifier: KerasClassifier) -> "tf.types.experimental.PolymorphicFunction":
    """Images (N, S, S, 3) float32, RGB from 0 to 255 -> {OUTPUT: probabilities (N, C) float32}.

    Normalisation, temperature and softmax are inside.
    """
    import tensorflow as tf

    network, temperature = classifier.network, classifier.temperature
    size = classifier.description["preprocessing"]["image_size"]

    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: tf.nn.softmax(network(images, training=False) / temperature)}

    return tf.function(classify, input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, INPUT)])


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Images (N, S, S, 3) uint8 -> pixels (N, S, S, 3) float32 from 0 to 255, which every format takes."""
    return images.astype(np.float32)
