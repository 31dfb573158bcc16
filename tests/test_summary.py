"""The lines that a finished pipeline ends with."""

from pathlib import Path

import pytest

from Resnet23.errors import InputError
from Resnet23.files import write_json
from Resnet23.outputs import KERAS
from Resnet23.summary import summarize


def test_the_accuracies_and_the_places_to_look_at_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("demo/reports/metrics.json", {"accuracy": 0.9722, "train_accuracy": 1.0})
    text = summarize(Path("demo"))
    assert "97.2%" in text
    assert "100.0%" in text
    assert str(Path("demo/reports/index.html")) in text


def test_of_several_labels_the_precision_and_the_share_of_right_images_are_named(tmp_path):
    write_json(tmp_path / "reports/metrics.json", {"mAP": 0.96712, "subset_accuracy": 0.745, "f1_macro": 0.9})
    assert "Test mAP       0.967 (every label right: 74.5% of the images)" in summarize(tmp_path)


@pytest.mark.parametrize("content", [None, "{", '{"accuracy": 1.0}'])
def test_without_metrics_the_message_says_how_to_get_them(content, tmp_path):
    file = tmp_path / "reports" / "metrics.json"
    if content is not None:
        file.parent.mkdir()
        file.write_text(content)
    with pytest.raises(InputError, match="run `dvc repro` in the project's folder"):
        summarize(tmp_path)
    with pytest.raises(InputError, match=r"run `dvc repro pipelines/keras/dvc\.yaml` in the project's folder"):
        summarize(tmp_path, KERAS)
