"""The parts of the page that are our own HTML; every value in them is escaped by the template engine."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps

from Resnet23.figures.explanations import GREY, OPACITY
from Resnet23.figures.findings import percent
from Resnet23.figures.theme import COLOR_MAP
from Resnet23.images import encode_png
from Resnet23.webapp.answers import Evidence
from Resnet23.webapp.batch import COLUMNS
from Resnet23.webapp.facts import Facts
from Resnet23.webapp.novelty import Rule

PICTURE_PIXELS = 320  # about the side of a picture; smaller ones are enlarged by whole numbers


@dataclass(frozen=True)
class Bar:
    """A class with its probability; `threshold` is that of a label, from which on it is given."""

    name: str
    probability: float
    threshold: float | None = None
    is_given: bool = True


def header_html(facts: Facts) -> str:
    """The model, its classes, and how good it is."""
    return _render("header.html", facts=facts)


def hint_html(text: str, is_error: bool = False) -> str:
    """A line in the place of an answer."""
    return _render("hint.html", text=text, is_error=is_error)


def answer_html(row: dict[str, Any], bars: Sequence[Bar], rule: Rule) -> str:
    """The answer about an image, or why there is none."""
    if row["error"]:
        return hint_html(f"{row['file']}: {row['error']}", is_error=True)
    return _render("answer.html", row=row, bars=bars, rule=rule)


def evidence_html(evidence: Evidence) -> str:
    """The image as the network sees it, beside the places that spoke for the answer."""
    side = len(evidence.seen)
    heat = None if evidence.heat is None else picture_url(blend(evidence.seen, evidence.heat))
    return _render("evidence.html", evidence=evidence, seen=picture_url(evidence.seen), heat=heat, side=side)


def table_html(summary: str, rows: Sequence[Sequence[str]]) -> str:
    """A row for each file, with a text for each of `batch.COLUMNS`."""
    return _render("table.html", summary=summary, columns=COLUMNS, rows=rows)


def warning_html(rule: Rule) -> str:
    """What the warning means."""
    return _render("warning.html", rule=rule)


def bars_of(row: dict[str, Any], classes: Sequence[str], thresholds: Sequence[float]) -> list[Bar]:
    """The bars of a row of answers: the most probable classes, or all given labels and the most probable others."""
    if "labels" not in row:
        return [Bar(name, probability) for name, probability in row["top5"].items()]
    threshold_of = dict(zip(classes, thresholds, strict=True))
    found = row["labels"] | row["top5"]
    return [Bar(name, share, threshold_of[name], name in row["labels"]) for name, share in found.items()]


def blend(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) uint8 in grey under the colours of a map (S, S), strongest where most evidence is."""
    share = heat / (heat.max() or 1)
    opacity = OPACITY * share[..., None]
    colors = 255 * colormaps[COLOR_MAP](share)[..., :3]
    return (opacity * colors + (1 - opacity) * (image @ GREY)[..., None]).round().astype(np.uint8)


def picture_url(image: np.ndarray) -> str:
    """A square image as a data: URL; small ones keep their pixels visible."""
    times = max(round(PICTURE_PIXELS / len(image)), 1)
    png = encode_png(image.repeat(times, axis=0).repeat(times, axis=1))
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("Resnet23.webapp"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(values)
