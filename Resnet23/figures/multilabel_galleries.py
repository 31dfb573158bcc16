"""The figures that show pictures with several labels: training images, mistakes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from Resnet23.figures.findings import percent, samples_finding
from Resnet23.figures.galleries import COLUMNS, plot_tiles
from Resnet23.figures.multilabel_findings import multilabel_mistakes_finding
from Resnet23.figures.theme import LIGHT, Theme, shorten
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.results import Inspection

NO_LABEL = "no label"


def plot_multilabel_samples(inspection: Inspection, classes: Sequence[str], count: int, theme: Theme = LIGHT) -> Figure:
    """The first `count` images of an augmented training batch, each over its labels."""
    images = inspection.batch[:count]
    present = int(inspection.labels.any(axis=0).sum())
    captions = [
        [shorten(", ".join(classes[label] for label in np.flatnonzero(row)) or NO_LABEL, 18)]
        for row in inspection.labels[:count]
    ]
    return plot_tiles(samples_finding(len(images), len(inspection.batch), present), images, captions, COLUMNS, theme)


def plot_multilabel_mistakes(
    predictions: MultilabelPredictions, images: np.ndarray, count: int, theme: Theme = LIGHT
) -> Figure:
    """The `count` images whose worst answer was surest: that answer with its probability, above what the image has.

    `images` are the (N, H, W, 3) uint8 that `predictions` are of.
    """
    answers = surest_mistakes(predictions, count)
    captions = [_caption(predictions, row, label) for row, label in answers]
    finding = multilabel_mistakes_finding(predictions, len(answers))
    return plot_tiles(finding, [images[row] for row, _ in answers], captions, COLUMNS, theme)


def _caption(predictions: MultilabelPredictions, row: int, label: int) -> list[str]:
    """The answer about one label of an image, with its probability, and all labels that the image has."""
    name, probability = shorten(predictions.classes[label], 10), predictions.probabilities[row, label]
    given = predictions.predicted[row, label]
    answer = f"{name} {percent(probability)}" if given else f"no {shorten(name, 8)} {percent(1 - probability)}"
    return [answer, f"is {shorten(', '.join(predictions.names(predictions.labels[row])) or NO_LABEL, 14)}"]


def surest_mistakes(predictions: MultilabelPredictions, count: int) -> list[tuple[int, int]]:
    """The row and the label of the answer that is furthest from the truth, of each image with a wrong one.

    At most `count` of them, the furthest first.
    """
    wrong = predictions.predicted != predictions.labels
    distance = np.where(wrong, np.abs(predictions.probabilities - predictions.labels), -1.0)  # (N, C)
    rows = np.flatnonzero(wrong.any(axis=1))
    order = rows[np.argsort(-distance[rows].max(axis=1), kind="stable")][:count]
    return [(int(row), int(distance[row].argmax())) for row in order]
