"""Stages of our and others' networks: names, freezing, and what stays in evaluation mode."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from Resnet23.errors import InputError
from Resnet23.modeling.stages import freeze, stages_of, train_mode
from Resnet23.modeling.zoo import create_model

RESNET = ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
OURS = ["conv1", "stages.0", "stages.1", "stages.2", "stages.3", "classifier"]
OTHERS = {
    "densenet121": [
        "features.conv0",
        *(f"features.{name}{index}" for index in (1, 2, 3) for name in ("denseblock", "transition")),
        "features.denseblock4",
        "classifier",
    ],
    "efficientnet_b0": [*(f"features.{index}" for index in range(9)), "classifier"],
    "convnext_tiny": [*(f"features.{index}" for index in range(8)), "classifier"],
    "vgg11_bn": [*(f"features.{index}" for index in (0, 4, 8, 11, 15, 18, 22, 25)), "classifier"],
    "swin_t": [*(f"features.{index}" for index in range(8)), "head"],
    "shufflenet_v2_x0_5": ["conv1", "stage2", "stage3", "stage4", "conv5", "fc"],
    "regnet_y_400mf": ["stem", *(f"trunk_output.block{index}" for index in range(1, 5)), "fc"],
    "vit_b_16": ["conv_proj", *(f"encoder.layers.encoder_layer_{index}" for index in range(12)), "heads"],
}


class TokenNet(nn.Module):
    """What the others lack: a parameter of its own, blocks in a list, weights used twice, dropout on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.embed = nn.Linear(4, 4, bias=False)
        self.dropout = nn.Dropout(0.5)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 4)
        self.head.weight = self.embed.weight


def names_of(model: nn.Module, parameters: list[nn.Parameter]) -> list[str]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for parameter in parameters]


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "resnet23", "resnet34", "torchvision/resnet18", "resnet50"])
def test_the_stages_of_residual_networks(name):
    expected = RESNET if name in ("torchvision/resnet18", "resnet50") else OURS
    assert list(stages_of(create_model(name, num_classes=3, width=4))) == expected


def test_the_stages_of_timm_s_networks():
    pytest.importorskip("timm")
    blocks = [f"blocks.{index}" for index in range(7)]
    assert list(stages_of(create_model("efficientnet_lite0", 3))) == ["conv_stem", *blocks, "conv_head", "classifier"]
    blocks = [f"blocks.{index}" for index in range(6)]
    assert list(stages_of(create_model("timm/test_vit", 3))) == ["patch_embed", *blocks, "head"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_stages_of_others_models(name):
    with torch.device("cpu" if "regnet" in name else "meta"):  # sizes only, no memory
        model = get_model(name, weights=None)
    assert list(stages_of(model)) == OTHERS[name]


@pytest.mark.parametrize("trainable", ["all", "head", *(f"from:{stage}" for stage in OURS)])
def test_freezing_splits_the_parameters_at_the_stage(trainable):
    model = create_model("resnet10", num_classes=3, width=4)
    first = {"all": 0, "head": len(OURS) - 1}.get(trainable)
    first = OURS.index(trainable.removeprefix("from:")) if first is None else first
    stages = freeze(model, trainable)
    assert len(stages) == len(OURS) - first
    chosen = [parameter for stage in stages for parameter in stage]
    assert names_of(model, chosen) == [name for name, value in model.named_parameters() if value.requires_grad]
    for name, parameter in model.named_parameters():
        stage = next((index for index, prefix in enumerate(OURS) if name.startswith(f"{prefix}.")), 0)  # bn1: conv1
        assert parameter.requires_grad == (stage >= first), name


def test_a_later_phase_thaws_what_an_earlier_one_froze():
    model = create_model("resnet10", num_classes=3, width=4)
    freeze(model, "head")
    freeze(model, "all")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_parameters_of_the_model_itself_and_shared_ones_come_once_and_first():
    model = TokenNet()
    assert list(stages_of(model)) == ["embed", "blocks.0", "blocks.1", "head"]
    assert [names_of(model, stage) for stage in freeze(model, "all")] == [
        ["token", "embed.weight"],
        ["blocks.0.weight", "blocks.0.bias"],
        ["blocks.1.weight", "blocks.1.bias", "norm.weight", "norm.bias"],
        ["head.bias"],
    ]


def test_frozen_stages_stay_in_evaluation_mode():
    model = create_model("resnet10", num_classes=3, width=4).eval()
    train_mode(model, "from:stages.3")
    training = {name for name, module in model.named_modules() if module.training and "." not in name}
    assert training == {"", "stages", "final_dropout", "classifier"}
    assert [stage.training for stage in model.stages] == [False, False, False, True]
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(torch.randn(4, 3, 8, 8))
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]) != name.startswith("stages.3"), name
    train_mode(model, "all")
    assert all(module.training for module in model.modules())


def test_statistics_can_be_kept_while_everything_learns():
    model = create_model("resnet10", num_classes=3, width=4)
    train_mode(model, "all", freeze_statistics=True)
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.final_dropout.training


def test_dropout_before_a_frozen_stage_is_still_and_the_head_s_own_is_not():
    model = TokenNet()
    train_mode(model, "head")
    assert not model.dropout.training
    ours = create_model("resnet10", num_classes=3, width=4)
    train_mode(ours, "head")
    assert ours.final_dropout.training


@pytest.mark.parametrize("function", [freeze, train_mode])
def test_an_unknown_stage_lists_those_there_are(function):
    model = create_model("torchvision/resnet18", num_classes=3)
    with pytest.raises(InputError, match=r"train\.phases: trainable: found 'from:layr3'.*conv1, layer1, .*fc"):
        function(model, "from:layr3")


@pytest.mark.parametrize("model", [nn.Linear(4, 3), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))])
def test_the_smallest_models_have_a_head(model):
    (head,) = freeze(model, "head")
    assert [parameter.shape for parameter in head] == [(3, 4), (3,)]
