"""predictions.csv: written and read back without loss, and refused with the line when it is wrong."""

import numpy as np
import pytest

from Resnet23.errors import InputError
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.predictions import Predictions, read_predictions, write_predictions

CLASSES = ["cat", 'a, "quoted" dog', "two\nlines", "蜜蜂 🐝"]


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3] * 4, 50).astype(np.float32)
    files = [f"test/photo, {row}\n.png" for row in range(50)]
    return Predictions(files, CLASSES, np.arange(50) % 4, probabilities)


def test_comes_back_as_it_was(tmp_path, predictions):
    write_predictions(tmp_path / "p.csv", predictions)
    found = read_predictions(tmp_path / "p.csv")
    assert found.files == predictions.files
    assert found.classes == predictions.classes
    assert found.labels.tolist() == predictions.labels.tolist()
    assert np.array_equal(found.probabilities.astype(np.float32), predictions.probabilities)
    expected = classification_metrics(predictions.labels, predictions.probabilities, CLASSES)
    metrics = classification_metrics(found.labels, found.probabilities, CLASSES)
    assert metrics["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert metrics["ece"] == pytest.approx(expected["ece"], abs=1e-6)


def test_predicted_is_the_most_probable_class(predictions):
    assert predictions.predicted.tolist() == predictions.probabilities.argmax(axis=1).tolist()
    assert predictions.confidence.tolist() == predictions.probabilities.max(axis=1).tolist()


def test_the_columns_are_the_promised_ones(tmp_path):
    one = Predictions(["x.png"], ["a", "b"], np.array([0]), np.array([[0.25, 0.75]]))
    write_predictions(tmp_path / "p.csv", one)
    assert (tmp_path / "p.csv").read_bytes() == (
        b"file,label,predicted,confidence,prob_a,prob_b\nx.png,a,b,0.75,0.25,0.75\n"
    )


def test_unknown_labels_are_empty_cells(tmp_path):
    write_predictions(tmp_path / "p.csv", Predictions(["x"], ["a", "b"], np.array([-1]), np.array([[0.1, 0.9]])))
    assert ",,b," in (tmp_path / "p.csv").read_text()
    assert read_predictions(tmp_path / "p.csv").labels.tolist() == [-1]


def test_a_header_alone_is_no_rows(tmp_path):
    empty = Predictions([], ["a", "b"], np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
    write_predictions(tmp_path / "p.csv", empty)
    found = read_predictions(tmp_path / "p.csv")
    assert found.files == []
    assert found.probabilities.shape == (0, 2)
    assert found.predicted.shape == found.confidence.shape == (0,)


HEADER = "file,label,predicted,confidence,prob_a,prob_b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1.*an empty file"),
        ("file,label,predicted\n", "line 1.*expected the columns"),
        ("file,label,predicted,confidence,prob_a,prob_a\n", "line 1"),
        (HEADER + "x,a,a,0.9,0.9\n", "line 2: found 5 cells, expected 6"),
        (HEADER + "x,a,a,0.9,0.9,0.1\ny,c,a,0.9,0.9,0.1\n", "line 3: found the label 'c'"),
        (HEADER + '"two\nlines",c,a,0.9,0.9,0.1\n', "line 3: found the label 'c'"),
        (HEADER + "x,a,a,0.9,nan,0.1\n", "line 2: found the probability nan"),
        (HEADER + "x,a,a,0.9,1.9,0.1\n", "line 2: found the probability 1.9"),
        (HEADER + "x,a,a,0.9,much,0.1\n", "line 2.*much"),
        (HEADER + "x,a,b,0.9,0.9,0.1\n", "line 2: found 'b' as predicted"),
        (HEADER + '"x,a,a,0.9,0.9,0.1\n', "cannot be read"),
    ],
)
def test_names_the_line_that_is_wrong(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_predictions(tmp_path / "p.csv")
    assert "p.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_and_a_missing_file(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(InputError, match=r"no such file.*make predict"):
        read_predictions(tmp_path / "missing.csv")
