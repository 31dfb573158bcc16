"""docs/reliability.md: every promise has a test, and the document says what the last run counted."""

import ast
import json
from pathlib import Path

import fault_record
from fault_promises import PROMISES
from small_project import REPOSITORY


def marked_promises(path: Path) -> set[int]:
    """The numbers in the marks `pytest.mark.fault(...)` of a file."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    marks = (call for call in calls if ast.unparse(call.func) == "pytest.mark.fault")
    return {argument.value for call in marks for argument in call.args if isinstance(argument, ast.Constant)}


def test_every_promise_has_a_test():
    marked = set().union(*(marked_promises(path) for path in (REPOSITORY / "tests").rglob("test_*.py")))
    assert marked == set(PROMISES)


def test_the_document_is_what_the_record_says(tmp_path, monkeypatch):
    written = fault_record.DOCUMENT.read_text(encoding="utf-8")
    monkeypatch.setattr(fault_record, "DOCUMENT", tmp_path / "reliability.md")
    fault_record.DOCUMENT.write_text(written, encoding="utf-8")
    fault_record.write_document(json.loads(fault_record.RECORD.read_text(encoding="utf-8"))["tests"])
    assert fault_record.DOCUMENT.read_text(encoding="utf-8") == written
