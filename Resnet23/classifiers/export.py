"""A head and its encoder as one model in one file, which runs without this project: pixels in, probabilities out.

    python -m Resnet23.classifiers.export reports/extras/heads/cat.pth --output cat.onnx

A .pt2 file is for PyTorch (torch.export.load), an .onnx file for ONNX Runtime and many others. Both take images
(N, 3, S, S) float32, RGB from 0 to 1, of any number N, normalise them, and give probabilities (N, K) float32. What else
a user has to know is in the file as JSON, under the name head.json: the size S, how an image becomes a square of that
size, the names of the K classes, and the threshold of a head for one class.
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from loguru import logger

from Resnet23.classifiers.options import EncoderOption, HeadArgument, TrustOption
from Resnet23.classifiers.saved import TrainedHead, load_trained_head
from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError, IntegrityError
from Resnet23.exporting.formats import FORMATS, Format, require_packages, write_checked
from Resnet23.exporting.parity import Network
from Resnet23.exporting.source import Source
from Resnet23.files import printable

DESCRIPTION = "head.json"
SUFFIXES = {".pt2": "pt2", ".onnx": "onnx"}
CHECKED_IMAGES = 3

FileOption = Annotated[Path, typer.Option("--output", help="The file to write, .pt2 or .onnx.", dir_okay=False)]


def main(
    head: HeadArgument,
    output: FileOption,
    encoder: EncoderOption = None,
    trust_remote_code: TrustOption = False,
    debug: DebugOption = False,
) -> None:
    """Export a head and its encoder as one model: images (N, 3, S, S), RGB from 0 to 1 -> probabilities (N, K)."""
    find_format(output)  # before anything is loaded
    difference = export_head(load_trained_head(head, encoder, trust_remote_code), output)
    logger.info(f"{printable(output)}: its probabilities differ from PyTorch's by {difference:.1e} at most")


def export_head(trained: TrainedHead, output: Path) -> float:
    """Write the head and its encoder to `output` as one model; equal heads give equal bytes.

    The model is read again and run on random images; gives the largest difference to PyTorch's probabilities. Raises
    InputError when the name of `output` ends in no known format, what the format needs is not installed, or the encoder
    cannot be exported, and IntegrityError when the difference is beyond the format's tolerance. Then nothing is
    written.
    """
    file_format, source = find_format(output), Source(trained, describe(trained), DESCRIPTION)

    def check(written: Path) -> float:
        difference, most = _difference(source, file_format.read(written)), file_format.tolerance.max_difference
        if not difference <= most:  # NaN is neither
            raise IntegrityError(
                f"{printable(output)}: not written, as its probabilities differ from PyTorch's by {difference:.1e}, "
                f"more than {most:.0e}"
            )
        return difference

    return write_checked(f"{trained.encoder.name} with a head", file_format, source, output, check)


def find_format(output: Path) -> Format:
    """The format that a file's name asks for. Raises InputError for an unknown one or one that lacks its packages."""
    if output.suffix not in SUFFIXES:
        raise InputError(f"--output {printable(output)}: expected a name that ends in {' or '.join(SUFFIXES)}")
    file_format = FORMATS[SUFFIXES[output.suffix]]
    require_packages(file_format)
    return file_format


def describe(trained: TrainedHead) -> dict[str, Any]:
    """What a user of the exported model has to know; the threshold is None where there are several classes."""
    preprocessing, is_binary = trained.preprocessing, len(trained.classes) == 1
    threshold = 0.5 if trained.saved.threshold is None else trained.saved.threshold
    return {
        "classes": trained.classes,
        "threshold": threshold if is_binary else None,
        "image_size": preprocessing.image_size,
        "resize": preprocessing.resize,
        "encoder": trained.saved.encoder,
    }


def _difference(source: Source, exported: Network) -> float:
    """The largest difference between the probabilities of both for random images."""
    images = torch.rand((CHECKED_IMAGES, 3, source.size, source.size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((source.network(images) - exported(images)).abs().max())


if __name__ == "__main__":
    run_command(main)
