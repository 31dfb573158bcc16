"""Many files at once: the table on the page, and the CSV file that holds all of it."""

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Resnet23.figures.findings import counted, percent
from Resnet23.files import CsvLines, atomic_write

COLUMNS = ("File", "Answer", "Probability", "Remark")
NO_LABEL = "no label"
UNFAMILIAR = "seen nothing like it"
CSV_NAME = "predictions.csv"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of a text that spreadsheets calculate; OWASP, CSV Injection


def table_cells(row: dict[str, Any]) -> list[str]:
    """What the page shows of a row: a text for each of COLUMNS."""
    if row["error"]:
        return [row["file"], "", "", row["error"]]
    warning = UNFAMILIAR if row["unfamiliar"] else ""
    if "labels" in row:
        names, shares = row["labels"].keys(), map(percent, row["labels"].values())
        return [row["file"], ", ".join(names) or NO_LABEL, ", ".join(shares), warning]
    return [row["file"], row["class"], percent(row["confidence"]), warning]


def summarize(rows: Sequence[dict[str, Any]]) -> str:
    """How many files there are, how many could not be read, and how many are warned about."""
    failed, unfamiliar = (sum(bool(row[key]) for row in rows) for key in ("error", "unfamiliar"))
    parts = [counted(len(rows), "file")]
    parts += [f"{failed:,} could not be read"] if failed else []
    parts += [f"{unfamiliar:,} unlike anything the network has seen"] if unfamiliar else []
    return ", ".join(parts)


def write_csv(rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write the rows with all their columns to a file in a new folder below `folder`, and give its path.

    A text that a spreadsheet would take for a formula, such as the name of an uploaded file, begins with ' there.
    """
    path = Path(tempfile.mkdtemp(dir=folder)) / CSV_NAME
    with atomic_write(path, newline="") as file:
        writer = csv.DictWriter(CsvLines(file), list(rows[0]))
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return path


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
