"""What the writers of all formats start from: a classifier as one computation, from pixels to probabilities."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from Resnet23.keras_variant.convert import DESCRIPTION
from Resnet23.keras_variant.saved import KerasClassifier

if TYPE_CHECKING:
    import tensorflow as tf

INPUT, OUTPUT = "images", "probabilities"
SIGNATURE = "serving_default"  # under which programs that run SavedModels and TFLite files look for the computation


@dataclass(frozen=True)
class Source:
    """A classifier to export.

    `calibration` (N, S, S, 3) uint8 are the images on which a quantised network's ranges are measured.
    """

    classifier: KerasClassifier
    calibration: np.ndarray

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.classifier.network.name

    @property
    def metadata(self) -> dict[str, str]:
        """The description as JSON, by the name that it has in every exported file."""
        return {DESCRIPTION: json.dumps(self.classifier.description, ensure_ascii=False)}

    @property
    def signature(self) -> "tf.TensorSpec":
        """Any number of images (N, S, S, 3) float32, RGB from 0 to 255."""
        import tensorflow as tf

        size = self.classifier.description["preprocessing"]["image_size"]
        return tf.TensorSpec((None, size, size, 3), tf.float32, INPUT)

    @cached_property
    def function(self) -> "tf.types.experimental.PolymorphicFunction":
        """Images -> {OUTPUT: probabilities (N, C) float32}; normalisation, temperature and softmax are inside."""
        import tensorflow as tf

        network, temperature = self.classifier.network, self.classifier.temperature

        def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {OUTPUT: tf.nn.softmax(network(images, training=False) / temperature)}

        return tf.function(classify, input_signature=[self.signature])

    def run(self, images: np.ndarray) -> Any:
        """The classifier itself, for pixels (N, S, S, 3) float32 -> probabilities (N, C)."""
        return self.function(images)[OUTPUT]


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Images (N, S, S, 3) uint8 -> pixels (N, S, S, 3) float32 from 0 to 255, which every format takes."""
    return images.astype(np.float32)
