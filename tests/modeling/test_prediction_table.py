"""The rows of the table that the prediction commands print."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from Resnet23.modeling import prediction_table
from Resnet23.modeling.inference import FilePrediction
from Resnet23.modeling.prediction_table import labels_row, table_row

PHOTO = Path("photo.png")


def row(probabilities: list[float], classes: list[str], **options) -> dict:
    return table_row(FilePrediction(PHOTO, np.float32(probabilities)), classes, **options)


def test_the_most_probable_class_is_the_answer_and_five_are_named():
    found = row([0.05, 0.3, 0.1, 0.3, 0.05, 0.2], list("abcdef"))
    assert (found["class"], found["confidence"], found["error"]) == ("b", 0.3, "")
    assert found["top5"] == {"b": 0.3, "d": 0.3, "f": 0.2, "c": 0.1, "a": 0.05}
    assert list(found["top5"]) == ["b", "d", "f", "c", "a"]


@pytest.mark.parametrize(
    ("probability", "thresholds", "answer", "confidence"),
    [
        (0.75, None, "cat", 0.75),
        (0.5, None, "cat", 0.5),
        (0.25, None, "not cat", 0.75),
        (0.25, [0.25], "cat", 0.25),
        (0.75, [0.875], "not cat", 0.25),
    ],
)
def test_a_single_class_is_a_question_that_its_threshold_decides(probability, thresholds, answer, confidence):
    found = row([probability], ["cat"], thresholds=thresholds)
    assert (found["class"], found["confidence"]) == (answer, confidence)
    assert found["top5"] == {"cat": probability, "not cat": 1 - probability}
    assert next(iter(found["top5"].values())) == max(found["top5"].values())


def test_every_label_that_reaches_its_threshold_is_named_the_surest_first():
    prediction = FilePrediction(PHOTO, np.float64([0.5, 0.9, 0.7, 0.1, 0.2, 0.25, 0.75]))
    found = labels_row(prediction, list("abcdefg"), [0.5, 0.5, 0.8, 0.5, 0.1, 0.25, 0.5])
    assert found["class"] == "a|b|e|f|g"  # in the order of the classes, as in predictions.csv
    assert list(found["labels"].items()) == [("b", 0.9), ("g", 0.75), ("a", 0.5), ("f", 0.25), ("e", 0.2)]
    assert list(found["top5"]) == ["b", "g", "c", "a", "f"]
    assert found["confidence"] == pytest.approx(0.5 * 0.9 * 0.3 * 0.9 * 0.2 * 0.25 * 0.75, abs=1e-6)
    assert found["error"] == ""


def test_an_image_may_have_no_label():
    found = labels_row(FilePrediction(PHOTO, np.float64([0.25, 0.5])), ["a", "b"], [0.5, 0.75])
    assert (found["class"], found["labels"], found["confidence"]) == ("", {}, 0.375)


@pytest.mark.parametrize(
    ("thresholds", "line"),
    [
        ([0.1] * 7, "photo.png  g 95.0%, f 90.0%, e 80.0%, d 70.0%, c 60.0%, b 50.0%, a 40.0%"),
        ([0.5] * 7, "photo.png  g 95.0%, f 90.0%, e 80.0%, d 70.0%, c 60.0%, b 50.0%  (a 40.0%)"),
        ([0.99] * 7, "photo.png  no label  (g 95.0%, f 90.0%, e 80.0%, d 70.0%, c 60.0%)"),
    ],
    ids=["all given", "more given than are named", "none given"],
)
def test_the_line_names_the_most_probable_labels_that_are_not_given(thresholds, line, monkeypatch, capsys):
    prediction = FilePrediction(PHOTO, np.float64([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]))
    monkeypatch.setattr(prediction_table, "predict_files", lambda classifier, files: [prediction])
    classifier = SimpleNamespace(
        checkpoint=SimpleNamespace(task="multilabel"), classes=list("abcdefg"), thresholds=thresholds
    )
    prediction_table.classify(classifier, [], output=None, strict=False)
    assert capsys.readouterr().out == line + "\n"


def test_a_file_that_cannot_be_read_has_an_error_instead():
    found = table_row(FilePrediction(PHOTO, None, "zero bytes"), ["cat"])
    assert found == {"file": "photo.png", "class": "", "confidence": None, "top5": {}, "error": "zero bytes"}
    assert labels_row(FilePrediction(PHOTO, None, "zero bytes"), ["a", "b"], [0.5, 0.5]) == found | {"labels": {}}
