"""Stages 3 and 4 on arrays: what they write, and that both say the same of the same images."""

import csv
import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_features import make_features
from small_project import SHRUNK
from torch import Tensor, nn

from Resnet23 import features as features_stage
from Resnet23.arrays import Features, read_features
from Resnet23.config import CHECKPOINT_FILE, HISTORY_FILE, INSPECTION_FILE, VAL_PREDICTIONS_FILE, Params, load_params
from Resnet23.datadownload import main as datadownload
from Resnet23.dataset import get_default_transform
from Resnet23.errors import InputError
from Resnet23.modeling import predict, train
from Resnet23.modeling.architectures import ARCHITECTURES, Architecture
from Resnet23.modeling.checkpoint import load_checkpoint, save_checkpoint
from Resnet23.modeling.evaluation_record import report_text
from Resnet23.modeling.inference import Classifier, predict_files
from Resnet23.predictions import read_predictions
from Resnet23.results import read_inspection

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, train.Trained]:
    """The shrunk project after stages 1 to 3, and what stage 3 left; for the tests to copy."""
    folder = tmp_path_factory.mktemp("finished")
    make_features(folder, SHRUNK)
    with chdir(folder):
        training = train.train(read_features(), load_params())
        train.save(training)
    return folder, training


@pytest.fixture
def params(finished: tuple[Path, train.Trained], project: Path) -> Params:
    """The parameters of the current directory, a shrunk project with its features made."""
    shutil.copytree(finished[0] / "data", "data")
    return load_params()


@pytest.fixture
def trained(params: Params, finished: tuple[Path, train.Trained]) -> tuple[Features, train.Trained]:
    """The same after training: its features, and what stage 3 left."""
    for name in ("models", "reports"):
        shutil.copytree(finished[0] / name, name)
    return read_features(), finished[1]


def test_training_leaves_what_later_stages_need(trained, params):
    features, _ = trained
    checkpoint = load_checkpoint(CHECKPOINT_FILE)
    assert checkpoint.classes == features.classes
    assert checkpoint.preprocessing.mean == list(features.mean)
    assert checkpoint.params["train"]["epochs"] == 2
    assert checkpoint.decision.temperature > 0
    with open(HISTORY_FILE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
        "images_per_second", "data_wait",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["1", "2"]
    inspection = np.load(INSPECTION_FILE)
    assert (inspection["batch"].shape, inspection["batch"].dtype) == ((32, 8, 8, 3), np.uint8)
    assert inspection["kernels"].shape == (4, 3, 3, 3)
    assert np.array_equal(inspection["kernels"], checkpoint.state_dict["conv1.weight"])


class NoConvolution(nn.Module):
    """A network that looks at all pixels at once."""

    def __init__(self, classes: int, **_: object) -> None:
        super().__init__()
        self.classifier = nn.Linear(3 * 8 * 8, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images.flatten(1))


class OtherChannels(nn.Sequential):
    """A network whose convolution sees pixels rearranged to 12 channels."""

    def __init__(self, classes: int, **_: object) -> None:
        super().__init__(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 1), nn.Flatten(), nn.Linear(4 * 4 * 4, classes))


@pytest.mark.parametrize("network", [NoConvolution, OtherChannels])
def test_a_network_without_a_convolution_of_colours_leaves_no_kernels(network, params, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "resnet23", Architecture(network, image_size=8))
    train.save(train.train(read_features(), params))
    assert len(load_checkpoint(CHECKPOINT_FILE).classes) == 10
    assert read_inspection(INSPECTION_FILE).kernels.shape == (0, 3, 1, 1)


def test_prediction_repeats_what_training_said_of_the_validation_images(trained):
    features, training = trained
    said = read_predictions(VAL_PREDICTIONS_FILE)
    assert said.files == [features.train.files[row] for row in features.val_indices]
    classifier = Classifier(load_checkpoint(CHECKPOINT_FILE), CPU, batch_size=7)
    data = classifier.dataset(features.train.images, features.train.targets, features.val_indices)
    assert np.allclose(classifier.probabilities(data), said.probabilities, atol=1e-5)
    accuracy = (said.predicted == said.labels).mean()
    assert accuracy == pytest.approx(training.result.history[training.result.best_epoch - 1].val_accuracy)


