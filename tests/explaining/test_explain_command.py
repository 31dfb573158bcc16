"""python -m Resnet23.explain: what it draws, prints and refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_project import REPOSITORY

from Resnet23 import plots
from Resnet23.arrays import read_features
from Resnet23.config import (
    CHECKPOINT_FILE,
    EXPLAIN_PICTURE,
    EXPLAIN_PICTURE_DARK,
    EXPLAIN_RESULTS,
    PAGE_FILE,
    PREDICTIONS_FILE,
)
from Resnet23.errors import InputError
from Resnet23.explain import FILES_PICTURE, explain_test, main
from Resnet23.explaining.questions import ask
from Resnet23.files import sha256_file
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.predictions import Predictions, read_predictions, write_predictions

pytest.importorskip("captum", reason="captum comes with the extra `explain`")


def rewrite_labels(labels: np.ndarray) -> None:
    """Make these the true classes of the test images."""
    old = read_predictions(PREDICTIONS_FILE)
    write_predictions(PREDICTIONS_FILE, Predictions(old.files, old.classes, labels, old.probabilities))
    np.save("data/features/test/targets.npy", labels)


@pytest.mark.parametrize("name", ["digits", "mosaics"])
def test_the_mistakes_are_drawn_printed_and_shown_on_the_page(name, enter, capsys):
    enter(name)
    main(count=3)
    about = json.loads(EXPLAIN_RESULTS.read_text(encoding="utf-8"))
    assert about["sha256"] == sha256_file(CHECKPOINT_FILE)
    assert about["title"].startswith("What the network looked at in the 3 most confident of ")
    assert about["method"] == "occlusion by squares of 3 x 3 pixels"
    for path in (EXPLAIN_PICTURE, EXPLAIN_PICTURE_DARK):
        with Image.open(path) as picture:
            assert picture.width == 1200
    printed = capsys.readouterr().out.splitlines()
    verdict = r"(\d taken for \d|\d missed|\d given, but not there)"
    assert len(printed) == 3
    for line in printed:
        assert re.fullmatch(rf"test/\S+\.png  {verdict}  \(for \d: [\d.]+%, (for|against) \d: [\d.]+%\)", line), line
    plots.main()
    assert 'alt="What the network looked at' in PAGE_FILE.read_text(encoding="utf-8")


def test_the_maps_belong_to_the_images_and_classes_of_the_predictions(enter):
    enter("digits")
    features = read_features()
    explained = explain_test(Classifier(load_checkpoint(CHECKPOINT_FILE), "cpu", 64), features, 2)
    questions = ask(read_predictions(PREDICTIONS_FILE), 2)
    assert explained.files == [features.test.files[question.row] for question in questions]
    for shown, question in zip(explained.images, questions, strict=True):
        assert np.array_equal(shown.image, features.test.images[question.row])
        assert [panel.caption for panel in shown.panels] == [side.caption for side in question.sides]
        assert all(panel.evidence.shape == (16, 16) for panel in shown.panels)


def test_without_mistakes_the_least_certain_answers_are_drawn(enter, capsys):
    enter("digits")
    rewrite_labels(read_predictions(PREDICTIONS_FILE).predicted)
    main(count=2)
    assert json.loads(EXPLAIN_RESULTS.read_text(encoding="utf-8"))["title"] == (
        "None of 50 test images is wrong; what the network looked at in its 2 least certain answers"
    )
    assert capsys.readouterr().out.count(", rightly") == 2


def test_files_of_any_size_are_explained_and_leave_the_page_alone(enter, capsys):
    enter("mosaics")
    Path("photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 50, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.jpg")
    main([Path("photos/2.jpg"), Path("photos")], count=2)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["photos/2.jpg", "photos/0.jpg"]
    assert FILES_PICTURE.is_file()
    main([Path("photos/1.jpg")], output=Path("figures/one.png"))
    assert Path("figures/one.png").is_file()
    assert not EXPLAIN_RESULTS.exists()


def test_predictions_of_another_model_or_of_other_images_are_refused(enter):
    enter("digits")
    old = read_predictions(PREDICTIONS_FILE)
    sure = 0.01 + 0.9 * np.eye(10)[(old.labels + 1) % 10]
    write_predictions(PREDICTIONS_FILE, Predictions(old.files, old.classes, old.labels, sure))
    with pytest.raises(InputError, match=r"predictions\.csv: not the predictions of this model; run `make predict`"):
        main()
    files = [f"other/{file}" for file in old.files]
    write_predictions(PREDICTIONS_FILE, Predictions(files, old.classes, old.labels, old.probabilities))
    with pytest.raises(InputError, match=r"predictions\.csv: not of the test images in the features"):
        main()
    PREDICTIONS_FILE.unlink()
    with pytest.raises(InputError, match=r"predictions\.csv: no such file; `make predict` writes"):
        main()
    assert not EXPLAIN_PICTURE.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.jpg"], "error: --output a.jpg: expected a name that ends in .png"),
        (["--cuont", "3"], "error: No such option: --cuont"),
        (["nowhere.jpg"], "error: nowhere.jpg: no such file or folder"),
        (["params.yaml"], "error: params.yaml: not an image; expected one of JPEG, PNG, WEBP, BMP, TIFF"),
        (["--model", "other.pth"], "error: other.pth: no such file; train a model with `make train`"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message, enter, monkeypatch):
    enter("digits")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    command = [sys.executable, "-m", "Resnet23.explain", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)
