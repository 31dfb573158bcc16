"""The figures of the loss around a network's weights, before and after training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from mpl_toolkits.mplot3d.axes3d import Axes3D

from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure

STAGES = {"before": "Before training", "after": "After training"}
LOSS, ACCURACY, TEST_LOSS, TEST_ACCURACY = range(4)  # what is measured at each point of a line
BAND = (10, 90)  # percentiles
LEAST_LOSS = 1e-4  # from which on it is shown on a logarithmic scale
MAX_PLANES = 3  # settings of which planes are drawn
FILLED, LINES = 40, 7  # contours
DISTANCE = "distance from the weights, in norms of each filter"
NOTE = "BatchNorm: statistics of the images, taken anew at every point."


@dataclass(frozen=True)
class Landscape:
    """The loss around the weights of one setting, whose networks, one for each seed, were all trained to the end.

    `distances` (P,) and `sides` (Q,) go from the negative to the positive radius, in norms of each filter. The others
    have the keys of STAGES: `lines` (seeds, directions, P, 4) loss and accuracy on training and on test images,
    `planes` (Q, Q) training loss around the network of the first seed, `curvatures` (seeds,) largest eigenvalue of the
    Hessian. The accuracies (seeds,) are those of the trained networks on all images.
    """

    name: str
    distances: np.ndarray
    sides: np.ndarray
    lines: dict[str, np.ndarray]
    planes: dict[str, np.ndarray]
    curvatures: dict[str, np.ndarray]
    train_accuracies: np.ndarray
    test_accuracies: np.ndarray

    @property
    def half(self) -> float:
        """Half the radius of the lines, the distance at which sharpness is told as one number."""
        return float(self.distances[-1]) / 2

    def sharpness(self, stage: str) -> np.ndarray:
        """The rise of the training loss at half the radius, the mean over the directions, (seeds,)."""
        return half_rise(self.lines[stage])


def rises(lines: np.ndarray) -> np.ndarray:
    """How much higher than at the centre the training loss is, the mean of both sides.

    (..., P, 4) -> (..., P // 2 + 1). The first value is that at the centre, 0, and the last that at the radius.
    """
    losses = lines[..., LOSS]
    middle = losses.shape[-1] // 2
    sides = (losses[..., middle:] + losses[..., middle::-1]) / 2
    return sides - sides[..., :1]


def half_rise(lines: np.ndarray) -> np.ndarray:
    """The rise half-way to the radius, the mean over the directions in which it is a number.

    (..., directions, P, 4) -> (...).
    """
    return np.nanmean(rises(lines)[..., lines.shape[-2] // 4], axis=-1)


def plot_lines(landscapes: Sequence[Landscape], finding: str, theme: Theme = LIGHT) -> Figure:
    """Loss and accuracy along random directions: mean and band over directions and seeds, a colour for each setting."""
    figure = Figure(figsize=(WIDTH, 5.8), layout="constrained")
    title_figure(figure, finding)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, (stage, title) in enumerate(STAGES.items()):
        for landscape, color in _colored(landscapes, theme):
            for axes, train, test in (
                (panels[0, column], LOSS, TEST_LOSS),
                (panels[1, column], ACCURACY, TEST_ACCURACY),
            ):
                values = landscape.lines[stage]
                label = f"{shorten(landscape.name)}: training images" if len(landscapes) > 1 else "training images"
                _plot_band(axes, landscape.distances, values[..., train], color, label)
                mean = np.nanmean(values[..., test], axis=(0, 1))
                axes.plot(
                    landscape.distances, mean, color=color, linestyle=":", label=label.replace("training", "test")
                )
        panels[0, column].set(title=title)
        panels[1, column].set(xlabel=DISTANCE)
    panels[0, 0].set(ylabel="loss", yscale="log")
    _plain_ticks(panels[0, 0].yaxis)
    panels[1, 0].set(ylabel="accuracy", ylim=(0, None))
    panels[1, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0, 0].legend()
    _note(figure, f"Lines: means; bands: {BAND[0]}% to {BAND[1]}% of directions and seeds. {NOTE}", theme)
    return figure


def plot_planes(landscapes: Sequence[Landscape], finding: str, theme: Theme = LIGHT) -> Figure:
    """Contours of the training loss in a plane of two random directions, for the first seed of each setting.

    All panels share the colours; the lines of each are at levels of its own, so that a plain has some as well.
    """
    shown, (low, high) = landscapes[:MAX_PLANES], loss_range(landscapes[:MAX_PLANES], *STAGES)
    figure = Figure(figsize=(WIDTH, 1.5 + 3.1 * len(shown)), layout="constrained")
    title_figure(figure, finding)
    panels = figure.subplots(len(shown), 2, sharex=True, sharey=True, squeeze=False)
    levels = np.geomspace(low, high, FILLED)
    for row, landscape in zip(panels, shown, strict=True):
        for axes, (stage, title) in zip(row, STAGES.items(), strict=True):
            values, (least, most) = _shown(landscape.planes[stage]), loss_range([landscape], stage)
            filled = axes.contourf(
                landscape.sides, landscape.sides, values, levels, cmap=COLOR_MAP, norm=LogNorm(low, high)
            )
            own = np.geomspace(least, most, LINES + 2)[1:-1]
            lines = axes.contour(landscape.sides, landscape.sides, values, own, colors="white", linewidths=0.8)
            texts = axes.clabel(lines, fontsize=7.5, fmt=f"%.{_digits(own)}f")
            for text in texts:
                text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
            axes.plot(0, 0, "+", color="white", markersize=9)
            axes.set(title=_panel_title(title, landscape, landscapes), aspect="equal")
            axes.grid(visible=False)
    bar = figure.colorbar(filled, ax=panels, label="training loss", aspect=30, pad=0.02)
    bar.ax.yaxis.set_major_locator(FixedLocator(_loss_ticks(low, high)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_plain))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)
    _note(figure, f"Axes: {DISTANCE}. {NOTE}", theme)
    return figure


def plot_surfaces(landscapes: Sequence[Landscape], finding: str, theme: Theme = LIGHT) -> Figure:
    """The same planes as surfaces, whose height is the logarithm of the loss; all panels share heights and colours."""
    shown, (low, high) = landscapes[:MAX_PLANES], loss_range(landscapes[:MAX_PLANES], *STAGES)
    figure = Figure(figsize=(WIDTH, 1.2 + 3.4 * len(shown)))
    title_figure(figure, finding)
    panels = figure.subplots(len(shown), 2, squeeze=False, subplot_kw={"projection": "3d"})
    for row, landscape in zip(panels, shown, strict=True):
        for axes, (stage, title) in zip(row, STAGES.items(), strict=True):
            x, y = np.meshgrid(landscape.sides, landscape.sides)
            heights = np.log10(_shown(landscape.planes[stage]))
            limits = {"vmin": np.log10(low), "vmax": np.log10(high)}
            axes.plot_surface(x, y, heights, rstride=1, cstride=1, cmap=COLOR_MAP, linewidth=0.2, **limits)
            axes.set(title=_panel_title(title, landscape, landscapes), zlim=(np.log10(low), np.log10(high)))
            _style_surface(axes, _loss_ticks(low, high), theme)
    figure.subplots_adjust(left=0, right=0.95, bottom=0.06, top=1 - 1.0 / figure.get_figheight(), wspace=0.02)
    _note(figure, f"Ground: norms of each filter; height: training loss, logarithmic. {NOTE}", theme)
    return figure


def plot_sharpness(landscapes: Sequence[Landscape], finding: str, theme: Theme = LIGHT) -> Figure:
    """The rise of the loss with the distance, the largest curvature, and, of several settings, the test accuracy."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    title_figure(figure, finding)
    count = 3 if len(landscapes) > 1 else 2
    panels = figure.subplots(1, count, width_ratios=[1.3, 1, 1][:count])
    for landscape, color in _colored(landscapes, theme):
        distances = landscape.distances[len(landscape.distances) // 2 :]
        for stage, style in zip(STAGES, ("--", "-"), strict=True):
            label = f"{shorten(landscape.name)}, {stage}" if len(landscapes) > 1 else STAGES[stage].lower()
            _plot_band(panels[0], distances, rises(landscape.lines[stage]), color, label, style)
    panels[0].set(title="Rise of the training loss", xlabel="distance, in norms of each filter")
    panels[0].legend(loc="upper left")
    _plot_curvatures(panels[1], landscapes, theme)
    if count == 3:
        _plot_accuracies(panels[2], landscapes, theme)
    _note(figure, f"Bands: {BAND[0]}% to {BAND[1]}% of directions and seeds; dots: one training each. {NOTE}", theme)
    return figure


def loss_range(landscapes: Sequence[Landscape], *stages: str) -> tuple[float, float]:
    """A little less than the lowest and a little more than the highest loss in the planes."""
    losses = [_shown(landscape.planes[stage]) for landscape in landscapes for stage in stages]
    return min(loss.min() for loss in losses) * (1 - 1e-6), max(loss.max() for loss in losses) * (1 + 1e-6)


def _shown(losses: np.ndarray) -> np.ndarray:
    """Losses as a logarithmic scale can take them; those that are no number stay out of the picture."""
    return np.ma.masked_invalid(np.maximum(losses.astype(float), LEAST_LOSS))


def _colored(landscapes: Sequence[Landscape], theme: Theme) -> Iterator[tuple[Landscape, str]]:
    return zip(landscapes, cycle(theme.lines), strict=False)


def _plot_band(axes: Axes, distances: np.ndarray, values: np.ndarray, color: str, label: str, style: str = "-") -> None:
    """A line, the mean over seeds and directions, in the band between two percentiles.

    `values` is (seeds, directions, P).
    """
    low, high = np.nanpercentile(values, BAND, axis=(0, 1))
    axes.fill_between(distances, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(distances, np.nanmean(values, axis=(0, 1)), style, color=color, label=label)


def _plot_curvatures(axes: Axes, landscapes: Sequence[Landscape], theme: Theme) -> None:
    """A dot for each training: hollow before it, filled after it."""
    for place, (landscape, color) in enumerate(_colored(landscapes, theme)):
        for stage, side, fill in zip(STAGES, (-0.15, 0.15), ("none", color), strict=True):
            values = landscape.curvatures[stage]
            axes.plot(np.full(len(values), place + side), values, "o", color=color, markerfacecolor=fill)
    lowest = min(values.min() for landscape in landscapes for values in landscape.curvatures.values())
    if lowest > 0:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    axes.set(title="Largest curvature", ylabel="eigenvalue of the Hessian", xlim=(-0.6, len(landscapes) - 0.4))
    axes.set(xlabel="hollow: before training,\nfilled: after it", xticks=[])


def _plot_accuracies(axes: Axes, landscapes: Sequence[Landscape], theme: Theme) -> None:
    """A dot for each training: how sharp against how good."""
    for landscape, color in _colored(landscapes, theme):
        axes.plot(landscape.sharpness("after"), landscape.test_accuracies, "o", color=color)
    axes.set(title="Test accuracy", xlabel="rise at half the radius")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))


def _style_surface(axes: Axes3D, ticks: list[float], theme: Theme) -> None:
    """Losses in place of their logarithms at the ticks; the theme's colours, which matplotlib leaves out in space."""
    axes.set_zticks(np.log10(ticks), [_plain(tick) for tick in ticks])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(2))
    axes.view_init(elev=28, azim=-55)
    axes.set_box_aspect((1, 1, 0.8))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(theme.background)
        axis.line.set_color(theme.muted)
        axis.set_tick_params(labelsize=8, pad=0)


def _panel_title(title: str, landscape: Landscape, landscapes: Sequence[Landscape]) -> str:
    return f"{title}: {shorten(landscape.name, 24)}" if len(landscapes) > 1 else title


def _loss_ticks(low: float, high: float) -> list[float]:
    """Round losses within a range, about evenly on a logarithmic scale, or its ends where these are too close."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = [
        float(power * factor) for power in powers for factor in (1, 1.5, 2, 3, 5, 7) if low <= power * factor <= high
    ]
    return ticks if len(ticks) > 1 else [low, high]


def _plain(value: float, _: int | None = None) -> str:
    """A number as text, without the powers of ten that matplotlib would set as a formula."""
    return f"{value:.4g}"


def _plain_ticks(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 times powers of ten along a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_locator(NullLocator())


def _digits(levels: np.ndarray) -> int:
    """Decimals that tell the levels of a contour plot apart."""
    return int(np.clip(np.ceil(-np.log10(np.diff(levels).min())), 0, 6))


def _note(figure: Figure, text: str, theme: Theme) -> None:
    """A small line below the panels."""
    figure.supxlabel(text, fontsize=8, color=theme.muted)
