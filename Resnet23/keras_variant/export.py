"""The trained Keras classifier in the formats of other programs, each compared with the original before it is kept.

    python -m Resnet23.keras_variant.export
    python -m Resnet23.keras_variant.export --formats tflite,onnx --limit 200

All take pixels (N, S, S, 3) float32, RGB from 0 to 255, of the network's own size S, and give probabilities (N, C)
float32; normalisation, temperature and softmax are inside. What else a user has to know is in each of them as JSON,
under the name classifier.json.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, run_command
from Resnet23.config import EXPORT_DIR, EXPORT_RESULTS
from Resnet23.errors import IntegrityError
from Resnet23.exporting.choices import calibration_images, parse_names
from Resnet23.exporting.measuring import Measurement, measure
from Resnet23.exporting.parity import BATCH_SIZE, Network, Samples, spread
from Resnet23.exporting.rows import collect_rows, raise_worst, row, table
from Resnet23.files import printable, require_writable, sha256_file, write_json
from Resnet23.keras_variant.exporting.formats import FORMATS, write_checked
from Resnet23.keras_variant.exporting.source import OUTPUT, Source, as_pixels, computation
from Resnet23.keras_variant.saved import KerasClassifier, check_fit, load_classifier
from Resnet23.machine import describe_machine
from Resnet23.outputs import KERAS

KERAS_EXPORT_DIR = EXPORT_DIR / "keras"
KERAS_EXPORT_RESULTS = KERAS.extras / EXPORT_RESULTS.name
DEFAULT_FORMATS = ",".join(name for name in FORMATS if name != "tfjs")  # which needs an environment of its own

ModelOption = Annotated[Path, typer.Option("--model", help="The classifier to export.")]
FormatsOption = Annotated[str, typer.Option("--formats", metavar="NAME,NAME", help="Which formats to write.")]
OutputOption = Annotated[Path, typer.Option("--output", help="The folder for the files.", file_okay=False)]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, help="Compare on at most this many test images, spread over all of them.")
]


def main(
    model: ModelOption = KERAS.checkpoint,
    formats: FormatsOption = DEFAULT_FORMATS,
    output: OutputOption = KERAS_EXPORT_DIR,
    limit: LimitOption = 1000,
    debug: DebugOption = False,
) -> None:
    """Export a classifier and compare each file with Keras on the test images; what differs is not kept."""
    names = parse_names(formats, FORMATS)
    for name in names:
        FORMATS[name].require()
    classifier, features = load_classifier(model), read_features()
    check_fit(classifier, features)
    for folder in (output, KERAS_EXPORT_RESULTS.parent):
        require_writable(folder)
    source = Source(classifier, sha256_file(model), calibration_images(features))
    samples = take_samples(classifier, features, limit)
    original = measure(model, read_original, as_pixels, [samples])
    paths = {name: output / FORMATS[name].file for name in names}
    rows, errors = collect_rows(paths, lambda name, path: export(name, source, path, samples))
    rows = [row("keras", model, original), *rows]
    write_json(KERAS_EXPORT_RESULTS, {**_circumstances(model, source, samples), "formats": rows})
    print(table(rows))
    logger.info(f"{KERAS_EXPORT_RESULTS}: the same figures, for the report page; `make plots-keras` puts them there")
    raise_worst(errors)


def take_samples(classifier: KerasClassifier, features: Features, limit: int) -> Samples:
    """At most `limit` test images with what Keras says about them."""
    rows = spread(len(features.test), limit)
    probabilities = classifier.probabilities(features.test, rows, BATCH_SIZE)
    return Samples(features.test.images[rows], features.test.targets[rows], probabilities, None)


def read_original(path: Path) -> Network:
    """The classifier in a .keras file as the exports are run: pixels -> probabilities, in one graph."""
    classify = computation(load_classifier(path))
    return lambda pixels: classify(pixels)[OUTPUT]


def export(name: str, source: Source, path: Path, samples: Samples) -> Measurement:
    """Write a classifier in one format to `path`, load it again and compare.

    Raises IntegrityError when it differs from Keras by more than the format's tolerance, and InputError when it cannot
    be exported; then there is nothing at `path`, nothing older either.
    """
    file_format = FORMATS[name]

    def check(written: Path) -> Measurement:
        measured = measure(written, file_format.read, as_pixels, [samples])
        if complaint := file_format.tolerance.complaint(measured.comparison, "Keras"):
            raise IntegrityError(f"{printable(path)}: not written, as {complaint}")
        return measured

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return write_checked(file_format, source, path, check)


def _circumstances(model: Path, source: Source, samples: Samples) -> dict[str, Any]:
    """What was exported, and what the figures hold for."""
    import keras
    import tensorflow as tf

    machine = describe_machine()
    return {
        "checkpoint": printable(model),
        "sha256": source.sha256,
        "model": source.name,
        "task": source.classifier.description["task"],
        "images": len(samples.images),
        "machine": machine,
        "threads": machine["cores"],
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


if __name__ == "__main__":
    run_command(main)
