"""The table of analyses: what a study may do with the networks that it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from Resnet23.config import Params, suggest
from Resnet23.errors import InputError
from Resnet23.figures.theme import Theme
from Resnet23.studies import filters, geometry, landscape, sweep
from Resnet23.studies.definition import Part, Study
from Resnet23.studies.measuring import Job
from Resnet23.studies.outcomes import Measurement, Results

Draw = Callable[[Theme], Figure]


@dataclass(frozen=True)
class Analysis:
    """A row: the options that a study's file may give it, one training, the figures by name, the conclusion.

    `check` and `check_setting` raise InputError before anything is trained: for options that do not fit the study, and
    for a setting that does not fit the images.
    """

    options: type[Part]
    measure: Callable[[Job], Measurement]
    draw: Callable[[Results], dict[str, Draw]]
    conclude: Callable[[Results], list[str]]
    check: Callable[[Study, str, Any], None] = lambda study, scale, options: None
    check_setting: Callable[[Params, Any], None] = lambda params, options: None


ANALYSES = {
    "sweep": Analysis(sweep.Options, sweep.measure, sweep.draw, sweep.conclude, sweep.check_baseline),
    "landscape": Analysis(landscape.Options, landscape.measure, landscape.draw, landscape.conclude),
    "filters": Analysis(filters.Options, filters.measure, filters.draw, filters.conclude),
    "geometry": Analysis(
        geometry.Options, geometry.measure, geometry.draw, geometry.conclude, check_setting=geometry.check_sizes
    ),
}


def find_analysis(name: str) -> Analysis:
    """A row of the table. Raises InputError for an unknown name."""
    if name not in ANALYSES:
        raise InputError(f"analysis: found {name!r}, which is no known analysis; {suggest(name, list(ANALYSES))}")
    return ANALYSES[name]
