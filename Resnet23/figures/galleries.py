"""The figures that show pictures: training images, mistakes, filters."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Resnet23.figures.findings import filters_finding, mistakes_finding, percent, samples_finding
from Resnet23.figures.theme import LIGHT, WIDTH, Theme, shorten, title_figure
from Resnet23.predictions import Predictions
from Resnet23.results import Inspection

COLUMNS = 6
FILTER_COLUMNS = 16
MAX_FILTERS = 128
MARGIN = 0.04  # between tiles, as a share of a tile
CAPTION = 0.16  # height of a line of text, as a share of a tile


def plot_samples(inspection: Inspection, classes: Sequence[str], count: int, theme: Theme = LIGHT) -> Figure:
    """The first `count` images of an augmented training batch, each over its class."""
    images = inspection.batch[:count]
    labels = inspection.labels[:count]
    finding = samples_finding(len(images), len(inspection.batch), len(np.unique(inspection.labels)))
    return plot_tiles(finding, images, [[shorten(classes[label], 16)] for label in labels], COLUMNS, theme)


def plot_mistakes(predictions: Predictions, images: np.ndarray, count: int, theme: Theme = LIGHT) -> Figure:
    """The `count` mistakes of highest confidence; `images` are the (N, H, W, 3) uint8 that `predictions` are of."""
    rows = most_confident_mistakes(predictions, count)
    classes, predicted, confidence = predictions.classes, predictions.predicted, predictions.confidence
    captions = [
        [
            f"{shorten(classes[predicted[row]], 10)} {percent(confidence[row])}",
            f"is {shorten(classes[predictions.labels[row]], 14)}",
        ]
        for row in rows
    ]
    tiles = [images[row] for row in rows]
    return plot_tiles(mistakes_finding(predictions, len(rows)), tiles, captions, COLUMNS, theme)


def plot_filters(kernels: np.ndarray, theme: Theme = LIGHT) -> Figure:
    """First-layer kernels (K, 3, h, w) as RGB images, strongest first, each scaled from its own minimum to maximum."""
    norms = np.sqrt((kernels.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))  # (K,)
    strongest = kernels[np.argsort(-norms, kind="stable")[:MAX_FILTERS]]
    low, high = (extreme(strongest, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    scaled = (strongest - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    tiles = scaled.transpose(0, 2, 3, 1)  # (K, h, w, 3) in 0..1
    return plot_tiles(filters_finding(norms), tiles, [[] for _ in tiles], FILTER_COLUMNS, theme)


def most_confident_mistakes(predictions: Predictions, count: int) -> np.ndarray:
    """The rows of the wrong predictions of highest confidence, highest first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    order = np.argsort(-predictions.confidence[wrong], kind="stable")
    return wrong[order[:count]]


def plot_tiles(
    finding: str, images: Sequence[np.ndarray] | np.ndarray, captions: list[list[str]], columns: int, theme: Theme
) -> Figure:
    """Images in a grid, each over the lines of its caption; the first line is the one that counts."""
    lines = max((len(caption) for caption in captions), default=0)
    step = 1 + CAPTION * lines + MARGIN  # height of a row, in tiles
    rows = -(-len(images) // columns)
    height = 0.75 + (WIDTH - 0.2) / columns * step * rows  # inches, with those of the title and the edges
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    title_figure(figure, finding)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_anchor("N")
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = number % columns, (number // columns) * step
        axes.imshow(image, extent=(left, left + 1 - MARGIN, top + 1 - MARGIN, top))
        _write_caption(axes, left + (1 - MARGIN) / 2, top + 1, caption, theme)
    axes.set(xlim=(0, columns - MARGIN), ylim=(max(rows, 1) * step, 0))
    return figure


def _write_caption(axes: Axes, center: float, top: float, caption: list[str], theme: Theme) -> None:
    for line, text in enumerate(caption):
        axes.text(
            center,
            top + CAPTION * line,
            text,
            color=theme.muted if line else theme.ink,
            fontsize=8.5,
            horizontalalignment="center",
            verticalalignment="top",
        )
