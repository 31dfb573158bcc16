"""Where images come from: one loader for each `data.dataset`, from a source to a list of examples."""

from collections.abc import Callable

from Resnet23.config import DataParams
from Resnet23.sources import cifar, digits, folder, mosaics, multilabel
from Resnet23.sources.examples import Example

Loader = Callable[[DataParams, int], list[Example]]  # data parameters, seed

DATASETS: dict[str, Loader] = {
    "cifar10": cifar.load_cifar10,
    "cifar100": cifar.load_cifar100,
    "digits": digits.load,
    "digits-multilabel": mosaics.load,
    "folder": folder.load,
    "multilabel": multilabel.load,
}
