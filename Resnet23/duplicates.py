"""Identical and near-identical images, within a split and across the splits.

Identical: the same pixels, by their SHA-256. Near-identical: difference hashes at most MAX_DISTANCE bits apart
and pixels at most MAX_DIFFERENCE levels apart on average. Both limits were set by looking at the pairs that CIFAR-10
and CIFAR-100 hold: below them the same photo, compressed or cropped a little differently; soon above them two white
bottles. Mirrored, rotated or clearly shifted copies are not found.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice, pairwise, product
from typing import Any, Protocol

import numpy as np

HASH_BITS = 64
MAX_DISTANCE = 4  # bits
MAX_DIFFERENCE = 6.0  # levels of 255
LISTED_PAIRS = 100
MARGIN = 1.0  # levels; smaller steps of brightness count as flat
BANDS = MAX_DISTANCE + 2
WINDOW = 16
COMPARED_BYTES = 1 << 22


class Images(Protocol):
    """(N, H, W, 3) uint8, of which rows can be read: an array, a memory map, files in the guise of one."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> np.ndarray: ...


def difference_hashes(images: np.ndarray) -> np.ndarray:
    """The 64-bit difference hash (dHash) of each image: (N, H, W, 3) uint8, sides of at least 8, to (N,) uint64.

    The mean brightness of 8 x 9 cells, one bit for each pair of horizontal neighbours: set where the right one is
    brighter. Neal Krawetz, "Kind of Like That" (hackerfactor.com, 2013). Unlike there, a bit needs a step of more
    than MARGIN, so that noise on a plain background does not decide it.
    """
    count, height, width = images.shape[:3]
    light = images[..., 0].astype(np.int32) + images[..., 1] + images[..., 2]  # (N, H, W) 0..765
    rows, columns = np.arange(8) * height // 8, np.arange(9) * width // 9
    cells = np.add.reduceat(np.add.reduceat(light, rows, axis=1), columns, axis=2)  # (N, 8, 9)
    widths = np.maximum(np.diff(columns, append=width), 1)  # of 8 columns, reduceat takes the first one twice
    pixels = np.diff(rows, append=height)[:, None] * widths
    steps = np.diff(cells / (3 * pixels), axis=2)  # (N, 8, 8) levels
    return np.packbits((steps > MARGIN).reshape(count, HASH_BITS), axis=1).view(np.uint64)[:, 0]


def find_duplicates(
    train: Images, test: Images, digests: np.ndarray, hashes: np.ndarray, files: Sequence[str]
) -> dict[str, Any]:
    """Count the identical and the near-identical pairs, and list the first of them by file.

    Of the images, only near-identical candidates are read, a few at a time.
    `digests` (N, K) and `hashes` (N,) uint64 and `files` describe the training images, then the test images.
    Gives {"identical", "near_identical"} -> {"train-train", "test-test", "train-test"} -> {"count", "pairs"}.
    Identical images stand for each other: one image near two identical ones makes two near-identical pairs.
    """
    groups = _group(digests, len(train))
    repeated = np.flatnonzero(np.diff(groups.bounds) > 1)
    candidates = similar_pairs(hashes[groups.first])
    near = candidates[_differences((train, test), groups.first[candidates]) <= MAX_DIFFERENCE]
    return {
        "identical": _describe(groups, np.stack([repeated, repeated], axis=1), files),
        "near_identical": _describe(groups, near, files),
    }


def similar_pairs(hashes: np.ndarray) -> np.ndarray:
    """The pairs of rows whose hashes differ in at most MAX_DISTANCE bits: (P, 2) int64, sorted, smaller row first.

    The bits are cut into MAX_DISTANCE + 2 bands, so that two of the bands are equal in every such pair: only hashes
    that agree in two bands are compared. Hashes that many images share, as plain ones do, would make that quadratic:
    each is compared only with the WINDOW next ones of its bucket, ordered by hash. Of a bucket that is larger than
    that, some pairs can be missed.
    """
    order = np.argsort(hashes, kind="stable")
    codes = np.empty(0, np.int64)  # a pair as one number
    for mask in _band_masks():
        one, other = order[_pairs_in_buckets(hashes[order], mask)]
        found = np.minimum(one, other) * len(hashes) + np.maximum(one, other)
        codes = np.sort(np.concatenate([codes, found]))
        codes = codes[np.diff(codes, prepend=-1) > 0]  # np.unique is ten times slower where millions repeat
    return np.stack(np.divmod(codes, max(len(hashes), 1)), axis=1)


