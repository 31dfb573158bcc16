"""The figure of superclasses: how often the class is found, and how often at least its superclass."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from Resnet23.figures.findings import superclass_finding
from Resnet23.figures.theme import LIGHT, WIDTH, Theme, shorten, title_figure


def plot_superclasses(per_superclass: Mapping[str, Mapping[str, Any]], theme: Theme = LIGHT) -> Figure:
    """A bar for each superclass with test images, best first: its images with the right class, then those with another
    class of the right superclass.
    """
    scores = {name: score for name, score in per_superclass.items() if score["support"]}
    order = sorted(scores, key=lambda name: scores[name]["accuracy"])
    right, near = (np.array([scores[name][key] for name in order]) for key in ("accuracy", "superclass_accuracy"))
    figure = Figure(figsize=(WIDTH, 1.6 + 0.28 * len(order)), layout="constrained")
    title_figure(figure, superclass_finding(per_superclass))
    axes = figure.subplots()
    rows = np.arange(len(order))
    axes.barh(rows, right, 0.7, color=theme.lines[0], label="right class")
    axes.barh(rows, near - right, 0.7, left=right, color=theme.lines[1], label="another class of the right superclass")
    for row, name in enumerate(order):
        text = f"{100 * right[row]:.0f} / {100 * near[row]:.0f}% of {scores[name]['support']:,}"
        axes.text(1.02, row, text, color=theme.muted, fontsize=8.5, verticalalignment="center")
    axes.set_yticks(rows, [shorten(name, 32) for name in order])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(order) - 0.4), xlabel="share of the superclass's test images")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside lower right", ncols=2)
    return figure
