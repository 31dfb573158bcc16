"""The report page in a real Chromium: layouts, colours, sorting, the confusion matrix, and no request to anywhere."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium, open_page
from fake_multilabel_results import write_multilabel_results
from fake_results import write_results
from page_checks import find_faults

from Resnet23.config import MODEL_CARD_FILE, Params, PlotsParams
from Resnet23.page.changes import HEADLINES
from Resnet23.plots import draw_pictures
from Resnet23.report import build_page
from Resnet23.results import read_results
from Resnet23.tracking.previous import RunHistory, TrackedRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

SMALL = PlotsParams(dpi=50, examples=4)
CLASSES = ["b <cat>", "a dog", "a name that goes on and on without any end to it, or nearly so", "d", "no_space_" * 12]
FAMILIES = dict(zip(CLASSES, ["pets", "pets", "things", "things", "pets"], strict=True))
MANY = [f"class {number}" for number in range(100)]
METRICS = dict.fromkeys(HEADLINES, 0.5)
RUN = TrackedRun("2" * 32, "7", "now", "2026-01-02 03:04", {"seed": "0", "x": "y" * 300}, METRICS, {"machine.cpu": "x"})
HISTORY = RunHistory(RUN, RUN, "https://dagshub.com/o/r/experiments")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of a page with awkward names, one of many classes, and one of labels."""
    results = {
        "awkward": lambda folder: write_results(folder, CLASSES, superclasses=FAMILIES),
        "many": lambda folder: write_results(folder, MANY),
        "labels": lambda folder: write_multilabel_results(folder, CLASSES),
    }
    addresses = {}
    for name, write in results.items():
        folder = tmp_path_factory.mktemp(name)
        write(folder)
        addresses[name] = write_page(folder).as_uri()
    return addresses


def write_page(folder: Path) -> Path:
    """The page of the project in `folder`."""
    card = folder / MODEL_CARD_FILE
    card.parent.mkdir()
    card.write_text(f"---\nlicense: mit\n---\n\n# Card\n\n<script>alert(1)</script> {'x' * 300}\n", encoding="utf-8")
    with chdir(folder):
        found = read_results()
        source = build_page(found, Params(), draw_pictures(found, SMALL), HISTORY)
    path = folder / "index.html"
    path.write_text(source, encoding="utf-8")
    return path


def unfold(page: "Page") -> None:
    """Open everything that is folded away."""
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


@pytest.mark.parametrize("name", ["awkward", "many", "labels"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1200])
def test_the_page_fits_reads_well_and_stays_by_itself(browser, pages, name, scheme, width):
    with open_page(browser, width, scheme) as page:
        page.goto(pages[name])
        assert find_faults(page) == []
        unfold(page)
        assert find_faults(page, "overflow", "contrast") == []
        assert page.problems == []
        assert page.requests == [pages[name]]


def test_without_scripts_the_figure_is_shown(browser, pages):
    with open_page(browser, java_script_enabled=False) as page:
        page.goto(pages["awkward"])
        assert page.locator("#confusion_matrix").is_visible()
        assert not page.locator("#matrix").is_visible()
        assert page.locator("th button").count() == 0


def test_tables_are_sorted_by_their_headers(browser, pages):
    with open_page(browser) as page:
        page.goto(pages["awkward"])
        table = page.locator("#classes table.sortable")
        names = lambda: table.locator("tbody th").all_inner_texts()  # noqa: E731
        recalls = lambda: list(map(float, table.locator("tbody td:nth-child(4)").all_inner_texts()))  # noqa: E731
        assert names() == CLASSES
        header = table.get_by_role("columnheader", name="Recall")
        header.get_by_role("button").click()
        assert recalls() == sorted(recalls(), reverse=True)
        assert header.get_attribute("aria-sort") == "descending"
        header.get_by_role("button").press("Enter")
        assert recalls() == sorted(recalls())
        assert header.get_attribute("aria-sort") == "ascending"
        table.get_by_role("columnheader", name="Class", exact=True).get_by_role("button").click()
        assert names() == ["a dog", CLASSES[2], "b <cat>", "d", CLASSES[4]]
        assert header.get_attribute("aria-sort") is None


