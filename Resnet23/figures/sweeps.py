"""The figures of a study that compares settings. All spreads are standard deviations between seeds."""

from collections.abc import Mapping, Sequence
from itertools import combinations, cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from Resnet23.figures.charts import write_cell
from Resnet23.figures.findings import percent
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure
from Resnet23.studies.comparisons import against, best_on_validation
from Resnet23.studies.importance import SEEDS, TOGETHER
from Resnet23.studies.outcomes import Outcome
from Resnet23.studies.settings import label, show

BAND = 0.18  # opacity of a spread around a line
ROW = 0.3  # inches, of a bar
SPLITS = {"train_accuracy": "training", "val_accuracy": "validation", "test_accuracy": "test"}
FACTORS = 50  # a range of values of which the last is as many times the first has a logarithmic axis


def plot_curves(outcomes: Sequence[Outcome], theme: Theme = LIGHT) -> Figure:
    """Validation accuracy by epoch, the mean over seeds in a band of their spread."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    title_figure(figure, _ranking_finding(outcomes))
    axes = figure.subplots()
    _plot_accuracies(axes, outcomes, theme)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_responses(outcomes: Sequence[Outcome], key: str, chance: float, theme: Theme = LIGHT) -> Figure:
    """Accuracy against the value of the parameter: every seed a dot, their mean a line."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    title_figure(figure, _range_finding(outcomes, key))
    axes = figure.subplots()
    values = np.array([outcome.setting.values[key] for outcome in outcomes], dtype=float)
    order = np.argsort(values)
    for (name, split), color in zip(SPLITS.items(), (theme.muted, theme.lines[1], theme.lines[0]), strict=True):
        samples = [outcomes[row].samples(name) for row in order]
        axes.plot(values[order], [each.mean() for each in samples], color=color, label=split)
        for value, each in zip(values[order], samples, strict=True):
            axes.plot(np.full(len(each), value), each, "o", color=color, markersize=4, alpha=0.7)
    axes.axhline(chance, color=theme.muted, linestyle=":", linewidth=1.5, label="guessing")
    axes.set(xlabel=label(key), ylabel="accuracy")
    _scale_axis(axes, values)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend()
    return figure


def plot_heatmaps(outcomes: Sequence[Outcome], keys: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Mean test accuracy for each pair of parameters, over all values of the others and all seeds."""
    pairs = list(combinations(keys, 2))
    figure = Figure(figsize=(WIDTH, 1 + 2.9 * -(-len(pairs) // 2)), layout="constrained")
    title_figure(figure, _ranking_finding(outcomes))
    grid = figure.subplots(-(-len(pairs) // 2), min(len(pairs), 2), squeeze=False)
    tables = [_pair_table(outcomes, *pair) for pair in pairs]
    low, high = (function([function(table) for _, _, table in tables]) for function in (np.nanmin, np.nanmax))
    for axes, pair, (rows, columns, table) in zip(grid.flat, pairs, tables, strict=False):
        axes.imshow(table, cmap=COLOR_MAP, vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            brightness = (value - low) / (high - low) if high > low else 0.0
            write_cell(axes, row, column, percent(value), brightness)
        axes.grid(visible=False)
        axes.set_yticks(range(len(rows)), [show(value) for value in rows])
        axes.set_xticks(range(len(columns)), [show(value) for value in columns])
        axes.set(ylabel=label(pair[0]), xlabel=label(pair[1]))
    for axes in grid.flat[len(pairs) :]:
        axes.set_axis_off()
    return figure


def plot_search(outcomes: Sequence[Outcome], keys: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Test accuracy against each parameter that was searched: a dot for each setting, the best on validation marked."""
    columns = min(len(keys), 3)
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(WIDTH, 0.9 + 2.7 * rows), layout="constrained")
    title_figure(figure, _ranking_finding(outcomes))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    accuracies = [outcome.samples("test_accuracy").mean() for outcome in outcomes]
    best = int(np.argmax([outcome.samples("val_accuracy").mean() for outcome in outcomes]))
    for axes, key in zip(grid.flat, keys, strict=False):
        values = [outcome.setting.values[key] for outcome in outcomes]
        axes.plot(values, accuracies, "o", color=theme.lines[0], alpha=0.7)
        axes.plot(values[best], accuracies[best], "o", color=theme.lines[1], markersize=9)
        axes.set(xlabel=label(key))
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) == len(values) and min(numbers) > 0 and max(numbers) >= FACTORS * min(numbers):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for axes in grid[:, 0]:
        axes.set(ylabel="test accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in grid.flat[len(keys) :]:
        axes.set_axis_off()
    return figure


def plot_importances(importances: Mapping[str, float], theme: Theme = LIGHT) -> Figure:
    """Each parameter's share in the variance of the test accuracy, beside what seeds do."""
    figure = Figure(figsize=(WIDTH, 1.4 + ROW * len(importances)), layout="constrained")
    strongest = next(key for key in importances if key not in (SEEDS, TOGETHER))
    what = f"{label(strongest).capitalize()} by itself decides {importances[strongest]:.0%} of what varies"
    title_figure(figure, what + (f", seeds {importances[SEEDS]:.0%}" if SEEDS in importances else ""))
    axes = figure.subplots()
    names = [key if key in (SEEDS, TOGETHER) else label(key) for key in importances]
    colors = [theme.muted if key in (SEEDS, TOGETHER) else theme.lines[0] for key in importances]
    axes.barh(names, list(importances.values()), color=colors)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="share in the variance of the test accuracy", xlim=(0, None))
    axes.grid(visible=False, axis="y")
    return figure


