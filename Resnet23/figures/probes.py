"""The figure of the linear probes: what each layer of an encoder knows about the classes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from Resnet23.figures.findings import percent
from Resnet23.figures.theme import LIGHT, WIDTH, Theme, title_figure

NAME_CHARACTERS, TITLE_NAME_CHARACTERS = 40, 30  # of a layer's path, beside the axis and in the title
ROOM, ROOM_AT_CHANCE = 1.18, 1.4  # times the highest accuracy, or chance: the end of the axis, with room for the label
HEADER = -0.6  # where the line above the first layer is, in rows


def plot_layer_probes(
    layers: Sequence[str],
    features: Sequence[int],
    accuracies: Sequence[float],
    chance: float,
    theme: Theme = LIGHT,
) -> Figure:
    """How far a linear probe on each layer gets beyond guessing; the layers compute from top to bottom.

    `features` says how many each layer has; `accuracies` and `chance`, that of guessing, are shares from 0 to 1.
    """
    figure = Figure(figsize=(WIDTH, 1.8 + 0.3 * len(layers)), layout="constrained")
    title_figure(figure, layer_probe_finding(layers, accuracies))
    axes = figure.subplots()
    rows = range(len(layers))
    axes.hlines(rows, chance, accuracies, color=theme.lines[0], linewidth=2, alpha=0.5)
    axes.plot(accuracies, rows, "o", color=theme.lines[0], markersize=7)
    best = _best_layer(accuracies)
    for row, accuracy in zip(rows, accuracies, strict=True):
        weight = "bold" if row == best else "normal"
        _write_beside(axes, percent(accuracy), (max(accuracy, chance), row), theme.lines[0], weight)
    axes.axvline(chance, color=theme.muted, linestyle=":", linewidth=1.5)
    _write_beside(axes, f"chance: {percent(chance)}", (chance, HEADER), theme.muted)
    right = max(ROOM * max(accuracies), ROOM_AT_CHANCE * chance)
    axes.set(xlabel="test accuracy of a linear probe", xlim=(0, right), ylim=(len(layers) - 0.5, HEADER - 0.4))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= min(right, 1)])
    _list_layers(axes, layers, features)
    return figure


def layer_probe_finding(layers: Sequence[str], accuracies: Sequence[float]) -> str:
    """Where the classes are told apart best, in one sentence."""
    best = _best_layer(accuracies)
    names = [_shorten_path(layer, TITLE_NAME_CHARACTERS) for layer in layers]
    shares = [percent(accuracy) for accuracy in accuracies]
    if len(layers) == 1:
        return f"A linear probe on {names[0]} is right in {shares[0]} of cases"
    if best < len(layers) - 1:
        lead = 100 * (accuracies[best] - accuracies[-1])
        return f"Linear probes are best on {names[best]}: {shares[best]}, {lead:.1f} points more than on {names[-1]}"
    return f"Linear probes are best on {names[-1]}: {shares[-1]}, against {shares[0]} on {names[0]}"


def _list_layers(axes: Axes, layers: Sequence[str], features: Sequence[int]) -> None:
    """Their names on the left, and how many features they have on the right."""
    rows = range(len(layers))
    axes.set_yticks(rows, [_shorten_path(layer, NAME_CHARACTERS) for layer in layers])
    axes.grid(visible=False, axis="y")
    counts = axes.secondary_yaxis("right")
    counts.set_yticks([HEADER, *rows], ["features", *(f"{count:,}" for count in features)])
    counts.spines[:].set_visible(False)
    counts.tick_params(length=0)


def _best_layer(accuracies: Sequence[float]) -> int:
    """The row of the highest accuracy, the last one of several."""
    return max(range(len(accuracies)), key=lambda row: (accuracies[row], row))


def _write_beside(axes: Axes, text: str, point: tuple[float, float], color: str, weight: str = "normal") -> None:
    """A text just right of a point."""
    label = axes.annotate(text, point, (8, 0), textcoords="offset points", color=color, fontweight=weight)
    label.set_verticalalignment("center")


def _shorten_path(layer: str, limit: int) -> str:
    """The end of a module's path, whose beginning is that of many."""
    return layer if len(layer) <= limit else "…" + layer[1 - limit :]
