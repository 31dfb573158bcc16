"""predictions.csv with several labels for each image: written and read back, refused with the line when wrong."""

import numpy as np
import pytest

from Resnet23.errors import InputError
from Resnet23.multilabel_predictions import MultilabelPredictions, read_multilabel_predictions
from Resnet23.predictions import write_predictions

CLASSES = ["cat", 'a, "quoted" dog', "two\nlines", "蜜蜂 🐝"]


def test_it_comes_back_as_it_was(tmp_path):
    random = np.random.default_rng(0)
    labels, probabilities = random.random((50, 4)) < 0.3, random.random((50, 4)).astype(np.float32)
    files = [f"test/photo, {row}\n.png" for row in range(50)]
    written = MultilabelPredictions(files, CLASSES, labels, probabilities >= 0.6, probabilities)
    write_predictions(tmp_path / "p.csv", written)
    found = read_multilabel_predictions(tmp_path / "p.csv")
    assert (found.files, found.classes) == (files, CLASSES)
    assert np.array_equal(found.labels, labels) and np.array_equal(found.predicted, written.predicted)
    assert np.array_equal(found.probabilities.astype(np.float32), probabilities)
    assert not labels.all(axis=1).any() and not labels.any(axis=1).all()  # none and some of the labels occur


def test_the_columns_are_the_promised_ones(tmp_path):
    labels, probabilities = np.array([[True, True], [False, False]]), np.array([[0.75, 0.5], [0.25, 0.25]])
    predictions = MultilabelPredictions(["x.png", "y.png"], ["a", "b"], labels, probabilities >= 0.5, probabilities)
    write_predictions(tmp_path / "p.csv", predictions)
    assert (tmp_path / "p.csv").read_text() == (
        "file,label,predicted,confidence,prob_a,prob_b\n"
        "x.png,a|b,a|b,0.375,0.75,0.5\n"  # 0.75 * 0.5
        "y.png,,,0.5625,0.25,0.25\n"  # 0.75 * 0.75
    )
    assert predictions.right.tolist() == [True, True]


def test_a_header_alone_is_no_rows(tmp_path):
    (tmp_path / "p.csv").write_text("file,label,predicted,confidence,prob_a,prob_b\n")
    found = read_multilabel_predictions(tmp_path / "p.csv")
    assert found.files == [] and found.labels.shape == found.probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,a|c,a,0.9,0.9,0.1\n", "line 2: found the label 'c'"),
        ("x,a,a|,0.9,0.9,0.1\n", "line 2: found the label ''"),
        ("x,a,a,0.9,0.9\n", "line 2: found 5 cells, expected 6"),
        ("x,a,a,0.9,0.9,1.5\n", "line 2: found the probability 1.5"),
    ],
)
def test_it_names_the_line_that_is_wrong(tmp_path, row, message):
    (tmp_path / "p.csv").write_text("file,label,predicted,confidence,prob_a,prob_b\n" + row)
    with pytest.raises(InputError, match=message):
        read_multilabel_predictions(tmp_path / "p.csv")
