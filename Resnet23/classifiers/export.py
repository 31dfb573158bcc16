"""A head and its encoder as one model in one file, which runs without this project: pixels in, probabilities out.

    python -m Resnet23.classifiers.export reports/extras/heads/cat.pth --output cat.onnx

A .pt2 file is for PyTorch (torch.export.load), an .onnx file for ONNX Runtime and many others. Both take images
(N, 3, S, S) float32, RGB from 0 to 1, of any number N, normalise them, and give probabilities (N, K) float32. What else
a user has to know is in the file as JSON, under the name head.json: the size S, how an image becomes a square of that
size, the names of the K classes, and the threshold of a head for one class.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from loguru import logger
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from Resnet23.classifiers.options import EncoderOption, HeadArgument, TrustOption
from Resnet23.classifiers.saved import TrainedHead, load_trained_head
from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import atomic_write, printable
from Resnet23.modeling.losses import get_task

DESCRIPTION = "head.json"
INPUT, OUTPUT = "images", "probabilities"  # as ONNX names them
TRACED_IMAGES, CHECKED_IMAGES = 2, 3
TOLERANCE = 1e-4  # of probabilities

Network = Callable[[Tensor], Tensor]
FileOption = Annotated[Path, typer.Option("--output", help="The file to write, .pt2 or .onnx.", dir_okay=False)]


class PixelClassifier(nn.Module):
    """All that happens to an image once it has its size: pixels (N, 3, S, S) from 0 to 1 -> probabilities (N, K).

    Raises InputError when it is not known how the encoder wants its images, and IntegrityError when it is not the one
    of the head.
    """

    def __init__(self, trained: TrainedHead) -> None:
        super().__init__()
        preprocessing = trained.preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))
        self.network = trained.build_model()
        self.activation = get_task(trained.task).activation
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.network((images - self.mean) / self.std))


@dataclass(frozen=True)
class Format:
    """A row of the table of formats: a network to the bytes of a file, with its description, and back."""

    write: Callable[[ExportedProgram, dict[str, Any]], bytes]
    read: Callable[[bytes], Network]


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
    cannot be exported, and IntegrityError when the difference is above TOLERANCE. Then nothing is written.
    """
    file_format = find_format(output)
    network, size = PixelClassifier(trained), trained.preprocessing.image_size
    try:
        with _quiet():
            content = file_format.write(_trace(network, size), describe(trained))
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, as an encoder may be written
        reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)[:200]
        raise InputError(f"{trained.encoder.name}: no encoder that exports to {output.suffix} ({reason})") from error
    difference = _difference(network, file_format.read(content), size)
    if not difference <= TOLERANCE:  # NaN is neither
        raise IntegrityError(
            f"{printable(output)}: not written, as its probabilities differ from PyTorch's by {difference:.1e}, "
            f"more than {TOLERANCE:.0e}"
        )
    with atomic_write(output, "wb") as file:
        file.write(content)
    return difference


def find_format(output: Path) -> Format:
    """The format that a file's name asks for. Raises InputError for an unknown one or one that lacks its packages."""
    if output.suffix not in FORMATS:
        raise InputError(f"--output {printable(output)}: expected a name that ends in {' or '.join(FORMATS)}")
    if output.suffix == ".onnx":
        _import_onnx_runtime()
    return FORMATS[output.suffix]


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's exporter from printing graphs and advice to its developers; its exceptions say enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _trace(network: PixelClassifier, size: int) -> ExportedProgram:
    """The network's computation for any number of images, without the file names of this machine's source code."""
    images = torch.full((TRACED_IMAGES, 3, size, size), 0.5)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _difference(network: nn.Module, exported: Network, size: int) -> float:
    """The largest difference between the probabilities of both for random images."""
    images = torch.rand((CHECKED_IMAGES, 3, size, size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((network(images) - exported(images)).abs().max())


def _write_pt2(program: ExportedProgram, description: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()  # a file's name would go into its bytes
    torch.export.save(program, buffer, extra_files={DESCRIPTION: _json(description)})
    return buffer.getvalue()


def _read_pt2(content: bytes) -> Network:
    return torch.export.load(io.BytesIO(content)).module()


def _write_onnx(program: ExportedProgram, description: dict[str, Any]) -> bytes:
    exported = torch.onnx.export(
        program,
        dynamo=True,
        external_data=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    exported.model.metadata_props[DESCRIPTION] = _json(description)
    return exported.model_proto.SerializeToString(deterministic=True)


def _read_onnx(content: bytes) -> Network:
    session = _import_onnx_runtime().InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (probabilities,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)

    return run


FORMATS = {".pt2": Format(_write_pt2, _read_pt2), ".onnx": Format(_write_onnx, _read_onnx)}


def _json(description: dict[str, Any]) -> str:
    return json.dumps(description, ensure_ascii=False)


def _import_onnx_runtime() -> ModuleType:
    """ONNX Runtime. Raises InputError, with the extra to install, when it or what PyTorch exports with is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the package {error.name} is not installed; in a clone: .venv/bin/pip install -r requirements-dev.txt, "
            'elsewhere: pip install "Resnet23[export]"'
        ) from None
    return onnxruntime


if __name__ == "__main__":
    run_command(main)
