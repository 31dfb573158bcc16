"""The figures of stride and padding: sizes by layer, accuracy beside its cost, an image on its way through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from Resnet23.figures.charts import write_cell
from Resnet23.figures.findings import counted, percent
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, title_figure

DASHES = ("-", "--", ":", "-.")  # of the paddings
MARKERS = ("o", "s", "^", "D")


@dataclass(frozen=True)
class Geometry:
    """A stride and a padding in every layer of a small network, and what was measured of it.

    `sides` are those of the image and of each layer's output, `receptive_fields` the pixels along a side that a unit
    sees, from 1 for the image on; `coverage` is the share of pixels that reach the classifier; `accuracies` (seeds,)
    are on the test images. `image` (S, S, 3) and `maps`, one (s, s) for each layer, are uint8 and may be missing.
    """

    stride: int
    padding: int
    sides: Sequence[int]
    receptive_fields: Sequence[int]
    coverage: float
    multiply_accumulates: float
    accuracies: np.ndarray
    image: np.ndarray | None = None
    maps: Sequence[np.ndarray] = ()

    @property
    def name(self) -> str:
        """As titles call it."""
        return f"stride {self.stride}, padding {self.padding}"


def plot_sizes(geometries: Sequence[Geometry], theme: Theme = LIGHT) -> Figure:
    """The side of each layer's output and, beside it, how many pixels along a side its units see."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    title_figure(figure, sizes_finding(geometries))
    sides, fields = figure.subplots(1, 2)
    for geometry in geometries:
        color, dash, marker = _style(geometry, geometries, theme)
        sides.plot(geometry.sides, dash, color=color, marker=marker, markersize=4)
    for stride in _strides(geometries):  # the padding does not change it
        geometry = next(each for each in geometries if each.stride == stride)
        color, _, _ = _style(geometry, geometries, theme)
        fields.plot(geometry.receptive_fields, color=color, marker="o", markersize=4)
        last, size = len(geometry.receptive_fields) - 1, geometry.receptive_fields[-1]
        fields.annotate(str(size), (last, size), (0, 5), textcoords="offset points", color=color, ha="center")
    fields.axhline(geometries[0].sides[0], color=theme.muted, linestyle=":", linewidth=1.5)
    fields.annotate("the whole image", (0, geometries[0].sides[0]), (0, 3), textcoords="offset points", fontsize=8.5)
    sides.set(title="Side of the output", ylabel="places", ylim=(0, None))
    fields.set(title="Receptive field", ylabel="pixels along a side", ylim=(0, None))
    for axes in (sides, fields):
        axes.set_xlabel("layer (0 is the image)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _add_legend(figure, geometries, theme)
    return figure


def plot_accuracies(geometries: Sequence[Geometry], theme: Theme = LIGHT) -> Figure:
    """Test accuracy by stride and padding, mean ± spread between seeds, and against the arithmetic for an image.

    Where more than stride and padding is varied, a cell of the table holds all settings that have them.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    title_figure(figure, accuracies_finding(geometries))
    table, costs = figure.subplots(1, 2)
    _plot_table(table, geometries)
    for geometry in geometries:
        color, _, marker = _style(geometry, geometries, theme)
        samples, cost = geometry.accuracies, geometry.multiply_accumulates / 1e6
        deviation = samples.std(ddof=1) if len(samples) > 1 else None
        costs.errorbar(cost, samples.mean(), yerr=deviation, fmt=marker, color=color, capsize=3)
    costs.set(title="Against the cost", xlabel="million multiply-accumulates for an image", ylabel="test accuracy")
    costs.set_xscale("log")
    costs.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    costs.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    costs.xaxis.set_minor_formatter(NullFormatter())
    costs.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _add_legend(figure, geometries, theme)
    return figure


def plot_maps(geometries: Sequence[Geometry], theme: Theme = LIGHT) -> Figure:
    """One image on its way through each geometry: the strongest channel after each layer, with its side."""
    shown = [geometry for geometry in geometries if len(geometry.maps)]
    columns = len({geometry.padding for geometry in shown})
    rows, layers = -(-len(shown) // columns), max(len(geometry.maps) for geometry in shown)
    tile = WIDTH / columns / layers  # inches
    figure = Figure(figsize=(WIDTH, 1.7 + rows * (tile + 0.6)), layout="constrained")
    title_figure(figure, maps_finding(shown))
    top, body = figure.subfigures(2, 1, height_ratios=(1, rows * (tile + 0.6)))
    original = top.subplots()
    original.imshow(shown[0].image)
    original.set_axis_off()
    original.set_title("original", loc="center", fontsize=9)
    boxes = body.subfigures(rows, columns, squeeze=False).flat
    for box, geometry in zip(boxes, shown, strict=False):  # the last boxes may stay empty
        _draw_way(box, geometry)
    return figure


def sizes_finding(geometries: Sequence[Geometry]) -> str:
    """The largest and the smallest output that is left of the image."""
    most, least = (extreme(geometries, key=lambda each: each.sides[-1]) for extreme in (max, min))
    side = geometries[0].sides[0]
    if most.sides[-1] == least.sides[-1]:
        return f"Of {_square(side)} pixels {_square(most.sides[-1])} places are left after the last layer"
    return (
        f"Of {_square(side)} pixels the last layer keeps {_square(most.sides[-1])} places with {most.name}, "
        f"{_square(least.sides[-1])} with {least.name}"
    )


def accuracies_finding(geometries: Sequence[Geometry]) -> str:
    """The span of the accuracies with their spreads."""
    lowest, highest = (extreme(geometries, key=lambda each: each.accuracies.mean()) for extreme in (min, max))
    seeds = counted(len(highest.accuracies), "seed")
    if lowest is highest:
        return f"Test accuracy {mean_and_spread(highest.accuracies)} with {highest.name} ({seeds})"
    return (
        f"Test accuracy from {mean_and_spread(lowest.accuracies)} with {lowest.name} to "
        f"{mean_and_spread(highest.accuracies)} with {highest.name} ({seeds} each)"
    )


def maps_finding(geometries: Sequence[Geometry]) -> str:
    """How coarse the last map becomes."""
    sides = [geometry.sides[-1] for geometry in geometries]
    if min(sides) == max(sides):
        return f"The strongest channel after each layer: {_square(max(sides))} places in the end"
    span = f"between {_square(max(sides))} and {_square(min(sides))}"
    return f"The strongest channel after each layer: {span} places in the end"


def mean_and_spread(accuracies: np.ndarray) -> str:
    """Accuracies (seeds,) as in 61.3 ± 0.8%."""
    if len(accuracies) < 2:
        return percent(accuracies.mean())
    mean, deviation = 100 * accuracies.mean(), 100 * accuracies.std(ddof=1)
    return f"{mean:.1f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{deviation:.1f}%"  # in which no line is broken


def _plot_table(axes: Axes, geometries: Sequence[Geometry]) -> None:
    """Mean and spread for each stride and padding, with the share of pixels that count where it is not all."""
    strides, paddings = _strides(geometries), _paddings(geometries)
    cells = np.full((len(strides), len(paddings)), np.nan)
    texts = {}
    for place in np.ndindex(cells.shape):
        found = [each for each in geometries if (each.stride, each.padding) == (strides[place[0]], paddings[place[1]])]
        if found:
            samples = np.concatenate([each.accuracies for each in found])
            cells[place], texts[place] = samples.mean(), mean_and_spread(samples)
            if found[0].coverage < 1:
                texts[place] += f"\n{found[0].coverage:.0%} of pixels"
    axes.imshow(cells, cmap=COLOR_MAP, aspect="auto")
    low, high = np.nanmin(cells), np.nanmax(cells)
    for (row, column), text in texts.items():
        write_cell(axes, row, column, text, (cells[row, column] - low) / (high - low) if high > low else 0.0)
    axes.grid(visible=False)
    axes.set_xticks(range(len(paddings)), paddings)
    axes.set_yticks(range(len(strides)), strides)
    axes.set(title="Test accuracy", xlabel="padding", ylabel="stride")


def _draw_way(box: SubFigure, geometry: Geometry) -> None:
    """The maps of one geometry side by side."""
    box.suptitle(geometry.name, fontsize=9.5, fontweight="bold")
    for axes, found, side in zip(
        box.subplots(1, len(geometry.maps), squeeze=False)[0], geometry.maps, geometry.sides[1:], strict=True
    ):
        axes.imshow(found, cmap=COLOR_MAP, vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(_square(side), loc="center", fontsize=8.5, fontweight="normal")


def _square(side: int) -> str:
    """A size that no line is broken in."""
    return f"{side}\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}{side}"


def _strides(geometries: Sequence[Geometry]) -> list[int]:
    return sorted({geometry.stride for geometry in geometries})


def _paddings(geometries: Sequence[Geometry]) -> list[int]:
    return sorted({geometry.padding for geometry in geometries})


def _style(geometry: Geometry, geometries: Sequence[Geometry], theme: Theme) -> tuple[str, str, str]:
    """Colour by stride, dash and marker by padding."""
    stride, padding = _strides(geometries).index(geometry.stride), _paddings(geometries).index(geometry.padding)
    return theme.lines[stride % len(theme.lines)], DASHES[padding % len(DASHES)], MARKERS[padding % len(MARKERS)]


def _add_legend(figure: Figure, geometries: Sequence[Geometry], theme: Theme) -> None:
    """Strides by colour, paddings by dash and marker."""
    handles = []
    for index, stride in enumerate(_strides(geometries)):
        handles.append(Line2D([], [], color=theme.lines[index % len(theme.lines)], label=f"stride {stride}"))
    for index, padding in enumerate(_paddings(geometries)):
        dash, marker = DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)]
        handles.append(Line2D([], [], color=theme.muted, linestyle=dash, marker=marker, label=f"padding {padding}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
