"""The figures that are drawn from the numbers of several labels for each image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from Resnet23.figures.charts import MAX_CURVES, WORST_CURVES, name_ticks, plot_epochs, write_cell
from Resnet23.figures.multilabel_findings import (
    co_occurrence_finding,
    label_calibration_finding,
    multilabel_learning_finding,
    thresholds_finding,
)
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure
from Resnet23.history import History, best_epoch, has_validation
from Resnet23.modeling.metrics import CalibrationBins, bin_by_confidence
from Resnet23.modeling.multilabel_metrics import label_calibration_errors, pooled_calibration_bins
from Resnet23.multilabel_predictions import MultilabelPredictions

THRESHOLD_GRID = np.linspace(0, 1, 201)
MAX_PANELS = 12  # labels with a panel of their own
PANEL_COLUMNS = 3


def plot_multilabel_learning_curve(history: History, theme: Theme = LIGHT) -> Figure:
    """Losses on the left; on the right the mean average precision and the share of images with every label right.

    The best epoch is marked. `history` holds train_loss and train_accuracy, and with validation val_loss, val_accuracy
    and val_mAP, one value per epoch.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    title_figure(figure, multilabel_learning_finding(history))
    best, epochs = best_epoch(history) + 1, np.arange(1, len(history["train_loss"]) + 1)
    loss, quality = figure.subplots(1, 2)
    curves = [(loss, "train_loss", "training"), (quality, "train_accuracy", "training, every label right")]
    if has_validation(history):
        curves += [
            (loss, "val_loss", "validation"),
            (quality, "val_accuracy", "validation, every label right"),
            (quality, "val_mAP", "validation, mAP"),
        ]
    for axes, title in ((loss, "Loss"), (quality, "mAP and images with every label right")):
        axes.axvline(best, color=theme.muted, linestyle=":", linewidth=1.5)
        drawn = [curve for curve in curves if curve[0] is axes]
        for (_, column, label), color in zip(drawn, theme.lines, strict=False):
            plot_epochs(axes, epochs, history[column], best, label, color)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()
    quality.set_ylim(0, 1.02)
    return figure


def plot_co_occurrence(predictions: MultilabelPredictions, theme: Theme = LIGHT) -> Figure:
    """Which labels come together: of the images with the row's label, the share that has the column's as well.

    On the left the labels that the images have, on the right those they were given.
    """
    true, predicted = (co_occurrence(given) for given in (predictions.labels, predictions.predicted))
    figure = Figure(figsize=(WIDTH, float(np.clip(1.8 + 0.3 * len(true), 3.2, 5.2))), layout="constrained")
    title_figure(figure, co_occurrence_finding(true, predicted, predictions.classes))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, shares, title in zip(panels, (true, predicted), ("Labels", "Predicted labels"), strict=True):
        shares = np.where(np.eye(len(shares), dtype=bool), np.nan, shares)  # a label is always with itself
        image = axes.imshow(shares, cmap=COLOR_MAP, vmin=0, vmax=1, aspect="auto")
        if len(shares) <= MAX_CURVES:
            for (row, column), share in np.ndenumerate(shares):
                write_cell(axes, row, column, "" if np.isnan(share) else f"{100 * share:.0f}", share)
        axes.grid(visible=False)
        name_ticks(axes.xaxis, predictions.classes)
        axes.set(title=title, xlabel="... also have this label")
    name_ticks(panels[0].yaxis, predictions.classes)
    panels[0].set_ylabel("of the images with this label ...")
    bar = figure.colorbar(image, ax=panels, format=PercentFormatter(1), aspect=40, pad=0.01)
    bar.outline.set_visible(False)
    return figure


def co_occurrence(given: np.ndarray) -> np.ndarray:
    """(C, C): of the images with the row's label the share that has the column's, from (N, C); NaN where none has."""
    together = given.T.astype(float) @ given  # (C, C) images
    images = np.diag(together)[:, None]
    return np.divide(together, images, out=np.full_like(together, np.nan), where=images > 0)


