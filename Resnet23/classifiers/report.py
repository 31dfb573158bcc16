"""What was found out about heads on an encoder: for people in lines, and for programs in a dictionary."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from Resnet23.classifiers.binary_figures import BinaryFigures
from Resnet23.classifiers.encoders import weights_digest
from Resnet23.classifiers.experiments import (
    BinaryResult,
    EncodedProject,
    HeadOptions,
    MulticlassResult,
    mean_figures,
)
from Resnet23.classifiers.probes import LayerProbe

# The usual marks: percent above which a result is called good, and excellent.
BINARY_MARKS, MULTICLASS_MARKS = (60, 75), (30, 50)
COLUMNS = ("balanced accuracy", "AUROC", "average precision", "accuracy", 'always "rest"', "threshold")


def describe(
    project: EncodedProject,
    options: HeadOptions,
    multiclass: MulticlassResult,
    binary: list[BinaryResult],
    layers: list[LayerProbe],
) -> dict[str, Any]:
    """Everything that was measured, and on what; shares from 0 to 1."""
    encoder, features = project.encoder, project.features
    return {
        "encoder": encoder.name,
        "encoder_sha256": weights_digest(encoder),
        "input_features": project.input_features,
        "dataset": features.info["dataset"],
        "dataset_sha256": features.digest,
        "counts": features.info["counts"],
        "options": asdict(options) | {"batch_size": project.batch_size, "seed": project.seed},
        "multiclass": {"loss": multiclass.test.loss, "accuracy": multiclass.test.accuracy / 100},
        "one_vs_rest": mean_figures(binary) | {"classes": per_class(binary, project.classes)},
        "layers": [asdict(layer) for layer in layers],
    }


def per_class(binary: Sequence[BinaryResult], classes: Sequence[str]) -> dict[str, Any]:
    """The figures of each binary head by the name of its class."""
    return {
        classes[result.target]: {"fitted": asdict(result.fitted), "plain": asdict(result.plain)} for result in binary
    }


def report_lines(project: EncodedProject, multiclass: MulticlassResult, binary: Sequence[BinaryResult]) -> list[str]:
    """Both results beside chance and the usual marks, then the figures of each binary head."""
    counts, classes = project.features.info["counts"], project.classes
    question = f"{classes[binary[0].target]} against the rest" if len(binary) == 1 else "one against the rest, mean"
    rows = [
        (f"one of {len(classes)} classes", "accuracy", multiclass.test.accuracy, 100 / len(classes), MULTICLASS_MARKS),
        (question, "balanced accuracy", 100 * mean_figures(binary)["mean_balanced_accuracy"], 50, BINARY_MARKS),
    ]
    width = max(len(row[0]) for row in rows)
    return [
        f"{project.encoder.name}: {project.input_features} features of an image; {project.features.info['dataset']}: "
        f"{counts['train']:,} images to train on, {counts['val']:,} to validate, {counts['test']:,} to test",
        "",
        f"{'':{width}}  {'':17}  on test images  chance  mark",
        *(
            f"{name:{width}}  {figure:17}  {value:13.2f}%  {chance:5.1f}%  {mark(value, *marks)}"
            for name, figure, value, chance, marks in rows
        ),
        "",
        *_table(binary, classes),
    ]


def mark(value: float, good: float, excellent: float) -> str:
    """What a result in percent is usually called, and from where on."""
    name = "excellent" if value > excellent else "good" if value > good else "below good"
    return f"{name} (over {good}% good, over {excellent}% excellent)"


def _table(results: Sequence[BinaryResult], classes: Sequence[str]) -> list[str]:
    """A line for each binary head."""
    width = max(len("against the rest"), *(len(classes[result.target]) for result in results))
    head = "  ".join([f"{'against the rest':{width}}", *COLUMNS])
    rows = [[classes[result.target], *_cells(result.fitted)] for result in results]
    lines = (
        "  ".join([f"{name:{width}}", *(f"{cell:>{len(title)}}" for title, cell in zip(COLUMNS, cells, strict=True))])
        for name, *cells in rows
    )
    return [head, *lines]


def _cells(figures: BinaryFigures) -> list[str]:
    shares = (figures.accuracy, figures.always_rest)
    return [
        f"{figures.balanced_accuracy:.2%}",
        f"{figures.auroc:.3f}",
        f"{figures.average_precision:.4f}",
        *(f"{share:.2%}" for share in shares),
        f"{figures.threshold:.4f}",
    ]
