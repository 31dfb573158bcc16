"""The table of networks in Keras, and one function that builds any of them.

As a command it prints the table: python -m Resnet23.keras_variant.architectures
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from Resnet23.command import DebugOption, run_command
from Resnet23.config import CIFAR10_MEAN, CIFAR10_STD, suggest
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.keras_variant.applications import build_application, fetch_published, load_backbone
from Resnet23.keras_variant.parts import Options, mean_and_std
from Resnet23.keras_variant.resnet import build_resnet
from Resnet23.keras_variant.small_cnn import build_functional, build_sequential
from Resnet23.keras_variant.stored import SAFETENSORS, SUFFIXES, copy_weights, read_network

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000
PUBLISHED_FILE = ".h5"
DATA = "mean and std of the training images"
HEADINGS = ("name", "parameters", "pixels", "top-1", "pixels are given as", "best for")
EXPLANATION = """
parameters  in millions, of our own networks with 10 classes, of the others with ImageNet's 1,000
pixels      side of the images that the network was designed for
top-1       accuracy in % that was published for the weights named imagenet, on the validation images of ImageNet"""


@dataclass(frozen=True)
class Architecture:
    """A row of the table.

    `image_size` is the side in pixels that the network was designed for and `smallest` the least that it works with;
    `preparation` says what becomes of the pixels; `accuracy` is the published top-1 on ImageNet in %, None where no
    weights are published.
    """

    build: Callable[[Options], "keras.Model"]
    image_size: int
    smallest: int
    preparation: str
    best_for: str
    accuracy: float | None = None

    @property
    def is_published(self) -> bool:
        """Whether it is one of keras.applications, with weights for ImageNet."""
        return self.accuracy is not None


def list_models() -> list[str]:
    """The names of the table's networks, sorted."""
    return sorted(ARCHITECTURES)


def check_model(name: str, weights: str | None = None) -> Architecture:
    """The row of a network. Raises InputError when there is none, or it takes no such weights."""
    if name not in ARCHITECTURES:
        raise InputError(f"model.name: found {name!r}, which is no known model; {suggest(name, list_models())}")
    row = ARCHITECTURES[name]
    endings = set(SUFFIXES)
    if name not in RESNETS:
        endings -= {SAFETENSORS}
    if row.is_published:
        endings |= {PUBLISHED_FILE}
    if weights and not (weights == IMAGENET and row.is_published) and not weights.endswith(tuple(endings)):
        known = ["null", *([IMAGENET] if row.is_published else []), f"a file ({', '.join(sorted(endings))})"]
        raise InputError(f"model.weights: found {printable(weights)}, for {name} expected {' or '.join(known)}")
    return row


def check_image_size(name: str, image_size: int) -> None:
    """Raise InputError when the images are smaller than the network `name` takes them."""
    smallest = ARCHITECTURES[name].smallest
    if image_size < smallest:
        raise InputError(
            f"model.name: {name} takes images from {smallest} pixels on, found {image_size}; set data.image_size"
        )


def find_weights(name: str, weights: str | None) -> str | None:
    """The file that `weights` stands for, None for random ones.

    Published ones are downloaded unless Keras has them. Raises InputError when there is no such file, or no way to it.
    """
    if weights == IMAGENET:
        return fetch_published(name)
    if weights and not Path(weights).is_file():
        raise InputError(f"model.weights: found {printable(weights)}, which is no file")
    return weights


def create_model(
    name: str,
    num_classes: int,
    image_size: int,
    weights: str | None = None,
    dropout: float = 0.0,
    width: int = 64,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> "keras.Model":
    """Build a network by name; images (N, S, S, 3) float32 from 0 to 255, S = image_size -> logits (N, num_classes).

    `weights`: None for random ones; imagenet for those that keras.applications publishes; or a file: .keras or
    .weights.h5 of such a network, .safetensors of a ResNet exported from PyTorch, .h5 as keras.applications publishes
    them. Without random weights the classifier is random all the same, unless the file has as many classes.
    Our own networks have a `width`, and normalise with `mean` and `std` (in [0, 1], for each channel), or with those in
    the .keras or .safetensors file; the others prepare pixels in their authors' way. `dropout` is the share of features
    zeroed before the classifier. Raises InputError for what does not exist or fit, IntegrityError for damaged files.
    """
    row = check_model(name, weights)
    check_image_size(name, image_size)
    file = find_weights(name, weights)
    options = Options(num_classes, image_size, width, dropout, mean, std)
    if file is None:
        return row.build(options)
    if file.endswith(SUFFIXES):
        return _start_from_file(row, options, file)
    model = row.build(options)
    load_backbone(model, file)
    return model


def describe(name: str) -> tuple[str, ...]:
    """A line of the table: a string for each of its headings."""
    row = ARCHITECTURES[name]
    model = row.build(Options(IMAGENET_CLASSES if row.is_published else 10, row.image_size))
    accuracy = f"{row.accuracy:.1f}" if row.is_published else "-"
    return (
        name,
        f"{model.count_params() / 1e6:.1f}",
        str(row.image_size),
        accuracy,
        row.preparation,
        row.best_for,
    )


def main(debug: DebugOption = False) -> None:
    """Print the networks that pipelines/keras/params.yaml can name: size, published accuracy, best use."""
    lines = [HEADINGS, *(describe(name) for name in ARCHITECTURES)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(EXPLANATION)


def _start_from_file(row: Architecture, options: Options, path: str) -> "keras.Model":
    stored = read_network(path, row.build, options)
    if known := mean_and_std(stored):
        options = replace(options, mean=known[0], std=known[1])
    model = row.build(options)
    copy_weights(model, stored, path)
    return model


RESNETS = {
    name: Architecture(partial(build_resnet, name), 32, 8, DATA, best_for)
    for name, best_for in {
        "resnet10": "first tries with small images",
        "resnet18": "small images in little time",
        "resnet23": "small images such as CIFAR-10's",
        "resnet34": "small images of many classes",
    }.items()
}
# The accuracies are those on keras.io/api/applications; MobileNetV3's is in the documentation of its function.
ARCHITECTURES: dict[str, Architecture] = {
    **RESNETS,
    "small_cnn_sequential": Architecture(build_sequential, 32, 8, DATA, "learning Keras: a list of layers"),
    "small_cnn_functional": Architecture(build_functional, 32, 8, DATA, "learning Keras: a graph of layers"),
    "resnet50": Architecture(
        partial(build_application, "resnet50"), 224, 32, "BGR less ImageNet's mean", "everybody's baseline", 74.9
    ),
    "efficientnet_b0": Architecture(
        partial(build_application, "efficientnet_b0"),
        224,
        32,
        "ImageNet's mean and std",
        "accuracy for little arithmetic",
        77.1,
    ),
    "mobilenet_v3_large": Architecture(
        partial(build_application, "mobilenet_v3_large"), 224, 32, "-1 to 1", "phones and browsers", 75.6
    ),
    "inception_v3": Architecture(
        partial(build_application, "inception_v3"), 299, 75, "-1 to 1", "large images, with a GPU", 77.9
    ),
}

if __name__ == "__main__":
    run_command(main)
