"""Both frameworks on the same data, side by side: reports/keras/comparison.html.

    python -m Resnet23.keras_variant.compare

It needs what both pipelines have left, as `make compare-keras` sees to, and neither PyTorch nor TensorFlow.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from loguru import logger
from scipy.stats import binomtest

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError
from Resnet23.figures.findings import accuracy_interval, percent
from Resnet23.figures.framework_charts import plot_courses
from Resnet23.figures.theme import Picture, draw_picture
from Resnet23.files import atomic_write
from Resnet23.history import best_epoch
from Resnet23.outputs import KERAS, KERAS_REPORTS, PYTORCH
from Resnet23.predictions import Predictions
from Resnet23.results import Results, read_results

COMPARISON_FILE = KERAS_REPORTS / "comparison.html"
DPI = 120
SIGNIFICANT = 0.05  # the customary level


@dataclass(frozen=True)
class Agreement:
    """How far two classifiers say the same of the same images; counts of images but for the last three."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    same: float  # share of images that get the same class, be it right or wrong
    mean_difference: float  # of a probability
    p_value: float  # that chance alone makes the numbers of `only_first` and `only_second` differ as much

    @property
    def differs(self) -> bool:
        """Whether one of them is better by more than chance explains."""
        return self.p_value < SIGNIFICANT


def main(debug: DebugOption = False) -> None:
    """Compare what the PyTorch and the Keras pipeline reached on the same test images."""
    pair = (read_results(PYTORCH), read_results(KERAS))
    if pair[0].features.task != "multiclass":
        raise InputError(
            f"data/features is labelled for {pair[0].features.task}; only classifiers of one class are compared"
        )
    histories = {results.outputs.framework: results.history for results in pair}
    picture = draw_picture("courses", lambda theme: plot_courses(histories, theme), DPI)
    with atomic_write(COMPARISON_FILE) as file:
        file.write(build_comparison(pair, picture))
    agreement = measure_agreement(pair[0].predictions, pair[1].predictions)
    accuracies = " and ".join(f"{each.outputs.framework} {percent(each.metrics['accuracy'])}" for each in pair)
    logger.info(f"{COMPARISON_FILE}: {accuracies}, the same class for {percent(agreement.same)} of the test images")


def measure_agreement(first: Predictions, second: Predictions) -> Agreement:
    """Compare predictions of the same images in the same order; the p-value is that of McNemar's exact test."""
    right, other = first.right, second.right
    only_first, only_second = int((right & ~other).sum()), int((~right & other).sum())
    decided = only_first + only_second
    return Agreement(
        both_right=int((right & other).sum()),
        only_first=only_first,
        only_second=only_second,
        both_wrong=int((~right & ~other).sum()),
        same=float((first.predicted == second.predicted).mean()),
        mean_difference=float(np.abs(first.probabilities - second.probabilities).mean()),
        p_value=float(binomtest(only_first, decided).pvalue) if decided else 1.0,
    )


def build_comparison(pair: tuple[Results, Results], picture: Picture) -> str:
    """The page as HTML; every value is escaped by the template engine."""
    environment = Environment(
        loader=PackageLoader("Resnet23"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "thousands": "{:,}".format}
    agreement = measure_agreement(pair[0].predictions, pair[1].predictions)
    return environment.get_template("frameworks.html").render(
        headline=headline(pair, agreement),
        data=pair[0].features.info,
        pipelines=[_pipeline(results) for results in pair],
        agreement=agreement,
        classes=_classes(pair),
        figure={"title": picture.title, "light": _embed(picture.light), "dark": _embed(picture.dark)},
    )


def headline(pair: tuple[Results, Results], agreement: Agreement) -> str:
    """What the comparison shows, in one sentence."""
    names = [results.outputs.framework for results in pair]
    accuracies = [results.metrics["accuracy"] for results in pair]
    start = f"{names[0]} {percent(accuracies[0])}, {names[1]} {percent(accuracies[1])} of the same test images right"
    if agreement.differs:
        better = names[int(np.argmax(accuracies))]
        return f"{start}: {better} is better, by more than chance explains"
    return f"{start}: no more of a difference than chance makes"


def _pipeline(results: Results) -> dict[str, Any]:
    """The column of one framework."""
    history, metrics = results.history, results.metrics
    return {
        "name": results.outputs.framework,
        "page": results.outputs.page.name if results.outputs is KERAS else f"../{results.outputs.page.name}",
        "metrics": metrics,
        "interval": accuracy_interval(metrics["accuracy"], len(results.predictions.files)),
        "epochs": len(history["train_loss"]),
        "best_epoch": best_epoch(history) + 1,
        "seconds": float(np.sum(history["seconds"])),
        "images_per_second": float(np.median(history["images_per_second"])),
        "bytes": results.outputs.checkpoint.stat().st_size,
        "model": results.outputs.checkpoint.name,
    }


def _classes(pair: tuple[Results, Results]) -> list[dict[str, Any]]:
    """A row for each class: its F1 in both frameworks, and on how many of its images they agree."""
    first, second = pair
    same = first.predictions.predicted == second.predictions.predicted
    rows = []
    for number, name in enumerate(first.features.classes):
        of_class = first.predictions.labels == number
        scores = [results.metrics["per_class"][name] for results in pair]
        rows.append(
            {
                "name": name,
                "scores": scores,
                "difference": scores[1]["f1"] - scores[0]["f1"],
                "same": float(same[of_class].mean()) if of_class.any() else None,
                "support": int(of_class.sum()),
            }
        )
    return rows


def _embed(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


if __name__ == "__main__":
    run_command(main)
