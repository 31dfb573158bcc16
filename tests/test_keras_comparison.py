"""The page that sets both frameworks side by side; it needs neither of them."""

import shutil
from math import comb
from pathlib import Path

import numpy as np
import pytest
from fake_results import write_results
from test_report import CLASSES, Page

from Resnet23.config import EXPLAIN_RESULTS
from Resnet23.errors import InputError
from Resnet23.figures.findings import percent
from Resnet23.files import write_json
from Resnet23.keras_variant.compare import COMPARISON_FILE, main, measure_agreement
from Resnet23.keras_variant.params import KerasParams
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.outputs import KERAS, PYTORCH
from Resnet23.plots import write_report
from Resnet23.predictions import Predictions, read_predictions, write_predictions
from Resnet23.results import read_results


def write_both(folder: Path) -> None:
    """The results of both pipelines; Keras takes every image for the first class."""
    write_results(folder, CLASSES)
    for name in ("checkpoint", "inspection", "history", "run", "val_predictions", "predictions", "metrics"):
        target = folder / getattr(KERAS, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / getattr(PYTORCH, name), target)
    known = read_predictions(folder / KERAS.predictions)
    probabilities = np.tile([0.5, 0.3, 0.2], (len(known.files), 1))
    write_predictions(folder / KERAS.predictions, Predictions(known.files, CLASSES, known.labels, probabilities))
    metrics = classification_metrics(known.labels, probabilities, CLASSES)
    write_json(folder / KERAS.metrics, {"train_accuracy": 0.4, **metrics})


def predictions(labels: list[int], predicted: list[int]) -> Predictions:
    """Predictions that are 90% sure of one of two classes."""
    probabilities = np.where(np.eye(2)[predicted] > 0, 0.9, 0.1)
    return Predictions([str(row) for row in range(len(labels))], ["a", "b"], np.array(labels), probabilities)


def test_agreement_is_counted_image_by_image():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    found = measure_agreement(
        predictions(labels, [0, 0, 0, 0, 1, 1, 1, 0]), predictions(labels, [0, 1, 1, 1, 1, 1, 1, 0])
    )
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (4, 3, 0, 1)
    assert found.same == 5 / 8
    assert found.mean_difference == pytest.approx(0.8 * 3 / 8)
    assert found.p_value == pytest.approx(2 * comb(3, 0) / 2**3)  # both tails of three fair coins
    assert not found.differs


def test_without_a_difference_there_is_nothing_to_test():
    same = predictions([0, 1], [0, 0])
    assert measure_agreement(same, same).p_value == 1
    labels = [0] * 20
    assert measure_agreement(predictions(labels, labels), predictions(labels, [1] * 20)).differs


def test_the_page_says_what_both_reached_and_loads_nothing_from_outside(project):
    write_both(project)
    main()
    source = COMPARISON_FILE.read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    for outputs in (PYTORCH, KERAS):
        metrics = read_results(outputs).metrics
        assert outputs.framework in page.text
        assert percent(metrics["accuracy"]) in page.text
        assert f"{metrics['loss']:.3f}" in page.text
    assert "<b>bold</b>" in page.text and not page.all("b")  # a class's name is escaped
    assert set(CLASSES) <= set(page.rows)
    links = [link["href"] for link in page.all("a")]
    assert {"../index.html", "index.html"} <= set(links)
    assert all(link.startswith("#") or link.endswith("index.html") for link in links)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}


def test_the_figures_and_the_page_are_drawn_for_keras_as_for_pytorch(project):
    write_both(project)
    write_report(KERAS, KerasParams.model_validate({"plots": {"dpi": 50}, "tracking": {"enabled": False}}))
    source = KERAS.page.read_text(encoding="utf-8")
    assert "<code>train.augment.rotation</code>" in source
    assert KERAS.plots_module in source
    assert "torch" not in Page(source).rows
    assert sorted(path.name for path in KERAS.figures.iterdir())[0] == "calibration.png"
    assert not PYTORCH.page.exists()


def test_explanations_are_those_of_pytorch_alone(project):
    write_both(project)
    KERAS.extras.mkdir()
    (KERAS.extras / EXPLAIN_RESULTS.name).write_text("of nothing that this project writes")
    assert read_results(KERAS).explanations is None


def test_a_missing_half_is_named_with_its_command(project):
    write_both(project)
    KERAS.predictions.unlink()
    with pytest.raises(InputError, match=r"reports/keras/predictions\.csv: no such file; `make predict-keras`"):
        main()
