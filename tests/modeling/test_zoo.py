"""Every network that params.yaml can name: shapes, gradients, what is frozen, stems, and the table."""

import re

import pytest
import torch
import torchvision
from torch import nn

from Resnet23.config import TrainParams
from Resnet23.errors import InputError
from Resnet23.modeling import zoo_table
from Resnet23.modeling.architectures import ARCHITECTURES
from Resnet23.modeling.optim import create_optimizer
from Resnet23.modeling.pretrained import classifier_name
from Resnet23.modeling.stages import freeze, stages_of, train_mode
from Resnet23.modeling.zoo import check_model, create_model, input_of, list_models

HEAVY = {"convnext_tiny", "efficientnet_v2_s", "resnet50", "swin_t", "vit_b_16"}  # seconds for a step
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in list_models()]
SMALL_STEMS = [name for name in list_models() if ARCHITECTURES[name].small_stem]
OTHERS = ["torchvision/densenet121", "torchvision/googlenet", "timm/test_vit", "timm/resnet10t.c3_in1k"]


def sizes_only(name: str, classes: int = 7, **options) -> nn.Module:
    """A network without memory; RegNet's computes its widths with tensors, so it has to be a real one."""
    with torch.device("cpu" if "regnet" in name else "meta"):
        return create_model(name, num_classes=classes, width=4, **options)


def classifier_of(model: nn.Module) -> set[str]:
    """The names of the classifier's weights and, where it has one, its bias."""
    name = classifier_name(model)
    return {f"{name}.{kind}" for kind, _ in model.get_submodule(name).named_parameters()}


def side_of(name: str) -> int:
    """A size that the network takes, as small as it gets."""
    return 224 if name in ("vit_b_16", "torchvision/googlenet") else 160 if name == "timm/test_vit" else 32


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_every_model_gives_a_gradient_to_every_parameter(name):
    model = create_model(name, num_classes=7, width=4)
    logits = model(torch.randn(2, 3, side_of(name), side_of(name)))
    logits.square().sum().backward()
    assert logits.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", list_models())
def test_only_the_classifier_depends_on_the_number_of_classes(name):
    few, many = sizes_only(name, 7), sizes_only(name, 9)
    shapes = {key: value.shape for key, value in few.state_dict().items()}
    changed = {key for key, value in many.state_dict().items() if value.shape != shapes[key]}
    assert changed == classifier_of(few)


@pytest.mark.parametrize("name", list_models())
def test_every_model_trains_its_head_alone_from_any_stage_or_as_a_whole(name):
    model = sizes_only(name)
    stages = list(stages_of(model))
    assert len(stages) >= 6, "enough for rates that fall with depth"
    for trainable, first in [("head", len(stages) - 1), (f"from:{stages[2]}", 2), ("all", 0)]:
        groups = freeze(model, trainable)
        chosen = [parameter for group in groups for parameter in group]
        assert len(groups) == len(stages) - first
        assert {id(each) for each in chosen} == {id(each) for each in model.parameters() if each.requires_grad}
        head = classifier_of(model)
        trained = {key for key, value in model.named_parameters() if value.requires_grad}
        assert head <= trained and (trained == {key for key, _ in model.named_parameters()}) == (trainable == "all")


@pytest.mark.parametrize("name", list_models())
def test_every_model_learns_more_slowly_towards_its_input(name):
    model = sizes_only(name)
    groups = create_optimizer(freeze(model, "all"), TrainParams(), learning_rate=1.0, rate_decay=0.5).param_groups
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rate) == len(list(model.parameters()))
    assert sorted(set(rate.values())) == [0.5**depth for depth in reversed(range(len(stages_of(model))))]
    assert rate[id(model.get_submodule(classifier_name(model)).weight)] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_body_keeps_its_statistics_and_its_answers(name):
    model = create_model(name, num_classes=7, width=4)
    freeze(model, "head")
    train_mode(model, "head")
    heads = [module for modules in list(stages_of(model).values())[-1:] for module in modules]
    for module in heads:
        module.eval()  # dropout before the classifier
    images = torch.randn(2, 3, side_of(name), side_of(name))
    with torch.no_grad():
        assert torch.equal(model(images), model(images)), "nothing random is left in the body"
    trained = {id(buffer) for module in heads for buffer in module.buffers()}
    counted = [value for key, value in model.named_buffers() if key.endswith("num_batches_tracked")]
    assert all(int(value) == 0 for value in counted if id(value) not in trained)


