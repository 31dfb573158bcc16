"""Counts what the tests of the promises did and writes it into docs/reliability.md: `pytest -m fault --record-faults`.

A test says with `record_property("faults", 20)` how many faults it caused or inputs it tried, where that is not one.
Of a test that was not run this time the last counts stay.
"""

import json
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from fault_promises import PROMISES
from small_project import REPOSITORY

from Resnet23.files import atomic_write, write_json
from Resnet23.machine import describe_machine
from Resnet23.revision import git_revision

RECORD = REPOSITORY / "reports" / "reliability.json"
DOCUMENT = REPOSITORY / "docs" / "reliability.md"
MARKS = ("<!-- table: promises -->", "<!-- end -->")
HEADER = ["", "where", "what goes wrong", "what happens", "tests", "faults or inputs", "failed", "last run"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record-faults` writes the record and the document; without it nothing is written."""
    parser.addoption("--record-faults", action="store_true", help="write docs/reliability.md and its record")


def pytest_configure(config: pytest.Config) -> None:
    """In processes of pytest-xdist the main one writes."""
    if config.getoption("--record-faults") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FaultRecorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the report of a test say which promises it is about, also across processes."""
    for item in items:
        numbers = sorted({number for marker in item.iter_markers("fault") for number in marker.args})
        if unknown := set(numbers) - set(PROMISES):
            raise pytest.UsageError(f"{item.nodeid}: tests/fault_promises.py has no promise {sorted(unknown)}")
        item.user_properties.append(("promises", numbers))


class FaultRecorder:
    """Adds up the reports of a run, by test function."""

    def __init__(self) -> None:
        self.run = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "versions": {"python": platform.python_version(), "git_revision": git_revision()},
        }
        self.tests: dict[str, Counter[str]] = {}
        self.promises: dict[str, list[int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: by its call, or by what kept it from being called."""
        properties = dict(report.user_properties)
        if not properties.get("promises") or (report.when != "call" and report.passed):
            return
        name = report.nodeid.partition("[")[0]
        counts = self.tests.setdefault(name, Counter())
        counts[report.outcome] += 1
        counts["faults"] += 0 if report.skipped else int(properties.get("faults", 1))
        self.promises[name] = properties["promises"]

    def pytest_sessionfinish(self) -> None:
        """Write the record and the table."""
        if not self.tests:
            return
        old = json.loads(RECORD.read_text(encoding="utf-8"))["tests"] if RECORD.is_file() else {}
        new = {
            name: {"date": self.run["date"], "promises": self.promises[name], **counts}
            for name, counts in self.tests.items()
        }
        tests = {name: counts for name, counts in sorted({**old, **new}.items()) if _exists(name)}
        write_json(RECORD, {**self.run, "tests": tests})
        write_document(tests)


def write_document(tests: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table of all promises into docs/reliability.md."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    rows = [HEADER, ["---"] * len(HEADER), *(_row(number, tests) for number in PROMISES)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    with atomic_write(DOCUMENT) as file:
        file.write(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}")


def _row(number: int, tests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A promise with its tests and what they counted."""
    promise = PROMISES[number]
    own = {name: counts for name, counts in tests.items() if number in counts["promises"]}
    links = [_link(name, counts) for name, counts in own.items()]
    faults, failed = (sum(counts.get(key, 0) for counts in own.values()) for key in ("faults", "failed"))
    dates = [counts["date"][:10] for counts in own.values()]
    last = min(dates) if dates else ""
    return [str(number), *promise, "<br>".join(links), f"{faults:,}", str(failed), last]


def _link(name: str, counts: Mapping[str, Any]) -> str:
    """A test's name as a link to its file; one that was skipped says so."""
    file, _, function = name.partition("::")
    return f"[{function}](../{file})" + (" (not run)" if counts.get("skipped") and not counts.get("faults") else "")


def _exists(name: str) -> bool:
    """Whether a test that an older record names is still there."""
    file, _, function = name.partition("::")
    path = REPOSITORY / file
    return path.is_file() and f"def {function.rpartition('::')[2]}(" in path.read_text(encoding="utf-8")
