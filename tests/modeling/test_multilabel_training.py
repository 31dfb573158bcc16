"""Stages 3 to 5 with several labels for each image, on the mosaics of digits: they say the same of the same images."""

import csv
import json
import re
import shutil
from contextlib import chdir
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from small_features import make_features
from small_fit import CPU, params, small_net
from small_project import REPOSITORY, SHRUNK
from test_fit import labelled_for

from Resnet23 import plots
from Resnet23.arrays import Features, read_features
from Resnet23.config import CHECKPOINT_FILE, VAL_PREDICTIONS_FILE, load_params
from Resnet23.errors import InputError
from Resnet23.history import EpochRecord
from Resnet23.modeling import predict, train
from Resnet23.modeling.checkpoint import load_checkpoint, save_checkpoint
from Resnet23.modeling.fit import fit
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.losses import LOSSES, training_task
from Resnet23.multilabel_predictions import read_multilabel_predictions

MOSAICS = [*SHRUNK, "data.dataset=digits-multilabel", "data.image_size=16", "train.augment.mixup=0.2"]
LOSS_OF_EACH_TASK = [(task, loss) for task, losses in LOSSES.items() for loss in losses]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, train.Trained]:
    """A small project of mosaics after stages 1 to 3, and what stage 3 left; for the tests to copy."""
    folder = tmp_path_factory.mktemp("finished")
    make_features(folder, MOSAICS)
    with chdir(folder):
        training = train.train(read_features(), load_params())
        train.save(training)
    return folder, training


