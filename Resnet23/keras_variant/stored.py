"""Networks in files: what Keras or this project's export has saved, as a start for another training."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from loguru import logger

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable
from Resnet23.keras_variant.convert import convert, read_export
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.parts import Options

if TYPE_CHECKING:
    import keras

KERAS, WEIGHTS, SAFETENSORS = ".keras", ".weights.h5", ".safetensors"
SUFFIXES = (KERAS, WEIGHTS, SAFETENSORS)
CLASSIFIER_BIAS = "layers/dense/vars/1"  # in a .weights.h5; the classifier is the only dense layer at the top


def read_network(path: str, build: Callable[[Options], "keras.Model"], options: Options) -> "keras.Model":
    """The network in a file, with the number of classes that it was saved with.

    A .weights.h5 says nothing of the network: it is what `build` makes of `options`. Raises InputError when it
    holds none of ours, IntegrityError when it is damaged.
    """
    if path.endswith(SAFETENSORS):
        return convert(read_export(path))
    try:
        if path.endswith(KERAS):
            return import_keras().saving.load_model(path, compile=False)
        model = build(replace(options, num_classes=_stored_classes(path)))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # layers for which the file has nothing
            model.load_weights(path)
    except (ValueError, TypeError, OSError, KeyError, BadZipFile, UserWarning) as error:
        reason = " ".join(str(error).split())[:300]
        raise IntegrityError(
            f"{printable(path)}: no network that Keras has saved, or another one ({reason}); expected one that "
            "create_model made with the same name and width"
        ) from None
    return model


def copy_weights(model: "keras.Model", stored: "keras.Model", origin: str) -> None:
    """Give `model` the weights of `stored`, which the file `origin` holds.

    The classifier's are left as they are when it has another number of classes. Raises InputError when any other weight
    is of another shape.
    """
    is_other = model.output_shape != stored.output_shape
    count = len(model.weights) - is_other * len(model.layers[-1].weights)  # the classifier's are the last
    shapes = [[tuple(weight.shape) for weight in each.weights] for each in (model, stored)]
    if len(shapes[0]) != len(shapes[1]) or shapes[0][:count] != shapes[1][:count]:
        raise InputError(
            f"model.weights: {printable(origin)} holds a {stored.name} of {stored.count_params():,} parameters, "
            f"expected the weights of a {model.name} of {model.count_params():,}; model.name and model.width say which"
        )
    for own, other in zip(model.weights[:count], stored.weights[:count], strict=True):
        own.assign(other)
    _refresh(model)
    if is_other:
        logger.info(f"{printable(origin)} has {stored.output_shape[-1]} classes: the classifier begins anew")


def _refresh(model: "keras.Model") -> None:
    """Let EfficientNet's normalisation, which computes with copies of its weights, copy them again."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _refresh(layer)
        elif isinstance(layer, import_keras().layers.Normalization):
            layer.finalize_state()


def _stored_classes(path: str) -> int:
    """How many classes the network has whose weights a .weights.h5 holds. Raises KeyError or OSError as h5py does."""
    import h5py

    with h5py.File(path) as file:
        return file[CLASSIFIER_BIAS].shape[0]
