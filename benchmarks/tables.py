"""Tables in the documents that the benchmarks keep up to date: what stands between two marks, a row for each result.

    <!-- table: accuracy -->
    <!-- end -->

A new result of the same thing, machine and commit takes the place of the old one; all others stay, as the history.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from Resnet23.errors import InputError
from Resnet23.files import atomic_write, printable

DOCUMENT = Path("docs/benchmarks.md")
END = "<!-- end -->"
KEY = ("what", "machine", "commit")

Row = dict[str, str]  # column -> cell; every row has the columns of KEY


def result_row(run: Mapping[str, Any], what: str, columns: Mapping[str, Any]) -> Row:
    """A row about `what`, with columns of its own between when it was measured and by which command where.

    `run` holds what `record.describe_run` says.
    """
    machine, versions = run["machine"], run["versions"]
    where = f"{machine['cpu']}, {machine['cores']} cores" + (f", {machine['gpu']}" if machine["gpu"] else "")
    return {
        "date": run["date"][:10],
        "what": what,
        **{name: "" if value is None else str(value) for name, value in columns.items()},
        "machine": where,
        "versions": f"torch {versions['torch']}, Python {versions['python']}",
        "commit": versions["git_revision"] or "",
        "command": f"`{run['command']}`",
    }


def spread_of(summary: Mapping[str, Any], form: str) -> str:
    """The standard deviation of what `record.summarize` summed up, empty for a single sample."""
    return "" if summary["spread"] is None else f"± {summary['spread']:{form}}"


def update_table(name: str, rows: Sequence[Row], document: Path = DOCUMENT) -> None:
    """Put the rows into the table `name` of the document; where there is no such document nothing is done.

    Raises InputError when the document has no such table.
    """
    if not document.is_file():
        logger.info(f"{printable(document)}: not in this folder; the results are in the record only")
        return
    before, mark, block, after = _cut(document, name)
    table = _render(_merge(_parse(block), rows))
    with atomic_write(document) as file:
        file.write(f"{before}{mark}\n\n{table}\n{END}{after}")
    logger.info(f"{printable(document)}: the table {name} is up to date")


def _cut(document: Path, name: str) -> tuple[str, str, str, str]:
    """The text before the table, the mark that begins it, the table, and the text after the mark that ends it."""
    mark = f"<!-- table: {name} -->"
    before, found, rest = document.read_text(encoding="utf-8").partition(mark)
    block, end, after = rest.partition(END)
    if not found or not end:
        raise InputError(f"{printable(document)}: found no table {name}; expected the lines {mark} and {END}")
    return before, mark, block, after


def _parse(block: str) -> list[Row]:
    """The rows of a Markdown table."""
    lines = [line.strip() for line in block.splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def _merge(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Old and new rows, each new one in the place of that with the same key, or else after the last about the same."""
    merged = list(old)
    for row in new:
        row = {name: cell.replace("|", r"\|") for name, cell in row.items()}
        same = [place for place, other in enumerate(merged) if all(other[key] == row[key] for key in KEY)]
        related = [place for place, other in enumerate(merged) if other["what"] == row["what"]]
        if same:
            merged[same[0]] = row
        else:
            merged.insert(related[-1] + 1 if related else len(merged), row)
    return merged


def _render(rows: Sequence[Row]) -> str:
    """A Markdown table with the columns of the last row, and after them those that only others have."""
    columns = list(dict.fromkeys(name for row in [rows[-1], *rows] for name in row))
    lines = [columns, ["---"] * len(columns), *([row.get(name, "") for name in columns] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
