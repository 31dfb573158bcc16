"""The figure of what a network looked at: images beside maps of the places that spoke for a class, or against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from Resnet23.figures.findings import counted
from Resnet23.figures.theme import COLOR_MAP, LIGHT, WIDTH, Theme, shorten, title_figure

OPACITY = 0.8  # of the colours over the image, where the evidence is strongest; in proportion elsewhere
GREY = np.array([0.299, 0.587, 0.114])  # shares of red, green and blue in lightness (ITU-R BT.601)
BESIDE = 2  # explanations in a row of the figure
TITLE, LEGEND = 0.6, 0.55  # heights in inches
HEADING = 0.55  # the same, of the two lines above a picture with the margins


@dataclass(frozen=True)
class Panel:
    """How much each pixel says about one class, (H, W) of any size, none negative."""

    caption: str
    evidence: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """An image (H, W, 3) uint8 and the maps of it, which share one scale."""

    title: str
    caption: str
    image: np.ndarray
    panels: Sequence[Panel]


def plot_explanations(finding: str, explanations: Sequence[Explanation], theme: Theme = LIGHT) -> Figure:
    """Each image, then the same in grey under the colours of its maps, two explanations in a row."""
    columns = min(BESIDE, len(explanations))
    rows = -(-len(explanations) // columns)
    tile = WIDTH / columns / (1 + max(len(each.panels) for each in explanations))  # inches
    body = rows * (tile + HEADING)
    figure = Figure(figsize=(WIDTH, TITLE + body + LEGEND), layout="constrained")
    title_figure(figure, finding)
    pictures, legend = figure.subfigures(2, 1, height_ratios=(body, LEGEND))
    boxes = pictures.subfigures(rows, columns, squeeze=False).flat
    for box, explanation in zip(boxes, explanations, strict=False):  # the last box may stay empty
        _draw(box, explanation, theme)
    _draw_legend(legend)
    return figure


def explanations_finding(right: np.ndarray, shown: int) -> str:
    """Which answers are shown, of images that are right or not (N,) bool."""
    images, wrong = counted(len(right), "test image"), int((~right).sum())
    if not wrong:
        return f"None of {images} is wrong; what the network looked at in its {counted(shown, 'least certain answer')}"
    which = (
        f"all {counted(wrong, 'mistake')}" if shown == wrong else f"the {shown} most confident of {wrong:,} mistakes"
    )
    return f"What the network looked at in {which} on {images}"


def _draw(box: SubFigure, explanation: Explanation, theme: Theme) -> None:
    box.suptitle(shorten(explanation.title, 48), fontsize=10, fontweight="bold")
    first, *others = box.subplots(1, 1 + len(explanation.panels))
    _show(first, explanation.image, explanation.caption, theme)
    grey = explanation.image @ GREY  # (H, W)
    most = max(panel.evidence.max() for panel in explanation.panels)
    height, width = grey.shape
    for axes, panel in zip(others, explanation.panels, strict=True):
        _show(axes, grey, panel.caption, theme)
        share = panel.evidence / (most or 1)
        place = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(share, cmap=COLOR_MAP, vmin=0, vmax=1, alpha=OPACITY * share, extent=place)


def _show(axes: Axes, image: np.ndarray, caption: str, theme: Theme) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(shorten(caption, 22), loc="center", fontsize=8.5, fontweight="normal", color=theme.muted)


def _draw_legend(box: SubFigure) -> None:
    """The colours as they look over a medium grey."""
    share = np.linspace(0, 1, 256)
    opacity = OPACITY * share[:, None]
    colors = opacity * colormaps[COLOR_MAP](share)[:, :3] + (1 - opacity) * 0.5
    axes = box.add_axes((0.36, 0.2, 0.28, 0.22))
    axes.imshow(colors[None], aspect="auto")
    axes.set_axis_off()
    axes.set_title("where the evidence lies", loc="center", fontsize=9, fontweight="normal")
    for edge, side, text in ((-0.03, "right", "none"), (1.03, "left", "most in the two maps")):
        where = {"horizontalalignment": side, "verticalalignment": "center", "transform": axes.transAxes}
        axes.text(edge, 0.5, text, fontsize=8.5, **where)
