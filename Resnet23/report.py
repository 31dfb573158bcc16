"""reports/index.html: one page that holds everything there is to say about a run, with no link to anything outside."""

import platform
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from Resnet23.config import CommonTrackingParams, PlotsParams, flatten
from Resnet23.extras import Explanations
from Resnet23.figures.findings import accuracy_interval, gap_finding, headline, percent
from Resnet23.figures.multilabel_findings import multilabel_gap_finding, multilabel_headline
from Resnet23.figures.theme import Picture
from Resnet23.images import encode_png, resize_image
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions
from Resnet23.results import Results
from Resnet23.revision import git_revision

TEMPLATES = {"multiclass": "report.html", "multilabel": "multilabel.html"}
EXAMPLES = 6  # right and wrong predictions shown, of each
EXAMPLE_PIXELS = 96  # largest side of an example's picture
TOP = 3  # classes listed under an example
PHOTO_QUALITY = 85  # of WebP, for the figures that hold photos
PHOTO_FIGURES = ("samples", "mistakes", "explanations")

# What a figure's title cannot say: how to read it.
EXPLANATIONS = {
    "learning_curves": "The dotted line marks the epoch whose weights were kept. Training falling while validation "
    "rises is overfitting; both still falling means that longer training would help.",
    "confusion_matrix": "One row for each true class, one column for each prediction. The diagonal is right; the "
    "colour is the share of the row.",
    "superclasses": "A superclass is a family of classes. Who takes a maple for an oak has seen more than who takes it "
    "for a bus. The numbers: right class / right superclass, of so many test images.",
    "per_class": "Precision: of the images given this class, the share that is of it. Recall: of the images of this "
    "class, the share that was found. F1 is their harmonic mean.",
    "precision_recall": "Each class against all others, as the threshold on its probability moves. Average precision "
    "is the area under the curve.",
    "calibration": "Images grouped by confidence. Below the diagonal the network is surer than it is right. ECE is "
    "the mean distance from the diagonal, weighted by the images.",
    "mistakes": "The predicted class and its probability, above the true class. Look for wrong labels here first.",
    "samples": "After random changes such as flips and crops. If you cannot recognise them, neither can the network.",
    "filters": "The weights of the first convolution as colours, strongest first, each scaled to its own range.",
}
MULTILABEL_EXPLANATIONS = {
    "learning_curves": "The dotted line marks the epoch whose weights were kept: the one of the highest mAP on the "
    "validation images. An image with one wrong label among many counts as wrong in the lines below.",
    "co_occurrence": "Where the two sides differ, the network has learnt that labels go together, or missed it.",
    "per_class": "At the thresholds. Precision: of the images given this label, the share that has it. Recall: of the "
    "images that have it, the share that was found. F1 is their harmonic mean.",
    "precision_recall": "Each label by itself, as the threshold on its probability moves. Average precision is the "
    "area under the curve.",
    "thresholds": "On the validation images; the dotted line is the threshold that was chosen there. A higher one "
    "trades recall for precision.",
    "calibration": "Answers grouped by their probability. Below the diagonal a label is there less often than its "
    "probability says. A threshold makes up for that, a reader of the probability cannot.",
    "mistakes": "A wrong answer and its probability, above the labels of the image. Look for forgotten labels here "
    "first.",
    "samples": EXPLANATIONS["samples"],
    "filters": EXPLANATIONS["filters"],
}

EXPLAINED = (
    "The colours show which parts of an image spoke for a class, or for the absence of a label; grey parts did not. "
    "Where the background carries the evidence, the network has learnt the company that things keep."
)


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


@dataclass(frozen=True)
class Example:
    """One test image and what the network made of it."""

    source: str  # data: URL
    file: str
    label: str
    predicted: str
    right: bool
    guesses: list[tuple[str, float]]  # the TOP classes, and all labels that were given, with their probabilities


