"""Pretrained weights: torchvision's or those in a file, how they want their images, and loading them into a network."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import torch
from loguru import logger
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights

from Resnet23.config import suggest
from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable, sha256_file
from Resnet23.modeling.weightfiles import check_checkpoint, check_tensors, load_plain

CLASSIFIER_STD = 0.01  # of a new classifier, as in our own networks
FILE_SUFFIXES = (".pth", ".pt")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")  # resnet50-11ad3fa6.pth: how the file's SHA-256 begins
AUXILIARY = re.compile(r"aux\d\.|AuxLogits\.")  # GoogLeNet's and Inception's classifiers on the way, not built here
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # norm.1 in DenseNet's files is norm1 now


class ImageInput(NamedTuple):
    """How weights want their images: side in pixels, channel mean and standard deviation in [0, 1], interpolation."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


@dataclass(frozen=True)
class Weights:
    """Weights of one network: their name, their images, top-1 accuracy on ImageNet in %, and a function to get them.

    `input` and `accuracy` are None where they are not known; `classes` are those of the classifier's rows, if known.
    """

    name: str
    input: ImageInput | None
    accuracy: float | None
    load: Callable[[], Mapping[str, Tensor]]
    classes: Sequence[str] = ()


def is_file_name(pretrained: bool | str) -> bool:
    """Whether `model.pretrained` is the path of a file rather than the name of published weights."""
    return isinstance(pretrained, str) and pretrained.endswith(FILE_SUFFIXES)


def torchvision_weights(network: str, name: str | None = None) -> Weights:
    """Weights that torchvision publishes for a network, by name such as IMAGENET1K_V1; the DEFAULT ones without.

    Loading takes them from the cache of torch.hub, where they are downloaded to unless they are there. Raises
    InputError for an unknown name.
    """
    choices = get_model_weights(network)
    names = [choice.name for choice in choices]
    if name is not None and name not in names:
        raise InputError(f"model.pretrained: found {name!r}, no weights of {network}; {suggest(name, names)}")
    chosen = choices[name] if name else choices.DEFAULT
    images = chosen.transforms()
    wanted = ImageInput(images.crop_size[0], tuple(images.mean), tuple(images.std), images.interpolation.value)
    accuracy = chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return Weights(chosen.name, wanted, accuracy, lambda: _from_torchvision(chosen), chosen.meta["categories"])


def file_weights(path: str, published: Weights | None) -> Weights:
    """The weights in a file: a checkpoint of this project, or a state_dict.

    A checkpoint says how it wants its images; a state_dict is taken to want them as the `published` weights of the
    same network do. Raises InputError when there is no such file and IntegrityError when it cannot be read.
    """
    stored = _read_file(path, Path(path).stat().st_mtime_ns if Path(path).is_file() else 0)
    return replace(stored, input=stored.input or (published and published.input))


@lru_cache(maxsize=1)  # it is asked for several times before a training
def _read_file(path: str, changed_at: int) -> Weights:
    """The weights in a file, which is read again when the time of its last change is another one."""
    content = load_plain(path, "file of weights", "model.pretrained expects true, a name of weights or such a file")
    if "format" not in content:
        state_dict = check_tensors(content.get("state_dict", content), path)
        return Weights(printable(path), None, None, lambda: state_dict)
    check_checkpoint(content, path)
    state_dict, wanted = content["state_dict"], content["preprocessing"]
    images = ImageInput(wanted["image_size"], tuple(wanted["mean"]), tuple(wanted["std"]), "bicubic")
    return Weights(printable(path), images, None, lambda: state_dict, tuple(content["classes"]))