@dataclass(frozen=True)
class _Groups:
    """Rows with the same pixels, numbered by their first row; the training rows are those below `train_count`."""

    train_count: int
    first: np.ndarray  # (G,) the first row of each group
    rows: np.ndarray  # (N,) all rows, group after group
    bounds: np.ndarray  # (G + 1,) where each group begins in `rows`

    def members(self, group: int) -> tuple[list[int], list[int]]:
        """The training rows and the test rows of a group."""
        rows = self.rows[self.bounds[group] : self.bounds[group + 1]]
        split = np.searchsorted(rows, self.train_count)
        return rows[:split].tolist(), rows[split:].tolist()

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """How many training rows and how many test rows each group has."""
        in_train = np.add.reduceat(self.rows < self.train_count, self.bounds[:-1], dtype=np.int64)
        return in_train, np.diff(self.bounds) - in_train


def _group(digests: np.ndarray, train_count: int) -> _Groups:
    _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    group = number[group.reshape(-1)]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(group))])
    return _Groups(train_count, np.sort(first), np.argsort(group, kind="stable"), bounds)


def _band_masks() -> Iterator[np.uint64]:
    edges = [HASH_BITS * band // BANDS for band in range(BANDS + 1)]
    bands = [(1 << end) - (1 << begin) for begin, end in pairwise(edges)]
    return (np.uint64(one | other) for one, other in combinations(bands, 2))


def _pairs_in_buckets(hashes: np.ndarray, mask: np.uint64) -> np.ndarray:
    """Pairs of rows (2, P) that agree in the bits of `mask` and differ in at most MAX_DISTANCE bits."""
    keys = hashes & mask
    order = np.argsort(keys, kind="stable")
    keys, hashes = keys[order], hashes[order]
    found = [np.empty((2, 0), np.int64)]
    rows = np.arange(len(keys))
    for step in range(1, WINDOW + 1):
        rows = rows[rows + step < len(keys)]
        rows = rows[keys[rows] == keys[rows + step]]
        near = rows[np.bitwise_count(hashes[rows] ^ hashes[rows + step]) <= MAX_DISTANCE]
        found.append(np.stack([order[near], order[near + step]]))
    return np.concatenate(found, axis=1)


def _differences(parts: Sequence[Images], pairs: np.ndarray) -> np.ndarray:
    """The mean absolute difference, in levels, of each pair (P, 2) of rows of both parts laid end to end."""
    values = math.prod(parts[0].shape[1:])
    step = max(1, COMPARED_BYTES // values)
    sums = np.zeros(len(pairs), np.int64)
    for begin in range(0, len(pairs), step):
        rows, places = np.unique(pairs[begin : begin + step], return_inverse=True)
        one, other = _take(parts, rows)[places.reshape(-1, 2).T]
        difference = np.maximum(one, other) - np.minimum(one, other)  # (n, H, W, 3) uint8
        sums[begin : begin + step] = difference.reshape(len(difference), -1).sum(axis=1, dtype=np.int64)
    return sums / values


def _take(parts: Sequence[Images], rows: np.ndarray) -> np.ndarray:
    """Rows of both parts laid end to end."""
    images = np.empty((len(rows), *parts[0].shape[1:]), np.uint8)
    in_first = rows < len(parts[0])
    images[in_first] = parts[0][rows[in_first]]
    images[~in_first] = parts[1][rows[~in_first] - len(parts[0])]
    return images


def _describe(groups: _Groups, pairs: np.ndarray, files: Sequence[str]) -> dict[str, Any]:
    """Counts and first file names of the image pairs that pairs (P, 2) of groups stand for."""
    counts = _count(groups, pairs)
    listed: dict[str, Any] = {}
    for kind, count in counts.items():
        found = chain.from_iterable(_image_pairs(groups, kind, *pair) for pair in pairs.tolist())
        names = [[files[one], files[other]] for one, other in islice(found, LISTED_PAIRS)]
        listed[kind] = {"count": count, "pairs": names}
    return listed


def _count(groups: _Groups, pairs: np.ndarray) -> dict[str, int]:
    train, test = groups.sizes()
    one, other = pairs.T
    same = one == other
    within = {
        kind: np.where(same, sizes[one] * (sizes[one] - 1) // 2, sizes[one] * sizes[other])
        for kind, sizes in (("train-train", train), ("test-test", test))
    }
    across = np.where(same, train[one] * test[one], train[one] * test[other] + train[other] * test[one])
    return {kind: int(counts.sum()) for kind, counts in (within | {"train-test": across}).items()}


def _image_pairs(groups: _Groups, kind: str, one: int, other: int) -> Iterator[tuple[int, int]]:
    """The pairs of rows of one kind that lie in one group, or one in each of two groups."""
    (train, test), (other_train, other_test) = groups.members(one), groups.members(other)
    if kind == "train-test":
        mixed = () if one == other else product(other_train, test)
        return chain(product(train, other_test), mixed)
    rows, other_rows = (train, other_train) if kind == "train-train" else (test, other_test)
    return combinations(rows, 2) if one == other else product(rows, other_rows)
