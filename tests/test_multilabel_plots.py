"""Stage 5 with several labels for each image: the figures, what their titles claim, the page, and what is refused."""

import json
from io import BytesIO

import numpy as np
import pytest
from fake_multilabel_results import write_multilabel_results
from PIL import Image
from test_plots import SMALL, class_names
from test_report import Page

from Resnet23.config import Params
from Resnet23.errors import InputError
from Resnet23.figures.multilabel_charts import co_occurrence
from Resnet23.figures.multilabel_findings import co_occurrence_finding, multilabel_gap_finding, multilabel_headline
from Resnet23.figures.multilabel_galleries import surest_mistakes
from Resnet23.history import best_epoch
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.page.captions import MULTILABEL_EXPLANATIONS
from Resnet23.plots import draw_pictures, main
from Resnet23.report import build_page
from Resnet23.results import read_results

NAMES = {
    "learning_curves", "per_class", "precision_recall", "thresholds", "calibration", "co_occurrence", "mistakes",
    "samples", "filters",
}  # fmt: skip


@pytest.mark.parametrize(("count", "validation"), [(2, False), (10, True), (60, True)])
def test_every_figure_is_drawn_in_both_themes(project, recwarn, count, validation):
    write_multilabel_results(project, class_names(count), validation)
    pictures = draw_pictures(read_results(), SMALL)
    assert {picture.name for picture in pictures} == (NAMES if validation else NAMES - {"thresholds"})
    for picture in pictures:
        light, dark = (np.asarray(Image.open(BytesIO(png)).convert("L")) for png in (picture.light, picture.dark))
        assert light.shape == dark.shape
        assert light[0, 0] > 250 > 50 > dark[0, 0]
        assert picture.title
    assert not [str(warning.message) for warning in recwarn]


def test_titles_agree_with_the_results(project):
    write_multilabel_results(project, class_names(5))
    results = read_results()
    titles = {picture.name: picture.title for picture in draw_pictures(results, SMALL)}
    predictions, metrics = results.predictions, results.metrics
    wrong = (predictions.predicted != predictions.labels).any(axis=1).sum()
    assert best_epoch(results.history) == 2  # by mAP; by accuracy it would be the second
    assert titles["learning_curves"].startswith("Best epoch 3 of 3: validation mAP 0.500, every label right on 50.0%")
    assert titles["mistakes"].startswith(f"{wrong} of 20 test images have a wrong label")
    assert f"{metrics['mAP']:.3f}" in titles["precision_recall"]
    assert f"ECE {metrics['ece']:.3f}" in titles["calibration"]
    assert (
        titles["thresholds"] == "The threshold of every label is 0.40; its precision and recall on 5 validation images"
    )


def test_the_page_says_what_the_results_say(project):
    write_multilabel_results(project, ["<b>bold</b>", "plain", "c"])
    results = read_results()
    source = build_page(results, Params(), draw_pictures(results, SMALL))
    page = Page(source)
    assert page.open == [] and not page.all("b")
    assert multilabel_headline(results.metrics, 12) in page.text
    assert multilabel_gap_finding(results.metrics) in page.text
    for scores in results.metrics["per_class"].values():
        assert f"{scores['f1']:.3f}" in page.text and f"{scores['threshold']:.3f}" in page.text
    assert {"validation", "test", "<b>bold</b>"} <= set(page.rows)
    assert "no label" in page.text and "Cross-entropy" in page.text
    assert page.text.count("Hamming loss") == 2
    assert len(page.all("picture")) == len(MULTILABEL_EXPLANATIONS) == len(NAMES)
    assert all(image["alt"] for image in page.all("img"))


def test_the_stage_writes_what_it_promises(project):
    write_multilabel_results(project, class_names(3))
    main(assignments=["tracking.enabled=false"])
    assert {path.stem for path in (project / "reports/figures").iterdir()} == NAMES
    assert (project / "reports/index.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_co_occurrence_counts_the_images_with_both():
    given = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]], dtype=bool)
    shares = co_occurrence(given)
    assert shares[0].tolist() == [1, 2 / 3, 1 / 3, 0]
    assert shares[1].tolist() == [1, 1, 0.5, 0]
    assert np.isnan(shares[3]).all()
    names = ["apple", "pear", "fig", "plum"]
    assert co_occurrence_finding(shares, shares / 2, names).startswith("100.0% of the images with pear have apple")
    assert co_occurrence_finding(np.eye(4), np.eye(4), names) == "No test image has two labels"


def test_mistakes_are_the_surest_ones_one_an_image():
    labels = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], dtype=bool)
    probabilities = np.array([[0.1, 0.95], [0.6, 0.2], [0.9, 0.3], [0.2, 0.8]])
    predictions = MultilabelPredictions(list("abcd"), ["x", "y"], labels, probabilities >= 0.5, probabilities)
    assert surest_mistakes(predictions, 9) == [(0, 1), (2, 1), (1, 0)]
    assert surest_mistakes(predictions, 1) == [(0, 1)]


@pytest.mark.parametrize(
    ("train", "message"), [(0.99, "far better"), (0.66, "moderate"), (0.61, "carries over"), (0.4, "the easier ones")]
)
def test_the_gap_is_put_into_words(train, message):
    assert message in multilabel_gap_finding({"train_mAP": train, "mAP": 0.6})


def test_the_headline_compares_with_a_random_order():
    per_class = {"a": {"support": 10}, "b": {"support": 30}, "absent": {"support": 0}}
    text = multilabel_headline({"mAP": 0.8, "subset_accuracy": 0.5, "per_class": per_class}, 100)
    assert "over 2 labels and 100 test images, where a random order would reach 0.200" in text


def test_files_of_different_runs_are_refused(project):
    write_multilabel_results(project, ["a", "b"])
    metrics = project / "reports/metrics.json"
    original = json.loads(metrics.read_text())
    for change, message in (
        ({"subset_accuracy": original["subset_accuracy"] - 0.1}, "metrics.json: found subset_accuracy"),
        ({"coverage": None}, "metrics.json: no number for coverage"),
    ):
        metrics.write_text(json.dumps(original | change))
        with pytest.raises(InputError, match=message):
            read_results()
