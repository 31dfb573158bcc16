"""The figures of exported files as plain values, for reports/extras/export.json, and as lines of text."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from Resnet23.errors import Resnet23Error
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


def collect_rows(
    paths: Mapping[str, Path], export: Callable[[str, Path], Measurement]
) -> tuple[list[dict[str, Any]], list[Resnet23Error]]:
    """Call `export` for each format and its path: a row for each, and what is wrong with those that failed."""
    rows, errors = [], []
    for name, path in paths.items():
        logger.info(f"{printable(path)}: writing and comparing")
        try:
            rows.append(row(name, path, export(name, path)))
        except Resnet23Error as error:
            rows.append({"format": name, "file": printable(path), "error": str(error)})
            errors.append(error)
    return rows, errors


def raise_worst(errors: Sequence[Resnet23Error]) -> None:
    """Raise one error that says what all of them do, with the highest of their exit codes; nothing without any."""
    if errors:
        worst = max(errors, key=lambda error: error.exit_code)
        raise type(worst)("; ".join(str(error) for error in errors))


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
