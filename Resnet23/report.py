"""reports/index.html: one page that holds everything there is to say about a run, and loads nothing from elsewhere."""

from collections.abc import Sequence
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined

from Resnet23.config import CommonTrackingParams, PlotsParams, flatten
from Resnet23.figures.findings import percent
from Resnet23.figures.theme import Picture
from Resnet23.page.calibration import describe_calibration
from Resnet23.page.captions import EXPLAINED, EXPLANATIONS, MULTILABEL_EXPLANATIONS
from Resnet23.page.card import render_card
from Resnet23.page.changes import describe_changes
from Resnet23.page.classes import describe_classes
from Resnet23.page.confusion import describe_confusion
from Resnet23.page.data import describe_data
from Resnet23.page.embedding import embed_figure
from Resnet23.page.environment import describe_run, installed_versions
from Resnet23.page.examples import choose_examples
from Resnet23.page.oddities import find_oddities
from Resnet23.page.summary import summarize, summarize_labels
from Resnet23.places import without_ways
from Resnet23.results import Results
from Resnet23.revision import git_revision
from Resnet23.tracking.previous import RunHistory

TEMPLATES = {"multiclass": "report.html", "multilabel": "multilabel.html"}


class NamedModel(Protocol):
    """Parameters that say which network it is."""

    name: str


class PageParams(Protocol):
    """The parameters of a pipeline, as far as the page and the figures know them; all of them are listed."""

    model: NamedModel
    plots: PlotsParams
    tracking: CommonTrackingParams

    def model_dump(self) -> dict[str, Any]:
        """All parameters as plain values."""


def build_page(
    results: Results, params: PageParams, pictures: Sequence[Picture], history: RunHistory | None = None
) -> str:
    """The page as HTML, the same for the same inputs; every value is escaped by the template engine.

    `history` is the tracker's record of this run and the one before it; None when nothing is tracked.
    """
    task, explanations = results.features.task, results.explanations
    captions, describe = {
        "multiclass": (EXPLANATIONS, _describe_classes),
        "multilabel": (MULTILABEL_EXPLANATIONS, summarize_labels),
    }[task]
    return (
        _environment()
        .get_template(TEMPLATES[task])
        .render(
            **describe(results),
            metrics=results.metrics,
            figures={picture.name: embed_figure(picture, captions[picture.name]) for picture in pictures},
            calibration=describe_calibration(results),
            examples=choose_examples(results),
            data=describe_data(results.features),
            oddities=find_oddities(results.features),
            params=without_ways(flatten(params.model_dump())),
            model=params.model.name,
            outputs=results.outputs,
            versions=installed_versions(results.outputs.packages),
            revision=git_revision(),
            checkpoint_sha256=results.checkpoint_sha256,
            exports=results.exports,
            explanations=explanations
            and {**explanations.about.model_dump(), **embed_figure(explanations.picture, EXPLAINED)},
            model_card=render_card(results.model_card),
            changes=describe_changes(history),
            run=results.run,
            tracked=describe_run(history),
        )
    )


def _describe_classes(results: Results) -> dict[str, Any]:
    """What only the page of a single-label classifier has."""
    predictions, superclasses = results.predictions, results.features.superclasses
    return {
        **summarize(results),
        "classes": describe_classes(results.metrics["per_class"], predictions, superclasses),
        "confusion": describe_confusion(predictions, superclasses),
    }


def _environment() -> Environment:
    """The template engine: everything is escaped, and a name that is not defined is an error."""
    environment = Environment(
        loader=PackageLoader("Resnet23"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "thousands": "{:,}".format, "decimals": _decimals}
    return environment


def _decimals(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals, a dash for none."""
    return "\u2013" if value is None else f"{value:.{digits}f}"
