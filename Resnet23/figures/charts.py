"""The figures that are drawn from numbers. Each function returns a matplotlib Figure and keeps no global state."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import confusion_matrix, precision_recall_curve

from Resnet23.figures.findings import (
    calibration_finding,
    confusion_finding,
    learning_finding,
    per_class_finding,
    ranking_finding,
)
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure
from Resnet23.history import History, best_epoch, has_validation
from Resnet23.modeling.metrics import calibration_bins, expected_calibration_error
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions

MAX_NUMBERED = 20  # classes up to which a confusion matrix has room for numbers
MAX_TICKS = 25  # class names beside an axis
MAX_ROWS = 40  # classes up to which per_class.png shows them all
MAX_CURVES = 10  # classes up to which each has its own precision-recall curve
WORST, BEST = 20, 10  # classes shown of more than MAX_ROWS
WORST_CURVES = 5
SCORES = {"precision": "precision", "recall": "recall", "f1": "F1", "average_precision": "average precision"}
RECALL_GRID = np.linspace(0, 1, 201)

Answers = Predictions | MultilabelPredictions


def plot_learning_curve(history: History, theme: Theme = LIGHT) -> Figure:
    """Losses on the left, accuracies on the right, the best epoch marked.

    `history` maps train_loss, train_accuracy, val_loss and val_accuracy to one value per epoch; the accuracies are
    shares of 1, and the validation columns may be missing or NaN.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    title_figure(figure, learning_finding(history))
    best = best_epoch(history) + 1
    epochs = np.arange(1, len(history["train_loss"]) + 1)
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.axvline(best, color=theme.muted, linestyle=":", linewidth=1.5)
        plot_epochs(axes, epochs, history[f"train_{quantity}"], best, "training", theme.lines[0])
        if has_validation(history):
            plot_epochs(axes, epochs, history[f"val_{quantity}"], best, "validation", theme.lines[1])
        axes.set(title=quantity.capitalize(), xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


def plot_confusion_matrix(
    predictions: Predictions, theme: Theme = LIGHT, superclasses: Mapping[str, str] | None = None
) -> Figure:
    """Counts, coloured by the share of each row, that is, of the true class.

    With `superclasses` {class: superclass} the classes stand in blocks of those, and many of them under their names.
    """
    families = [(superclasses or {}).get(name, "") for name in predictions.classes]
    order = sorted(range(len(families)), key=families.__getitem__)
    classes = [predictions.classes[row] for row in order]
    counts = confusion_matrix(predictions.labels, predictions.predicted, labels=order)  # (C, C)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    height = np.clip(2 + 0.45 * len(classes), 3.4, 6.8)  # inches
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    title_figure(figure, confusion_finding(counts, classes))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=COLOR_MAP, vmin=0, vmax=1, aspect="auto")
    if len(classes) <= MAX_NUMBERED:
        _write_counts(axes, counts, shares)
    axes.grid(visible=False)
    blocks = _mark_blocks(axes, [families[row] for row in order], theme)
    kind = "superclass" if blocks and len(classes) > MAX_TICKS else "class"
    for axis in (axes.xaxis, axes.yaxis):
        if kind == "superclass":
            write_ticks(axis, list(blocks.values()), [shorten(name, 24) for name in blocks])
        else:
            name_ticks(axis, classes)
    axes.set(xlabel=f"predicted {kind}", ylabel=f"true {kind}")
    bar = figure.colorbar(
        image, ax=axes, label="share of the true class", format=PercentFormatter(1), aspect=40, pad=0.01
    )
    bar.outline.set_visible(False)
    return figure


