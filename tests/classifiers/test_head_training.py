"""Training heads: what is frozen stays so, and caching changes nothing but the time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_checkpoint import small_checkpoint
from small_encoders import (
    CLASSES,
    FEATURES,
    LabelledImages,
    binary_loaders,
    counting_encoder,
    hugging_face_encoder,
    loaders,
    save_hugging_face_encoder,
)
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler
from torchvision.models import resnet18
from torchvision.transforms.functional import to_pil_image

from Resnet23.classifiers import (
    create_binary_classifier_head,
    create_multiclass_classifier_head,
    train_binary_classifier,
    train_multiclass_classifier,
    validate_binary_classifier,
    validate_multiclass_classifier,
)
from Resnet23.classifiers.balance import positive_weights
from Resnet23.classifiers.objectives import binary_objective
from Resnet23.classifiers.training import train_head, train_one_vs_rest_heads
from Resnet23.errors import InputError, Resnet23Error

SMALL = {"num_epochs": 3, "learning_rate": 0.01, "input_features": FEATURES, "hidden_features": 16}
SEED = 3


def binary_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())


def plain_training(
    head: nn.Module,
    train: DataLoader,
    val: DataLoader,
    loss: Callable,
    make_encoder: Callable[[], nn.Module] = counting_encoder,
) -> nn.Module:
    """What training has to equal, as a tutorial has it: in every epoch every image goes through the encoder."""
    rng_state = torch.get_rng_state()
    network = make_encoder().eval()
    torch.set_rng_state(rng_state)

    def encoder(images: torch.Tensor) -> torch.Tensor:
        output = network(images)
        return output if isinstance(output, torch.Tensor) else output.pooler_output.flatten(1)

    optimizer = torch.optim.Adam(head.parameters(), lr=SMALL["learning_rate"])
    for _ in range(SMALL["num_epochs"]):
        head.train()
        for images, labels in train:
            with torch.no_grad():
                features = encoder(images)
            optimizer.zero_grad()
            loss(head(features), labels).backward()
            optimizer.step()
        list(val)  # validation, which draws a number for its loader
    return head.eval()


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    """The same weights but for rounding."""
    for name, value in expected.state_dict().items():
        assert torch.allclose(found.state_dict()[name], value, rtol=1e-3, atol=1e-4), name


def multiclass_heads(make_loaders: Callable[[], tuple[DataLoader, DataLoader]]) -> tuple[nn.Module, nn.Module, Any]:
    """The head of the public function, the plain one, and the encoder that the first one used."""
    torch.manual_seed(SEED)
    head = create_multiclass_classifier_head(FEATURES, 16, num_classes=CLASSES)
    expected = plain_training(head, *make_loaders(), nn.functional.cross_entropy)
    encoder = counting_encoder()
    torch.manual_seed(SEED)
    found = train_multiclass_classifier(encoder, *make_loaders(), "cpu", num_classes=CLASSES, **SMALL)
    return found, expected, encoder


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": True}, {"num_workers": 1}])
def test_cached_and_plain_multiclass_training_are_the_same(lines, options):
    found, expected, encoder = multiclass_heads(lambda: loaders(**options))
    assert_same(found, expected)
    assert encoder.images == 60 + 30 + 2 * (15 + 1), "each image once, and a few to see that they do not change"
    assert not any("anew" in line for line in lines)


def test_a_hugging_face_resnet_trains_the_same_from_the_cache_of_a_project(no_project):
    (no_project / "params.yaml").touch()
    torch.manual_seed(SEED)
    head = create_multiclass_classifier_head(FEATURES, 16, num_classes=CLASSES)
    expected = plain_training(head, *loaders(), nn.functional.cross_entropy, hugging_face_encoder)
    for _ in range(2):  # the second time the features are there
        encoder = hugging_face_encoder()
        torch.manual_seed(SEED)
        assert_same(train_multiclass_classifier(encoder, *loaders(), "cpu", num_classes=CLASSES, **SMALL), expected)
        assert len(list((no_project / "data/interim/encoded").iterdir())) == 2


def test_a_generator_of_the_loader_orders_the_cached_rows_too(lines):
    found, expected, _ = multiclass_heads(lambda: loaders(generator=torch.Generator().manual_seed(5)))
    assert_same(found, expected)


def test_cached_and_plain_binary_training_of_a_part_are_the_same(lines):
    def make_loaders() -> tuple[DataLoader, DataLoader]:
        return binary_loaders(sampler=SubsetRandomSampler(range(5, 45)))

    torch.manual_seed(SEED)
    expected = plain_training(create_binary_classifier_head(FEATURES, 16), *make_loaders(), binary_loss)
    encoder = counting_encoder()
    torch.manual_seed(SEED)
    assert_same(train_binary_classifier(encoder, *make_loaders(), "cpu", **SMALL), expected)


def test_random_augmentation_trains_as_plain_training_does(lines):
    found, expected, encoder = multiclass_heads(lambda: loaders(flip=True))
    assert_same(found, expected)
    assert encoder.images == 3 * 60 + 30 + 2 * (15 + 1)
    assert sum("encoded anew in each epoch: reading the same item twice" in line for line in lines) == 1


def test_all_heads_in_one_pass_equal_heads_trained_alone(lines):
    weights = positive_weights(LabelledImages().targets, CLASSES)
    torch.manual_seed(SEED)
    alone = [create_binary_classifier_head(FEATURES, 16, 0.0) for _ in range(CLASSES)]
    encoder = counting_encoder()
    torch.manual_seed(SEED)
    options = SMALL | {"dropout_rate": 0.0, "num_classes": CLASSES, "positive_weights": weights}
    together = train_one_vs_rest_heads(encoder, *loaders(shuffle=False), "cpu", **options)
    for target, (head, found) in enumerate(zip(alone, together.split(), strict=True)):
        objective, pair = binary_objective(weights[target]), binary_loaders(target, shuffle=False)
        assert_same(found, train_head(encoder, head, objective, *pair, "cpu", 3, 0.01, FEATURES))


def make_encoder(kind: str, folder: Any) -> tuple[Any, int]:
    """An encoder of this kind and its number of features."""
    if kind == "Hugging Face":
        return hugging_face_encoder().train(), FEATURES
    if kind == "folder":
        return str(save_hugging_face_encoder(folder / "encoder")), FEATURES
    if kind == "checkpoint":
        return small_checkpoint(), 32
    if kind == "torchvision":
        network = resnet18()
        network.fc = nn.Identity()
        return network, 512
    return counting_encoder(), FEATURES


@pytest.mark.parametrize("kind", ["Hugging Face", "folder", "checkpoint", "torchvision", "plain module"])
def test_every_kind_of_encoder_serves_both_heads_and_stays_bit_equal(lines, tmp_path, kind):
    model, features = make_encoder(kind, tmp_path)
    is_module = isinstance(model, nn.Module)
    before = {name: value.clone() for name, value in model.state_dict().items()} if is_module else {}
    options = {"num_epochs": 1, "input_features": features, "hidden_features": 8}
    binary = train_binary_classifier(model, *binary_loaders(), "cpu", **options)
    multiclass = train_multiclass_classifier(model, *loaders(), "cpu", num_classes=CLASSES, **options)
    assert not binary.training and not multiclass.training
    for loss, accuracy in (
        validate_binary_classifier(model, binary, binary_loaders()[1], "cpu"),
        validate_multiclass_classifier(model, multiclass, loaders()[1], "cpu"),
    ):
        assert loss > 0 and 0 <= accuracy <= 100
    if is_module:
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


def test_heads_learn_and_each_epoch_is_validated(lines):
    encoder, options = counting_encoder(), SMALL | {"num_epochs": 20}
    binary = train_binary_classifier(encoder, *binary_loaders(), "cpu", **options)
    assert validate_binary_classifier(encoder, binary, binary_loaders()[1], "cpu")[1] > 90
    multiclass = train_multiclass_classifier(encoder, *loaders(), "cpu", num_classes=CLASSES, **options)
    assert validate_multiclass_classifier(encoder, multiclass, loaders()[1], "cpu")[1] > 80
    assert sum("validation loss" in line for line in lines) == 40


@pytest.mark.parametrize("train", [train_binary_classifier, train_multiclass_classifier])
def test_wrong_input_features_give_one_clear_error_before_images_are_encoded(lines, train):
    encoder = counting_encoder()
    with pytest.raises(
        InputError, match=r"found 512, but the encoder CountingEncoder gives 32 .* pass input_features=32"
    ):
        train(encoder, *loaders(), "cpu")
    assert encoder.images < 60


def test_labels_that_do_not_fit_the_head_are_refused(lines):
    with pytest.raises(InputError, match="from 0 to 3, expected one 0 or 1"):
        train_binary_classifier(counting_encoder(), *loaders(shuffle=False), "cpu", **SMALL)
    with pytest.raises(InputError, match="from 0 to 3, expected one whole number from 0 to 2"):
        train_multiclass_classifier(counting_encoder(), *loaders(shuffle=False), "cpu", num_classes=3, **SMALL)


def test_a_gpu_that_is_not_there_is_refused(lines, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU"):
        train_binary_classifier(counting_encoder(), *binary_loaders(), "cuda", **SMALL)


def test_a_loss_that_is_no_number_ends_the_training(lines):
    encoder = counting_encoder()
    encoder.layers[1].running_mean[0] = float("nan")
    with pytest.raises(Resnet23Error, match="not a finite number in epoch 1"):
        train_multiclass_classifier(encoder, *loaders(), "cpu", num_classes=CLASSES, **SMALL)


@pytest.mark.parametrize(
    ("options", "message"), [({"num_epochs": 0}, "num_epochs 0"), ({"learning_rate": -1.0}, "rate -1")]
)
def test_senseless_numbers_are_refused(no_project, options, message):
    with pytest.raises(InputError, match=message):
        train_multiclass_classifier(counting_encoder(), *loaders(), "cpu", num_classes=CLASSES, **SMALL | options)


def test_a_device_that_does_not_exist_is_named(no_project):
    with pytest.raises(InputError, match="device: found 'gpu'"):
        train_multiclass_classifier(counting_encoder(), *loaders(), "gpu", num_classes=CLASSES, **SMALL)


def test_items_that_are_no_tensors_are_named(no_project):
    pictures = [(to_pil_image(image), label) for image, label in LabelledImages(20)]
    with pytest.raises(InputError, match=r"its items make no batch .* as a transform makes them"):
        train_multiclass_classifier(counting_encoder(), DataLoader(pictures), DataLoader(pictures), "cpu", **SMALL)


def test_images_that_the_encoder_cannot_take_are_named(no_project):
    encoder = nn.Sequential(nn.Conv2d(1, FEATURES, 3), nn.Flatten())
    with pytest.raises(InputError, match=r"encoder Sequential cannot take images of shape \(\d+, 3, 16, 16\)"):
        train_multiclass_classifier(encoder, *loaders(), "cpu", num_classes=CLASSES, **SMALL)
