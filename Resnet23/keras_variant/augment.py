"""Random changes of training images, as layers: they run with the network, on a GPU where there is one."""

from typing import TYPE_CHECKING

from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.params import KerasAugmentParams

if TYPE_CHECKING:
    import keras


def augmentation_layers(params: KerasAugmentParams) -> "list[keras.Layer]":
    """Flip, rotation and zoom, as far as they are on: images (N, S, S, 3) from 0 to 255 -> the same, changed.

    They draw anew for every image, and only while training. What a rotation or zoom uncovers shows the image mirrored.
    """
    layers = import_keras().layers
    found = []
    # In float32 in mixed precision too: coordinates of large images do not fit into 8 or 11 bits.
    if params.flip != "none":
        found.append(layers.RandomFlip(params.flip, dtype="float32"))
    if params.rotation:
        found.append(layers.RandomRotation(params.rotation, dtype="float32"))
    if params.zoom:
        found.append(layers.RandomZoom(params.zoom, dtype="float32"))
    return found
