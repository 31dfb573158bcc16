"""Stage 5: the figures, what their titles claim, and what is refused."""

import json
import math
from io import BytesIO

import numpy as np
import pytest
from fake_results import fake_probabilities, write_results
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from Resnet23.config import Params, PlotsParams
from Resnet23.errors import InputError, IntegrityError
from Resnet23.figures.findings import accuracy_interval, confusion_finding, learning_finding
from Resnet23.figures.galleries import most_confident_mistakes, plot_filters
from Resnet23.history import best_epoch, read_history
from Resnet23.page.captions import EXPLANATIONS
from Resnet23.plots import draw_pictures, main, plot_learning_curve
from Resnet23.predictions import Predictions
from Resnet23.results import read_results

NAMES = [
    "learning_curves",
    "confusion_matrix",
    "per_class",
    "precision_recall",
    "calibration",
    "samples",
    "mistakes",
    "filters",
]
SMALL = PlotsParams(dpi=50, examples=4)


def class_names(count: int) -> list[str]:
    """Names that try to break a figure: formulas, markup, other scripts, great length."""
    hard = ["$\\bad$ and $", "<b>", "蜜蜂", "a very long class name that goes on and on"]
    return (hard + [f"class {number}" for number in range(count)])[:count]


@pytest.mark.parametrize(("count", "validation"), [(2, False), (10, True), (100, True)])
def test_every_figure_is_drawn_in_both_themes(tmp_path, monkeypatch, recwarn, count, validation):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, class_names(count), validation)
    pictures = draw_pictures(read_results(), SMALL)
    assert sorted(picture.name for picture in pictures) == sorted(NAMES)
    for picture in pictures:
        light, dark = (np.asarray(Image.open(BytesIO(png)).convert("L")) for png in (picture.light, picture.dark))
        assert light.shape == dark.shape
        assert light.shape[1] == 8 * SMALL.dpi
        assert light[0, 0] > 250 > 50 > dark[0, 0]
        assert len(np.unique(light)) > 10
        assert picture.title
    assert not [str(warning.message) for warning in recwarn]


def test_the_same_results_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, class_names(3))
    assert draw_pictures(read_results(), SMALL) == draw_pictures(read_results(), SMALL)


def test_the_stage_writes_what_it_promises(project, monkeypatch):
    write_results(project, class_names(3))
    main(assignments=["tracking.enabled=false"])
    assert sorted(path.name for path in (project / "reports/figures").iterdir()) == sorted(f"{n}.png" for n in NAMES)
    page = (project / "reports/index.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert not list(project.rglob(".writing-*"))


HISTORY = {
    "train_loss": [2.0, 1.0, 0.5, 0.3],
    "train_accuracy": [0.3, 0.6, 0.88, 0.9],
    "val_loss": [1.9, 1.3, 1.2, 1.1],
    "val_accuracy": [0.3, 0.612, 0.612, 0.5],
}


def test_learning_curves_mark_the_epoch_that_was_kept():
    assert best_epoch(HISTORY) == 2  # of the equal accuracies the one with the lower loss
    assert learning_finding(HISTORY) == "Best epoch 3 of 4: validation accuracy 61.2%, training 88.0%"
    figure = plot_learning_curve(HISTORY)
    assert isinstance(figure, Figure)
    loss, accuracy = figure.axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        curves = [list(line.get_ydata()) for line in axes.get_lines()]
        assert HISTORY[f"train_{quantity}"] in curves
        assert HISTORY[f"val_{quantity}"] in curves
        assert any(list(line.get_xdata()) == [3, 3] for line in axes.get_lines())  # the vertical line


@pytest.mark.parametrize("absent", [{}, {"val_loss": [math.nan] * 4, "val_accuracy": [math.nan] * 4}])
def test_without_validation_the_last_epoch_is_the_one(absent):
    history = {key: value for key, value in HISTORY.items() if key.startswith("train")} | absent
    assert best_epoch(history) == 3
    assert learning_finding(history).startswith("Epoch 4 of 4 was kept: training accuracy 90.0%")
    loss, _ = plot_learning_curve(history).axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training"]


def test_the_confusion_title_names_the_most_frequent_mistake():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert confusion_finding(counts, ["cat", "dog", "ship"]) == (
        "Test accuracy 73.3%; most often dog is taken for cat (5 of 10)"
    )
    assert "no image is taken for another" in confusion_finding(np.diag([3, 4]), ["cat", "dog"])


def test_titles_agree_with_the_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path, class_names(10))
    results = read_results()
    titles = {picture.name: picture.title for picture in draw_pictures(results, SMALL)}
    predictions, metrics = results.predictions, results.metrics
    wrong = predictions.predicted != predictions.labels
    excess = predictions.confidence.mean() - 1 + wrong.mean()
    counts = confusion_matrix(predictions.labels, predictions.predicted)
    per_class = metrics["per_class"]
    assert titles["confusion_matrix"] == " ".join(confusion_finding(counts, predictions.classes).split())
    assert titles["mistakes"].startswith(f"{wrong.sum()} of 40 test images are wrong")
    assert f"{100 * predictions.confidence[wrong].max():.1f}%" in titles["mistakes"]
    assert f"{100 * abs(excess):.1f} points" in titles["calibration"]
    assert ("exceeds" if excess > 0 else "falls short of") in titles["calibration"]
    assert f"ECE {metrics['ece']:.3f}" in titles["calibration"]
    assert f"{min(scores['f1'] for scores in per_class.values()):.2f}" in titles["per_class"]
    assert f"{metrics['mAP']:.3f}" in titles["precision_recall"]


