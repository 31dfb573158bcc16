"""The temperature that a trained classifier divides its logits by, read from its file without the framework's help."""

import json
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from Resnet23.outputs import KERAS, Outputs

KEY = "temperature"
KERAS_DESCRIPTION = "classifier.json"  # in a .keras file, beside the network


def read_temperature(outputs: Outputs) -> float | None:
    """The temperature in a pipeline's checkpoint; None when none was fitted or the file does not say.

    A page about results needs no PyTorch and no Keras, and reads a file from a stranger without running its code.
    """
    read = _from_keras if outputs is KERAS else _from_torch
    return _read(outputs.checkpoint, read)


def _read(path: Path, read: Callable[[zipfile.ZipFile], object]) -> float | None:
    """What `read` finds in a zip archive, if it can be a temperature."""
    try:
        with zipfile.ZipFile(path) as archive:
            value = read(archive)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return None
    return value if isinstance(value, float) and value > 0 else None


def _from_keras(archive: zipfile.ZipFile) -> object:
    """Of a .keras file: the description that the training put beside the network."""
    return json.loads(archive.read(KERAS_DESCRIPTION))["decision"][KEY]


def _from_torch(archive: zipfile.ZipFile) -> object:
    """Of a PyTorch file: the number after the key in the pickle, whose instructions are listed and not followed.

    Both stand side by side because a checkpoint holds plain values. A class may have the key's name: no number follows
    that.
    """
    (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    values = pairwise(_listed_values(archive.read(name)))
    return next((value for key, value in values if key == KEY and isinstance(value, float)), None)


def _listed_values(pickled: bytes) -> Iterator[object]:
    """The arguments of a pickle's instructions; a text that was remembered comes again where it is fetched."""
    remembered, last = {}, None
    for operation, value, _ in pickletools.genops(pickled):
        if operation.name == "MEMOIZE" or "PUT" in operation.name:
            remembered[len(remembered) if value is None else value] = last
            continue
        last = remembered.get(value) if "GET" in operation.name else value
        yield last
