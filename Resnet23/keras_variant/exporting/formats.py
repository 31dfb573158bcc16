"""The formats that a Keras classifier can be exported to: one table, and the way into a file that proved right."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from Resnet23.errors import InputError, IntegrityError
from Resnet23.exporting.guard import explained, quiet
from Resnet23.exporting.parity import EIGHT_BITS, FLOAT, Network, Tolerance
from Resnet23.files import atomic_folder, atomic_path, printable
from Resnet23.keras_variant.exporting import onnx_file, saved_model, tfjs, tflite
from Resnet23.keras_variant.exporting.source import Source
from Resnet23.keras_variant.library import missing_package

Checked = TypeVar("Checked")


def require_packages(*packages: str) -> None:
    """Raise InputError, with what to install, when one of the packages is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise missing_package(package)


@dataclass(frozen=True)
class Format:
    """A row of the table of formats: a classifier to a file, and the file to a network.

    Every network takes pixels (N, S, S, 3) float32, RGB from 0 to 255.
    """

    file: str  # its name in models/export/keras
    write: Callable[[Source, Path], None]
    read: Callable[[Path], Network]
    require: Callable[[], None]  # raises InputError when something is not installed
    tolerance: Tolerance = FLOAT
    make_room: Callable[[Path], AbstractContextManager[Path]] = atomic_path


LITERT = partial(require_packages, "ai_edge_litert")
ONNX = partial(require_packages, "onnx", "onnxruntime", "tf2onnx")
NOTHING = partial(require_packages)

FORMATS = {
    "saved-model": Format(
        "saved_model",
        saved_model.write_saved_model,
        saved_model.SavedModelNetwork,
        NOTHING,
        make_room=atomic_folder,
    ),
    "tflite": Format("model.tflite", tflite.write_float, tflite.TfliteNetwork, LITERT),
    "tflite-dynamic": Format("model.dynamic.tflite", tflite.write_dynamic, tflite.TfliteNetwork, LITERT, EIGHT_BITS),
    "tflite-int8": Format("model.int8.tflite", tflite.write_int8, tflite.TfliteNetwork, LITERT, EIGHT_BITS),
    "onnx": Format("model.onnx", onnx_file.write_onnx, onnx_file.OnnxNetwork, ONNX),
    "tfjs": Format("tfjs", tfjs.write_tfjs, tfjs.TfjsNetwork, tfjs.require_tools, make_room=atomic_folder),
}


def write_checked(file_format: Format, source: Source, path: Path, check: Callable[[Path], Checked]) -> Checked:
    """Write the classifier to `path`, but only when `check`, which gets the file, raises nothing; gives its answer.

    Raises InputError when the classifier cannot be exported to this format, and IntegrityError when the file cannot be
    used.
    """
    with file_format.make_room(path) as temporary:
        with explained(InputError, f"{source.name}: does not export to {printable(path)}"), quiet():
            file_format.write(source, temporary)
        with explained(IntegrityError, f"{printable(path)}: not written, as it does not run"), quiet():
            return check(temporary)
