"""How figures look: one light and one dark theme, and a figure's bytes."""

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

WIDTH = 8.0  # of every figure, inches
TITLE_CHARACTERS = 74  # in one line of a title
COLOR_MAP = "viridis"  # even steps of lightness, for the colour-blind and in grey too
# For class names in other scripts: matplotlib's own font, then whichever of these the system has.
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Arial Unicode MS",
    "PingFang SC",
    "Microsoft YaHei",
    "Segoe UI",
)


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; `lines` are those of Okabe and Ito that stand out from the background."""

    name: str
    background: str
    ink: str
    muted: str
    faint: str
    lines: tuple[str, ...]

    def style(self) -> dict[str, Any]:
        """The theme as matplotlib settings."""
        installed = set(fontManager.get_font_names())
        return {
            "figure.facecolor": self.background,
            "figure.constrained_layout.h_pad": 0.1,  # inches
            "figure.constrained_layout.w_pad": 0.1,
            "axes.facecolor": self.background,
            "savefig.facecolor": self.background,
            "text.color": self.ink,
            "text.parse_math": False,  # a class may be called "$x$"
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.edgecolor": self.muted,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "grid.color": self.faint,
            "grid.linewidth": 0.8,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "font.family": [name for name in FONTS if name in installed],
            "font.size": 9.5,
            "lines.linewidth": 2,
        }


LIGHT = Theme(
    "light",
    background="#ffffff",
    ink="#1b1f24",
    muted="#6b7280",
    faint="#e5e7eb",
    lines=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
)
DARK = Theme(
    "dark",
    background="#16191d",
    ink="#e8eaed",
    muted="#9aa4b2",
    faint="#2c323a",
    lines=("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#ffffff"),
)


@dataclass(frozen=True)
class Picture:
    """A figure in both themes."""

    name: str
    title: str  # the finding that the figure states
    light: bytes  # PNG
    dark: bytes  # PNG


def draw_picture(name: str, draw: Callable[[Theme], Figure], dpi: int) -> Picture:
    """Draw a figure in both themes; the same data gives the same bytes."""
    (title, light), (_, dark) = (_draw(draw, theme, dpi) for theme in (LIGHT, DARK))
    return Picture(name, title, light, dark)


def title_figure(figure: Figure, finding: str) -> None:
    """Put the finding over a figure, in lines that fit its width.

    (matplotlib's own wrapping reads a "$" as the start of a formula, whatever the settings say.)
    """
    lines = -(-len(finding) // TITLE_CHARACTERS)
    title = textwrap.fill(finding, min(TITLE_CHARACTERS, len(finding) // lines + 10))  # lines of about equal length
    figure.suptitle(title, x=0.012, horizontalalignment="left", fontsize=12, fontweight="bold")


def shorten(name: str, limit: int = 18) -> str:
    """A class name that fits beside an axis."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _draw(draw: Callable[[Theme], Figure], theme: Theme, dpi: int) -> tuple[str, bytes]:
    """Title and PNG of a figure. Characters that no installed font has become boxes, without a warning for each."""
    buffer = BytesIO()
    with matplotlib.rc_context(theme.style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = draw(theme)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return " ".join(figure.get_suptitle().split()), buffer.getvalue()
