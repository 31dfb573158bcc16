"""Answers averaged over an image and its mirror image, from the network to every use of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_checkpoint import example_batch, small_checkpoint

from Resnet23.explaining.maps import Explainer
from Resnet23.exporting.onnx_files import OnnxNetwork, write_onnx
from Resnet23.exporting.source import Source, as_pixels, describe
from Resnet23.modeling.checkpoint import load_model, save_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.zoo import create_model

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def pair(name: str):
    """A network that averages, and the same one without."""
    averaging = create_model(name, num_classes=5, width=4, dropout=0.0, final_dropout=0.0, average_flips=True)
    plain = create_model(name, num_classes=5, width=4, dropout=0.0, final_dropout=0.0)
    averaging.train()(IMAGES)  # for BatchNorm's statistics
    plain.load_state_dict(averaging.state_dict())
    return averaging, plain


@pytest.mark.parametrize("name", ["resnet10", "resnet23_whitened", "fast_cnn"])
def test_the_answer_is_the_mean_in_evaluation_and_plain_in_training(name):
    averaging, plain = (model.eval() for model in pair(name))
    expected = torch.stack([plain(IMAGES), plain(IMAGES.flip(-1))]).mean(dim=0)
    assert torch.allclose(averaging(IMAGES), expected, atol=1e-6)
    assert torch.allclose(averaging(IMAGES.flip(-1)), averaging(IMAGES), atol=1e-6)
    assert not torch.allclose(plain(IMAGES.flip(-1)), plain(IMAGES), atol=1e-6)
    assert torch.equal(averaging.train()(IMAGES), plain.train()(IMAGES))


def test_a_checkpoint_keeps_it(tmp_path):
    checkpoint = small_checkpoint()
    averaging = replace(checkpoint, model=checkpoint.model | {"average_flips": True})
    save_checkpoint(tmp_path / "model.pth", averaging)
    images = torch.from_numpy(example_batch())
    plain = checkpoint.build_model()
    expected = (plain(images) + plain(images.flip(-1))) / 2
    assert torch.allclose(load_model(tmp_path / "model.pth")(images), expected, atol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    classifier = Classifier(averaging, torch.device("cpu"), 64)
    there, back = (
        classifier.probabilities(classifier.dataset(each, np.zeros(40, np.int64)))
        for each in (pixels, pixels[:, :, ::-1].copy())
    )
    assert np.allclose(there, back, atol=1e-6)


def test_an_exported_network_averages_too(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the extra `export`")
    checkpoint = small_checkpoint()
    averaging = replace(checkpoint, model=checkpoint.model | {"average_flips": True})
    path = tmp_path / "model.onnx"
    path.write_bytes(write_onnx(Source(averaging, describe(averaging))))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    classifier, plain = (Classifier(each, torch.device("cpu"), 64) for each in (averaging, checkpoint))
    data = classifier.dataset(pixels, np.zeros(9, np.int64))
    found = OnnxNetwork(path)(as_pixels(pixels)).numpy()
    assert np.allclose(found, classifier.probabilities(data), atol=1e-5)
    assert not np.allclose(found, plain.probabilities(data), atol=1e-3)


def test_a_map_is_of_the_image_as_it_is():
    pytest.importorskip("captum", reason="captum comes with the extra `explain`")
    averaging, plain = (model.eval() for model in pair("resnet10"))
    image = IMAGES[:1]
    maps, expected = (Explainer(model, image).maps(image, [0, 3], [1, -1]) for model in (averaging, plain))
    assert expected.max() > 0
    assert np.allclose(2 * maps, expected, rtol=1e-4, atol=1e-6 * expected.max())
