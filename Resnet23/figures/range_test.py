"""The figure of the learning-rate finder."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from Resnet23.figures.theme import LIGHT, WIDTH, Theme, title_figure

RISE = 1.2  # times the lowest loss so far
# Shown above the first loss and below the lowest, as shares of the fall between them. Losses that diverge go out of the
# picture: they would flatten the rest.
HEADROOM, FOOTROOM = 0.5, 0.25


def plot_range_test(
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    suggestion: float | None,
    current: float,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss against learning rate: that of each step faint, smoothed strong, the suggested rate marked.

    `rates`, `losses` and `smoothed` are (S,); `suggestion` is None where the loss does not fall; `current` is the
    rate that the parameters hold.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    title_figure(figure, range_test_finding(rates, smoothed, suggestion))
    axes = figure.subplots()
    axes.plot(rates, losses, color=theme.lines[0], alpha=0.35, linewidth=1, label="each step")
    axes.plot(rates, smoothed, color=theme.lines[0], linewidth=2.5, label="smoothed")
    axes.axvline(current, color=theme.muted, linestyle=":", linewidth=1.5, label=f"in use now: {current:g}")
    bottom, top = _loss_limits(losses, smoothed, suggestion)
    if suggestion is not None:
        color = theme.lines[1]
        axes.axvline(suggestion, color=color, linewidth=1.5)
        axes.plot(suggestion, np.interp(suggestion, rates, smoothed), "o", color=color, markersize=9)
        label = axes.annotate(f"suggested: {suggestion:g}", (suggestion, top), (-7, -4), textcoords="offset points")
        label.set(color=color, fontsize=11, fontweight="bold", horizontalalignment="right", verticalalignment="top")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(bottom, top))
    axes.set_xlim(rates[0], rates[_end_of_interest(smoothed, top)])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower left")
    return figure


def end_of_the_fall(smoothed: np.ndarray) -> int:
    """The step of the lowest smoothed loss (S,) before it first rises again by `RISE`.

    A network may recover from a rate that was too high, and fall once more: that fall is not to be trusted.
    """
    rises = np.flatnonzero(smoothed > RISE * np.minimum.accumulate(smoothed))
    return int(smoothed[: rises[0] if len(rises) else None].argmin())


def range_test_finding(rates: np.ndarray, smoothed: np.ndarray, suggestion: float | None) -> str:
    """What the test found, in one sentence."""
    if suggestion is None:
        return f"At no learning rate from {rates[0]:.2g} to {rates[-1]:.2g} does the loss fall"
    finding = f"The loss falls fastest at learning rate {suggestion:g}"
    lowest = end_of_the_fall(smoothed)
    return finding if lowest == len(rates) - 1 else f"{finding} and rises above {rates[lowest]:.2g}"


def _loss_limits(losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None) -> tuple[float, float]:
    """The losses at the bottom and at the top of the picture; all of them where there is no fall to look at."""
    if suggestion is None:
        margin = 0.05 * (losses.max() - losses.min())
        return losses.min() - margin, losses.max() + margin
    fall = smoothed[0] - smoothed.min()
    return max(0.0, smoothed.min() - FOOTROOM * fall), smoothed[0] + HEADROOM * fall


def _end_of_interest(smoothed: np.ndarray, top: float) -> int:
    """The step at which the curve leaves the picture for having diverged, or the last one."""
    lowest = end_of_the_fall(smoothed)
    left = np.flatnonzero(smoothed[lowest:] > top)
    return lowest + int(left[0]) if len(left) else len(smoothed) - 1
