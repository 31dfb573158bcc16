"""Which of many are shown."""

import numpy as np


def spread_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `rows`, at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