def plot_per_class(per_class: Mapping[str, Mapping[str, Any]], theme: Theme = LIGHT) -> Figure:
    """The classification report as a heat map, best F1 first, with the unweighted mean of each column below."""
    names, scores, supports = _report_rows(per_class)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.33 * len(names)), layout="constrained")
    title_figure(figure, per_class_finding(per_class))
    axes = figure.subplots()
    axes.imshow(scores, cmap=COLOR_MAP, vmin=0, vmax=1, aspect="auto")
    _write_scores(axes, scores)
    for row, support in enumerate(supports):
        axes.text(len(SCORES), row, f"{support:,}", horizontalalignment="center", verticalalignment="center")
    axes.axhline(len(names) - 1.5, color=theme.background, linewidth=5)  # sets the mean apart
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(SCORES) + 1), [*SCORES.values(), "images"])
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(SCORES) + 0.5))
    if len(per_class) > MAX_ROWS:
        axes.set_xlabel(f"the best {BEST} and the worst {WORST} of {len(per_class)} classes")
    return figure


def plot_precision_recall(predictions: Answers, metrics: Mapping[str, Any], theme: Theme = LIGHT) -> Figure:
    """Precision against recall, one-vs-rest; of many classes the mean curve and the worst."""
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    title_figure(figure, ranking_finding(metrics))
    axes = figure.subplots()
    scores = {name: score["average_precision"] for name, score in metrics["per_class"].items()}
    known = sorted((name for name in scores if scores[name] is not None), key=lambda name: -scores[name])
    if len(known) > MAX_CURVES:
        curve = np.mean([_precision_on_grid(predictions, name) for name in known], axis=0)
        label = f"mean of {len(known)} classes ({metrics['mAP']:.2f})"
        axes.plot(RECALL_GRID, curve, color=theme.ink, linewidth=3, label=label)
        known = known[-WORST_CURVES:]
    styles = [(color, dash) for dash in ("-", "--") for color in theme.lines]
    for name, (color, dash) in zip(known, cycle(styles), strict=False):
        precision, recall, _ = precision_recall_curve(*predictions.one_vs_rest(name))
        label = f"{shorten(name)} ({scores[name]:.2f})"
        axes.step(recall, precision, where="post", color=color, linestyle=dash, label=label)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), title="class (average precision)", alignment="left")
    return figure


def plot_calibration(
    predictions: Predictions,
    validation: Predictions | None = None,
    theme: Theme = LIGHT,
    unscaled: Predictions | None = None,
) -> Figure:
    """Accuracy against confidence, over a histogram of the confidence; below the diagonal is over-confident.

    `unscaled` are the predictions before temperature scaling.
    """
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    error = expected_calibration_error(predictions.labels, predictions.probabilities)
    title_figure(figure, calibration_finding(predictions, error))
    reliability, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    reliability.plot([0, 1], [0, 1], color=theme.muted, linestyle=":", linewidth=1.5, label="perfectly calibrated")
    if validation is not None:
        _plot_reliability(reliability, validation, "validation", color=theme.lines[1], marker="s")
    if unscaled is not None:
        before = expected_calibration_error(unscaled.labels, unscaled.probabilities)
        label = f"test, before scaling (ECE {before:.3f})"
        _plot_reliability(reliability, unscaled, label, color=theme.muted, marker="D")
    _plot_reliability(reliability, predictions, f"test (ECE {error:.3f})", color=theme.lines[0], marker="o")
    reliability.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    reliability.legend(loc="upper left")
    bins = calibration_bins(predictions.labels, predictions.probabilities)
    share = bins.counts / bins.counts.sum()
    histogram.bar(
        bins.edges[:-1], share, np.diff(bins.edges), align="edge", color=theme.lines[0], edgecolor=theme.background
    )
    histogram.set(xlabel="confidence: probability of the predicted class", ylabel="share of images")
    for axis in (reliability.yaxis, histogram.yaxis, histogram.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def plot_epochs(axes: Axes, epochs: np.ndarray, values: Any, best: int, label: str, color: str) -> None:
    """One line over the epochs, with a dot at the best one (and at an only one, which has no line)."""
    values = np.asarray(values, dtype=float)
    axes.plot(epochs, values, color=color, label=label)
    axes.plot(best, values[best - 1], "o", color=color)


def _plot_reliability(axes: Axes, predictions: Predictions, label: str, color: str, marker: str) -> None:
    """Accuracy against confidence of each bin; the area of a marker grows with the bin's images."""
    bins = calibration_bins(predictions.labels, predictions.probabilities)
    filled = bins.counts > 0
    share = bins.counts[filled] / bins.counts.sum()
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    axes.plot(confidence, accuracy, color=color, linewidth=1)
    axes.scatter(confidence, accuracy, 12 + 300 * share, color=color, marker=marker, label=label, clip_on=False)


def _report_rows(per_class: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], np.ndarray, list[int]]:
    """Names, (rows, 4) scores and supports of the classes by falling F1, then of their mean; of many the extremes."""
    scores = np.array([[_number(report[score]) for score in SCORES] for report in per_class.values()])  # (C, 4)
    supports = np.array([report["support"] for report in per_class.values()])  # (C,)
    order = sorted(range(len(scores)), key=lambda row: -scores[row, list(SCORES).index("f1")])
    shown = order[:BEST] + order[-WORST:] if len(order) > MAX_ROWS else order
    names = [shorten(list(per_class)[row], 24) for row in shown]
    mean = scores[supports > 0].mean(axis=0)  # over the classes in the test set, as in metrics.json
    return [*names, "mean of all"], np.vstack([scores[shown], mean]), [*supports[shown].tolist(), int(supports.sum())]


