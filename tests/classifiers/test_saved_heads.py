"""Heads as files, and an encoder with its head as one network."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_encoders import FEATURES, counting_encoder, save_hugging_face_encoder
from torch import nn

from Resnet23.classifiers import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.encoders import Encoder, load_encoder
from Resnet23.classifiers.saved import EncoderWithHead, TrainedHead, describe_head, load_head, save_head
from Resnet23.errors import InputError, IntegrityError
from Resnet23.modeling.inference import Classifier, predict_files

HEADS = {
    "binary": (create_binary_classifier_head, {}, ["cat"]),
    "multiclass": (create_multiclass_classifier_head, {"num_classes": 3}, ["ant", 'a "bee"', "cat\n🐈"]),
}


@pytest.fixture
def encoder(tmp_path) -> Encoder:
    return load_encoder(save_hugging_face_encoder(tmp_path / "encoder", image_size=16))


def make_head(kind: str) -> tuple[nn.Sequential, list[str]]:
    create, options, classes = HEADS[kind]
    torch.manual_seed(0)
    return create(FEATURES, 16, 0.2, **options).eval(), classes


@pytest.mark.parametrize("kind", HEADS)
def test_the_file_alone_rebuilds_the_head(tmp_path, encoder, kind):
    head, classes = make_head(kind)
    saved = describe_head(head, encoder, classes, threshold=0.25)
    save_head(tmp_path / "head.pth", saved)
    loaded = load_head(tmp_path / "head.pth")
    assert replace(loaded, state_dict={}) == replace(saved, state_dict={})
    assert (loaded.classes, loaded.encoder, loaded.dropout_rate) == (classes, str(tmp_path / "encoder"), 0.2)
    assert loaded.is_encoder_local
    features = torch.randn(4, FEATURES)
    assert torch.equal(loaded.build_head()(features), head(features))
    assert not loaded.build_head().training


def test_equal_heads_give_equal_bytes_and_never_write_through_a_link(tmp_path, encoder):
    saved = describe_head(make_head("binary")[0], encoder, ["cat"])
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"old")
        os.link(tmp_path / name, tmp_path / f"witness of {name}")
        save_head(tmp_path / name, saved)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert (tmp_path / "witness of a.pth").read_bytes() == b"old"


@pytest.mark.parametrize("damage", ["truncated", "foreign", "incomplete", "other weights", "code"])
@pytest.mark.fault(20, 21)
def test_a_damaged_or_foreign_file_is_refused_in_one_line(tmp_path, encoder, damage):
    path = tmp_path / "head.pth"
    save_head(path, describe_head(make_head("binary")[0], encoder, ["cat"]))
    content = torch.load(path, weights_only=True)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:4000])
    elif damage == "foreign":
        torch.save(content | {"format": "resnet23-checkpoint"}, path)
    elif damage == "incomplete":
        torch.save({key: value for key, value in content.items() if key != "classes"}, path)
    elif damage == "other weights":
        torch.save(content | {"hidden_features": 17}, path)
    else:
        path.write_bytes(pickle.dumps(os.getcwd, protocol=2))
    with pytest.raises(IntegrityError, match=r"head\.pth") as caught:
        load_head(path)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_refused(tmp_path, encoder):
    with pytest.raises(InputError, match=r"nothing\.pth: no such file"):
        load_head(tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="found 2 class names for a head with 1 logits"):
        describe_head(make_head("binary")[0], encoder, ["rest", "cat"])
    saved = describe_head(make_head("binary")[0], encoder, ["cat"])
    with pytest.raises(IntegrityError, match=r"other weights than .*encoder, which this head was trained on"):
        saved.attach_to(Encoder(counting_encoder()))


def test_encoder_and_head_are_one_network_that_can_be_exported(encoder):
    head, classes = make_head("multiclass")
    network = describe_head(head, encoder, classes).attach_to(encoder)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(network(images), head(encoder(images)))
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    assert torch.allclose(program.module()(images[:3]), network(images[:3]), atol=1e-6)


def test_training_the_whole_network_leaves_its_encoder_alone(encoder):
    network = EncoderWithHead(encoder, make_head("multiclass")[0]).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(torch.randn(4, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is not None for parameter in network.head.parameters())


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_and_its_encoder_predict_image_files(tmp_path, encoder, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    head, classes = make_head(kind)
    classifier = Classifier(TrainedHead(describe_head(head, encoder, classes), encoder), torch.device("cpu"), 8)
    (found,) = predict_files(classifier, [tmp_path / "image.png"])
    image = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / (
        torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
    )
    logits = head(encoder(image[None]))[0]
    expected = logits.sigmoid() if kind == "binary" else logits.softmax(dim=0)
    assert found.probabilities == pytest.approx(expected.detach().numpy(), abs=1e-5)
    assert classifier.classes == classes


def test_an_encoder_of_unknown_preprocessing_predicts_no_files():
    encoder = Encoder(counting_encoder())
    saved = describe_head(make_head("binary")[0], encoder, ["cat"])
    with pytest.raises(InputError, match="does not say how it wants its images"):
        Classifier(TrainedHead(saved, encoder), torch.device("cpu"), 8).dataset(np.zeros((1, 16, 16, 3)), np.zeros(1))
