"""pipelines/keras/params.yaml and what presets say of it; neither TensorFlow nor Keras is needed."""

from pathlib import Path

import pytest
from package_imports import ROOT
from test_config import keys_of

from Resnet23.config import flatten, load_params, read_yaml
from Resnet23.errors import InputError
from Resnet23.keras_variant.architectures import check_model
from Resnet23.keras_variant.params import (
    KERAS_PARAMS_FILE,
    KerasAugmentParams,
    KerasModelParams,
    KerasParams,
    KerasTrainParams,
    load_keras_params,
)


@pytest.fixture
def params_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("presets").mkdir()
    return tmp_path / "params.yaml"


def test_the_shipped_parameters_name_every_key_and_explain_it():
    lines = (ROOT / KERAS_PARAMS_FILE).read_text(encoding="utf-8").splitlines()
    assert set(flatten(read_yaml(ROOT / KERAS_PARAMS_FILE))) == keys_of(KerasParams)
    unexplained = {line.split(":")[0].strip() for line in lines if ":" in line and "#" not in line}
    sections = {"model", "train", "plots", "reduce_on_plateau"}
    assert unexplained <= sections | {"batch_size", "learning_rate", "factor"}


@pytest.mark.parametrize("file", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda file: file.stem)
def test_what_a_preset_says_of_the_keras_pipeline_is_valid(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    params = load_keras_params(preset=file.stem)
    check_model(params.model.name, params.model.weights)


def test_each_pipeline_takes_its_own_part_of_a_preset(params_file):
    params_file.write_text("seed: 5\nmodel: {width: 8}\n")
    Path("presets/small.yaml").write_text("model: {width: 2}\nkeras: {model: {width: 3}, train: {epochs: 7}}\n")
    assert load_params(params_file, "small").model.width == 2
    twin = load_keras_params(params_file, "small", ["train.batch_size=4"])
    assert (twin.seed, twin.model.width, twin.train.epochs, twin.train.batch_size) == (5, 3, 7, 4)
    Path("presets/other.yaml").write_text("model: {width: 2}\n")
    assert load_keras_params(params_file, "other").model.width == 8  # from the file: that preset is not about Keras


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 1}", "did you mean epochs"),
        ("model: {final_dropout: 0.1}", "model.final_dropout: unknown key"),
        ("data: {dataset: digits}", "data: unknown key"),
        ("train: {optimizer: adams}", "train.optimizer: found 'adams'"),
        ("train: {augment: {rotation: 0.6}}", "train.augment.rotation: found 0.6"),
        ("train: {augment: {flip: random}}", "train.augment.flip: found 'random'"),
        ("tracking: {gradients: true}", "tracking.gradients: unknown key"),
        ("train: {epochs: 0}\nseed: -1", "seed: found -1"),
    ],
)
@pytest.mark.fault(12)
def test_what_is_wrong_is_refused_by_name(text, message, params_file):
    params_file.write_text(text)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load_keras_params(params_file)


def test_the_neutral_defaults_are_pinned():
    """A preset relies on them for the keys that it does not name."""
    assert KerasModelParams().model_dump() == {"name": "resnet23", "width": 64, "dropout": 0.0, "weights": None}
    assert KerasAugmentParams().model_dump() == {"flip": "horizontal", "rotation": 0.2, "zoom": 0.2}
    assert KerasTrainParams().model_dump(exclude={"augment"}) == {
        "epochs": 20,
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "freeze_epochs": 0,
        "fine_tune_rate": 1e-5,
        "patience": 0,
        "reduce_on_plateau": {"epochs": 0, "factor": 0.5},
        "precision": "auto",
    }
