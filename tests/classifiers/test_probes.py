"""Linear probes: which layers are found, that a probe sees what is there, and how the figure shows it."""

from io import BytesIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_encoders import counting_encoder, hugging_face_encoder
from torch import Tensor, nn
from torchvision.models import VisionTransformer, resnet18, resnet50

from Resnet23.classifiers.encoders import Encoder, weights_digest, without_classifier
from Resnet23.classifiers.probes import LayerProbe, find_layers, probe_layers
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.figures.probes import layer_probe_finding, plot_layer_probes
from Resnet23.figures.theme import draw_picture
from Resnet23.modeling.model23 import resnet10

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
COLOURS = np.array([[150, 75, 75], [75, 150, 75], [75, 75, 150]])  # of the classes, all equally bright


class ColourBlind(nn.Module):
    """A stem that passes colours on, a stage that adds them up, and features without bounds in place of the rest."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1, bias=False)
        self.grey = nn.Conv2d(3, 1, 2, 2, bias=False)
        self.stem.weight = nn.Parameter(torch.eye(3)[:, :, None, None])
        self.grey.weight = nn.Parameter(torch.ones(1, 3, 2, 2))
        self.gain = gain

    def forward(self, images: Tensor) -> Tensor:
        grey = self.grey(self.stem(images)).mean(dim=(2, 3))
        return self.gain * grey.repeat(1, 5)


class OnePool(nn.Module):
    """A network of the tutorials: the same pooling after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(images))))))
        return self.fc(features.mean(dim=(2, 3)))