def test_the_same_seed_gives_the_same_checkpoint(params):
    features = read_features()
    for name in ("a.pth", "b.pth"):
        save_checkpoint(name, train.train(features, params).checkpoint)
    assert Path("a.pth").read_bytes() == Path("b.pth").read_bytes()


@pytest.mark.usefixtures("params")
def test_without_validation_the_last_epoch_is_kept_and_nothing_is_calibrated():
    features_stage.main(assignments=["features.val_fraction=0"])
    training = train.train(read_features(), load_params())
    train.save(training)
    assert training.result.best_epoch == 2
    assert training.checkpoint.decision.temperature is None
    assert read_predictions(VAL_PREDICTIONS_FILE).files == []


def test_metrics_count_the_test_images_and_the_training_images_without_validation(trained):
    features, _ = trained
    classifier = Classifier(load_checkpoint(CHECKPOINT_FILE), CPU, batch_size=32)
    predictions, metrics = predict.evaluate_splits(classifier, features)
    assert predictions.files == features.test.files
    assert metrics["accuracy"] == (predictions.predicted == features.test.targets).mean()
    assert next(iter(metrics)) == "train_accuracy"
    data = classifier.dataset(features.train.images, features.train.targets, features.train_indices)
    expected = (classifier.probabilities(data).argmax(axis=1) == features.train.targets[features.train_indices]).mean()
    assert metrics["train_accuracy"] == pytest.approx(expected)
    json.dumps(metrics, allow_nan=False)


def test_the_report_to_read_has_every_class_with_the_numbers_of_the_metrics(trained):
    features, _ = trained
    classifier = Classifier(load_checkpoint(CHECKPOINT_FILE), CPU, batch_size=32)
    predictions, metrics = predict.evaluate_splits(classifier, features)
    rows = [line.split() for line in report_text(predictions).splitlines() if line]
    expected = [
        [name, *(f"{scores[key]:.3f}" for key in ("precision", "recall", "f1")), str(scores["support"])]
        for name, scores in metrics["per_class"].items()
    ]
    assert rows[1:11] == expected


def test_a_wrong_name_is_found_before_any_data_is_read(project):
    with pytest.raises(InputError, match=r"model\.name"):
        train.main(assignments=["model.name=resnet99"])
    with pytest.raises(InputError, match=r"train\.optimizer"):
        train.main(assignments=["train.optimizer=sdg"])


@pytest.mark.usefixtures("params")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "train.augment.crop_padding=8",
            r"train\.augment\.crop_padding: found 8, expected less than .* size, 8",
        ),
        ("train.precision=fp16", r"train\.precision: found fp16, which needs a GPU"),
        ("train.phases=[{}, {trainable: from:layer9}]", r"train\.phases: trainable: found 'from:layer9'.*stages\.3"),
    ],
)
def test_what_does_not_fit_the_data_the_model_or_the_machine_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        train.main(assignments=[change, "tracking.enabled=false"])
    assert not HISTORY_FILE.exists()


@pytest.mark.usefixtures("params")
def test_patience_without_validation_is_refused():
    features_stage.main(assignments=["features.val_fraction=0"])
    with pytest.raises(InputError, match=r"train\.patience: found 2, but features\.val_fraction 0 leaves no"):
        train.main(assignments=["train.patience=2", "tracking.enabled=false"])


@pytest.mark.parametrize("change", ["order", "names"])
@pytest.mark.fault(22)
def test_a_model_of_other_classes_is_refused(trained, change):
    features, training = trained
    classes = features.classes[::-1] if change == "order" else [f"x{name}" for name in features.classes]
    save_checkpoint("other.pth", training.checkpoint.__class__(**{**vars(training.checkpoint), "classes": classes}))
    classifier = Classifier(load_checkpoint("other.pth"), CPU, batch_size=32)
    with pytest.raises(InputError, match="another order" if change == "order" else "only the model has x"):
        predict.evaluate_splits(classifier, features)