def plot_thresholds(
    validation: MultilabelPredictions, per_class: Mapping[str, Mapping[str, Any]], theme: Theme = LIGHT
) -> Figure:
    """Precision, recall and F1 of each label at every threshold, and the one that is used; of many the lowest F1."""
    names = sorted(per_class, key=lambda name: per_class[name]["f1"])[:MAX_PANELS]
    names = [name for name in per_class if name in names]
    rows = -(-len(names) // PANEL_COLUMNS)
    figure = Figure(figsize=(WIDTH, 1.2 + 1.75 * rows), layout="constrained")
    title_figure(figure, thresholds_finding(per_class, len(validation.files)))
    panels = figure.subplots(rows, PANEL_COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, name in zip(panels, names, strict=False):
        _plot_threshold_curves(axes, *validation.one_vs_rest(name), theme)
        threshold = per_class[name]["threshold"]
        axes.axvline(threshold, color=theme.muted, linestyle=":", linewidth=1.5)
        axes.set(title=f"{shorten(name)}: {threshold:.2f}", xlim=(0, 1), ylim=(0, 1.02))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("threshold on the probability", fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return figure


def plot_label_calibration(predictions: MultilabelPredictions, theme: Theme = LIGHT) -> Figure:
    """How often a label is present against its probability, for all labels together and for each; of many the worst."""
    classes = predictions.classes
    errors = label_calibration_errors(predictions.labels, predictions.probabilities)
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    title_figure(figure, label_calibration_finding(errors, classes))
    reliability, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    reliability.plot([0, 1], [0, 1], color=theme.muted, linestyle=":", linewidth=1.5, label="perfectly calibrated")
    worst = np.argsort(errors)[::-1][: MAX_CURVES if len(classes) <= MAX_CURVES else WORST_CURVES]
    styles = [(color, dash) for dash in ("-", "--") for color in theme.lines]
    for label, (color, dash) in zip(sorted(worst), styles, strict=False):
        bins = bin_by_confidence(predictions.probabilities[:, label], predictions.labels[:, label])
        name = f"{shorten(classes[label])} ({errors[label]:.3f})"
        _plot_bins(reliability, bins, color=color, linestyle=dash, linewidth=1, label=name)
    bins = pooled_calibration_bins(predictions.labels, predictions.probabilities)
    _plot_bins(reliability, bins, color=theme.ink, marker="o", linewidth=3, label="all labels")
    reliability.set(ylabel="share of images with the label", xlim=(0, 1), ylim=(0, 1.02))
    reliability.legend(loc="upper left", bbox_to_anchor=(1, 1), title="label (ECE)", alignment="left")
    share, widths = bins.counts / bins.counts.sum(), np.diff(bins.edges)
    histogram.bar(bins.edges[:-1], share, widths, align="edge", color=theme.lines[0], edgecolor=theme.background)
    histogram.set(xlabel="probability of the label", ylabel="share of answers")
    for axis in (reliability.yaxis, histogram.yaxis, histogram.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def _plot_bins(axes: Axes, bins: CalibrationBins, **style: Any) -> None:
    """How often a label is present against its mean probability, bin by bin."""
    filled = bins.counts > 0
    axes.plot(bins.confidence[filled], bins.accuracy[filled], **style)


def _plot_threshold_curves(axes: Axes, present: np.ndarray, probabilities: np.ndarray, theme: Theme) -> None:
    """Precision, recall and F1 of one label over THRESHOLD_GRID; both arrays are (N,)."""
    given = probabilities[:, None] >= THRESHOLD_GRID  # (N, T)
    found, answers = (given & present[:, None]).sum(axis=0), given.sum(axis=0)
    with np.errstate(invalid="ignore"):  # without answers there is no precision, without images no recall
        curves = {"precision": found / answers, "recall": found / present.sum()}
        curves["F1"] = 2 * found / (answers + present.sum())
    for (name, values), color in zip(curves.items(), (theme.lines[0], theme.lines[1], theme.ink), strict=True):
        axes.plot(THRESHOLD_GRID, values, color=color, linewidth=1.5, label=name)
