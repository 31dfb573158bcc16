"""What is known of the data sets that the project can fetch by name: source, licence, citation, known limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Resnet23.places import last_part

KRIZHEVSKY = (
    "Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, "
    "2009"
)
TINY_IMAGES = (
    "The photos were taken from the collection 80 Million Tiny Images, which was gathered from web searches without "
    "asking the people shown, and which its authors withdrew in 2020 because of offensive labels and images."
)
NO_LICENSE = "none was published with it; its author asks to cite the report named below"
ALPAYDIN = (
    "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998, "
    "https://doi.org/10.24432/C50P49"
)
FEW_WRITERS = (
    "All digits are from the test part of the UCI set, which 13 people wrote and scikit-learn carries. Training and "
    "test digits are not split by writer: nothing is measured about the handwriting of others."
)
UNKNOWN = "not known, fill in (--data-license)"


@dataclass(frozen=True)
class DataSet:
    """A data set as the card describes it; `hub_id` is its name on Hugging Face's hub, None where it has none."""

    name: str
    kind: str  # Hugging Face's `type` of a data set: the id on the hub, else any word
    license: str
    hub_id: str | None = None
    source: str | None = None
    citation: str | None = None
    limits: tuple[str, ...] = ()


PUBLISHED = {
    "cifar10": DataSet(
        "CIFAR-10",
        "uoft-cs/cifar10",
        NO_LICENSE,
        "uoft-cs/cifar10",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        KRIZHEVSKY,
        (TINY_IMAGES,),
    ),
    "cifar100": DataSet(
        "CIFAR-100",
        "uoft-cs/cifar100",
        NO_LICENSE,
        "uoft-cs/cifar100",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        KRIZHEVSKY,
        (TINY_IMAGES,),
    ),
    "digits": DataSet(
        "handwritten digits",
        "digits",
        "CC BY 4.0, as the UCI Machine Learning Repository states",
        None,
        "https://archive.ics.uci.edu/dataset/80",
        ALPAYDIN,
        (FEW_WRITERS,),
    ),
    "digits-multilabel": DataSet(
        "mosaics of handwritten digits",
        "digits-multilabel",
        "CC BY 4.0 for the digits, as the UCI Machine Learning Repository states",
        None,
        "https://archive.ics.uci.edu/dataset/80",
        ALPAYDIN,
        (FEW_WRITERS, "The mosaics are made by a program; nothing is measured about photographed or scanned pages."),
    ),
}


def describe_data(dataset: str, params: Mapping[str, Any], license_text: str | None) -> DataSet:
    """What there is to say of `data.dataset`; `license_text` is what the user says of its licence and goes first.

    Images of one's own are named after the last part of `data.source`, and nothing else is known of them.
    """
    known = PUBLISHED.get(dataset) or DataSet(_own_name(params), "own-images", UNKNOWN)
    return known if license_text is None else DataSet(**{**vars(known), "license": license_text})


def _own_name(params: Mapping[str, Any]) -> str:
    source = params.get("data", {}).get("source")
    return (last_part(source) if source else "") or "images of one's own"