def coloured(count: int, seed: int) -> FeatureDataset:
    """Images (8 x 8) in the colour of their class with noise, one class after the other."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) * len(COLOURS) // max(count, 1)
    images = COLOURS[targets][:, None, None] + generator.integers(-70, 70, (count, 8, 8, 1))
    return FeatureDataset(images.astype(np.uint8), targets, [0.4] * 3, [0.2] * 3)


def probe(backbone: nn.Module, val: int = 30, batch_size: int = 16, limit: int = 5000) -> list[LayerProbe]:
    return probe_layers(Encoder(backbone), coloured(90, 0), coloured(val, 1), coloured(60, 2), "cpu", batch_size, limit)


def small_hugging_face_vit() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.ViTModel(transformers.ViTConfig(image_size=64, patch_size=16, **shape))


NETWORKS = {
    "this project's": (lambda: resnet10(width=4), ["stages.0", "stages.1", "stages.2"]),
    "Hugging Face's ResNet": (
        hugging_face_encoder,
        ["embedder.embedder", "encoder.stages.0", "encoder.stages.1", "encoder.stages.2"],
    ),
    "Hugging Face's ViT": (small_hugging_face_vit, ["layers.0", "layers.1", "layers.2"]),
    "resnet18": (lambda: without_classifier(resnet18()), ["relu", "layer1", "layer2", "layer3"]),
    "resnet50": (lambda: without_classifier(resnet50()), ["relu", "maxpool", "layer1", "layer2", "layer3"]),
    "torchvision's ViT": (
        lambda: without_classifier(VisionTransformer(64, 16, 2, 2, 8, 16)),
        ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"],
    ),
    "one module for two layers": (OnePool, ["conv1", "pool", "conv2", "pool"]),
    "one module twice in a layer": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), relu := nn.ReLU(), nn.Conv2d(4, 4, 1), relu, nn.Conv2d(4, 6, 3)),
        ["1"],
    ),
    "a single shape": (counting_encoder, []),
    "no maps": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 8)), []),
}


@pytest.mark.parametrize(("build", "expected"), NETWORKS.values(), ids=NETWORKS)
def test_stem_and_stages_or_transformer_layers_are_found(build, expected):
    torch.manual_seed(0)
    layers = find_layers(Encoder(build()), IMAGES)
    assert [layer.name for layer in layers] == [*expected, "final features"]


def test_a_probe_sees_what_is_in_a_layer_and_nothing_else():
    stem, grey, final = probe(ColourBlind())
    assert (stem, final.layer) == (LayerProbe("stem", 3, 1.0), "final features")
    assert (grey.features, final.features) == (1, 5)
    assert max(grey.accuracy, final.accuracy) < 0.5  # chance is 1 in 3


def test_features_are_counted_after_averaging_over_space_or_over_the_sequence():
    torch.manual_seed(0)
    assert [layer.features for layer in find_layers(Encoder(resnet10(width=4)), IMAGES)] == [4, 8, 16, 32]
    assert [layer.features for layer in find_layers(Encoder(small_hugging_face_vit()), IMAGES)] == [8, 8, 8, 8]


@pytest.mark.parametrize("gain", [1.0, float("inf")])
def test_hooks_are_gone_and_the_encoder_is_what_it_was(gain):
    encoder = Encoder(ColourBlind(gain))
    before, state = weights_digest(encoder), torch.get_rng_state()
    parts = coloured(90, 0), coloured(30, 1), coloured(60, 2)
    if gain == 1.0:
        probe_layers(encoder, *parts, "cpu", 16)
    else:
        with pytest.raises(InputError, match="the features of final features are not finite"):
            probe_layers(encoder, *parts, "cpu", 16)
    assert weights_digest(encoder) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in encoder.modules())


def test_hooks_are_gone_after_a_failure():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(5, 6, 3))
    with pytest.raises(InputError, match="cannot take images"):
        find_layers(Encoder(backbone), IMAGES)
    assert not any(module._forward_hooks for module in backbone.modules())


def test_neither_chance_nor_the_batch_size_changes_a_result():
    torch.manual_seed(0)
    backbone = resnet10(width=4)
    first = probe(backbone, batch_size=7)
    torch.manual_seed(1)
    assert probe(backbone, batch_size=64) == first


def test_of_many_training_images_some_at_equal_distances_are_used_once():
    backbone = counting_encoder()
    probe(backbone, limit=6)
    assert backbone.images == 4 + 6 + 30 + 60
    assert probe(ColourBlind(), limit=6)[0].accuracy == 1.0  # all classes are among the six


def test_no_validation_images_are_needed():
    assert probe(ColourBlind(), val=0)[0].accuracy == 1.0


def test_the_penalty_is_chosen_on_the_validation_images(monkeypatch):
    monkeypatch.setattr("Resnet23.classifiers.probes.STRENGTHS", (1e-4, 1e-4, 1.0))
    data, val, test = coloured(90, 0), coloured(30, 1), coloured(60, 2)
    most_of_class_0 = np.r_[0:35, 60, 89]  # under the first two penalties it is the only answer
    train = FeatureDataset(data.images, data.targets, data.mean, data.std, most_of_class_0)
    encoder = Encoder(ColourBlind())
    assert probe_layers(encoder, train, val, test, "cpu", 16)[0].accuracy > 0.9
    assert probe_layers(encoder, train, coloured(0, 1), test, "cpu", 16)[0].accuracy == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(6, np.int64), "training images: 6, classes: 1"),
        (np.zeros((6, 2), np.int64), r"labels of shape \(6, 2\)"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(targets, message):
    data = FeatureDataset(np.zeros((6, 8, 8, 3), np.uint8), targets, [0.4] * 3, [0.2] * 3)
    with pytest.raises(InputError, match=message):
        probe_layers(Encoder(ColourBlind()), data, data, data, "cpu", 4)


def test_test_images_are_needed():
    with pytest.raises(InputError, match="test images: 0"):
        probe_layers(Encoder(ColourBlind()), coloured(6, 0), coloured(6, 1), coloured(0, 2), "cpu", 4)


# ----------------------------------------------------------------------------------------------------------------------
# The figure.


@pytest.mark.parametrize("count", [1, 6, 25])
def test_the_figure_shows_every_layer_in_both_themes(count, recwarn):
    layers = [f"a.very.long.path.of.modules.to.the.encoder.layers.{number}" for number in range(count)]
    accuracies = np.linspace(0.05, 0.95, count).tolist()
    axes = plot_layer_probes(layers, [768] * count, accuracies, 0.1).axes[0]
    assert [text.get_text() for text in axes.texts] == [f"{100 * share:.1f}%" for share in accuracies] + [
        "chance: 10.0%"
    ]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert all(len(name) <= 40 and path.endswith(name[1:]) for name, path in zip(names, layers, strict=True))
    heights = [axes.transData.transform((share, row))[1] for row, share in enumerate(accuracies)]
    assert heights == sorted(heights, reverse=True)  # the first layer is above
    picture = draw_picture("layers", lambda theme: plot_layer_probes(layers, [768] * count, accuracies, 0.1, theme), 50)
    light, dark = (np.asarray(Image.open(BytesIO(png)).convert("L")) for png in (picture.light, picture.dark))
    assert light.shape == dark.shape
    assert light[0, 0] > 250 > 50 > dark[0, 0]
    assert not [str(warning.message) for warning in recwarn]


@pytest.mark.parametrize(
    ("accuracies", "finding"),
    [
        ([0.25], "A linear probe on final features is right in 25.0% of cases"),
        ([0.4, 0.7, 0.8], "Linear probes are best on final features: 80.0%, against 40.0% on layer.0"),
        ([0.4, 0.8, 0.8], "Linear probes are best on final features: 80.0%, against 40.0% on layer.0"),
        ([0.4, 0.8, 0.7], "Linear probes are best on layer.1: 80.0%, 10.0 points more than on final features"),
    ],
)
def test_the_title_names_the_best_layer(accuracies, finding):
    layers = [*(f"layer.{number}" for number in range(len(accuracies) - 1)), "final features"]
    assert layer_probe_finding(layers, accuracies) == finding
