"""The figures of what a network sees: kernels before and after training, feature maps, and how active layers are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from Resnet23.figures.findings import percent
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure

GAP = 0.06  # between the tiles of a mosaic, as a share of a tile
TILE_PIXELS = 64  # of a tile of a mosaic, at least
TITLE = 0.7  # inches


def plot_kernels(before: np.ndarray, after: np.ndarray, theme: Theme = LIGHT) -> Figure:
    """Kernels (K, 3, h, w) before and after training, each at the same place, the strongest after training first.

    As colours: grey is a weight of 0, and each kernel spans from minus to plus its largest weight.
    """
    order = np.argsort(-np.linalg.norm(after.reshape(len(after), -1), axis=1), kind="stable")
    columns = int(np.ceil(np.sqrt(len(order))))
    rows = -(-len(order) // columns)
    figure = Figure(figsize=(WIDTH, TITLE + 0.5 + WIDTH / 2 * rows / columns), layout="constrained")
    title_figure(figure, kernels_finding(before, after))
    for axes, kernels, name in zip(figure.subplots(1, 2), (before, after), ("before", "after"), strict=True):
        axes.imshow(mosaic(_kernel_colors(kernels[order]), columns))
        axes.set_axis_off()
        axes.set_title(f"{name} training")
    return figure


def plot_feature_maps(
    images: np.ndarray, captions: Sequence[str], maps: Mapping[str, np.ndarray], theme: Theme = LIGHT
) -> Figure:
    """A row for each image (n, S, S, 3) uint8: the original, then maps (n, M, s, s) uint8 of each layer by name.

    A map keeps its place from row to row; its colours go from no response to the channel's highest on these images.
    """
    rows, columns = len(images), 1 + len(maps)
    tile = WIDTH / columns  # inches
    figure = Figure(figsize=(WIDTH, TITLE + 0.3 + rows * (tile + 0.05)), layout="constrained")
    title_figure(figure, feature_maps_finding(maps))
    grid = figure.subplots(rows, columns, squeeze=False)
    colors = colormaps[COLOR_MAP]
    for row, (image, caption) in enumerate(zip(images, captions, strict=True)):
        _show(grid[row, 0], image / 255)
        grid[row, 0].set_ylabel(shorten(caption, 16))
        for axes, (layer, found) in zip(grid[row, 1:], maps.items(), strict=True):
            _show(axes, mosaic(colors(found[row])[..., :3], int(np.ceil(np.sqrt(found.shape[1])))))
            if row == 0:
                axes.set_title(f"{shorten(layer, 16)}: {found.shape[-1]} x {found.shape[-1]}", fontsize=9.5)
    grid[0, 0].set_title("original", fontsize=9.5)
    return figure


def plot_activity(layers: Sequence[str], activity: Mapping[str, np.ndarray], theme: Theme = LIGHT) -> Figure:
    """Three numbers of each layer, shares of 1, before and after training: a dot for each seed, a bar for their mean.

    `activity` holds (seeds, layers) of rare, active, selectivity and dead, and the same before training as untrained_*.
    """
    figure = Figure(figsize=(WIDTH, 1.9 + 0.5 * len(layers)), layout="constrained")
    title_figure(figure, activity_finding(layers, activity))
    panels = {
        "rare": "Rarely active channels",
        "active": "Positive responses",
        "selectivity": "Class selectivity",
    }
    grid = figure.subplots(1, len(panels), sharey=True)
    for axes, (key, title) in zip(grid, panels.items(), strict=True):
        _plot_seeds(axes, activity[f"untrained_{key}"], -0.14, theme.muted, "s", "before training")
        _plot_seeds(axes, activity[key], 0.14, theme.lines[0], "o", "after training")
        axes.set(title=title, xlim=(-0.03, 1.03) if key != "selectivity" else (0, None))
        axes.grid(visible=False, axis="y")
    for axes in grid[:2]:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes, text in zip(grid, ("share of channels", "share of places", "index, mean of channels"), strict=True):
        axes.set_xlabel(text)
    grid[0].set_yticks(range(len(layers)), [shorten(layer, 20) for layer in layers])
    grid[0].set_ylim(len(layers) - 0.5, -0.5)  # the input is at the top
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def kernels_finding(before: np.ndarray, after: np.ndarray) -> str:
    """How much stronger or weaker the kernels have become."""
    ratios = [
        np.linalg.norm(new) / max(np.linalg.norm(old), np.finfo(np.float32).tiny)
        for old, new in zip(before, after, strict=True)
    ]
    grown = sum(ratio > 1 for ratio in ratios)
    if grown in (0, len(ratios)):
        return f"First layer: training made all {len(ratios)} kernels {'stronger' if grown else 'weaker'}"
    return f"First layer: training made {grown} of {len(ratios)} kernels stronger, the others weaker"


def feature_maps_finding(maps: Mapping[str, np.ndarray]) -> str:
    """What happens to the maps on the way from the first layer to the last."""
    first, last = next(iter(maps)), list(maps)[-1]
    early, late = maps[first], maps[last]
    answers = [f"{(found > 0).mean():.0%} of {found.shape[-1]} x {found.shape[-1]} places" for found in (early, late)]
    if len(maps) == 1:
        return f"The strongest channels of {first} respond at {answers[0]}"
    return f"The strongest channels respond at {answers[0]} in {first}, at {answers[1]} in {last}"


def activity_finding(layers: Sequence[str], activity: Mapping[str, np.ndarray]) -> str:
    """How selective by class the last layer is, after training and before, and whether channels are dead."""
    after, before = (activity[key][:, -1].mean() for key in ("selectivity", "untrained_selectivity"))
    dead = activity["dead"].mean(axis=0).max()
    start = f"Class selectivity of {layers[-1]}: {after:.2f} after training, {before:.2f} before; "
    return start + ("no dead channels" if dead == 0 else f"at most {percent(dead)} of a layer's channels are dead")


def mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Tiles (T, h, w, 3) in 0..1 as one picture (H, W, 4), enlarged without blurring, with clear gaps between them."""
    factor = -(-TILE_PIXELS // tiles.shape[1])
    large = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    (height, width), rows = large.shape[1:3], -(-len(tiles) // columns)
    gap = max(round(GAP * height), 1)
    picture = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4))
    for number, tile in enumerate(large):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        picture[top : top + height, left : left + width] = np.concatenate([tile, np.ones((height, width, 1))], axis=2)
    return picture


def _kernel_colors(kernels: np.ndarray) -> np.ndarray:
    """Kernels (K, 3, h, w) of any sign as colours (K, h, w, 3) in 0..1."""
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    return (0.5 + 0.5 * kernels / np.maximum(largest, np.finfo(np.float32).tiny)).transpose(0, 2, 3, 1)


def _show(axes: Axes, picture: np.ndarray) -> None:
    """A picture without an axis, but with room for a label."""
    axes.imshow(picture, interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _plot_seeds(axes: Axes, values: np.ndarray, offset: float, color: str, marker: str, label: str) -> None:
    """Values (seeds, layers): each a dot, and their mean with the standard deviation between seeds."""
    rows = np.arange(values.shape[1]) + offset
    for row, samples in zip(rows, values.T, strict=True):
        axes.plot(samples, np.full(len(samples), row), marker, color=color, markersize=4, alpha=0.6, clip_on=False)
    spreads = values.std(axis=0, ddof=1) if len(values) > 1 else None
    axes.errorbar(values.mean(axis=0), rows, xerr=spreads, fmt="|", color=color, markersize=13, label=label)
