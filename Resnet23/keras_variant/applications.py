"""Networks of keras.applications, with a new classifier, and the weights that are published for them."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.parts import PIXEL_MAX, Options, classifier, image_input

if TYPE_CHECKING:
    import keras

SERVER = "https://storage.googleapis.com/"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BACKBONE = "backbone"
# Share of the old in BatchNorm's statistics. Keras has up to 0.999, with which they are still those of the first
# weights after a few hundred steps: validation, which chooses the epoch, would see another network than training.
MOMENTUM = 0.9
CACHE = "models"  # where Keras keeps weights, in its folder


@dataclass(frozen=True)
class Application:
    """A network of keras.applications.

    `network` is its function there; `prepare` takes pixels from 0 to 255 and gives what the network wants them as.
    `url` is the file of its weights for ImageNet, all but the classifier's, and `md5` the file's checksum, as Keras has
    them.
    """

    network: str
    url: str
    md5: str
    prepare: Callable[["keras.KerasTensor"], "keras.KerasTensor"]


def build_application(name: str, options: Options) -> "keras.Model":
    """The network of a row of APPLICATIONS: images (N, S, S, 3) from 0 to 255 -> logits (N, num_classes).

    Images are prepared as the published weights want them, whatever the weights are. All but the classifier is one
    layer, named backbone.
    """
    keras = import_keras()
    application = APPLICATIONS[name]
    images = image_input(options)
    build = getattr(keras.applications, application.network)
    shape = (options.image_size, options.image_size, 3)
    backbone = build(include_top=False, weights=None, input_shape=shape, pooling="avg", name=BACKBONE)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    x = backbone(application.prepare(images))
    for layer in classifier(options):
        x = layer(x)
    return keras.Model(images, x, name=name)


def fetch_published(name: str) -> str:
    """The file with the weights for ImageNet of a row of APPLICATIONS, all but the classifier's.

    It lies in Keras's cache, where it is downloaded to unless it is there. Raises InputError when it cannot be, and
    IntegrityError when what arrives is damaged.
    """
    keras = import_keras()
    application = APPLICATIONS[name]
    try:
        return keras.utils.get_file(
            origin=application.url, file_hash=application.md5, cache_dir=_keras_home(), cache_subdir=CACHE
        )
    except ValueError as error:
        raise IntegrityError(f"model.weights: {application.url}: {' '.join(str(error).split())}") from None
    except Exception as error:  # Keras raises nothing narrower without a network
        reason = getattr(error.__context__, "reason", error)
        raise InputError(
            f"model.weights: cannot download {application.url} ({reason}); fetch it elsewhere and put it into "
            f"{printable(_keras_home() / CACHE)}, or name the file as model.weights"
        ) from None


def load_backbone(model: "keras.Model", path: str | Path) -> None:
    """Load a file of weights as keras.applications publishes them (.h5), all but the classifier's.

    Raises InputError when they do not fit.
    """
    try:
        model.get_layer(BACKBONE).load_weights(path)
    except (ValueError, OSError) as error:  # OSError: it is no HDF5
        reason = " ".join(str(error).split())
        raise InputError(
            f"{printable(path)}: no weights of {model.name} without its top, as keras.applications publishes them "
            f"({reason})"
        ) from None


def _keras_home() -> Path:
    """The folder of Keras's settings and cache."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


def _as_they_are(pixels: "keras.KerasTensor") -> "keras.KerasTensor":
    """The network itself has a layer for that."""
    return pixels


def _blue_first(pixels: "keras.KerasTensor") -> "keras.KerasTensor":
    """Channels in the order of Caffe, less ImageNet's mean."""
    return import_keras().applications.resnet50.preprocess_input(pixels)


def _to_unit_range(pixels: "keras.KerasTensor") -> "keras.KerasTensor":
    """From -1 to 1."""
    return import_keras().layers.Rescaling(2 / PIXEL_MAX, offset=-1.0, name="prepare")(pixels)


def _divide_twice(pixels: "keras.KerasTensor") -> "keras.KerasTensor":
    """EfficientNet normalises by itself, but its file has std where that layer takes the variance: sqrt(std) is left.

    Keras puts a layer for that behind the normalisation, only where weights are asked for by name. The same is done
    here in front, so that weights from a file see it too.
    """
    scale = [1 / math.sqrt(std) for std in IMAGENET_STD]
    offset = [PIXEL_MAX * mean * (1 - each) for mean, each in zip(IMAGENET_MEAN, scale, strict=True)]
    return import_keras().layers.Rescaling(scale, offset=offset, name="prepare")(pixels)


APPLICATIONS: dict[str, Application] = {
    "resnet50": Application(
        "ResNet50",
        SERVER + "tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
        _blue_first,
    ),
    "efficientnet_b0": Application(
        "EfficientNetB0",
        SERVER + "keras-applications/efficientnetb0_notop.h5",
        "50bc09e76180e00e4465e1a485ddc09d",
        _divide_twice,
    ),
    "mobilenet_v3_large": Application(
        "MobileNetV3Large",
        SERVER + "tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
        _as_they_are,
    ),
    "inception_v3": Application(
        "InceptionV3",
        SERVER + "tensorflow/keras-applications/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
        _to_unit_range,
    ),
}
