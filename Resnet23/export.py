"""The trained model in the formats of other programs, each compared with the original before it is kept.

    python -m Resnet23.export
    python -m Resnet23.export --formats onnx,onnx-int8 --limit 200

All take RGB images and give probabilities (N, C) float32; normalisation, temperature and softmax or sigmoid are inside.
onnx-images takes images (N, H, W, 3) uint8 of any size, the others pixels (N, 3, S, S) float32 from 0 to 1 of the
model's own size S. What else a user has to know is in each file as JSON, under the name classifier.json.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, run_command
from Resnet23.config import CHECKPOINT_FILE, EXPORT_DIR, EXPORT_RESULTS
from Resnet23.errors import InputError, IntegrityError, name_some
from Resnet23.exporting.choices import calibration_images, parse_names
from Resnet23.exporting.comparison import as_input, make_samples, resize_to, with_another_size
from Resnet23.exporting.formats import FORMATS, require_packages, write_checked
from Resnet23.exporting.measuring import Measurement, measure
from Resnet23.exporting.networks import PixelClassifier
from Resnet23.exporting.parity import BATCH_SIZE, Network, Samples, spread
from Resnet23.exporting.rows import collect_rows, raise_worst, row, table
from Resnet23.exporting.source import Source, describe
from Resnet23.files import printable, require_writable, sha256_file, write_json
from Resnet23.machine import describe_machine
from Resnet23.modeling.checkpoint import Checkpoint, load_checkpoint
from Resnet23.modeling.inference import Classifier

IMAGES_OF_ANOTHER_SIZE = 100
ALL_FORMATS = ",".join(FORMATS)

ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint to export.")]
FormatsOption = Annotated[str, typer.Option("--formats", metavar="NAME,NAME", help="Which formats to write.")]
OutputOption = Annotated[Path, typer.Option("--output", help="The folder for the files.", file_okay=False)]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, help="Compare on at most this many test images, spread over all of them.")
]


def main(
    model: ModelOption = CHECKPOINT_FILE,
    formats: FormatsOption = ALL_FORMATS,
    output: OutputOption = EXPORT_DIR,
    limit: LimitOption = 1000,
    debug: DebugOption = False,
) -> None:
    """Export a trained model and compare each file with PyTorch on the test images; what differs is not kept."""
    names = parse_formats(formats)
    checkpoint, features = load_checkpoint(model), read_features()
    check_classes(checkpoint, features)
    for folder in (output, EXPORT_RESULTS.parent):
        require_writable(folder)
    classifier = Classifier(checkpoint, torch.device("cpu"), BATCH_SIZE)
    samples = take_samples(classifier, features, limit)
    calibration = resize_to(calibration_images(features), checkpoint.preprocessing)
    source = Source(checkpoint, describe(checkpoint), calibration=calibration)
    original = measure_file(model, lambda path: PixelClassifier(load_checkpoint(path)), False, samples[:1])
    paths = {name: output / FORMATS[name].file for name in names}
    rows, errors = collect_rows(paths, lambda name, path: export(name, source, path, samples))
    rows = [row("pytorch", model, original), *rows]
    write_json(EXPORT_RESULTS, {**_circumstances(model, checkpoint, len(samples[0].images)), "formats": rows})
    print(table(rows))
    logger.info(f"{EXPORT_RESULTS}: the same figures, for the report page; `dvc repro plots` puts them there")
    raise_worst(errors)


def parse_formats(text: str) -> list[str]:
    """Names separated by commas; raises InputError for an unknown one or one that lacks its packages."""
    names = parse_names(text, FORMATS)
    for name in names:
        require_packages(FORMATS[name])
    return names


def check_classes(checkpoint: Checkpoint, features: Features) -> None:
    """Raise InputError when the model was trained for another task or other classes than the features have."""
    if (checkpoint.task, checkpoint.classes) != (features.task, features.classes):
        raise InputError(
            f"the model was trained for {_summary(checkpoint.task, checkpoint.classes)}, data/features has "
            f"{_summary(features.task, features.classes)}; name the model that belongs to them with --model"
        )


def take_samples(classifier: Classifier, features: Features, limit: int) -> list[Samples]:
    """At most `limit` test images, and some of them at another size, with what PyTorch says about them."""
    rows = spread(len(features.test), limit)
    images = resize_to(features.test.images[rows], classifier.checkpoint.preprocessing)
    samples = make_samples(classifier, images, features.test.targets[rows])
    return [samples, with_another_size(classifier, samples, IMAGES_OF_ANOTHER_SIZE)]


def export(name: str, source: Source, path: Path, samples: Sequence[Samples]) -> Measurement:
    """Write a model in one format to `path`, load the file again and compare.

    Raises IntegrityError when it differs from PyTorch by more than the format's tolerance, and InputError when it
    cannot be exported; then there is no file at `path`, an older one neither.
    """
    file_format = FORMATS[name]

    def check(written: Path) -> Measurement:
        parts = samples if file_format.takes_images else samples[:1]
        measured = measure_file(written, file_format.read, file_format.takes_images, parts)
        if complaint := file_format.tolerance.complaint(measured.comparison, "PyTorch"):
            raise IntegrityError(f"{printable(path)}: not written, as {complaint}")
        return measured

    if file_format.warning:
        logger.warning(f"{name}: {file_format.warning}")
    path.unlink(missing_ok=True)
    return write_checked(source.trained.model["name"], file_format, source, path, check)


def measure_file(
    path: Path, read: Callable[[Path], Network], takes_images: bool, samples: Sequence[Samples]
) -> Measurement:
    """What there is to know about a file; `takes_images` says whether it wants bytes or pixels from 0 to 1."""
    with torch.no_grad():
        return measure(path, read, partial(as_input, takes_images=takes_images), samples)


def _summary(task: str, classes: Sequence[str]) -> str:
    return f"{task} with {len(classes)} classes ({name_some(classes, 3)})"


def _circumstances(model: Path, checkpoint: Checkpoint, images: int) -> dict[str, Any]:
    """What was exported, and what the figures hold for."""
    return {
        "checkpoint": printable(model),
        "sha256": sha256_file(model),
        "model": checkpoint.model["name"],
        "task": checkpoint.task,
        "images": images,
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    run_command(main)
