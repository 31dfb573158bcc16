"""reports/index.html: one page that holds everything there is to say about a run, with no link to anything outside."""

import platform
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from Resnet23.config import Params, flatten
from Resnet23.figures.findings import accuracy_interval, gap_finding, headline, percent
from Resnet23.figures.theme import Picture
from Resnet23.images import encode_png, resize_image
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.predictions import Predictions
from Resnet23.results import Results
from Resnet23.revision import git_revision

TEMPLATE = "report.html"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "dvc", "mlflow")
EXAMPLES = 6  # right and wrong predictions shown, of each
EXAMPLE_PIXELS = 96  # largest side of an example's picture
TOP = 3  # classes listed under an example
PHOTO_QUALITY = 85  # of WebP, for the figures that hold photos
PHOTO_FIGURES = ("samples", "mistakes")

# What a figure's title cannot say: how to read it.
EXPLANATIONS = {
    "learning_curves": "The dotted line marks the epoch whose weights were kept. Training falling while validation "
    "rises is overfitting; both still falling means that longer training would help.",
    "confusion_matrix": "One row for each true class, one column for each prediction. The diagonal is right; the "
    "colour is the share of the row.",
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


@dataclass(frozen=True)
class Example:
    """One test image and what the network made of it."""

    source: str  # data: URL
    file: str
    label: str
    right: bool
    guesses: list[tuple[str, float]]  # the TOP classes and their probabilities


def build_page(results: Results, params: Params, pictures: Sequence[Picture]) -> str:
    """The page as HTML, the same for the same inputs; every value is escaped by the template engine."""
    environment = Environment(
        loader=PackageLoader("Resnet23"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "thousands": "{:,}".format}
    return environment.get_template(TEMPLATE).render(
        headline=headline(results.metrics),
        gap=gap_finding(results.metrics),
        interval=accuracy_interval(results.metrics["accuracy"], len(results.predictions.files)),
        metrics=results.metrics,
        splits=_splits(results),
        figures=[_figure(picture) for picture in pictures],
        examples=_examples(results),
        data=_data(results),
        params=flatten(params.model_dump()),
        model=params.model.name,
        versions=_versions(),
        revision=git_revision(),
        run=results.run,
    )


def _splits(results: Results) -> list[dict[str, Any]]:
    """Accuracy, loss and calibration on each split, as far as they are known."""
    validation, metrics = results.validation, results.metrics
    rows = [{"name": "training", "accuracy": metrics["train_accuracy"], "loss": None, "ece": None}]
    if validation.files:
        measured = classification_metrics(validation.labels, validation.probabilities, validation.classes)
        rows.append({"name": "validation", **measured})
    rows.append({"name": "test", **metrics})
    return rows


def _figure(picture: Picture) -> dict[str, str]:
    lossless = picture.name not in PHOTO_FIGURES
    return {
        "name": picture.name,
        "title": picture.title,
        "explanation": EXPLANATIONS[picture.name],
        "light": _embed_webp(picture.light, lossless),
        "dark": _embed_webp(picture.dark, lossless),
    }


def _embed_webp(png: bytes, lossless: bool) -> str:
    """A PNG as the data: URL of a WebP, a third to a tenth of its size."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").save(buffer, "WEBP", lossless=lossless, quality=PHOTO_QUALITY)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


def _examples(results: Results) -> list[Example]:
    """Right, then wrong predictions, each picked at equal distances over the test split."""
    predictions, images = results.predictions, results.features.test.images
    right = predictions.predicted == predictions.labels
    return [
        _example(predictions, images, int(row))
        for group in (right, ~right)
        for row in _spread(np.flatnonzero(group), EXAMPLES)
    ]


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `rows`, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _example(predictions: Predictions, images: np.ndarray, row: int) -> Example:
    order = np.argsort(-predictions.probabilities[row], kind="stable")[:TOP]
    image = images[row]
    if len(image) > EXAMPLE_PIXELS:
        image = resize_image(Image.fromarray(image), EXAMPLE_PIXELS, "stretch")
    return Example(
        source=f"data:image/png;base64,{b64encode(encode_png(image)).decode('ascii')}",
        file=predictions.files[row],
        label=predictions.classes[predictions.labels[row]],
        right=bool(order[0] == predictions.labels[row]),
        guesses=[(predictions.classes[label], float(predictions.probabilities[row, label])) for label in order],
    )


def _data(results: Results) -> dict[str, Any]:
    """What features.json says about the images, for the section about the data."""
    info = results.features.info
    class_counts = info["class_counts"]
    return {
        **info,
        "rows": [
            {"name": name, **{split: class_counts[split].get(name, 0) for split in ("train", "val", "test")}}
            for name in info["classes"]
        ],
        "leaks": info["duplicates"]["identical"]["train-test"]["count"],
        "near_leaks": info["duplicates"]["near_identical"]["train-test"]["count"],
    }


def _versions() -> dict[str, str]:
    """The versions that matter, without importing the packages."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
