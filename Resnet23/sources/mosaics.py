"""Mosaics of scikit-learn's handwritten digits: real images with several labels that need no download."""

from collections.abc import Iterable, Sequence

import numpy as np

from Resnet23.config import DataParams
from Resnet23.processed import IMAGES_FOLDER
from Resnet23.sources.digits import load as load_digits
from Resnet23.sources.examples import Example

COUNTS = {"train": 4000, "test": 1000}
CELLS = 4  # of a mosaic, 2 x 2
EMPTY = -1


def load(data: DataParams, seed: int) -> list[Example]:
    """Mosaics (16, 16, 3) of 1 to 4 digits, drawn by `seed`, no two of the same digits in the same places.

    The labels are the digits "0" to "9" in it. Those of the test mosaics are test digits, none of which is in a
    training mosaic. `source` names the digit in each cell, row by row, as in "digits/00012+-+01044+-".
    """
    generator = np.random.default_rng(seed)
    digits = load_digits(data, seed)
    examples = []
    for split, count in COUNTS.items():
        pool = [digit for digit in digits if digit.split == split]
        mosaics = draw_mosaics(len(pool), count, generator)
        examples += [_compose(split, [pool[row] if row != EMPTY else None for row in cells]) for cells in mosaics]
    return examples


def draw_mosaics(pool: int, count: int, generator: np.random.Generator) -> Iterable[tuple[int, ...]]:
    """`count` different mosaics of 1 to CELLS digits: for each cell a row of the pool, or EMPTY."""
    mosaics: dict[tuple[int, ...], None] = {}  # keeps their order
    while len(mosaics) < count:
        number = generator.integers(1, CELLS + 1)
        cells = np.full(CELLS, EMPTY)
        cells[generator.permutation(CELLS)[:number]] = generator.integers(0, pool, number)
        mosaics[tuple(cells.tolist())] = None
    return mosaics


def _compose(split: str, cells: Sequence[Example | None]) -> Example:
    """One mosaic of the digits in its cells."""
    nothing = np.zeros_like(next(cell.image for cell in cells if cell))
    tiles = [cell.image if cell else nothing for cell in cells]  # (8, 8, 3) each
    image = np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])  # (16, 16, 3)
    numbers = "+".join(cell.source.removeprefix("digits/") if cell else "-" for cell in cells)
    labels = tuple(sorted({cell.class_name for cell in cells if cell}))
    return Example(split, IMAGES_FOLDER, f"digits/{numbers}", image, labels)