@pytest.fixture
def photos(trained) -> Path:
    """A folder of test images under awkward names, with one broken file."""
    features, _ = trained
    for index, name in enumerate(("plain.png", "with space.png", "línea\nnueva.png", "🐈.png", "sub/deep.PNG")):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(features.test.images[index])).save(Path("photos", name), format="png")
    Path("photos/broken.png").write_bytes(b"no image")
    Path("photos/notes.txt").write_text("not an image, not listed")
    return Path("photos")


def test_files_get_the_same_answer_as_the_arrays(trained, photos):
    features, _ = trained
    classifier = Classifier(load_checkpoint(CHECKPOINT_FILE), CPU, batch_size=2)
    expected = classifier.probabilities(classifier.dataset(features.test.images[:1], features.test.targets[:1]))
    found = list(predict_files(classifier, [photos / "plain.png", photos / "broken.png", photos / "🐈.png"]))
    assert np.allclose(found[0].probabilities, expected[0], atol=1e-6)
    assert found[1].probabilities is None
    assert found[1].error.startswith("not an image")
    assert found[2].error is None


@pytest.mark.parametrize("rule", ["crop", "pad", "stretch"])
def test_the_default_transform_is_what_the_classifier_does_to_a_photo(project, rule):
    changes = [f"data.resize={rule}", "data.image_size=16"]
    datadownload(assignments=changes)
    features_stage.main(assignments=changes)
    checkpoint = train.train(read_features(), load_params(assignments=["train.epochs=1"])).checkpoint
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 40, 3), dtype=np.uint8))
    photo.save("photo.png")
    with torch.no_grad():
        logits = checkpoint.build_model()(get_default_transform()(photo)[None])
    found = next(predict_files(Classifier(checkpoint, CPU, 4), [Path("photo.png")]))
    expected = (logits / checkpoint.decision.temperature).softmax(dim=1)[0]
    assert np.allclose(found.probabilities, expected, atol=1e-6)


@pytest.mark.fault(23, 25)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_table_holds_every_file_in_order(photos, capsys, suffix):
    predict.main(images=[photos], output=Path(f"table{suffix}"))
    printed = capsys.readouterr().out.splitlines()
    with open(f"table{suffix}", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file)) if suffix == ".csv" else json.load(file)
    assert len(printed) == len(rows) == 6
    names = [row["file"].removeprefix("photos/") for row in rows]
    assert names == sorted(["plain.png", "with space.png", "línea\nnueva.png", "🐈.png", "sub/deep.PNG", "broken.png"])
    broken = rows[names.index("broken.png")]
    assert (broken["class"], bool(broken["error"])) == ("", True)
    top = rows[names.index("plain.png")]["top5"]
    assert len(json.loads(top) if suffix == ".csv" else top) == 5


@pytest.mark.fault(23)
def test_strict_ends_with_an_error_and_keeps_the_table(photos):
    with pytest.raises(InputError, match="1 of 6 files"):
        predict.main(images=[photos], output=Path("table.csv"), strict=True)
    assert Path("table.csv").exists()


@pytest.mark.parametrize(
    ("images", "output", "message"),
    [
        ([Path("missing.png")], None, "missing.png: no such file"),
        ([Path("x" * 300)], None, "x: no such file"),
        ([Path("empty")], None, "no images in this folder"),
        ([Path("photos")], Path("table.xlsx"), "ends in .csv or .json"),
        (None, Path("table.csv"), "no images to go with it"),
    ],
)
def test_a_wrong_call_is_one_clear_line(photos, images, output, message):
    Path("empty").mkdir()
    with pytest.raises(InputError, match=message):
        predict.main(images=images, output=output)