@pytest.fixture
def trained(
    finished: tuple[Path, train.Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Features, train.Trained]:
    """The features of such a project in the current directory, and what stage 3 left."""
    shutil.copytree(finished[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return read_features(), finished[1]


@pytest.mark.parametrize(("task", "loss"), LOSS_OF_EACH_TASK)
def test_every_loss_trains_its_task(task, loss):
    data, validation = labelled_for(task, 180, seed=0), labelled_for(task, 60, seed=1)
    row = training_task(task, loss, data.targets)
    result = fit(small_net(), data, validation, row, 3, params(epochs=8), 0)
    assert result.validation.score > 0.9
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_training_chooses_epoch_temperature_and_thresholds_on_the_validation_images(trained):
    features, training = trained
    decision, history = load_checkpoint(CHECKPOINT_FILE).decision, training.result.history
    assert decision.temperature > 0
    said = read_multilabel_predictions(VAL_PREDICTIONS_FILE)
    assert said.files == [features.train.files[row] for row in features.val_indices]
    assert np.array_equal(said.predicted, said.probabilities >= np.array(decision.thresholds))
    cuts = (np.array(decision.thresholds), 0.5)
    fitted, half = (f1_score(said.labels, said.probabilities >= cut, average=None, zero_division=0) for cut in cuts)
    assert (fitted >= half).all() and fitted.sum() > half.sum()
    assert history[training.result.best_epoch - 1].val_mAP == max(record.val_mAP for record in history)
    assert training.inspection["val_mAP"].tolist() == [record.val_mAP for record in history]
    labels = training.inspection["labels"]
    assert labels.shape == (32, 10) and set(np.unique(labels)) == {0, 1}


def test_the_later_stages_agree_with_training(trained):
    features, _ = trained
    classifier = Classifier(load_checkpoint(CHECKPOINT_FILE), CPU, batch_size=7)
    data = classifier.dataset(features.train.images, features.train.targets, features.val_indices)
    said = read_multilabel_predictions(VAL_PREDICTIONS_FILE)
    assert np.allclose(classifier.probabilities(data), said.probabilities, atol=1e-5)
    predict.main(assignments=["tracking.enabled=false"])
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert next(iter(metrics)) == "train_mAP"
    found = read_multilabel_predictions("reports/predictions.csv")
    assert found.files == features.test.files and np.array_equal(found.labels, features.test.targets)
    assert metrics["subset_accuracy"] == found.right.mean()
    plots.main(assignments=["tracking.enabled=false"])
    assert Path("reports/figures/co_occurrence.png").exists()


def test_without_validation_the_last_epoch_is_kept_and_every_threshold_is_a_half(trained):
    features = replace(trained[0], info={**trained[0].info, "val_indices": []})
    settings = load_params(assignments=["train.epochs=1", "train.thresholds.goal=null"])
    training = train.train(features, settings)
    assert (training.checkpoint.decision.thresholds, training.checkpoint.decision.temperature) == (None, None)
    assert training.val_predictions.files == [] and "val_mAP" not in training.inspection
    with pytest.raises(InputError, match=r"train\.thresholds\.goal: found f1, but features\.val_fraction 0"):
        train.train(features, load_params())


def test_a_label_without_validation_images_is_trained_and_gets_a_half(trained):
    features = trained[0]
    rows = [row for row in features.val_indices.tolist() if not features.train.targets[row, 0]]
    features = replace(features, info={**features.info, "val_indices": rows})
    training = train.train(features, load_params(assignments=["train.epochs=1"]))
    assert training.checkpoint.decision.thresholds[0] == 0.5
    assert np.isfinite(training.result.history[0].val_mAP)


def test_an_epochs_line_names_what_is_right_in_every_label():
    record = EpochRecord(**dict.fromkeys((field.name for field in fields(EpochRecord)), 0.125) | {"epoch": 1})
    several, single = (
        train._line(record, load_params(REPOSITORY / "params.yaml"), task) for task in ("multilabel", "multiclass")
    )
    assert several.count("every label right on 12.5%") == 2 and "accuracy" not in several and "mAP 0.125" in several
    assert single.count("accuracy 12.5%") == 2 and "label" not in single


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.task=multiclass", r"train\.task: found multiclass, but the features are labelled for multilabel"),
        ("train.loss=cross_entropy", r"train\.loss: found cross_entropy, which does not train multilabel"),
        ("train.loss=assymetric", r"train\.loss: found 'assymetric'.*did you mean asymmetric"),
    ],
)
def test_what_does_not_fit_the_labels_is_refused(trained, change, message):
    with pytest.raises(InputError, match=message):
        train.main(assignments=[change, "tracking.enabled=false"])


def test_a_model_of_another_task_is_refused(trained):
    features, training = trained
    save_checkpoint("other.pth", replace(training.checkpoint, task="multiclass"))
    with pytest.raises(InputError, match="trained for multiclass, data/features is labelled for multilabel"):
        predict.evaluate_splits(Classifier(load_checkpoint("other.pth"), CPU, 32), features)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_files_get_all_labels_over_their_thresholds(trained, capsys, suffix):
    features, training = trained
    thresholds = [0.0, *[0.001] * 4, *[1.0] * 5]  # the first always, the last never
    decision = replace(training.checkpoint.decision, thresholds=thresholds)
    save_checkpoint(CHECKPOINT_FILE, replace(training.checkpoint, decision=decision))
    Path("photos").mkdir()
    Image.fromarray(np.asarray(features.test.images[0])).save("photos/a.png")
    Path("photos/broken.png").write_bytes(b"no image")
    predict.main(images=[Path("photos")], output=Path(f"table{suffix}"))
    printed = capsys.readouterr().out.splitlines()
    with open(f"table{suffix}", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file)) if suffix == ".csv" else json.load(file)
    labels = json.loads(rows[0]["labels"]) if suffix == ".csv" else rows[0]["labels"]
    names = rows[0]["class"].split("|")
    assert sorted(labels) == sorted(names) and "0" in names and not set(names) & set("56789")
    assert all(f"{name} {share:.1%}" in printed[0] for name, share in labels.items())
    assert (rows[1]["class"], bool(rows[1]["error"])) == ("", True)


def test_the_guides_example_names_the_same_labels(trained, repository, capsys):
    features, _ = trained
    guide = (repository / "docs" / "multi-label.md").read_text(encoding="utf-8")
    for loss in LOSSES["multilabel"]:
        assert f"| `{loss}` |" in guide
    Image.fromarray(np.asarray(features.test.images[0])).save("photo.jpg", format="png")
    exec(re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[-1], {})
    said = capsys.readouterr().out.strip()
    predict.main(images=[Path("photo.jpg")], output=Path("table.json"))
    names = json.loads(Path("table.json").read_text())[0]["class"]
    assert said == str([name for name in names.split("|") if name])


def test_the_same_seed_gives_the_same_checkpoint(trained):
    features, training = trained
    save_checkpoint("again.pth", train.train(features, load_params()).checkpoint)
    save_checkpoint("first.pth", training.checkpoint)
    assert Path("again.pth").read_bytes() == Path("first.pth").read_bytes()
    assert torch.load("again.pth", weights_only=True)["task"] == "multilabel"
