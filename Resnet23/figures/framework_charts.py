"""The figure that sets the trainings of two frameworks side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from Resnet23.figures.findings import percent
from Resnet23.figures.theme import LIGHT, WIDTH, Theme, title_figure
from Resnet23.history import History, best_epoch, has_validation


def plot_courses(histories: Mapping[str, History], theme: Theme = LIGHT) -> Figure:
    """Loss and accuracy by epoch, a line for each framework; on validation images where all have some.

    The dot on a line is the epoch whose weights were kept.
    """
    split = "val" if all(has_validation(history) for history in histories.values()) else "train"
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    title_figure(figure, courses_finding(histories, split))
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for (name, history), color in zip(histories.items(), theme.lines, strict=False):
            values, kept = np.asarray(history[f"{split}_{quantity}"]), best_epoch(history)
            axes.plot(np.arange(1, len(values) + 1), values, color=color, label=name)
            axes.plot(kept + 1, values[kept], "o", color=color)
        axes.set(title=quantity.capitalize(), xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


def courses_finding(histories: Mapping[str, History], split: str) -> str:
    """The epoch that each framework kept, and its accuracy there."""
    name = {"val": "validation", "train": "training"}[split]
    kept = []
    for framework, history in histories.items():
        row = best_epoch(history)
        accuracy = percent(float(history[f"{split}_accuracy"][row]))
        kept.append(f"{framework} {accuracy} in epoch {row + 1} of {len(history['train_loss'])}")
    return f"Best {name} accuracy: {', '.join(kept)}"
