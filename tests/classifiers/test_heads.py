"""The heads themselves, and several of them as one network."""

import inspect

import pytest
import torch
from torch import nn

import Resnet23.classifiers
from Resnet23.classifiers import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.stacked import StackedHeads

TRAINING = {
    "num_epochs": 10, "learning_rate": 0.001, "input_features": 512, "hidden_features": 256, "dropout_rate": 0.1,
}  # fmt: skip
CONTRACT = {
    "create_binary_classifier_head": ([], {"input_features": 512, "hidden_features": 256, "dropout_rate": 0.1}),
    "create_multiclass_classifier_head": (
        [], {"input_features": 512, "hidden_features": 256, "dropout_rate": 0.1, "num_classes": 10},
    ),
    "load_encoder": (["name_or_path"], {"trust_remote_code": False}),
    "one_vs_rest": (["dataset", "target_class"], {}),
    "train_binary_classifier": (["model", "train_loader", "val_loader", "device"], TRAINING),
    "train_multiclass_classifier": (
        ["model", "train_loader", "val_loader", "device"], TRAINING | {"num_classes": 10},
    ),
    "validate_binary_classifier": (["model", "classifier_head", "test_loader", "device"], {}),
    "validate_multiclass_classifier": (["model", "classifier_head", "test_loader", "device"], {}),
}  # fmt: skip


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_names_and_signatures_are_those_of_the_contract():
    assert set(CONTRACT) <= set(Resnet23.classifiers.__all__)
    for name, (required, defaults) in CONTRACT.items():
        parameters = inspect.signature(getattr(Resnet23.classifiers, name)).parameters
        assert list(parameters) == [*required, *defaults], name
        found = {
            key: value.default for key, value in parameters.items() if value.default is not inspect.Parameter.empty
        }
        assert found == defaults, name


def test_the_defaults_have_the_agreed_layers_and_parameters():
    binary, multiclass = create_binary_classifier_head(), create_multiclass_classifier_head()
    for head, outputs, count in ((binary, 1, 132_097), (multiclass, 10, 134_410)):
        assert [type(layer) for layer in head] == [nn.Dropout, nn.Linear, nn.LayerNorm, nn.Tanh, nn.Linear]
        assert parameter_count(head) == count
        assert head(torch.randn(3, 512)).shape == (3, outputs)
        assert head[0].p == 0.1


def test_arguments_shape_a_head():
    head = create_multiclass_classifier_head(8, 6, 0.5, num_classes=3)
    assert head(torch.randn(2, 8)).shape == (2, 3)
    assert (head[0].p, head[1].out_features) == (0.5, 6)


def test_stacked_heads_are_the_heads_beside_each_other():
    heads = [create_binary_classifier_head(8, 6).eval() for _ in range(3)]
    with torch.no_grad():
        for head in heads:
            nn.init.normal_(head[2].weight)
            nn.init.normal_(head[2].bias)
    stacked, features = StackedHeads(heads).eval(), torch.randn(5, 8)
    assert torch.allclose(stacked(features), torch.cat([head(features) for head in heads], dim=1), atol=1e-6)
    for head, original in zip(stacked.split(), heads, strict=True):
        assert not head.training
        assert torch.equal(head(features), original(features))


@pytest.mark.parametrize("is_training", [True, False])
def test_stacked_heads_drop_features_in_training_only(is_training):
    stacked = StackedHeads([create_binary_classifier_head(64, 6, 0.5) for _ in range(2)]).train(is_training)
    features = torch.randn(5, 64)
    assert torch.equal(stacked(features), stacked(features)) != is_training
