"""data/features as tf.data pipelines, which read images from disk batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from Resnet23.arrays import Split
from Resnet23.errors import Resnet23Error
from Resnet23.imagefiles import ImageFiles
from Resnet23.keras_variant.library import import_keras

if TYPE_CHECKING:
    import tensorflow as tf


class Batches:
    """The images of a split in batches: (B, S, S, 3) float32 from 0 to 255, and targets (B, classes) float32."""

    def __init__(self, split: Split, classes: int) -> None:
        self.split, self.classes = split, classes
        self._failures: list[Resnet23Error] = []

    def training(self, rows: np.ndarray, batch_size: int, seed: int, epochs: range) -> "tf.data.Dataset":
        """The batches of these epochs, one after the other.

        An epoch holds each of `rows` (N,) once, in an order drawn from (`seed`, epoch): a training that goes on after
        an interruption sees what it would have seen without. The last batch of an epoch may be smaller.
        """
        import_keras()
        import tensorflow as tf

        def shuffled(epoch: "tf.Tensor") -> "tf.data.Dataset":
            order = tf.random.experimental.stateless_shuffle(
                tf.constant(rows), tf.stack([tf.constant(seed, tf.int64), epoch])
            )
            return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

        return self._read(tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(shuffled))

    def ordered(self, rows: np.ndarray, batch_size: int) -> "tf.data.Dataset":
        """The images of `rows` (N,) in this order."""
        import_keras()
        import tensorflow as tf

        return self._read(tf.data.Dataset.from_tensor_slices(rows).batch(batch_size))

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what reading an image has raised, in place of the error of its own that TensorFlow makes of it."""
        import_keras()
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError:
            if self._failures:
                raise self._failures[0] from None
            raise

    def _read(self, batches: "tf.data.Dataset") -> "tf.data.Dataset":
        """Batches of rows (B,) -> batches of images and targets."""
        import tensorflow as tf

        # Files take long to decode; an array gains nothing from several readers.
        readers = tf.data.AUTOTUNE if isinstance(self.split.images, ImageFiles) else None
        return batches.map(self._read_batch, num_parallel_calls=readers).prefetch(tf.data.AUTOTUNE)

    def _read_batch(self, rows: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        import tensorflow as tf

        images, targets = tf.numpy_function(self._read_rows, [rows], [tf.uint8, tf.int64])
        images.set_shape((None, *self.split.images.shape[1:]))
        targets.set_shape((None,))
        return tf.cast(images, tf.float32), tf.one_hot(targets, self.classes)

    def _read_rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return np.asarray(self.split.images[rows]), self.split.targets[rows]
        except Resnet23Error as error:
            self._failures.append(error)
            raise
