"""Tables that commands write into documents."""

from pathlib import Path

import pytest

from Resnet23.errors import InputError

RUN = {
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m benchmarks.some --set a|b",
    "machine": {"gpu": None, "cpu": "A CPU", "cores": 2},
    "versions": {"torch": "2.0", "python": "3.11", "git_revision": "one"},
}
AT_TWO = RUN | {"date": "2026-02-03T00:00:00+00:00", "versions": RUN["versions"] | {"git_revision": "two"}}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A document with two tables, the first of them empty."""
    path = tmp_path / "results.md"
    path.write_text(
        "Before\n\n<!-- table: speed -->\n<!-- end -->\n\nBetween\n\n<!-- table: other -->\n<!-- end -->\nAfter"
    )
    return path


def rows_of(document: Path) -> list[list[str]]:
    """The cells of the first table, its header and line among them."""
    block = document.read_text().split("<!-- end -->")[0]
    return [line.split(" | ") for line in block.splitlines() if line.startswith("|")]


def test_the_history_stays_and_the_newest_of_a_commit_counts(benchmark, document):
    tables = benchmark("tables")
    for run, ours in ((RUN, 1), (AT_TWO, 2), (AT_TWO, 3)):
        rows = [tables.result_row(run, what, {"ours": ours, "goal": None}) for what in ("width 16", "width 64")]
        tables.update_table("speed", rows, document)
    header, _, *found = rows_of(document)
    assert header[:3] == ["| date", "what", "ours"]
    assert [row[:3] for row in found] == [
        ["| 2026-01-02", "width 16", "1"],
        ["| 2026-02-03", "width 16", "3"],
        ["| 2026-01-02", "width 64", "1"],
        ["| 2026-02-03", "width 64", "3"],
    ]
    assert {len(row) for row in found} == {len(header)}
    assert found[0][-1] == r"`python -m benchmarks.some --set a\|b` |"


def test_the_rest_of_the_document_is_left_alone(benchmark, document):
    tables, before = benchmark("tables"), document.read_text()
    tables.update_table("speed", [tables.result_row(RUN, "it", {"ours": 1})], document)
    first, _, rest = document.read_text().partition("<!-- end -->")
    assert first.startswith("Before\n\n<!-- table: speed -->\n\n| date |")
    assert rest == before.partition("<!-- end -->")[2]


def test_a_column_that_has_gone_keeps_its_old_cells(benchmark, document):
    tables = benchmark("tables")
    tables.update_table("speed", [tables.result_row(RUN, "it", {"old": "kept"})], document)
    tables.update_table("speed", [tables.result_row(AT_TWO, "it", {"new": "there"})], document)
    header, _, first, second = rows_of(document)
    assert header[2] == "new" and header[-1] == "old |"
    assert (first[2], first[-1]) == ("", "kept |")
    assert second[2] == "there"


def test_a_missing_table_is_named_and_a_missing_document_is_no_error(benchmark, document):
    tables = benchmark("tables")
    row = tables.result_row(RUN, "it", {"ours": 1})
    with pytest.raises(InputError, match="found no table missing; expected the lines <!-- table: missing -->"):
        tables.update_table("missing", [row], document)
    tables.update_table("speed", [row], document.with_name("nowhere.md"))
    assert not document.with_name("nowhere.md").exists()


def test_the_documents_have_the_tables_that_the_commands_write(benchmark, repository):
    marks = [(repository / "docs" / name).read_text(encoding="utf-8") for name in ("benchmarks.md", "scale.md")]
    for name in ("accuracy", "steps-to-58", "loop", "data", "inference", "gpu"):
        assert marks[0].count(f"<!-- table: {name} -->") == 1
    for name in ("growth", "outlook"):
        assert marks[1].count(f"<!-- table: {name} -->") == 1
