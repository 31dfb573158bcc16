"""The formats that a trained model can be exported to: one table, and the way into a file that proved right."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from Resnet23.errors import InputError, IntegrityError, missing_package
from Resnet23.exporting import onnx_files, torch_files
from Resnet23.exporting.guard import explained, quiet
from Resnet23.exporting.parity import EIGHT_BITS, FLOAT, Network, Tolerance
from Resnet23.exporting.source import Source
from Resnet23.files import atomic_path, printable

Checked = TypeVar("Checked")

RESIZED = Tolerance(max_difference=0.02, agreement=0.995)  # one level of a pixel may differ

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Format:
    """A row of the table of formats: a trained model to the bytes of a file, and the file to a network.

    `takes_images` says that it takes images (N, H, W, 3) uint8 rather than pixels (N, 3, S, S) from 0 to 1.
    """

    file: str  # its name in models/export
    write: Callable[[Source], bytes]
    read: Callable[[Path], Network]
    packages: tuple[str, ...] = ()
    tolerance: Tolerance = FLOAT
    takes_images: bool = False
    warning: str | None = None


FORMATS = {
    "onnx": Format("model.onnx", onnx_files.write_onnx, onnx_files.OnnxNetwork, ONNX_PACKAGES),
    "onnx-images": Format(
        "model.images.onnx", onnx_files.write_image_onnx, onnx_files.OnnxNetwork, ONNX_PACKAGES, RESIZED, True
    ),
    "onnx-int8": Format(
        "model.int8.onnx", onnx_files.write_int8_onnx, onnx_files.OnnxNetwork, ONNX_PACKAGES, EIGHT_BITS
    ),
    "pt2": Format("model.pt2", torch_files.write_pt2, torch_files.read_pt2),
    "torchscript": Format(
        "model.torchscript.pt",
        torch_files.write_torchscript,
        torch_files.read_torchscript,
        warning="PyTorch has deprecated torch.jit and may drop it; pt2 is its successor",
    ),
    "safetensors": Format(
        "model.safetensors", torch_files.write_safetensors, torch_files.read_safetensors, ("safetensors",)
    ),
}


def require_packages(file_format: Format) -> None:
    """Raise InputError, with the extra to install, when a package that the format needs is missing."""
    for package in file_format.packages:
        if find_spec(package) is None:
            raise missing_package(package, "export")


def write_checked(
    name: str, file_format: Format, source: Source, path: Path, check: Callable[[Path], Checked]
) -> Checked:
    """Write the model `name` to `path`, but only when `check`, which gets the file, raises nothing; gives its answer.

    Raises InputError when the model cannot be exported to this format, and IntegrityError when the file cannot be used.
    """
    with explained(InputError, f"{name}: does not export to {printable(path)}"), quiet():
        content = file_format.write(source)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        with explained(IntegrityError, f"{printable(path)}: not written, as it does not run"), quiet():
            return check(temporary)
