"""Images that stand out by how bright they are and how much there is to see: nearly black, nearly white, plain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from Resnet23.arrays import Features, Split
from Resnet23.page.embedding import embed_thumbnail
from Resnet23.page.sampling import spread_rows

SHOWN = 6  # images of each kind
NEARLY = 10  # levels of 255 from black or white, on average
PLAIN = 3  # levels by which a pixel of a single-coloured image differs from the others, as a standard deviation
GREY = 1  # levels between the channels of an image without colour, on average
MOST_BYTES = 1 << 29  # of pixels that are looked at: all of CIFAR-10 or CIFAR-100, 3,500 photos of 224 pixels
CHUNK = 512  # images


@dataclass(frozen=True)
class Measurements:
    """Of N images: split and row, brightness and contrast in levels of 255, whether there is any colour."""

    places: list[tuple[str, int]]
    brightness: np.ndarray  # (N,) mean of all channels
    contrast: np.ndarray  # (N,) the largest standard deviation of a channel over the pixels
    has_color: np.ndarray  # (N,) bool


def find_oddities(features: Features) -> dict[str, Any]:
    """How many images are nearly black, nearly white, of a single colour or without colour, and the extremes as
    pictures. Of data that is too large to be looked at whole, images at equal distances are.
    """
    found = measure(features)
    counts = {
        "nearly black": found.brightness < NEARLY,
        "nearly white": found.brightness > 255 - NEARLY,
        "of a single colour": found.contrast < PLAIN,
        "without any colour": ~found.has_color,
    }
    extremes = {
        "Darkest": (found.brightness, "mean {:.0%}"),
        "Brightest": (-found.brightness, "mean {:.0%}"),
        "Least contrast": (found.contrast, "spread {:.1%}"),
    }
    return {
        "looked_at": len(found.places),
        "counts": {name: int(is_odd.sum()) for name, is_odd in counts.items()},
        "groups": {name: _show(features, found, *extreme) for name, extreme in extremes.items()},
    }


def measure(features: Features) -> Measurements:
    """Brightness, contrast and colour of the images of both splits."""
    total = len(features.train) + len(features.test)
    most = max(1, MOST_BYTES // (3 * features.image_size**2))
    rows = spread_rows(np.arange(total), most)
    in_train = rows[rows < len(features.train)]
    in_test = rows[rows >= len(features.train)] - len(features.train)
    places = [("train", row) for row in in_train.tolist()] + [("test", row) for row in in_test.tolist()]
    measured = [*_measure_split(features.train, in_train), *_measure_split(features.test, in_test)]
    brightness, contrast, has_color = (np.concatenate(part) for part in zip(*measured, strict=True))
    return Measurements(places, brightness, contrast, has_color)


def _measure_split(split: Split, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for begin in range(0, len(rows), CHUNK):
        images = np.asarray(split.images[rows[begin : begin + CHUNK]])  # (n, H, W, 3) uint8
        pixels = images.reshape(len(images), -1, 3).astype(np.float32)
        spread = pixels.max(axis=2) - pixels.min(axis=2)  # (n, H * W)
        yield pixels.mean(axis=(1, 2)), pixels.std(axis=1).max(axis=1), spread.mean(axis=1) >= GREY


def _show(features: Features, found: Measurements, order: np.ndarray, caption: str) -> list[dict[str, str]]:
    """The first images in this order as pictures; the caption takes the value as a share of 255."""
    shown = []
    for number in np.argsort(order, kind="stable")[:SHOWN]:
        split, row = found.places[number]
        part = getattr(features, split)
        note = caption.format(abs(float(order[number])) / 255)
        shown.append({"source": embed_thumbnail(part.images[row]), "file": part.files[row], "note": note})
    return shown