def build_page(results: Results, params: PageParams, pictures: Sequence[Picture]) -> str:
    """The page as HTML, the same for the same inputs; every value is escaped by the template engine."""
    environment = Environment(
        loader=PackageLoader("Resnet23"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "thousands": "{:,}".format}
    task = results.features.task
    explanations = MULTILABEL_EXPLANATIONS if task == "multilabel" else EXPLANATIONS
    return environment.get_template(TEMPLATES[task]).render(
        **(_multilabel_summary(results) if task == "multilabel" else _summary(results)),
        metrics=results.metrics,
        figures=[_figure(picture, explanations[picture.name]) for picture in pictures],
        examples=_examples(results),
        data=_data(results),
        params=flatten(params.model_dump()),
        model=params.model.name,
        outputs=results.outputs,
        versions=_versions(results.outputs.packages),
        revision=git_revision(),
        checkpoint_sha256=results.checkpoint_sha256,
        exports=results.exports,
        explanations=results.explanations and _explanations(results.explanations),
        run=results.run,
    )


def _summary(results: Results) -> dict[str, Any]:
    """What the top of the page says."""
    metrics = results.metrics
    return {
        "headline": headline(metrics),
        "gap": gap_finding(metrics),
        "interval": accuracy_interval(metrics["accuracy"], len(results.predictions.files)),
        "splits": _splits(results),
    }


def _multilabel_summary(results: Results) -> dict[str, Any]:
    """The same for several labels for each image."""
    metrics, validation, images = results.metrics, results.validation, len(results.predictions.files)
    splits = [{"name": "test", **metrics}]
    if validation.labels.any():
        thresholds = [scores["threshold"] for scores in metrics["per_class"].values()]
        found = multilabel_metrics(validation.labels, validation.probabilities, validation.classes, thresholds)
        splits.insert(0, {"name": "validation", **found})
    return {
        "headline": multilabel_headline(metrics, images),
        "gap": multilabel_gap_finding(metrics),
        "interval": accuracy_interval(metrics["subset_accuracy"], images),
        "labels_per_image": float(results.predictions.labels.sum(axis=1).mean()),
        "splits": splits,
    }


def _splits(results: Results) -> list[dict[str, Any]]:
    """Accuracy, loss and calibration on each split, as far as they are known."""
    validation, metrics = results.validation, results.metrics
    rows = [{"name": "training", "accuracy": metrics["train_accuracy"], "loss": None, "ece": None}]
    if validation.files:
        measured = classification_metrics(validation.labels, validation.probabilities, validation.classes)
        rows.append({"name": "validation", **measured})
    rows.append({"name": "test", **metrics})
    return rows


def _figure(picture: Picture, explanation: str) -> dict[str, str]:
    lossless = picture.name not in PHOTO_FIGURES
    return {
        "name": picture.name,
        "title": picture.title,
        "explanation": explanation,
        "light": _embed_webp(picture.light, lossless),
        "dark": _embed_webp(picture.dark, lossless),
    }


def _explanations(explanations: Explanations) -> dict[str, str]:
    return {**explanations.about.model_dump(), **_figure(explanations.picture, EXPLAINED)}


def _embed_webp(png: bytes, lossless: bool) -> str:
    """A PNG as the data: URL of a WebP, a third to a tenth of its size."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").save(buffer, "WEBP", lossless=lossless, quality=PHOTO_QUALITY)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


def _examples(results: Results) -> list[Example]:
    """Right, then wrong predictions, each picked at equal distances over the test split."""
    predictions, images = results.predictions, results.features.test.images
    return [
        _example(predictions, images, int(row))
        for group in (predictions.right, ~predictions.right)
        for row in _spread(np.flatnonzero(group), EXAMPLES)
    ]


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `rows`, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _example(predictions: Predictions | MultilabelPredictions, images: np.ndarray, row: int) -> Example:
    order = np.argsort(-predictions.probabilities[row], kind="stable")[:TOP]
    label, predicted = predictions.labels[row], predictions.predicted[row]
    if isinstance(predictions, MultilabelPredictions):
        order = [*order, *(number for number in np.flatnonzero(predicted) if number not in order)]
        label, predicted = (", ".join(predictions.names(given)) or "no label" for given in (label, predicted))
    else:
        label, predicted = predictions.classes[label], predictions.classes[predicted]
    image = images[row]
    if len(image) > EXAMPLE_PIXELS:
        image = resize_image(Image.fromarray(image), EXAMPLE_PIXELS, "stretch")
    return Example(
        source=f"data:image/png;base64,{b64encode(encode_png(image)).decode('ascii')}",
        file=predictions.files[row],
        label=label,
        predicted=predicted,
        right=bool(predictions.right[row]),
        guesses=[(predictions.classes[number], float(predictions.probabilities[row, number])) for number in order],
    )


def _data(results: Results) -> dict[str, Any]:
    """What features.json says about the images, for the section about the data."""
    info = results.features.info
    class_counts = info["class_counts"]
    return {
        **info,
        "superclasses": results.features.superclasses,
        "rows": [
            {"name": name, **{split: class_counts[split].get(name, 0) for split in ("train", "val", "test")}}
            for name in info["classes"]
        ],
        "leaks": info["duplicates"]["identical"]["train-test"]["count"],
        "near_leaks": info["duplicates"]["near_identical"]["train-test"]["count"],
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed, without importing them."""
    versions = {"Python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
