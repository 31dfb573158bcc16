"""data/features as tf.data pipelines, which read the memory-mapped images batch by batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from Resnet23.arrays import Split
from Resnet23.keras_variant.library import import_keras

if TYPE_CHECKING:
    import tensorflow as tf

    Reader = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def training_batches(
    split: Split, rows: np.ndarray, classes: int, batch_size: int, seed: int, epochs: range
) -> "tf.data.Dataset":
    """The batches of these epochs, one after the other: images (B, S, S, 3) float32 0..255, targets (B, classes).

    An epoch holds each of `rows` (N,) once, in an order drawn from (`seed`, epoch): a training that goes on after an
    interruption sees what it would have seen without. The last batch of an epoch may be smaller.
    """
    import_keras()
    import tensorflow as tf

    def shuffled(epoch: "tf.Tensor") -> "tf.data.Dataset":
        order = tf.random.experimental.stateless_shuffle(
            tf.constant(rows), tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    batches = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(shuffled)
    return batches.map(_reader(split, classes)).prefetch(tf.data.AUTOTUNE)


def ordered_batches(split: Split, rows: np.ndarray, classes: int, batch_size: int) -> "tf.data.Dataset":
    """The images of `rows` (N,) in this order, with their targets, as `training_batches` gives them."""
    import_keras()
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)
    return batches.map(_reader(split, classes)).prefetch(tf.data.AUTOTUNE)


def _reader(split: Split, classes: int) -> "Reader":
    """What turns rows (B,) into images and targets."""
    import tensorflow as tf

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(split.images[rows]), split.targets[rows]

    def read_batch(rows: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        images, targets = tf.numpy_function(read, [rows], [tf.uint8, tf.int64])
        images.set_shape((None, *split.images.shape[1:]))
        targets.set_shape((None,))
        return tf.cast(images, tf.float32), tf.one_hot(targets, classes)

    return read_batch