def test_the_keyboard_reaches_the_matrix_and_moves_in_it(browser, pages):
    with open_page(browser) as page:
        page.goto(pages["awkward"])
        page.locator("#matrix-fit").focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "matrix-view"
        status = page.locator("#matrix-status")
        page.keyboard.press("ArrowDown")
        assert status.inner_text().startswith("true b <cat> taken for b <cat> (right): ")
        page.keyboard.press("ArrowRight")
        assert status.inner_text().startswith("true b <cat> taken for a dog: ")
        page.keyboard.press("End")
        assert f"taken for {CLASSES[-1].strip()}" in status.inner_text()
        page.keyboard.press("n")
        largest = page.locator("#confusions tbody tr").first.locator("th, td").all_inner_texts()
        assert f": {largest[2]} image" in status.inner_text()
        assert "%) " not in status.inner_text() and "% of " in status.inner_text()


def test_backwards_the_first_mistake_is_the_smallest(browser, pages):
    with open_page(browser) as page:
        page.goto(pages["awkward"])
        status = page.locator("#matrix-status")
        page.locator("#matrix-view").focus()
        page.keyboard.press("Shift+N")
        page.keyboard.press("n")  # after the smallest comes the largest again
        largest = page.locator("#confusions tbody tr").first.locator("th, td").all_inner_texts()
        assert status.inner_text().startswith(f"true {largest[0]} taken for {largest[1]}: ")


def test_pointing_tapping_and_the_list_name_a_cell(browser, pages):
    with open_page(browser) as page:
        page.goto(pages["awkward"])
        status, view = page.locator("#matrix-status"), page.locator("#matrix-view")
        view.scroll_into_view_if_needed()
        box = view.bounding_box()
        page.mouse.move(box["x"] + 4, box["y"] + 4)
        assert status.inner_text().startswith("Point at a cell")
        page.mouse.click(
            box["x"] + page.evaluate("document.querySelector('#matrix-canvas').clientWidth") - 10,
            box["y"] + box["height"] - 12,
        )
        assert status.inner_text().startswith(f"true {CLASSES[-1]} taken for {CLASSES[-1]} (right): ")
        first = page.locator("#confusions tbody tr").first
        true, taken, count, share = first.locator("th, td").all_inner_texts()
        first.get_by_role("button").click()
        noun = "image" if count == "1" else "images"
        assert status.inner_text() == f"true {true} taken for {taken}: {count} {noun} ({share} of {true})"
        assert page.evaluate("document.activeElement.id") == "matrix-view"


def test_the_matrix_zooms_and_is_ordered(browser, pages):
    with open_page(browser, 390) as page:
        page.goto(pages["many"])
        size = lambda: page.evaluate("document.querySelector('#matrix-space').offsetWidth")  # noqa: E731
        view = page.locator("#matrix-view")
        fitted = size()
        assert fitted <= view.bounding_box()["width"]
        for _ in range(4):
            page.get_by_role("button", name="Zoom in").click()
        assert size() > 2 * fitted
        view.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("End")
        assert page.evaluate("document.querySelector('#matrix-view').scrollLeft") > 100
        page.locator("#matrix-order").select_option("recall")
        assert page.locator("#matrix-status").inner_text().startswith("true class 0 taken for class 99: ")
        page.keyboard.press("Tab")
        page.locator("#matrix-mistakes").check()
        page.get_by_role("button", name="Fit").click()
        assert size() == fitted
        assert page.problems == []


def test_classes_of_one_family_stand_together(browser, pages):
    with open_page(browser) as page:
        page.goto(pages["awkward"])
        page.locator("#matrix-order").select_option("family")
        page.locator("#matrix-view").focus()
        page.keyboard.press("Home")
        page.keyboard.press("Home")
        places = []
        for _ in CLASSES:
            places.append(page.locator("#matrix-status").inner_text().partition(" taken for ")[0].removeprefix("true "))
            page.keyboard.press("ArrowDown")
        assert [FAMILIES[name] for name in places] == sorted(FAMILIES.values())
