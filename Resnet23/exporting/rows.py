"""The figures of exported files as plain values, for reports/extras/export.json, and as lines of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Resnet23.exporting.measuring import Measurement
from Resnet23.files import printable


def row(name: str, path: Path, measured: Measurement) -> dict[str, Any]:
    """A file's figures as plain values."""
    return {
        "format": name,
        "file": printable(path),
        "error": None,
        "bytes": measured.bytes,
        "max_difference": measured.comparison.max_difference,
        "mean_difference": measured.comparison.mean_difference,
        "agreement": measured.comparison.agreement,
        "accuracy": measured.comparison.accuracy,
        "images_per_second": {str(size): speed for size, speed in measured.images_per_second.items()},
        "startup_seconds": measured.startup_seconds,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as lines of text."""
    width = max(len(values["format"]) for values in rows)
    lines = [f"{'format':<{width}}       MiB  accuracy  agreement  difference  images/s by 1    by 64  start-up"]
    for values in rows:
        if values["error"]:
            lines.append(f"{values['format']:<{width}}  {values['error']}")
            continue
        one, many = values["images_per_second"].values()
        lines.append(
            f"{values['format']:<{width}}  {values['bytes'] / 2**20:>8.1f}  {values['accuracy']:>8.2%}  "
            f"{values['agreement']:>9.2%}  {values['max_difference']:>10.1e}  {one:>13,.0f}  {many:>7,.0f}  "
            f"{values['startup_seconds']:>6.2f} s"
        )
    return "\n".join(lines)
