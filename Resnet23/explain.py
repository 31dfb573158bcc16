"""What the network looked at: the places of an image that spoke for a class, in its most confident mistakes.

    python -m Resnet23.explain
    python -m Resnet23.explain photo.jpg

Of the test images it draws the mistakes of highest confidence, each beside a map for the class that was predicted and
one for the true class; with several labels, for and against the label that was wrongly given or missed. Of other images
the two are the most probable classes, or for and against the most probable label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from loguru import logger
from tqdm import tqdm

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, run_command
from Resnet23.config import (
    CHECKPOINT_FILE,
    EXPLAIN_PICTURE,
    EXPLAIN_PICTURE_DARK,
    EXPLAIN_RESULTS,
    EXTRAS_DIR,
    PREDICTIONS_FILE,
)
from Resnet23.errors import InputError
from Resnet23.explaining.maps import Explainer
from Resnet23.explaining.questions import Question, ask, ask_of_image
from Resnet23.figures.explanations import Explanation, Panel, explanations_finding, plot_explanations
from Resnet23.figures.findings import counted
from Resnet23.figures.theme import draw_picture
from Resnet23.files import atomic_write, printable, require_writable, sha256_file, write_json
from Resnet23.images import load_image
from Resnet23.modeling.checkpoint import Checkpoint, load_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.prediction_table import find_images
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions
from Resnet23.results import READ_PREDICTIONS

BATCH_SIZE = 64
DPI = 150
CLOSE = 0.01  # what the probabilities of one model may differ by between two machines
FILES_PICTURE = EXTRAS_DIR / "explained_files.png"

ImagesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[IMAGE_OR_FOLDER]...", help="Files to explain; none: the test images.")
]
ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint to explain.")]
CountOption = Annotated[int, typer.Option("--count", min=1, help="Explain at most this many images.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="The PNG file to write.", dir_okay=False)]


@dataclass(frozen=True)
class Explained:
    """What the figure shows: a title, the images, and how their maps were made."""

    title: str
    files: list[str]
    images: list[Explanation]
    method: str


def main(
    images: ImagesArgument = None,
    model: ModelOption = CHECKPOINT_FILE,
    count: CountOption = 8,
    output: OutputOption = None,
    debug: DebugOption = False,
) -> None:
    """Draw what the network looked at in its most confident mistakes on the test images, or in image files."""
    output = output or (FILES_PICTURE if images else EXPLAIN_PICTURE)
    if output.suffix != ".png":
        raise InputError(f"--output {printable(output)}: expected a name that ends in .png")
    classifier = Classifier(load_checkpoint(model), torch.device("cpu"), BATCH_SIZE)
    require_writable(output.parent)
    explained = explain_files(classifier, images, count) if images else explain_test(classifier, read_features(), count)
    picture = draw_picture(output.stem, lambda theme: plot_explanations(explained.title, explained.images, theme), DPI)
    _write(output, picture.light)
    if output == EXPLAIN_PICTURE:
        _write(EXPLAIN_PICTURE_DARK, picture.dark)
        write_json(EXPLAIN_RESULTS, _circumstances(model, explained))
    for file, explanation in zip(explained.files, explained.images, strict=True):
        print(f"{file}  {explanation.title}  ({', '.join(panel.caption for panel in explanation.panels)})")
    logger.info(f"{printable(output)}: what {classifier.checkpoint.model['name']} looked at; {explained.method}")


def explain_test(classifier: Classifier, features: Features, count: int) -> Explained:
    """The most confident mistakes on the test images; without any, the least confident answers.

    Raises InputError when there are no predictions of this model on them.
    """
    predictions = read_own_predictions(classifier.checkpoint, features)
    questions = ask(predictions, count)
    rows = np.array([question.row for question in questions])
    images = features.test.images[rows]
    _check_probabilities(classifier, images, predictions.probabilities[rows])
    if predictions.right.all():
        logger.info("no mistakes on the test images; the least certain answers are explained instead")
    files = [predictions.files[row] for row in rows]
    return _explain(classifier, images, files, questions, explanations_finding(predictions.right, len(questions)))


def explain_files(classifier: Classifier, paths: Sequence[Path], count: int) -> Explained:
    """The first `count` of these files and the images in these folders.

    Raises InputError for one that cannot be read.
    """
    found = find_images(paths)
    files, how = found[:count], classifier.checkpoint.preprocessing
    if len(files) < len(found):
        logger.warning(f"{len(files)} of {len(found)} images are explained; --count {len(found)} explains all")
    images = np.stack([load_image(file, how.image_size, how.resize) for file in files])
    probabilities = classifier.probabilities(classifier.dataset(images, np.zeros(len(images), np.int64)))
    has_labels = classifier.checkpoint.task == "multilabel"
    questions = [ask_of_image(row, classifier.classes, each, has_labels) for row, each in enumerate(probabilities)]
    title = f"What {classifier.checkpoint.model['name']} looked at in {counted(len(files), 'image')}"
    return _explain(classifier, images, [printable(file) for file in files], questions, title)


def read_own_predictions(checkpoint: Checkpoint, features: Features) -> Predictions | MultilabelPredictions:
    """The predictions on the test images; raises InputError unless they are of these, for the model's classes."""
    predictions = READ_PREDICTIONS[features.task](PREDICTIONS_FILE)
    test = features.test
    if predictions.files != test.files or not np.array_equal(predictions.labels, test.targets):
        raise InputError(f"{printable(PREDICTIONS_FILE)}: not of the test images in the features; run `make predict`")
    if (checkpoint.task, checkpoint.classes) != (features.task, predictions.classes):
        raise _other_model()
    return predictions


def _check_probabilities(classifier: Classifier, images: np.ndarray, predicted: np.ndarray) -> None:
    """Raise InputError when the model says something else about images (N, H, W, 3) than was predicted, (N, C)."""
    said = classifier.probabilities(classifier.dataset(images, np.zeros(len(images), np.int64)))
    if np.abs(said - predicted).max() > CLOSE:
        raise _other_model()


def _other_model() -> InputError:
    return InputError(
        f"{printable(PREDICTIONS_FILE)}: not the predictions of this model; run `make predict`, or name the model that "
        "made them with --model"
    )


def _explain(
    classifier: Classifier, images: np.ndarray, files: list[str], questions: Sequence[Question], title: str
) -> Explained:
    """The maps that the questions ask for; images (N, H, W, 3), one for each question."""
    data = classifier.dataset(images, np.zeros(len(images), np.int64))
    inputs = [data[index][0][None] for index in range(len(data))]  # (1, 3, S, S) each
    explainer = Explainer(classifier.model, inputs[0])
    explanations = []
    rows = zip(images, files, inputs, questions, strict=True)
    for image, file, pixels, question in tqdm(rows, desc="explain", total=len(files), unit="image", disable=None):
        sides = question.sides
        maps = explainer.maps(pixels, [side.label for side in sides], [side.sign for side in sides])
        panels = [Panel(side.caption, evidence) for side, evidence in zip(sides, maps, strict=True)]
        explanations.append(Explanation(question.verdict, Path(file).name, image, panels))
    return Explained(title, files, explanations, explainer.method)


def _circumstances(model: Path, explained: Explained) -> dict[str, str]:
    """What the report page says about the figure."""
    return {
        "checkpoint": printable(model),
        "sha256": sha256_file(model),
        "title": explained.title,
        "method": explained.method,
    }


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    run_command(main)
