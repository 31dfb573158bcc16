"""The table of networks: how each is built, which published weights it has, and what it is good for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torchvision
from torch import nn
from torchvision.models import get_model, list_models

from Resnet23.config import suggest
from Resnet23.errors import InputError
from Resnet23.modeling import model23
from Resnet23.modeling.fast_cnn import fast_cnn
from Resnet23.modeling.pretrained import Weights, torchvision_weights
from Resnet23.modeling.timm_models import (
    LITE0,
    check_timm_name,
    create_timm,
    lite0_weights,
    timm_image_size,
    timm_names,
    timm_weights,
)
from Resnet23.modeling.whitened_resnet import resnet23_whitened

TORCHVISION, TIMM = "torchvision/", "timm/"
# The classifiers on the way, which only training would use, are left out. Images come normalised in one way for all.
OPTIONS = {
    name: {"aux_logits": False, "init_weights": True, "transform_input": True} for name in ("googlenet", "inception_v3")
}


@dataclass(frozen=True)
class Architecture:
    """A row of the table.

    `build` takes the number of classes and the keywords dropout_rate, final_dropout_rate, width, zero_init_residual
    and average_flips; `image_size` is the side in pixels that the network was designed for; `weights` gives published
    ones, by name or the default; `small_stem` changes a network, before it has weights, so that it suits images of
    about 32 pixels.
    """

    build: Callable[..., nn.Module]
    image_size: int
    best_for: str = ""
    weights: Callable[[str | None], Weights] | None = None
    small_stem: Callable[[nn.Module], None] | None = None


def find_architecture(name: str) -> Architecture:
    """The row of a network, named or with the prefix torchvision/ or timm/. Raises InputError for an unknown name."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    row = name.partition("/")[2]
    if name.startswith(TORCHVISION) and row in torchvision_names():
        return _torchvision(row)
    if name.startswith(TIMM):
        check_timm_name(row)
        return _timm(row, timm_image_size(row))
    known = [TORCHVISION + each for each in torchvision_names()] if name.startswith(TORCHVISION) else [*ARCHITECTURES]
    raise InputError(f"model.name: found {name!r}, which is no known model; {suggest(name, known)}")


def other_names() -> list[str]:
    """The names of torchvision's and timm's networks that have no row of their own, with their prefixes, sorted."""
    names = [TORCHVISION + name for name in torchvision_names()] + [TIMM + name for name in timm_names()]
    return sorted(set(names) - {name if "/" in name else TORCHVISION + name for name in ARCHITECTURES})


@cache
def torchvision_names() -> list[str]:
    """The networks for classification that torchvision has."""
    return list_models(module=torchvision.models)


def _ours(build: Callable[..., nn.Module], best_for: str) -> Architecture:
    """A network of this project: its stem is small as it is."""
    return Architecture(build, 32, best_for, small_stem=lambda model: None)


def _torchvision(name: str, best_for: str = "", small_stem: Callable[[nn.Module], None] | None = None) -> Architecture:
    """A network of torchvision's as its authors published it: no width, no dropout rates."""
    build = partial(_build_torchvision, name)
    return Architecture(
        build, torchvision_weights(name).input.image_size, best_for, partial(torchvision_weights, name), small_stem
    )


def _build_torchvision(name: str, num_classes: int, **_: object) -> nn.Module:
    return get_model(name, weights=None, num_classes=num_classes, **OPTIONS.get(name, {}))


def _timm(name: str, image_size: int, best_for: str = "") -> Architecture:
    """A network of timm's as it is published."""
    return Architecture(partial(_build_timm, name), image_size, best_for, partial(timm_weights, name))


def _build_timm(name: str, num_classes: int, **_: object) -> nn.Module:
    return create_timm(name, num_classes)


def _small_resnet_stem(model: nn.Module) -> None:
    """A 3x3 convolution of stride 1 and no max-pooling: the resolution is 4 times as high as with ImageNet's stem."""
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def _finer(name: str, stride: int, padding: int | None = None) -> Callable[[nn.Module], None]:
    """A stem whose convolution moves by fewer pixels: twice the resolution from there on."""

    def change(model: nn.Module) -> None:
        convolution = model.get_submodule(name)
        convolution.stride = (stride, stride)
        if padding is not None:
            convolution.padding = (padding, padding)

    return change


ARCHITECTURES: dict[str, Architecture] = {
    "resnet10": _ours(model23.resnet10, "first tries with small images"),
    "resnet18": _ours(model23.resnet18, "small images in little time"),
    "resnet23": _ours(model23.resnet23, "small images such as CIFAR-10's"),
    "resnet34": _ours(model23.resnet34, "small images of many classes"),
    "resnet23_whitened": _ours(resnet23_whitened, "small images in few epochs"),
    "fast_cnn": _ours(fast_cnn, "small images with the least arithmetic"),
    "torchvision/resnet18": _torchvision("resnet18", "few photos, in little time", _small_resnet_stem),
    "torchvision/resnet34": _torchvision("resnet34", "few photos", _small_resnet_stem),
    "resnet50": _torchvision("resnet50", "comparison: everybody's baseline", _small_resnet_stem),
    "regnet_y_400mf": _torchvision("regnet_y_400mf", "accuracy without a GPU", _finer("stem.0", 1)),
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small", "phones and small boards", _finer("features.0.0", 1)),
    "efficientnet_lite0": Architecture(
        partial(_build_timm, LITE0),
        224,
        "few photos; weights without a download",
        lite0_weights,
        _finer("conv_stem", 1),
    ),
    "efficientnet_b0": _torchvision("efficientnet_b0", "accuracy for little arithmetic", _finer("features.0.0", 1)),
    "efficientnet_v2_s": _torchvision("efficientnet_v2_s", "the best accuracy, with a GPU", _finer("features.0.0", 1)),
    "convnext_tiny": _torchvision("convnext_tiny", "a modern convolutional network", _finer("features.0.0", 2, 1)),
    "swin_t": _torchvision("swin_t", "a transformer that sees details", _finer("features.0.0", 2, 1)),
    "vit_b_16": _torchvision("vit_b_16", "the plain transformer; at 224 pixels only"),
}
