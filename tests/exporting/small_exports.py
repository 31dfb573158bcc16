"""Networks for the tests of exports: not trained, but with a classifier that tells the digits apart."""

import torch
from torch import Tensor, nn

from Resnet23.arrays import Features
from Resnet23.dataset import normalize
from Resnet23.exporting.comparison import resize_to
from Resnet23.exporting.parity import spread
from Resnet23.exporting.source import as_pixels
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing
from Resnet23.modeling.pretrained import classifier_name
from Resnet23.modeling.zoo import create_model

STEEPNESS = 4.0  # of the logits
TRAINING_IMAGES = 200
NETWORK = ({"name": "resnet10", "width": 16}, 16)
# Options of create_model and size in pixels: a network of ours, one of torchvision's, a transformer.
MODELS = {
    "resnet23": ({"name": "resnet23", "width": 8}, 16),
    "torchvision/resnet18": ({"name": "torchvision/resnet18"}, 32),
    "timm/test_vit": ({"name": "timm/test_vit"}, 160),
}


def digits_checkpoint(
    features: Features, options: dict[str, str | int], size: int, **decision: float | list[float]
) -> Checkpoint:
    """A network for images of `size` pixels that answers as the features' targets say, if not always."""
    rows = spread(len(features.train), TRAINING_IMAGES)
    how = Preprocessing(size, features.resize, list(features.mean), list(features.std))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = create_model(num_classes=len(features.classes), **options)
        inputs = normalize(as_pixels(resize_to(features.train.images[rows], how)), how.mean, how.std)
        fit_classifier(model, inputs, torch.from_numpy(features.train.targets[rows]))
    return Checkpoint(
        model.state_dict(), options, features.classes, how, Decision(**decision), features.task, {}, "0123abc"
    )


def fit_classifier(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Take BatchNorm's statistics from these images, then the linear classifier that fits them best."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, of which there is one
    model.train()(inputs)
    classifier = model.eval().get_submodule(classifier_name(model))
    seen: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    handle.remove()
    features = torch.cat([seen[0], torch.ones(len(inputs), 1)], dim=1).double()  # (N, F + 1)
    answers = torch.eye(classifier.out_features)[targets] if targets.ndim == 1 else targets
    wanted = STEEPNESS * (answers.double() - 0.5)  # (N, C)
    ridge = features.square().mean() * len(inputs) * torch.eye(features.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ wanted).float()
    classifier.weight.copy_(solution[:-1].T)
    classifier.bias.copy_(solution[-1])