def plot_effects(outcomes: Sequence[Outcome], baseline: Outcome, theme: Theme = LIGHT) -> Figure:
    """The change of the test accuracy that each setting makes against the baseline, with its 95% interval."""
    changes = against(outcomes, baseline)
    ordered = sorted(changes.items(), key=lambda item: item[1].mean)
    figure = Figure(figsize=(WIDTH, 1.4 + ROW * len(ordered)), layout="constrained")
    clear = sum(change.is_clear for change in changes.values())
    title_figure(figure, f"{clear} of {len(ordered)} settings clearly differ from {baseline.setting.name}")
    axes = figure.subplots()
    axes.axvline(0, color=theme.muted, linewidth=1.5)
    for row, (_, change) in enumerate(ordered):
        color = theme.lines[0] if change.is_clear else theme.muted
        if change.interval:
            axes.plot([100 * bound for bound in change.interval], [row, row], color=color)
        axes.plot(100 * change.mean, row, "o", color=color)
    axes.set_yticks(range(len(ordered)), [shorten(name, 36) for name, _ in ordered])
    axes.set(xlabel=f"test accuracy against {baseline.setting.name}, points (grey: not clear)")
    return figure


def plot_gaps(outcomes: Sequence[Outcome], theme: Theme = LIGHT) -> Figure:
    """Test and training accuracy of each setting: the distance between them is what does not carry over."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.samples("test_accuracy").mean())
    figure = Figure(figsize=(WIDTH, 1.6 + ROW * len(ordered)), layout="constrained")
    gaps = [(outcome.samples("gap"), outcome.setting.name) for outcome in outcomes]
    smallest, largest = (choose(gaps, key=lambda gap: gap[0].mean()) for choose in (min, max))
    told = (f"{100 * gap.mean():.1f}{_plus_minus(100 * gap)} points with {name}" for gap, name in (smallest, largest))
    title_figure(figure, f"Training minus test accuracy: {', '.join(told)}")
    axes = figure.subplots()
    rows = range(len(ordered))
    means = {name: [each.samples(name).mean() for each in ordered] for name in ("test_accuracy", "train_accuracy")}
    axes.hlines(rows, means["test_accuracy"], means["train_accuracy"], color=theme.faint, linewidth=4)
    for name, color, marker in (("test_accuracy", theme.lines[0], "o"), ("train_accuracy", theme.lines[1], "s")):
        spreads = [each.samples(name).std(ddof=1) if len(each.measured) > 1 else 0 for each in ordered]
        axes.errorbar(means[name], rows, xerr=spreads, fmt=marker, color=color, label=SPLITS[name])
    axes.set_yticks(rows, [shorten(outcome.setting.name, 40) for outcome in ordered])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="accuracy at the epoch best on validation, without augmentation")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_schedules(outcomes: Sequence[Outcome], theme: Theme = LIGHT) -> Figure:
    """The learning rate at the end of each epoch, beside the validation accuracy."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    title_figure(figure, _ranking_finding(outcomes))
    rates, accuracies = figure.subplots(1, 2)
    for outcome, (color, dash) in zip(outcomes, _styles(theme), strict=False):
        curves = outcome.curves("learning_rate")
        if len(curves):
            rates.plot(np.arange(1, curves.shape[1] + 1), curves[0], dash, color=color)
    rates.set(title="Learning rate", xlabel="epoch", yscale="log")
    rates.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # the usual one is a formula
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plot_accuracies(accuracies, outcomes, theme)
    accuracies.set(title="Validation accuracy", ylabel="")
    figure.legend(*accuracies.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def plot_tuning(tuning: Sequence[Outcome], key: str, theme: Theme = LIGHT) -> Figure:
    """Validation accuracy of each setting against the tuned parameter; the best is marked."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    title_figure(figure, f"How each setting was tuned: one training for each {label(key)}, the best marked")
    axes = figure.subplots()
    names = list(dict.fromkeys(outcome.setting.name for outcome in tuning))
    for name, (color, dash) in zip(names, _styles(theme), strict=False):
        tried = [outcome for outcome in tuning if outcome.setting.name == name and outcome.state == "complete"]
        if not tried:
            continue
        values = np.array([outcome.setting.values[key] for outcome in tried], dtype=float)
        accuracies = np.array([outcome.samples("val_accuracy").mean() for outcome in tried])
        axes.plot(values, accuracies, dash, color=color, label=name)
        best = accuracies.argmax()
        axes.plot(values[best], accuracies[best], "o", color=color, markersize=9)
        _scale_axis(axes, values)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel=label(key), ylabel="validation accuracy")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _ranking_finding(outcomes: Sequence[Outcome]) -> str:
    """The setting best on validation and the distance to the others, seeds' spread included."""
    best = best_on_validation(outcomes)
    samples = best.samples("test_accuracy")
    worst = min(outcome.samples("test_accuracy").mean() for outcome in outcomes)
    if len(samples) < 2:
        means = [outcome.samples("test_accuracy").mean() for outcome in outcomes]
        return f"Test accuracies from {percent(min(means))} to {percent(max(means))}, one seed each: no ranking"
    return (
        f"Best on validation: {best.setting.name}, test accuracy {percent(samples.mean())} "
        f"± {100 * samples.std(ddof=1):.1f} over {len(samples)} seeds; the lowest has {percent(worst)}"
    )


def _range_finding(outcomes: Sequence[Outcome], key: str) -> str:
    """Which values do as well as the one best on validation, or better, as far as the seeds let one see."""
    best = best_on_validation(outcomes)
    changes = against(outcomes, best)
    if any(change.interval is None for change in changes.values()):
        return _ranking_finding(outcomes)
    near = {name for name, change in changes.items() if not change.is_clear or change.mean > 0} | {best.setting.name}
    listed = ", ".join(show(each.setting.values[key]) for each in outcomes if each.setting.name in near)
    accuracy = percent(best.samples("test_accuracy").mean())
    if len(near) == 1:
        return f"{label(key).capitalize()} {listed} is clearly the best of these: test accuracy {accuracy}"
    return f"{label(key).capitalize()} {listed}: none clearly worse than {best.setting.name}, best on validation"


def _plus_minus(samples: np.ndarray) -> str:
    return f" ± {samples.std(ddof=1):.1f}" if len(samples) > 1 else ""


def _plot_accuracies(axes: Axes, outcomes: Sequence[Outcome], theme: Theme) -> None:
    for outcome, (color, dash) in zip(outcomes, _styles(theme), strict=False):
        curves = outcome.curves("val_accuracy")  # (seeds, epochs)
        if not len(curves):
            continue
        epochs, mean = np.arange(1, curves.shape[1] + 1), np.nanmean(curves, axis=0)
        axes.plot(epochs, mean, dash, color=color, label=shorten(outcome.setting.name, 24))
        if len(curves) > 1:
            deviation = np.nanstd(curves, axis=0, ddof=1)
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=BAND, linewidth=0)
    axes.set(xlabel="epoch", ylabel="validation accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _styles(theme: Theme) -> cycle:
    """Colours, then the same ones dashed."""
    return cycle([(color, dash) for dash in ("-", "--") for color in theme.lines])


def _scale_axis(axes: Axes, values: np.ndarray) -> None:
    """Ticks at the values tried, by factors where they are so."""
    if values.min() > 0 and values.max() >= FACTORS * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(np.unique(values))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _pair_table(outcomes: Sequence[Outcome], first: str, second: str) -> tuple[list, list, np.ndarray]:
    """The values of two parameters, and the mean test accuracy of each combination, NaN where there is none."""
    rows, columns = (list(dict.fromkeys(each.setting.values[key] for each in outcomes)) for key in (first, second))
    table = np.full((len(rows), len(columns)), np.nan)
    for (row, column), _ in np.ndenumerate(table):
        wanted = {first: rows[row], second: columns[column]}
        samples = [each.samples("test_accuracy") for each in outcomes if wanted.items() <= each.setting.values.items()]
        if samples:
            table[row, column] = np.concatenate(samples).mean()
    return rows, columns, table
