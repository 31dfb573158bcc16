"""What one MLflow request and one MLflow value may hold."""

from collections.abc import Iterator, Sequence
from typing import Any

MAX_METRICS = 1000
MAX_ENTRIES = 100  # params or tags
MAX_NAME = 250
MAX_VALUE = 6000
MAX_DIGEST = 36  # of a dataset


def batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """`entries` in pieces of at most `size`."""
    return (entries[start : start + size] for start in range(0, len(entries), size))
