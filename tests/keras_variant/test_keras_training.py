"""The Keras pipeline's training and predictions: what they write, that they can be repeated and interrupted."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from small_features import make_features
from small_project import REPOSITORY

from Resnet23.arrays import Features, read_features
from Resnet23.command import explain
from Resnet23.config import read_yaml
from Resnet23.errors import Diverged, InputError, IntegrityError
from Resnet23.history import EpochRecord, best_epoch, read_history
from Resnet23.keras_variant import callbacks, predict, resume, train
from Resnet23.keras_variant import fit as fit_module
from Resnet23.keras_variant.architectures import create_model
from Resnet23.keras_variant.augment import augmentation_layers
from Resnet23.keras_variant.calibration import calibrated, fit_temperature
from Resnet23.keras_variant.callbacks import build_callbacks
from Resnet23.keras_variant.data import Batches
from Resnet23.keras_variant.fit import Fitted, build_trainer, fit, leaf_layers
from Resnet23.keras_variant.params import KerasAugmentParams, KerasParams
from Resnet23.keras_variant.parts import mean_and_std
from Resnet23.keras_variant.precision import choose_precision, native_policy
from Resnet23.keras_variant.resume import RESUME_DIR, ResumeFolder, resume_folder
from Resnet23.keras_variant.saved import check_fit, load_classifier, save
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.outputs import KERAS
from Resnet23.plots import write_report
from Resnet23.results import read_results
from Resnet23.resuming import RUN_FILE, remove_old_states, training_lock
from Resnet23.tracking.store import STORE_FILE, store_uri

pytestmark = pytest.mark.usefixtures("keras")
DATA = ["data.dataset=digits", "data.image_size=8", "data.max_per_class={train: 20, test: 5}"]
EVERYTHING = {  # that draws random numbers or remembers something from one epoch to the next
    "model": {"name": "small_cnn_sequential", "width": 4, "dropout": 0.2},
    "train": {
        "epochs": 4,
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "augment": {"flip": "horizontal", "rotation": 0.05, "zoom": 0.1},
        "reduce_on_plateau": {"epochs": 1, "factor": 0.5},
        "patience": 4,
        "precision": "float32",
    },
    "tracking": {"enabled": False},
    "plots": {"dpi": 50, "examples": 4},
}
NO_AUGMENT = {"flip": "none", "rotation": 0.0, "zoom": 0.0}


class Interrupted(Exception):
    """Stands for whatever ends a training in its middle."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory, own_process) -> Path:
    """A project with the features of a few digits."""
    folder = tmp_path_factory.mktemp("digits")
    make_features(folder, DATA)
    return folder


@pytest.fixture
def features(digits, monkeypatch) -> Features:
    monkeypatch.chdir(digits)
    return read_features()


def parameters(**train_changes: object) -> KerasParams:
    """Everything on, but for these keys of the section train."""
    return KerasParams.model_validate({**EVERYTHING, "train": {**EVERYTHING["train"], **train_changes}})


def with_random_targets(features: Features) -> Features:
    """The images, with classes that have nothing to do with them."""
    targets = np.random.default_rng(0).integers(0, 10, len(features.train))
    return replace(features, train=replace(features.train, targets=targets))


def weights_of(fitted: Fitted) -> list[np.ndarray]:
    return fitted.network.get_weights()


def numbers(records: list[EpochRecord]) -> list[tuple[float | None, ...]]:
    """What must not depend on the clock."""
    return [(r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.learning_rate) for r in records]


def fit_interrupted(features: Features, params: KerasParams, folder: Path, after: int) -> Fitted:
    """The result of a training that is broken off after so many epochs and taken up again."""

    def break_off(record: EpochRecord) -> None:
        if record.epoch == after + 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(features, params, "float32", ResumeFolder(folder), break_off)
    seen = []
    fitted = fit(features, params, "float32", ResumeFolder(folder), seen.append)
    assert [record.epoch for record in seen] == list(range(after + 1, params.train.epochs + 1))
    return fitted


