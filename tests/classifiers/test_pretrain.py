"""Pre-training an encoder: what it leaves, that anybody can use it, and that an interrupted one goes on."""

import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_features import make_features
from small_project import SHRUNK

from Resnet23.arrays import Features, read_features
from Resnet23.classifiers import pretrain
from Resnet23.config import Params, load_params
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.history import read_history
from Resnet23.modeling.resume import ResumeFile
from Resnet23.project import write_params
from Resnet23.resuming import RESUME_DIR

transformers = pytest.importorskip("transformers")

Finished = tuple[Features, Params, pretrain.Pretrained]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shrunk project with its features made."""
    folder = tmp_path_factory.mktemp("encoder")
    make_features(folder, [*SHRUNK, "tracking.enabled=false", "train.learning_rate=0.02"])
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> Finished:
    """The same after pre-training, and what was trained."""
    with chdir(folder):
        features, params = read_features(), load_params()
        trained = pretrain.pretrain(features, params)
        pretrain.save(trained, features, params)
    return features, params, trained


def test_anybody_gets_the_trained_features_from_the_folder(folder, finished):
    features, _, trained = finished
    encoder = transformers.AutoModel.from_pretrained(folder / "models/encoder")
    processor = transformers.AutoImageProcessor.from_pretrained(folder / "models/encoder")
    assert encoder.config.depths == [1, 1, 1, 1]
    data = FeatureDataset(features.test.images, features.test.targets, features.mean, features.std)
    pictures = [Image.fromarray(np.array(image)) for image in features.test.images[:4]]
    with torch.no_grad():
        expected = trained.network.eval()(torch.stack([data[index][0] for index in range(4)]))
        prepared = processor(pictures, return_tensors="pt")
        assert prepared["pixel_values"].shape == (4, 3, 64, 64)
        found = encoder(**prepared).pooler_output.flatten(1)
        assert found.shape == (4, 512)
        logits = trained.network.classifier(found)
    assert torch.allclose(logits, expected, atol=0.02)  # the processor rounds enlarged pixels to whole numbers


def test_the_chosen_epoch_is_the_one_that_is_saved_and_evaluated(finished):
    features, _, trained = finished
    accuracies = [(record.val_accuracy, -record.val_loss) for record in trained.result.history]
    assert trained.result.best_epoch == 1 + accuracies.index(max(accuracies))
    assert trained.test.accuracy == np.mean(trained.test.logits.argmax(dim=1).numpy() == features.test.targets)
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, trained.result.state_dict[name]), name


def test_the_card_and_the_history_say_what_was_reached(folder, finished):
    features, _, trained = finished
    card = (folder / "models/encoder/README.md").read_text(encoding="utf-8")
    for part in (f"{trained.test.accuracy:.2%}", features.digest, "digits: 180 images", '"epochs": 2', "with 64"):
        assert part in card
    history = read_history(folder / "models/encoder/history.csv")
    assert history["val_accuracy"].tolist() == [record.val_accuracy for record in trained.result.history]


def test_training_lowers_the_loss(finished):
    losses = [record.train_loss for record in finished[2].result.history]
    assert losses[-1] < losses[0]


@pytest.mark.fault(15)
def test_an_interrupted_training_ends_with_the_same_weights(folder, finished, tmp_path):
    features, params, trained = finished

    def interrupt(record):
        raise KeyboardInterrupt

    resume = ResumeFile(tmp_path / "resume")
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(features, params, interrupt, resume)
    resumed = pretrain.pretrain(features, params, resume=resume)
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_the_command_trains_as_asked_and_leaves_nothing_else(folder, finished, tmp_path, repository):
    (tmp_path / "data").symlink_to(folder / "data")
    with chdir(repository):
        write_params(tmp_path / "params.yaml", finished[1].model_dump(), "tests")
    result = subprocess.run(
        [sys.executable, "-m", "Resnet23.classifiers.pretrain", "--epochs", "1", "--set", "train.batch_size=60"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "test accuracy" in result.stdout
    assert "epoch 1/1" in result.stderr
    made = {path.name for path in (tmp_path / "models/encoder").iterdir()}
    assert made == {"config.json", "model.safetensors", "preprocessor_config.json", "history.csv", "README.md"}
    assert {path.name for path in (tmp_path / RESUME_DIR).iterdir()} == {"lock", "pid"}


@pytest.mark.parametrize(("stored", "seen"), [(8, 64), (32, 64), (64, 64), (224, 224)])
def test_small_images_are_enlarged(stored, seen):
    assert pretrain.input_size(stored) == seen


def test_without_transformers_the_extra_is_named(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"Resnet23\[heads\]"):
        pretrain.main()
