"""What the page shows, and what the API says, for the files that were sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from Resnet23.errors import InputError
from Resnet23.webapp.answers import Answerer
from Resnet23.webapp.batch import summarize, table_cells, write_csv
from Resnet23.webapp.markup import answer_html, bars_of, evidence_html, hint_html, table_html
from Resnet23.webapp.uploads import MOST_FILES, Sent, read_upload, read_uploads

IMAGE_HINT = "Drop an image, paste one, or take one with the webcam: the answer appears here."
FILES_HINT = f"Drop up to {MOST_FILES:,} image files: a table with a row for each appears here."


class Views:
    """Answers as HTML, as a table, and as plain values."""

    def __init__(self, answerer: Answerer, folder: Path) -> None:
        """`folder` is where uploads are, and where CSV files are written to."""
        self.answerer = answerer
        self.folder = folder

    def classify(self, image: Sent) -> dict[str, Any]:
        """The answer about an image file, as a row of the table of predictions."""
        (row,) = self.answerer.rows([read_upload(image, self.folder)])
        return row

    def classify_files(self, files: list[Sent]) -> list[dict[str, Any]]:
        """The answers about image files, a row for each."""
        return list(self.answerer.rows(read_uploads(files, self.folder)))

    def show_answer(self, image: Sent | None) -> tuple[str, str]:
        """The answer about an image file, and nothing in the place of the evidence for an earlier one."""
        if image is None:
            return hint_html(IMAGE_HINT), ""
        row, classifier = self.classify(image), self.answerer.classifier
        return answer_html(row, bars_of(row, classifier.classes, classifier.thresholds), self.answerer.rule), ""

    def show_evidence(self, image: Sent | None) -> str:
        """What speaks for that answer; nothing where there is none."""
        try:
            return "" if image is None else evidence_html(self.answerer.explain(read_upload(image, self.folder)))
        except InputError:  # the answer has said why
            return ""

    def show_table(self, files: list[Sent] | None, on_progress: Callable[[int, int], Any]) -> tuple[str, Path | None]:
        """The table of image files, and the CSV file of it; `on_progress` is told how many of them are done."""
        if not files:
            return hint_html(FILES_HINT), None
        uploads, rows = read_uploads(files, self.folder), []
        for row in self.answerer.rows(uploads):
            rows.append(row)
            on_progress(len(rows), len(uploads))
        return table_html(summarize(rows), [table_cells(row) for row in rows]), write_csv(rows, self.folder)
