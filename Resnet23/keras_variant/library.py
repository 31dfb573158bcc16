"""Keras, an optional library, imported when it is needed."""

import os
from types import ModuleType

from Resnet23.errors import InputError


def import_keras() -> ModuleType:
    """Keras on TensorFlow.

    Raises InputError when one of the two is not installed, or the environment asks for Keras on another library.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # it comes before what ~/.keras/keras.json says
    if (found := os.environ["KERAS_BACKEND"]) != "tensorflow":
        raise InputError(f"KERAS_BACKEND: found {found!r}, expected tensorflow; unset the variable")
    try:
        import keras  # and TensorFlow with it
    except ImportError as error:
        raise missing_package(error.name or "tensorflow") from None
    return keras


def missing_package(package: str) -> InputError:
    """The error for a package that is not there and comes with TensorFlow's extra."""
    return InputError(
        f"the package {package} is not installed; in a clone: make setup-tensorflow, "
        'elsewhere: pip install "Resnet23[tensorflow]"'
    )