def load_weights(model: nn.Module, weights: Weights, class_names: Sequence[str] = ()) -> None:
    """Load all weights but those of the classifier, the last layer, which `start_classifier` begins anew.

    Where the weights know all of `class_names`, it begins with their rows. Raises InputError when anything is missing,
    too much, or of another shape.
    """
    classifier, stored = f"{classifier_name(model)}.", weights.load()
    own, given = (
        {name: value for name, value in state.items() if not name.startswith(classifier)}
        for state in (model.state_dict(), stored)
    )
    for name in sorted(own.keys() | given.keys()):
        found, expected = (tuple(state[name].shape) if name in state else "nothing" for state in (given, own))
        if found != expected:
            raise InputError(
                f"model.pretrained: {weights.name} does not fit the network that the section model describes: "
                f"{name}: found {found}, expected {expected}"
            )
    model.load_state_dict(given, strict=False)  # all but the classifier, as was just checked
    start_classifier(model.get_submodule(classifier[:-1]), stored, classifier, known_rows(class_names, weights.classes))


@torch.no_grad()
def start_classifier(head: nn.Module, stored: Mapping[str, Tensor], prefix: str, rows: Sequence[int]) -> None:
    """Let a classifier begin with `rows` of the one that is stored under `prefix`, or where there are none near zero.

    Some authors' first weights are so large for few classes that they need many epochs to be unlearnt.
    """
    parameters = dict(head.named_parameters(recurse=False))
    shapes = {name: stored[prefix + name].shape for name in parameters if prefix + name in stored}
    if rows and all(
        name in shapes and shapes[name][0] > max(rows) and shapes[name][1:] == parameter.shape[1:]
        for name, parameter in parameters.items()
    ):
        for name, parameter in parameters.items():
            parameter.copy_(stored[prefix + name][list(rows)])
        logger.info("the weights know all classes by name: the classifier begins with what they know of them")
        return
    nn.init.normal_(head.weight, std=CLASSIFIER_STD)
    if head.bias is not None:
        nn.init.zeros_(head.bias)


def known_rows(class_names: Sequence[str], known: Sequence[str]) -> list[int]:
    """The index in `known` of each class; none at all unless every one is there.

    With some rows of another size than the others a classifier learns worse than from nothing. Names are equal in spite
    of upper case, underscores, hyphens and a plural's s: "Bees" is ImageNet's "bee".
    """
    rows = {_plain_name(name): row for row, name in reversed(list(enumerate(known)))}  # the first of equal names
    found = [rows.get(_plain_name(name)) for name in class_names]
    return [] if None in found or len(set(found)) < len(found) else found


def _plain_name(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower().removesuffix("s")


def classifier_name(model: nn.Module) -> str:
    """The name of the last layer with weights: it gives the logits."""
    layers = [
        name
        for name, module in model.named_modules()
        if any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))
    ]
    return layers[-1]


def _from_torchvision(weights: WeightsEnum) -> dict[str, Tensor]:
    """The state_dict of published weights. InputError: no network; IntegrityError: a file that is not what it says."""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if file.exists():  # a file that somebody put there is not checked by torch.hub
        check_hash(file, HASH_IN_NAME.search(file.name)[1])
    try:
        stored = weights.get_state_dict(progress=True, check_hash=True, weights_only=True, map_location="cpu")
    except OSError as error:
        raise InputError(
            f"model.pretrained: cannot download {weights} ({getattr(error, 'reason', error)}); fetch {weights.url} "
            f"elsewhere and put it at {printable(file)}"
        ) from None
    except RuntimeError as error:
        raise IntegrityError(f"model.pretrained: {weights.url}: {error}") from None
    return {OLD_NAME.sub(r"\1", name): value for name, value in stored.items() if not AUXILIARY.match(name)}


def check_hash(file: Path, expected: str) -> None:
    """Raise IntegrityError unless the file's SHA-256 begins with `expected`."""
    found = sha256_file(file)
    if not found.startswith(expected):
        raise IntegrityError(
            f"{printable(file)}: its SHA-256 begins {found[: len(expected)]}, expected {expected}; delete the file, "
            "it is truncated or another one"
        )
