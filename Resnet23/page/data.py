"""What features.json says of the images: counts, equal images within and across the splits, files left out."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from Resnet23.arrays import Features
from Resnet23.page.embedding import embed_thumbnail

SHOWN_PAIRS = 6


def describe_data(features: Features) -> dict[str, Any]:
    """Everything in features.json, the counts by class, and pairs of equal images as pictures."""
    info, counts = features.info, features.info["class_counts"]
    rows = [
        {"name": name, **{split: counts[split].get(name, 0) for split in ("train", "val", "test")}}
        for name in info["classes"]
    ]
    return {
        **info,
        "superclasses": features.superclasses,
        "rows": rows,
        "largest_count": max((row[split] for row in rows for split in ("train", "val", "test")), default=0),
        "leaks": info["duplicates"]["identical"]["train-test"]["count"],
        "near_leaks": info["duplicates"]["near_identical"]["train-test"]["count"],
        "pairs": example_pairs(features),
    }


def example_pairs(features: Features, most: int = SHOWN_PAIRS) -> list[dict[str, Any]]:
    """The first pairs of equal images as pictures: those across the splits before those within one, identical ones
    before nearly identical ones.
    """
    duplicates = features.info["duplicates"]
    listed = [
        (kind.replace("_", " "), pair)
        for where in ("train-test", "train-train", "test-test")
        for kind in ("identical", "near_identical")
        for pair in duplicates[kind][where]["pairs"]
    ]
    places = _places(features) if listed else {}
    known = [(kind, pair) for kind, pair in listed if all(file in places for file in pair)]
    return [_describe_pair(features, kind, [places[file] for file in pair]) for kind, pair in known[:most]]


def _describe_pair(features: Features, kind: str, places: list[tuple[str, int]]) -> dict[str, Any]:
    images = [_describe_image(features, *place) for place in places]
    return {"kind": kind, "images": images, "is_contradiction": images[0]["label"] != images[1]["label"]}


def _describe_image(features: Features, split: str, row: int) -> dict[str, str]:
    part = getattr(features, split)
    target = part.targets[row]
    label = features.classes[target] if np.ndim(target) == 0 else _names(features, target)
    return {"source": embed_thumbnail(part.images[row]), "file": part.files[row], "label": label}


def _names(features: Features, target: np.ndarray) -> str:
    """The labels of an image, from its row (C,) of 0 and 1."""
    return ", ".join(features.classes[label] for label in np.flatnonzero(target)) or "no label"


def _places(features: Features) -> Mapping[str, tuple[str, int]]:
    """The split and the row of every image, by its file."""
    return {
        file: (split, row) for split in ("train", "test") for row, file in enumerate(getattr(features, split).files)
    }