# ----------------------------------------------------------------------------------------------------------------------
# Data


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own(features):
    rows = features.train_indices
    batches = list(Batches(features.train, 10).training(rows, 32, 3, range(2)))
    assert all(len(images) <= 32 for images, _ in batches)
    images = np.concatenate([np.asarray(each) for each, _ in batches])
    targets = np.concatenate([np.asarray(each) for _, each in batches])
    first, second = np.split(images, 2)
    expected = features.train.images[rows].astype(np.float32)
    for epoch in (first, second):
        assert sorted(image.tobytes() for image in epoch) == sorted(image.tobytes() for image in expected)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, expected)
    known = {image.tobytes(): target for image, target in zip(expected, features.train.targets[rows], strict=True)}
    assert [known[image.tobytes()] for image in images] == targets.argmax(axis=1).tolist()


def test_a_later_start_continues_the_same_order(features):
    batches, rows = Batches(features.train, 10), features.train_indices
    whole, part = (
        [np.asarray(images) for images, _ in batches.training(rows, 64, 3, epochs)]
        for epochs in (range(3), range(1, 3))
    )
    assert len(part) == len(whole) * 2 // 3
    for expected, found in zip(whole[-len(part) :], part, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_ordered_batches_are_the_images_as_they_are(features):
    rows = np.array([5, 3, 9])
    ((images, targets),) = Batches(features.train, 10).ordered(rows, 4)
    np.testing.assert_array_equal(images, features.train.images[rows])
    np.testing.assert_array_equal(np.asarray(targets).argmax(axis=1), features.train.targets[rows])


def test_augmentation_is_off_where_it_is_off_and_changes_only_training_images(keras, features):
    assert augmentation_layers(KerasAugmentParams(**NO_AUGMENT)) == []
    layers = augmentation_layers(KerasAugmentParams())
    assert [type(layer).__name__ for layer in layers] == ["RandomFlip", "RandomRotation", "RandomZoom"]
    images = features.train.images[:16].astype(np.float32)
    for layer in layers:
        np.testing.assert_array_equal(layer(images, training=False), images)
        assert not np.array_equal(layer(images, training=True), images)


def test_images_in_files_are_the_same_and_a_damaged_one_is_named(features, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_features(tmp_path, [*DATA, "features.storage=files"])
    train, rows = read_features().train, np.arange(70)
    found = [np.asarray(images) for images, _ in Batches(train, 10).ordered(rows, 16)]
    np.testing.assert_array_equal(np.concatenate(found), features.train.images[rows])
    file = Path("data/processed", train.files[33])
    file.write_bytes(file.read_bytes()[:-20])
    batches = Batches(train, 10)
    with pytest.raises(InputError, match=f"{file.name}.*run `make data`"), batches.own_errors():
        list(batches.ordered(rows, 16))


# ----------------------------------------------------------------------------------------------------------------------
# Training


def test_the_same_seed_gives_the_same_numbers(features, tmp_path):
    first, again = (fit(features, parameters(), "float32", ResumeFolder(tmp_path / name)) for name in "ab")
    assert numbers(first.history) == numbers(again.history)
    for found, expected in zip(weights_of(again), weights_of(first), strict=True):
        np.testing.assert_array_equal(found, expected)
    other = parameters().model_copy(update={"seed": 1})
    assert numbers(fit(features, other, "float32", ResumeFolder(tmp_path / "c")).history) != numbers(first.history)


@pytest.mark.parametrize("frozen", [0, 2])
def test_an_interrupted_training_ends_as_one_that_was_not(frozen, features, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "SAVE_SECONDS", 0.0)
    params = parameters(freeze_epochs=frozen, fine_tune_rate=0.002)
    whole = fit(features, params, "float32", ResumeFolder(tmp_path / "whole"))
    for after in (1, 2, 3):  # with frozen layers: in the first phase, between both, in the second
        resumed = fit_interrupted(features, params, tmp_path / str(after), after)
        assert numbers(resumed.history) == numbers(whole.history)
        assert resumed.best_epoch == whole.best_epoch
        for found, expected in zip(weights_of(resumed), weights_of(whole), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_best_epoch_on_validation_is_kept(features, tmp_path):
    fitted = fit(features, parameters(learning_rate=0.05), "float32", ResumeFolder(tmp_path))
    accuracies = [record.val_accuracy for record in fitted.history]
    assert fitted.history[fitted.best_epoch - 1].val_accuracy == max(accuracies)
    logits = fitted.network.predict(features.train.images[features.val_indices].astype(np.float32), verbose=0)
    found = (logits.argmax(axis=1) == features.train.targets[features.val_indices]).mean()
    assert found == pytest.approx(max(accuracies), abs=1e-6)


def test_without_validation_the_last_epoch_is_kept(features, tmp_path):
    alone = replace(features, info={**features.info, "val_indices": []})
    fitted = fit(alone, parameters(patience=0, epochs=2), "float32", ResumeFolder(tmp_path))
    assert fitted.best_epoch == 2
    assert {record.val_loss for record in fitted.history} == {None}


def test_tensorboard_gets_the_course_of_the_training(features, tmp_path):
    board = tmp_path / "board"
    fit(features, parameters(epochs=1), "float32", ResumeFolder(tmp_path / "state"), tensorboard=board)
    assert {file.parent.name for file in board.rglob("events.out.tfevents.*")} == {"train", "validation"}


def test_patience_ends_a_training_that_learns_nothing(features, tmp_path):
    noise = with_random_targets(features)
    fitted = fit(noise, parameters(epochs=30, patience=2), "float32", ResumeFolder(tmp_path))
    assert len(fitted.history) == fitted.best_epoch + 2 < 30


def test_a_plateau_lowers_the_learning_rate(features, tmp_path):
    noise = with_random_targets(features)
    params = parameters(learning_rate=0.05, reduce_on_plateau={"epochs": 1, "factor": 0.5}, epochs=5, patience=0)
    history = fit(noise, params, "float32", ResumeFolder(tmp_path)).history
    expected, rate, best = [], 0.05, math.inf
    for record in history:
        expected.append(rate)
        rate, best = (rate, record.val_loss) if record.val_loss < best - 1e-4 else (0.5 * rate, best)
    assert [record.learning_rate for record in history] == pytest.approx(expected)
    assert expected[-1] < 0.05


def test_frozen_layers_stay_as_they_are(keras, features, tmp_path):
    params = parameters(freeze_epochs=1, epochs=1)
    keras.utils.set_random_seed(params.seed)
    before = build_trainer(features, params).layers[-1].weights
    after = fit(features, params, "float32", ResumeFolder(tmp_path)).network.weights
    changed = [
        "/".join(new.path.split("/")[-2:])
        for old, new in zip(before, after, strict=True)
        if not np.array_equal(old, new)
    ]
    assert changed == ["classifier/kernel", "classifier/bias"]


def test_the_second_phase_trains_all_but_batch_norm(keras, features, tmp_path):
    alone = replace(features, info={**features.info, "val_indices": []})  # so that the last epoch is kept
    params = parameters(freeze_epochs=1, epochs=2, patience=0, fine_tune_rate=0.005)
    keras.utils.set_random_seed(params.seed)
    before = list(leaf_layers(build_trainer(alone, params).layers[-1]))
    fitted = fit(alone, params, "float32", ResumeFolder(tmp_path))
    assert fitted.best_epoch == 2
    for old, new in zip(before, leaf_layers(fitted.network), strict=True):
        is_norm = isinstance(new, keras.layers.BatchNormalization | keras.layers.Normalization)
        for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
            assert np.array_equal(one, other) == is_norm, new.name
    assert [record.learning_rate for record in fitted.history] == pytest.approx([0.01, 0.005])


def test_a_training_in_mixed_precision_leaves_a_network_in_float32(keras, features, tmp_path, monkeypatch):
    computed = []

    def note(training, state):
        computed.extend(layer.compute_dtype for layer in leaf_layers(training.model.layers[-1]))
        return build_callbacks(training, state)

    monkeypatch.setattr(fit_module, "build_callbacks", note)
    fitted = fit(features, parameters(epochs=1), "mixed_bfloat16", ResumeFolder(tmp_path))
    assert computed.count("bfloat16") > computed.count("float32") > 0
    assert {layer.compute_dtype for layer in leaf_layers(fitted.network)} == {"float32"}
    assert math.isfinite(fitted.history[0].train_loss)


def test_a_failed_training_leaves_the_precision_as_it_was(keras, features, tmp_path):
    with pytest.raises(InputError, match="is no file"):
        broken = KerasParams.model_validate({"model": {"weights": "none.keras"}})
        fit(features, broken, "mixed_bfloat16", ResumeFolder(tmp_path))
    assert keras.config.dtype_policy().name == "float32"


def test_a_file_of_weights_is_needed_at_the_beginning_only(keras, features, tmp_path):
    file, mean = tmp_path / "start.keras", (0.1, 0.2, 0.3)
    create_model("small_cnn_sequential", 10, 8, width=4, mean=mean).save(file)
    params = parameters(epochs=1)
    params = params.model_copy(update={"model": params.model.model_copy(update={"weights": str(file)})})
    fitted = fit(features, params, "float32", ResumeFolder(tmp_path / "state"), lambda record: file.unlink())
    assert mean_and_std(fitted.network)[0] == pytest.approx(mean)  # the file's and not the features'


def test_a_loss_that_is_no_number_ends_the_training(features, tmp_path):
    params = parameters(optimizer="sgd", learning_rate=1e30, epochs=3)
    with pytest.raises(Diverged, match=r"at epoch 1, step \d, learning rate 1e\+30"):
        fit(features, params, "float32", ResumeFolder(tmp_path))


# ----------------------------------------------------------------------------------------------------------------------
# The stages


@pytest.fixture(scope="session")
def finished(digits, keras) -> Path:
    """The project after the three stages."""
    from contextlib import chdir

    with chdir(digits):
        write_params(digits / "keras.yaml")
        train.main(Path("keras.yaml"))
        predict.main(Path("keras.yaml"))
        write_report(KERAS, parameters())
    return digits


def write_params(path: Path) -> None:
    """The parameters of these tests as a file."""
    YAML().dump(parameters().model_dump(), path)


def test_a_run_holds_both_pipelines_stages_and_survives_an_interruption(finished, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks, "SAVE_SECONDS", 0.0)
    Path("data").symlink_to(finished / "data")
    params = parameters(epochs=3).model_dump() | {"tracking": {"enabled": True}}
    YAML().dump(params, Path("keras.yaml"))

    def break_off(record: EpochRecord, epochs: int) -> str:
        if record.epoch == 3:
            raise Interrupted
        return ""

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(train, "_line", break_off)
        train.main(Path("keras.yaml"))
    (unfinished,) = [json.loads(path.read_text()) for path in RESUME_DIR.glob(f"*/{RUN_FILE}")]
    train.main(Path("keras.yaml"))
    predict.main(Path("keras.yaml"))
    recorded = json.loads(KERAS.run.read_text())
    assert recorded == unfinished
    client = MlflowClient(store_uri(STORE_FILE.resolve()))
    run = client.get_run(recorded["run_id"])
    assert (
        run.data.params.items()
        >= {
            "seed": "0",
            "model.name": "small_cnn_sequential",
            "epochs": "3",
            "augment.rotation": "0.05",
            "data.dataset": "digits",
            "data.image_size": "8",
            "features.storage": "array",
            "features.counts.test": "50",
        }.items()
    )
    assert run.data.tags.items() >= {"framework": "Keras", "precision": "float32", "predict.batch_size": "256"}.items()
    assert run.data.tags["device"]
    history = read_history(KERAS.history)
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in points] == list(enumerate(history[name], start=1))
    assert run.data.metrics["test_accuracy"] == json.loads(KERAS.metrics.read_text())["accuracy"]
    assert run.data.metrics["best_epoch"] == best_epoch(history) + 1
    assert "confusion_matrix.csv" in {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.fixture
def results(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return read_results(KERAS)


def test_the_stages_write_what_the_plots_read(results):
    history = read_history(KERAS.history)
    assert len(history["epoch"]) == 4
    assert np.isnan(history["data_wait"]).all()
    assert results.inspection.batch.shape == (64, 8, 8, 3)
    assert results.inspection.kernels.shape == (4, 3, 3, 3)
    assert KERAS.page.is_file() and len(list(KERAS.figures.iterdir())) == 8
    assert results.run["run_id"] is None  # tracking is off
    assert sorted(path.name for path in RESUME_DIR.iterdir()) == ["lock", "pid"]
    assert not list(Path().rglob(".writing-*"))


def test_training_and_prediction_say_the_same_of_the_validation_images(results):
    history = read_history(KERAS.history)
    found = (results.validation.predicted == results.validation.labels).mean()
    assert found == pytest.approx(history["val_accuracy"][best_epoch(history)], abs=1e-6)
    classifier = load_classifier()
    again = classifier.probabilities(results.features.train, results.features.val_indices, 16)
    np.testing.assert_allclose(again, results.validation.probabilities, atol=1e-6)
    assert results.validation.probabilities.sum(axis=1) == pytest.approx(1)


def test_the_metrics_are_those_of_the_predictions(results):
    expected = classification_metrics(
        results.features.test.targets, results.predictions.probabilities, results.features.classes
    )
    assert results.metrics["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert results.metrics["confusion_matrix"] == expected["confusion_matrix"]


def test_the_file_says_what_its_outputs_mean(results):
    classifier = load_classifier()
    assert classifier.classes == [str(digit) for digit in range(10)]
    about = classifier.description
    assert about["preprocessing"]["image_size"] == 8
    assert about["model"]["name"] == "small_cnn_sequential"
    assert 0.05 < classifier.temperature < 20
    assert (about["task"], about["decision"]["thresholds"]) == ("multiclass", None)


def test_files_that_do_not_fit_are_refused(results, tmp_path):
    with pytest.raises(InputError, match="make train-keras"):
        load_classifier(tmp_path / "none.keras")
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(KERAS.checkpoint.read_bytes()[:1000])
    with pytest.raises(IntegrityError, match="damaged"):
        load_classifier(damaged)
    about = load_classifier().description
    for wrong, message in (
        ({"classes": []}, "classes: "),
        ({"decision": {}}, r"decision\.temperature: Field required"),
    ):
        save(load_classifier().network, damaged, {**about, **wrong})
        with pytest.raises(IntegrityError, match=message):
            load_classifier(damaged)
    features = results.features
    with pytest.raises(InputError, match="train again"):
        check_fit(load_classifier(), replace(features, info={**features.info, "classes": features.classes[::-1]}))


def test_a_training_that_is_not_possible_is_refused_before_it_begins(features):
    for params, changes, message in (
        (parameters(), {"task": "multilabel"}, "labelled for multilabel"),
        (parameters(patience=2), {"val_indices": []}, r"train\.patience"),
        (parameters(freeze_epochs=1), {}, r"train\.freeze_epochs"),
        (KerasParams.model_validate({"model": {"name": "inception_v3"}}), {}, "takes images from 75 pixels on"),
        (KerasParams.model_validate({"model": {"weights": "none.keras"}}), {}, "none.keras, which is no file"),
    ):
        with pytest.raises(InputError, match=message):
            train.check_training(replace(features, info={**features.info, **changes}), params)


def test_the_state_belongs_to_everything_that_decides(features):
    own = resume_folder(parameters(), features, "float32").folder
    assert resume_folder(parameters(), features, "float32").folder == own
    others = [
        resume_folder(parameters(epochs=5), features, "float32"),
        resume_folder(parameters(), features, "mixed_bfloat16"),
        resume_folder(parameters(), replace(features, info={**features.info, "val_indices": []}), "float32"),
    ]
    assert len({own, *(other.folder for other in others)}) == 4


def test_old_states_go_and_one_training_runs_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [RESUME_DIR / name for name in "abcde"]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / RUN_FILE).write_text("{}")
        os.utime(folder, (number, number))
    remove_old_states(folders[0])
    assert sorted(RESUME_DIR.iterdir()) == [folders[0], *folders[2:]]
    other = f"process {os.getpid()}"
    with training_lock(RESUME_DIR), pytest.raises(InputError, match=other), training_lock(RESUME_DIR):
        pass
    with training_lock(RESUME_DIR):
        pass


def test_the_code_that_counts_is_what_dvc_watches():
    """In a process that has imported the stage and nothing else."""
    program = """
import json, Resnet23.keras_variant.train
from Resnet23.resuming import code_files
print(json.dumps([f"Resnet23/{file.as_posix()}" for file in code_files()]))
"""
    output = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    deps = read_yaml(REPOSITORY / "pipelines/keras/dvc.yaml")["stages"]["train"]["deps"]
    assert sorted(json.loads(output.stdout)) == sorted(path for path in deps if path.endswith(".py"))


@pytest.mark.parametrize("kind", ["state.json", "network-2.weights.h5", "best-*.weights.h5"])
def test_a_damaged_state_is_reported_and_training_starts_anew(kind, features, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(resume.logger, "warning", (warnings := []).append)

    def break_off(record: EpochRecord) -> None:
        if record.epoch == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(features, parameters(), "float32", ResumeFolder(tmp_path), break_off)
    state = json.loads((tmp_path / "state.json").read_text())
    file = next(path for path in tmp_path.glob(kind) if path.name in {*state["files"], "state.json"})
    file.write_bytes(file.read_bytes()[:-100])
    seen = []
    fit(features, parameters(), "float32", ResumeFolder(tmp_path), seen.append)
    assert [record.epoch for record in seen] == [1, 2, 3, 4]
    assert len(warnings) == 1 and "damaged" in warnings[0]


def test_a_validation_loss_that_is_no_number_can_be_saved(keras, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    folder = ResumeFolder(tmp_path)
    model.save_weights(folder.best(1))
    folder.save(model, {"records": [{"val_loss": math.nan}], "plateau": {"best": math.inf, "wait": 0}}, 2, 1)
    assert folder.load()["plateau"] == {"best": math.inf, "wait": 0}
    folder.save(model, {"records": []}, 3, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-1.weights.h5",
        "network-3.weights.h5",
        "state.json",
    ]


def test_stopped_by_a_signal_it_goes_on_and_ends_the_same(finished, tmp_path, monkeypatch):
    """The command itself, told to end while it trains, and started again."""
    (tmp_path / "data").symlink_to(finished / "data")
    params = parameters(epochs=30, patience=0)
    YAML().dump(params.model_dump(), tmp_path / "keras.yaml")
    program = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r});"
        "from Resnet23.command import run_command; from Resnet23.keras_variant import callbacks, train;"
        "callbacks.SAVE_SECONDS = 0.0; run_command(train.main)"
    )
    command = [sys.executable, "-c", program, "--params", "keras.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as stopped:
        while not list((tmp_path / RESUME_DIR).glob("*/state.json")):
            assert stopped.poll() is None
            time.sleep(0.01)
        stopped.terminate()
        assert "error: stopped by SIGTERM" in stopped.stderr.read()
    assert stopped.returncode == 143
    assert not (tmp_path / KERAS.history).exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "epoch 1/" not in again.stderr
    monkeypatch.chdir(tmp_path)
    whole = fit(read_features(), params, "float32", ResumeFolder(tmp_path / "whole")).history
    history = read_history(KERAS.history)
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        np.testing.assert_array_equal(history[name], [getattr(record, name) for record in whole])


# ----------------------------------------------------------------------------------------------------------------------
# Precision and calibration


@pytest.mark.parametrize(
    ("capability", "policy"),
    [
        (None, "float32"),
        ((6, 1), "float32"),
        ((7, 0), "mixed_float16"),
        ((8, 0), "mixed_bfloat16"),
        ((9, 0), "mixed_bfloat16"),
    ],
)
def test_the_precision_follows_the_hardware(capability, policy):
    assert native_policy(capability) == policy


def test_float16_without_a_gpu_is_refused(keras):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    assert choose_precision("auto")[0] == "float32"
    with pytest.raises(InputError, match="mixed_float16, which needs a GPU"):
        choose_precision("mixed_float16")


def test_a_gpu_without_memory_is_a_matter_of_the_batch_size(keras):
    import tensorflow as tf

    line, code = explain(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    assert code == 4
    assert "train.batch_size" in line


def test_the_temperature_has_the_lowest_loss():
    random = np.random.default_rng(0)
    honest = random.normal(size=(2000, 5))
    targets = (honest + random.gumbel(size=honest.shape)).argmax(axis=1)  # drawn with the softmax's probabilities
    found = fit_temperature(3 * honest, targets)
    assert found == pytest.approx(3, rel=0.15)

    def loss(temperature: float) -> float:
        probabilities = calibrated(3 * honest, temperature)
        return -np.log(probabilities[np.arange(2000), targets]).mean()

    assert loss(found) <= min(loss(temperature) for temperature in np.linspace(2, 4, 41)) + 1e-6
