"""The text of a model card, filled from one run."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from Resnet23.config import CHECKPOINT_FILE
from Resnet23.figures.findings import counted, headline, percent
from Resnet23.figures.multilabel_findings import multilabel_headline
from Resnet23.model_cards.carbon import CURRENCY, INTENSITY, PRICE, Range, assume_watts, estimate
from Resnet23.model_cards.datasets import describe_data
from Resnet23.model_cards.facts import (
    count_parameters,
    describe_training,
    initial_weights,
    installed_versions,
    recipe,
    resize_rule,
    selection_rule,
)
from Resnet23.model_cards.findings import confusions, interval, limits, weakest_classes
from Resnet23.model_cards.front_matter import with_front_matter
from Resnet23.model_cards.licenses import code_license, weights_license
from Resnet23.model_cards.measured import measure_classes, measure_splits, splits_of
from Resnet23.modeling.checkpoint import Checkpoint
from Resnet23.page.calibration import describe_calibration
from Resnet23.results import Results

TEMPLATE = "model_card.md"
MARKDOWN = re.compile(r"([\\`*\[\]<>|~#$&]|(?<![^\W_])_|_(?![^\W_]))")  # an underscore inside a word means nothing
SIGNIFICANT = 2  # digits of an estimate
NAMED_CLASSES = 10  # in the first sentence


@dataclass(frozen=True)
class Choices:
    """What the run does not know and the user may say; None takes what is assumed."""

    license: str | None = None
    data_license: str | None = None
    watts: Range | None = None
    intensity: Range = INTENSITY
    price: Range = PRICE
    currency: str = CURRENCY


def build_card(results: Results, checkpoint: Checkpoint, choices: Choices) -> str:
    """The card as Markdown with YAML front matter, the same for the same inputs."""
    task, info, metrics = results.features.task, results.features.info, results.metrics
    data = describe_data(info["dataset"], checkpoint.params, choices.data_license)
    title = f"{checkpoint.model['name']} on {data.name}"
    license_ = weights_license(choices.license)
    body = _environment().get_template(TEMPLATE).render(
        title=title,
        checkpoint=checkpoint,
        checkpoint_file=CHECKPOINT_FILE,
        results=results,
        info=info,
        data=data,
        is_multilabel=task == "multilabel",
        license=license_,
        code_license=code_license(),
        **_measured(results, checkpoint),
        **_made(results, checkpoint, choices),
        **_data(results),
        selection=selection_rule(checkpoint),
    )  # fmt: skip
    tags = [checkpoint.model["name"], info["dataset"], *(["multi-label"] if task == "multilabel" else [])]
    return with_front_matter(body, title, task, data, license_, tags, metrics)


def _measured(results: Results, checkpoint: Checkpoint) -> dict[str, Any]:
    """How good the model is, and at what it is not."""
    task, metrics, images = results.features.task, results.metrics, len(results.predictions.files)
    rows = measure_classes(results)
    is_multilabel = task == "multilabel"
    return {
        "headline": multilabel_headline(metrics, images) if is_multilabel else headline(metrics),
        "splits": splits_of(results),
        "metric_rows": measure_splits(results),
        "class_rows": rows,
        "weakest": weakest_classes(rows, is_multilabel),
        "confusions": confusions(results),
        "limits": limits(results, rows, checkpoint.params),
        "calibration": describe_calibration(results),
    }


def _made(results: Results, checkpoint: Checkpoint, choices: Choices) -> dict[str, Any]:
    """What the model is and how it was made."""
    training = describe_training(results)
    watts = choices.watts or assume_watts(training.machine, checkpoint.params.get("train", {}))
    own = results.checkpoint_sha256
    return {
        "parameters": count_parameters(checkpoint),
        "resize_rule": resize_rule(checkpoint),
        "initial_weights": initial_weights(checkpoint),
        "recipe": recipe(checkpoint),
        "training": training,
        "package_versions": installed_versions(),
        "footprint": estimate(training.seconds, watts, choices.intensity, choices.price),
        "currency": choices.currency,
        "exports": results.exports if results.exports and results.exports.sha256 == own else None,
        "explanations": (
            results.explanations.about if results.explanations and results.explanations.about.sha256 == own else None
        ),
    }


def _data(results: Results) -> dict[str, Any]:
    """What is known of the images."""
    info, duplicates = results.features.info, results.features.info["duplicates"]
    return {
        "identical": {pair: found["count"] for pair, found in duplicates["identical"].items()},
        "near_identical": {pair: found["count"] for pair, found in duplicates["near_identical"].items()},
        "superclasses": sorted(set(results.features.superclasses.values())),
        "first_classes": info["classes"][:NAMED_CLASSES],
    }


def _environment() -> Environment:
    """Jinja, with the filters that put values into Markdown."""
    environment = Environment(
        loader=PackageLoader("Resnet23"),
        autoescape=False,  # Markdown, where `plain` does it
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "plain": plain,
        "percent": percent,
        "thousands": "{:,}".format,
        "counted": counted,
        "interval": interval,
        "between": between,
        "exactly": exactly,
        "duration": duration,
    }
    return environment


def plain(text: Any) -> str:
    """Text that Markdown shows as it is: in one line, with a backslash before every character that it would read."""
    return MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def exactly(values: Range, unit: str = "") -> str:
    """A range as it was assumed, as in "3.75 to 10.6 W"."""
    text = f"{values.low:g}" if values.low == values.high else f"{values.low:g} to {values.high:g}"
    return f"{text} {unit}".strip()


def between(values: Range, units: Mapping[str, float]) -> str:
    """A range with two significant digits, as in "0.36 to 1.6 Wh", in the largest unit that is not too large for it.

    `units` are names and what they are worth, in the unit of the values, the smallest first.
    """
    name = next((name for name in reversed(units) if values.high >= units[name]), next(iter(units)))
    low, high = (_rounded(value / units[name]) for value in (values.low, values.high))
    return f"{low} {name}" if low == high else f"{low} to {high} {name}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever suits."""
    for name, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.0f} seconds"


def _rounded(value: float) -> str:
    """Two significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"