def _mark_blocks(axes: Axes, families: Sequence[str], theme: Theme) -> dict[str, float]:
    """Set neighbours of different superclasses apart by lines; the middle of each block by its name, if any."""
    starts = [row for row, name in enumerate(families) if row == 0 or name != families[row - 1]]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color=theme.muted, linewidth=0.6)
        axes.axvline(start - 0.5, color=theme.muted, linewidth=0.6)
    ends = [*starts[1:], len(families)]
    return {families[start]: (start + end - 1) / 2 for start, end in zip(starts, ends, strict=True) if families[start]}


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The count in each cell and, where there is room, its share below."""
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]:,}"
        if len(counts) <= MAX_CURVES and counts[row, column]:
            text += f"\n{100 * share:.0f}%"
        write_cell(axes, row, column, text, share)


def _write_scores(axes: Axes, values: np.ndarray) -> None:
    """Each score in its cell; a class without test images has no average precision."""
    for (row, column), value in np.ndenumerate(values):
        write_cell(axes, row, column, "-" if np.isnan(value) else f"{value:.2f}", value)


def write_cell(axes: Axes, row: int, column: int, text: str, value: float) -> None:
    """A text in black or white, whichever stands out from the colour of `value`."""
    red, green, blue, _ = matplotlib.colormaps[COLOR_MAP](value)
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.4  # ITU-R BT.601 luma
    axes.text(
        column,
        row,
        text,
        color="black" if bright or np.isnan(value) else "white",
        fontsize=8.5,
        horizontalalignment="center",
        verticalalignment="center",
    )


def name_ticks(axis: Axis, classes: Sequence[str]) -> None:
    """Class names beside an axis, of many classes every so many-th."""
    step = -(-len(classes) // MAX_TICKS)
    write_ticks(axis, range(0, len(classes), step), [shorten(name) for name in classes[::step]])


def write_ticks(axis: Axis, places: Sequence[float], names: Sequence[str]) -> None:
    """Names at their places beside an axis; slanted below."""
    axis.set_ticks(places, names)
    if axis.axis_name == "x" and len(names) > 2:
        axis.set_tick_params(rotation=45)
        for label in axis.get_ticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def _precision_on_grid(predictions: Answers, name: str) -> np.ndarray:
    """The highest precision of one class at each recall of RECALL_GRID or beyond it ("interpolated precision")."""
    precision, recall, _ = precision_recall_curve(*predictions.one_vs_rest(name))  # recall falls from 1 to 0
    highest = np.maximum.accumulate(precision[:-1])  # less the end point, which is 1 by convention
    return highest[np.searchsorted(-recall[:-1], -RECALL_GRID, side="right") - 1]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
