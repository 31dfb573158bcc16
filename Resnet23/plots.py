"""Stage 5: the figures in reports/figures and the page reports/index.html, from what the earlier stages left."""

from collections.abc import Callable

import numpy as np
from loguru import logger
from matplotlib.figure import Figure

from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, PlotsParams, load_params
from Resnet23.figures.charts import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curve,
    plot_per_class,
    plot_precision_recall,
)
from Resnet23.figures.galleries import plot_filters, plot_mistakes, plot_samples
from Resnet23.figures.multilabel_charts import (
    plot_co_occurrence,
    plot_label_calibration,
    plot_multilabel_learning_curve,
    plot_thresholds,
)
from Resnet23.figures.multilabel_galleries import plot_multilabel_mistakes, plot_multilabel_samples
from Resnet23.figures.superclass_charts import plot_superclasses
from Resnet23.figures.theme import Picture, Theme, draw_picture
from Resnet23.files import atomic_write, require_writable
from Resnet23.outputs import PYTORCH, Outputs
from Resnet23.page.calibration import unscale
from Resnet23.report import PageParams, build_page
from Resnet23.results import Results, read_results
from Resnet23.tracking import continue_run

Draws = dict[str, Callable[[Theme], Figure]]


def draw_pictures(results: Results, params: PlotsParams) -> list[Picture]:
    """Every figure, in the order of the page."""
    choose = _multilabel_draws if results.features.task == "multilabel" else _draws
    return [draw_picture(name, draw, params.dpi) for name, draw in choose(results, params).items()]


def _draws(results: Results, params: PlotsParams) -> Draws:
    """The figures of a single-label classifier."""
    predictions, metrics, inspection = results.predictions, results.metrics, results.inspection
    validation = results.validation if results.validation.files else None
    unscaled = unscale(predictions, results.temperature) if results.temperature else None
    superclasses, per_superclass = results.features.superclasses, metrics.get("per_superclass")
    families: Draws = {"superclasses": lambda theme: plot_superclasses(per_superclass, theme)}
    return {
        "learning_curves": lambda theme: plot_learning_curve(results.history, theme),
        "confusion_matrix": lambda theme: plot_confusion_matrix(predictions, theme, superclasses),
        **(families if per_superclass else {}),
        "per_class": lambda theme: plot_per_class(metrics["per_class"], theme),
        "precision_recall": lambda theme: plot_precision_recall(predictions, metrics, theme),
        "calibration": lambda theme: plot_calibration(predictions, validation, theme, unscaled),
        "mistakes": lambda theme: plot_mistakes(predictions, results.features.test.images, params.examples, theme),
        "samples": lambda theme: plot_samples(inspection, predictions.classes, params.examples, theme),
        **_filters(inspection.kernels),
    }


def _multilabel_draws(results: Results, params: PlotsParams) -> Draws:
    """The figures of a multi-label classifier; thresholds are chosen on validation images, if there are any."""
    predictions, metrics, inspection = results.predictions, results.metrics, results.inspection
    images, per_class = results.features.test.images, metrics["per_class"]
    thresholds: Draws = {"thresholds": lambda theme: plot_thresholds(results.validation, per_class, theme)}
    return {
        "learning_curves": lambda theme: plot_multilabel_learning_curve(results.history, theme),
        "per_class": lambda theme: plot_per_class(per_class, theme),
        "precision_recall": lambda theme: plot_precision_recall(predictions, metrics, theme),
        **(thresholds if results.validation.files else {}),
        "calibration": lambda theme: plot_label_calibration(predictions, theme),
        "co_occurrence": lambda theme: plot_co_occurrence(predictions, theme),
        "mistakes": lambda theme: plot_multilabel_mistakes(predictions, images, params.examples, theme),
        "samples": lambda theme: plot_multilabel_samples(inspection, predictions.classes, params.examples, theme),
        **_filters(inspection.kernels),
    }


def _filters(kernels: np.ndarray) -> Draws:
    """The figure of the first convolution, which some networks do not have."""
    return {"filters": lambda theme: plot_filters(kernels, theme)} if len(kernels) else {}


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Draw the figures and build the report page."""
    write_report(PYTORCH, load_params(params_file, preset, assignments))


def write_report(outputs: Outputs, params: PageParams) -> None:
    """Draw the figures of one pipeline and build its page. Raises InputError when its files do not fit together."""
    results = read_results(outputs)
    for folder in (outputs.figures, outputs.page.parent):
        require_writable(folder)
    pictures = draw_pictures(results, params.plots)
    figures = [outputs.figures / f"{picture.name}.png" for picture in pictures]
    for path, picture in zip(figures, pictures, strict=True):
        with atomic_write(path, "wb") as file:
            file.write(picture.light)
    with continue_run(params.tracking, outputs.run) as tracker:
        page = build_page(results, params, pictures, tracker.read_history())
        with atomic_write(outputs.page) as file:
            file.write(page)
        tracker.log_tags({"plots": params.plots.model_dump()})
        for path in figures:
            tracker.log_artifact(path, "figures")
        tracker.log_artifact(outputs.page)
    logger.info(f"{len(figures)} figures in {outputs.figures}/, the page is {outputs.page}")


if __name__ == "__main__":
    run_command(main)
