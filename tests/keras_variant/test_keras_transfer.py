"""A network of keras.applications in the whole pipeline: from random weights, and from a file in two phases."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from small_features import make_features

from Resnet23.arrays import read_features
from Resnet23.history import EpochRecord, read_history
from Resnet23.keras_variant import callbacks, train
from Resnet23.keras_variant.applications import BACKBONE
from Resnet23.keras_variant.architectures import create_model
from Resnet23.keras_variant.fit import build_trainer, fit, leaf_layers
from Resnet23.keras_variant.params import KerasParams
from Resnet23.keras_variant.resume import RESUME_DIR, ResumeFolder
from Resnet23.keras_variant.saved import load_classifier
from Resnet23.outputs import KERAS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras")]
NAME = "mobilenet_v3_large"
PLAIN = {
    "batch_size": 32,
    "augment": {"flip": "none", "rotation": 0.0, "zoom": 0.0},
    "precision": "float32",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, keras) -> Path:
    """A project with the features of some digits at 32 pixels."""
    folder = tmp_path_factory.mktemp("digits")
    make_features(folder, ["data.dataset=digits", "data.image_size=32", "data.max_per_class={train: 80, test: 10}"])
    return folder


@pytest.fixture(autouse=True)
def in_project(project, monkeypatch):
    monkeypatch.chdir(project)


def test_from_random_weights_validation_follows_training(tmp_path):
    """With Keras's momentum of 0.999 in BatchNorm, validation stays at chance."""
    params = KerasParams.model_validate({"model": {"name": NAME}, "train": {"epochs": 4, **PLAIN}})
    history = fit(read_features(), params, "float32", ResumeFolder(tmp_path)).history
    assert history[-1].train_accuracy > 0.4
    assert history[-1].val_accuracy > 0.25


def weights_of(network, kind: str) -> dict[str, list[np.ndarray]]:
    """The weights of the layers of a class below the classifier, by the layer's name."""
    layers = leaf_layers(network.get_layer(BACKBONE))
    return {layer.name: layer.get_weights() for layer in layers if type(layer).__name__ == kind}


def are_equal(found: dict[str, list[np.ndarray]], expected: dict[str, list[np.ndarray]]) -> bool:
    assert found.keys() == expected.keys()
    return all(np.array_equal(*pair) for name in found for pair in zip(found[name], expected[name], strict=True))


def saved_network(params: KerasParams, epoch: int):
    """The network as the state after this epoch has it."""
    trainer = build_trainer(read_features(), params)
    (file,) = RESUME_DIR.glob(f"*/network-{epoch}.weights.h5")
    trainer.load_weights(file)
    return trainer.layers[-1]


def main_until(epoch: int, monkeypatch) -> None:
    """Run the stage, and break it off as this epoch ends, before its state is saved."""

    def break_off(record: EpochRecord, epochs: int) -> str:
        if record.epoch == epoch:
            raise InterruptedError
        return ""

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(train, "_line", break_off)
        train.main(Path("keras.yaml"))


def test_from_a_published_file_in_two_phases_with_interruptions(keras, monkeypatch):
    published = create_model(NAME, 10, 32)
    for layer in leaf_layers(published):
        if isinstance(layer, keras.layers.BatchNormalization):  # statistics that are not those of a beginning
            layer.moving_mean.assign(layer.moving_mean + 0.1)
    published.get_layer(BACKBONE).save("notop.h5")
    sections = {
        "model": {"name": NAME, "weights": "notop.h5"},
        "train": {"epochs": 3, "freeze_epochs": 1, "fine_tune_rate": 1e-3, **PLAIN},
        "tracking": {"enabled": False},
    }
    params = KerasParams.model_validate(sections)
    YAML().dump(params.model_dump(), Path("keras.yaml"))
    monkeypatch.setattr(callbacks, "SAVE_SECONDS", 0.0)
    kinds = ("Conv2D", "DepthwiseConv2D", "BatchNormalization")
    before = {kind: weights_of(published, kind) for kind in kinds}

    main_until(2, monkeypatch)
    first = saved_network(params, 1)
    assert all(are_equal(weights_of(first, kind), before[kind]) for kind in kinds)
    main_until(3, monkeypatch)
    second = saved_network(params, 2)
    assert [are_equal(weights_of(second, kind), before[kind]) for kind in kinds] == [False, False, True]
    train.main(Path("keras.yaml"))
    network = load_classifier().network
    assert are_equal(weights_of(network, "BatchNormalization"), before["BatchNormalization"])
    rates = read_history(KERAS.history)["learning_rate"]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3])