@pytest.mark.parametrize("name", SMALL_STEMS)
def test_a_small_stem_keeps_the_resolution_and_the_rest_of_the_network(name):
    published, small = sizes_only(name), sizes_only(name, stem="small")
    assert published.state_dict().keys() == small.state_dict().keys()
    device = next(small.parameters()).device
    sides = []
    for model in (published, small):
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        sides.append(first(torch.empty(1, 3, 32, 32, device=device)).shape[-1])
    assert sides[1] >= 16
    assert sides[1] == sides[0] if ARCHITECTURES[name].image_size == 32 else sides[1] >= 2 * sides[0]
    assert small.eval()(torch.empty(1, 3, 32, 32, device=device)).shape == (1, 7)


def test_a_stem_that_a_network_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"model\.stem: found small, which vit_b_16 does not have; those that do: .*"):
        check_model("vit_b_16", stem="small")
    with pytest.raises(InputError, match=r"published weights belong to the published stem"):
        check_model("resnet50", pretrained=True, stem="small")


def test_the_named_rows_and_the_rest():
    named, everything = list_models(), list_models(all=True)
    assert len(named) == 17
    assert set(named) < set(everything) and len(everything) == len(set(everything))
    assert {"torchvision/resnet101", "torchvision/vit_l_16", "timm/resnet26d"} <= set(everything)
    assert not {"torchvision/resnet50", "torchvision/vit_b_16"} & set(everything), "those have rows of their own"


@pytest.mark.parametrize("name", [*OTHERS, "torchvision/inception_v3"])
def test_a_network_without_a_row_brings_its_own_size(name):
    wanted = {"torchvision/inception_v3": 299, "timm/test_vit": 160, "timm/resnet10t.c3_in1k": 176}
    assert input_of(name, pretrained=True).image_size == wanted.get(name, 224)


def test_torchvision_s_networks_are_as_they_were_published():
    torch.manual_seed(0)
    ours = create_model("torchvision/resnet18", num_classes=7, width=4, dropout=0.5, final_dropout=0.5)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=7).state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.state_dict().items())


@pytest.mark.parametrize("name", [name for name in list_models() if ARCHITECTURES[name].weights])
def test_the_rows_of_the_table_agree_with_what_was_published(name):
    row = dict(zip(zoo_table.HEADINGS, zoo_table.describe(name, measure=False), strict=True))
    assert int(row["pixels"]) == input_of(name, pretrained=True).image_size
    if name == "efficientnet_lite0":  # torchvision does not have it; as Google published it
        parameters, gmacs = 4.7, 0.407
    else:
        meta = torchvision.models.get_model_weights(name.removeprefix("torchvision/"))[row["weights"]].meta
        parameters, gmacs = meta["num_params"] / 1e6, meta["_ops"]
    assert float(row["parameters"]) == pytest.approx(parameters, abs=0.06)
    assert float(row["GMACs"]) == pytest.approx(gmacs, rel=0.06, abs=0.01)
    assert 60 < float(row["top-1"]) < 90


@pytest.mark.parametrize("name", ["resnet10", "regnet_y_400mf", "mobilenet_v3_small"])
def test_sizes_need_no_network_in_memory(name, monkeypatch):
    monkeypatch.setattr(zoo_table, "images_per_second", lambda model, image_size: 1.0)
    *real, best_for = zoo_table.describe(name, measure=True)
    assert [*zoo_table.describe(name, measure=False)] == [*real[:-1], "-", best_for]


def test_the_table_names_every_row_and_measures_when_asked(monkeypatch, capsys):
    few = {name: ARCHITECTURES[name] for name in ("resnet10", "mobilenet_v3_small")}
    monkeypatch.setattr(zoo_table, "ARCHITECTURES", few)
    zoo_table.main()
    assert re.findall(r"^(\S+) +[\d.]+ +[\d.]+ +\d+ .* - ", capsys.readouterr().out, re.MULTILINE) == list(few)
    zoo_table.main(measure=True)
    measured = r"^\S+ +[\d.]+ +[\d.]+ +\d+ +\S+ +\S+ +\d+ +[a-z]"
    assert len(re.findall(measured, capsys.readouterr().out, re.MULTILINE)) == 2