def test_mistakes_are_the_most_confident_ones():
    labels = np.arange(40) % 3
    predictions = Predictions([""] * 40, ["a", "b", "c"], labels, fake_probabilities(labels, 3)[::-1])
    rows = most_confident_mistakes(predictions, 5)
    assert (predictions.predicted[rows] != labels[rows]).all()
    wrong = predictions.confidence[predictions.predicted != labels]
    assert predictions.confidence[rows].tolist() == sorted(wrong, reverse=True)[:5]


def test_a_faultless_network_can_be_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fake_results.fake_probabilities", lambda targets, count: np.eye(count)[targets])
    write_results(tmp_path, class_names(2))
    titles = {picture.name: picture.title for picture in draw_pictures(read_results(), SMALL)}
    assert titles["mistakes"] == "None of 8 test images is wrong"
    assert titles["per_class"] == "F1 is 1.00 for every class"
    assert titles["calibration"] == "On average confidence equals accuracy (ECE 0.000)"


def test_dead_filters_are_counted():
    kernels = np.ones((4, 3, 3, 3), dtype=np.float32) * np.array([1, 0.5, 0.01, 0]).reshape(4, 1, 1, 1)
    assert "2 of 4 filters are in use" in plot_filters(kernels).get_suptitle()


def test_without_filters_the_page_has_no_figure_of_them(project):
    write_results(project, class_names(3))
    with np.load("models/inspection.npz") as arrays:
        np.savez("models/inspection.npz", **{**arrays, "kernels": np.empty((0, 3, 1, 1), dtype=np.float32)})
    main(assignments=["tracking.enabled=false"])
    figures = [path.stem for path in (project / "reports/figures").iterdir()]
    assert sorted(figures) == sorted(name for name in NAMES if name != "filters")
    assert EXPLANATIONS["filters"] not in (project / "reports/index.html").read_text(encoding="utf-8")


def test_the_interval_is_wilsons():
    assert accuracy_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert accuracy_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_missing_inputs_name_the_command_that_makes_them(project):
    write_results(project, ["a", "b"])
    for file, command in (("reports/predictions.csv", "predict"), ("models/inspection.npz", "train")):
        (project / file).rename(project / "away")
        with pytest.raises(InputError, match=f"{file}: no such file; `make {command}`"):
            read_results()
        (project / "away").rename(project / file)
    (project / "reports/run.json").unlink()
    assert read_results().run == {}


def test_files_of_different_runs_are_refused(project):
    write_results(project, ["a", "b"])
    metrics = project / "reports/metrics.json"
    original = json.loads(metrics.read_text())
    for change, message in (
        (
            {"per_class": {"a": {}, "c": {}}},
            "metrics.json: found the classes a, c, expected those of the features, a, b",
        ),
        ({"accuracy": original["accuracy"] - 0.1}, "metrics.json: found accuracy"),
        ({"loss": None}, "metrics.json: no number for loss"),
    ):
        metrics.write_text(json.dumps(original | change))
        with pytest.raises(InputError, match=message):
            read_results()
    metrics.write_text(json.dumps(original))
    predictions = project / "reports/predictions.csv"
    predictions.write_text(predictions.read_text().replace("00001.png", "other.png"))
    with pytest.raises(InputError, match=r"predictions.csv: not of the test images.*make predict"):
        read_results()


@pytest.mark.fault(20)
def test_a_pickle_in_the_inspection_file_is_not_run(project):
    write_results(project, ["a", "b"])
    np.savez(project / "models/inspection.npz", batch=np.array([Params()], dtype=object))
    with pytest.raises(IntegrityError, match=r"inspection\.npz"):
        read_results()


def test_history_names_the_line_that_is_wrong(project):
    write_results(project, ["a", "b"])
    path = project / "reports/history.csv"
    assert read_history(path)["train_accuracy"].tolist() == [0.25, 0.5, 0.75]
    path.write_text(path.read_text().replace("0.25", "a quarter"))
    with pytest.raises(InputError, match=r"history.csv: line 2: .*a quarter"):
        read_history(path)
