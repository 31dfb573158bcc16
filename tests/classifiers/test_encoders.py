"""Encoders of every origin give features, and stay what they are."""

import json
import sys

import pytest
import torch
from small_checkpoint import PREPROCESSING, small_checkpoint
from small_encoders import FEATURES, counting_encoder, hugging_face_encoder, save_hugging_face_encoder
from torch import nn
from torchvision.models import get_model_weights, resnet18

from Resnet23.classifiers.encoders import Encoder, as_encoder, encode, feature_count, load_encoder, weights_digest
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import Preprocessing, save_checkpoint

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Gives(nn.Module):
    """A network that gives always the same."""

    def __init__(self, output) -> None:
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output


def test_an_encoder_cannot_be_brought_to_learn():
    backbone = counting_encoder()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    encoder = Encoder(backbone)
    whole = nn.Sequential(encoder, nn.Linear(FEATURES, 1)).train()
    features = encoder(IMAGES)
    assert whole.training and not any(module.training for module in encoder.modules())
    assert not features.requires_grad
    assert torch.equal(features, encoder(IMAGES))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_folder_of_hugging_face_loads_with_its_preprocessing(tmp_path):
    folder = save_hugging_face_encoder(tmp_path / "my encoder", image_size=16)
    encoder = load_encoder(folder)
    model = pytest.importorskip("transformers").AutoModel.from_pretrained(folder)
    assert torch.equal(encoder(IMAGES), model(IMAGES).pooler_output.flatten(1))
    assert encoder.preprocessing == Preprocessing(16, "stretch", [0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    assert feature_count(encoder, IMAGES) == FEATURES
    (folder / "preprocessor_config.json").unlink()
    assert load_encoder(folder).preprocessing is None


def test_images_are_brought_to_the_size_that_the_encoder_was_made_for(tmp_path):
    encoder = load_encoder(save_hugging_face_encoder(tmp_path, image_size=32))
    resized = nn.functional.interpolate(IMAGES, (32, 32), mode="bilinear", antialias=True, align_corners=False)
    assert torch.equal(encoder(IMAGES), encoder(resized))
    assert not torch.allclose(encoder(IMAGES), Encoder(encoder.backbone)(IMAGES))


def test_a_checkpoint_of_this_project_loads_without_its_classifier(tmp_path):
    checkpoint = small_checkpoint()
    save_checkpoint(tmp_path / "model.pth", checkpoint)
    features = load_encoder(tmp_path / "model.pth")(IMAGES)
    network = checkpoint.build_model()
    assert torch.equal(features, network.forward_features(IMAGES))
    assert torch.equal(as_encoder(checkpoint)(IMAGES), features)
    assert torch.equal(as_encoder(network)(IMAGES), features)  # what load_model gives
    assert network(IMAGES).shape == (3, 4), "the network that was given keeps its classifier"
    assert load_encoder(tmp_path / "model.pth").preprocessing == PREPROCESSING


def test_weights_of_torchvision_load_without_their_classifier(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = resnet18().eval()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("Resnet23.modeling.pretrained.check_hash", lambda file, expected: None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file = get_model_weights("resnet18").DEFAULT.url.rpartition("/")[2]
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / file)
    encoder = load_encoder("torchvision/resnet18")
    network.fc = nn.Identity()
    images = torch.randn(1, 3, 224, 224)
    assert torch.equal(encoder(images), network(images))
    assert encoder.preprocessing == Preprocessing(224, "crop", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    "output",
    [
        torch.ones(3, 5),
        torch.ones(3, 5, 1, 1),
        torch.ones(3, 5, 4, 4),
        torch.ones(3, 7, 5),
        (torch.ones(3, 5), "more"),
        {"pooler_output": torch.ones(3, 5, 1, 1), "last_hidden_state": torch.zeros(3, 5, 2, 2)},
        {"pooler_output": None, "last_hidden_state": torch.ones(3, 5, 2, 2)},
        torch.ones(3, 5, dtype=torch.bfloat16),
    ],
)
def test_whatever_a_network_gives_becomes_vectors(output):
    assert torch.equal(Encoder(Gives(output))(IMAGES), torch.ones(3, 5))


@pytest.mark.parametrize("output", [torch.ones(3), torch.ones(4, 5), {"logits": torch.ones(3, 5)}, (), None])
def test_what_cannot_be_features_is_refused(output):
    with pytest.raises(InputError, match="the encoder gives") as caught:
        Encoder(Gives(output))(IMAGES)
    assert "\n" not in str(caught.value)


def test_another_number_of_features_is_one_clear_error():
    with pytest.raises(
        InputError, match=r"found 512, but the encoder ResNetModel gives 32 features .* input_features=32"
    ):
        encode(as_encoder(hugging_face_encoder()), IMAGES, torch.device("cpu"), 512)


def test_what_does_not_exist_is_refused_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    messages = {
        tmp_path / "no.pth": "no such file",
        tmp_path / "empty": "no config.json",
        tmp_path / "no such folder": "no such folder; expected",
        "nobody/nothing": "no encoder that loads",
        "torchvision/resnet19": "did you mean torchvision/resnet18",
        5: "found int",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=message) as caught:
            as_encoder(name)
        assert "\n" not in str(caught.value)


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"Resnet23\[heads\]"):
        load_encoder(tmp_path)


@pytest.mark.fault(20)
def test_code_that_comes_with_a_model_runs_only_when_asked(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = save_hugging_face_encoder(tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "ours", "auto_map": {"AutoConfig": "ours.Config", "AutoModel": "ours.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "ours.py").write_text(
        "from pathlib import Path\n"
        "from transformers import ResNetConfig, ResNetModel\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class Config(ResNetConfig):\n    model_type = 'ours'\n"
        "class Model(ResNetModel):\n    config_class = Config\n"
    )
    with pytest.raises(InputError, match="no encoder that loads"):
        load_encoder(folder)
    assert not (tmp_path / "ran").exists()
    assert load_encoder(folder, trust_remote_code=True)(IMAGES).shape == (3, FEATURES)
    assert (tmp_path / "ran").exists()


def test_an_encoder_saved_in_half_precision_computes_in_float32(tmp_path):
    hugging_face_encoder().to(torch.bfloat16).save_pretrained(tmp_path / "half")
    encoder = load_encoder(tmp_path / "half")
    assert encoder(IMAGES).shape == (3, FEATURES)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_a_pooler_that_was_not_saved_is_left_out_rather_than_random(tmp_path):
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=16, patch_size=8, **shape)
    classifier = transformers.ViTForImageClassification(config).eval()
    classifier.save_pretrained(tmp_path / "vit")
    first, second = (load_encoder(tmp_path / "vit") for _ in range(2))
    assert weights_digest(first) == weights_digest(second)
    images = torch.randn(2, 3, 16, 16)
    assert torch.allclose(first(images), classifier.vit(images).last_hidden_state.mean(dim=1), atol=1e-6)


@pytest.mark.fault(21)
def test_missing_weights_are_named(tmp_path):
    transformers = pytest.importorskip("transformers")
    encoder = hugging_face_encoder()
    weights = {name: value for name, value in encoder.state_dict().items() if "stages.3" not in name}
    encoder.save_pretrained(tmp_path / "part", state_dict=weights)
    with pytest.raises(InputError, match=r"weights are missing, encoder\.stages\.3"):
        load_encoder(tmp_path / "part")
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_the_image_processor_is_obeyed_or_refused(tmp_path):
    folder = save_hugging_face_encoder(tmp_path / "encoder")
    file = folder / "preprocessor_config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"do_normalize": False}))
    assert load_encoder(folder).preprocessing == Preprocessing(32, "stretch", [0.0] * 3, [1.0] * 3)
    file.write_text(json.dumps(content | {"do_rescale": False}))
    with pytest.raises(InputError, match="other pixels than RGB from 0 to 1"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["models/enkoder", "./encoder", "/nowhere/encoder", "~/encoder", "encoder/"])
def test_a_path_to_nothing_is_not_looked_for_on_the_hub(tmp_path, monkeypatch, name):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(InputError, match=f"^{name}: no such folder"):
        load_encoder(name)


def test_the_digest_sees_every_weight_and_statistic():
    first, second = Encoder(counting_encoder()), Encoder(counting_encoder())
    assert weights_digest(first) == weights_digest(second)
    second.backbone.layers[1].running_mean[0] += 1
    assert weights_digest(first) != weights_digest(second)
